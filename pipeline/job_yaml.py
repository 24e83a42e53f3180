"""YAML as people mean it: the 1.2 scalars, and no key given twice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from pipeline.job_errors import JobFileError, Mistake, describe

_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema.

    YAML 1.1, PyYAML's default, reads ``yes`` as true, ``1:30`` as 90, ``010`` as 8, a date as an
    object, and ``1e-4`` as text. Keys are text whatever they look like.
    """

    # the scalars of YAML 1.1 are not inherited
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.repeated: list[Mistake] = []

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in first:
                sentence = f"key {describe(key.value)} is given twice, first in line"
                self.repeated.append(((), f"line {line}: {sentence} {first[key.value]}"))
            first.setdefault(key.value, line)
            if key.tag != _TAG + "merge":
                key.tag = _TAG + "str"
        return node


def _construct_int(_: _Loader, node: yaml.ScalarNode) -> int:
    return int(node.value)


for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]{1,18}", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern})\Z"), _first)
_Loader.add_constructor(_TAG + "int", _construct_int)


def read_yaml(file: Path, beginning: str) -> tuple[dict[str, Any], list[Mistake]]:
    """The mapping in ``file``, and what is odd about it: keys given twice, keys without a value.

    Keys without a value are left out of the mapping. ``beginning``
    says what such a file starts with, for the message on an empty one.

    Raises
    ------
    JobFileError
        If the file cannot be read, is not UTF-8, is not YAML, is empty or is not a mapping.
    """
    try:
        loader = _Loader(file.read_bytes().decode("utf-8-sig"))
        data = loader.get_single_data()
    except OSError as error:
        raise _unusable(file, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise _unusable(file, f"is not UTF-8 text (byte {error.start})") from None
    except yaml.YAMLError as error:
        raise _unusable(file, _yaml_sentence(error)) from None
    except ValueError as error:  # an explicit tag on what it does not fit
        raise _unusable(file, f"not YAML: {error}") from None
    except RecursionError:
        raise _unusable(file, "is nested too deeply") from None
    if data is None:
        raise _unusable(file, f"is empty; {beginning}")
    if not isinstance(data, dict):
        sentence = f"is {describe(data)}, not a mapping; write lines of `key: value`"
        raise _unusable(file, sentence)
    return data, loader.repeated + _take_out_empty(data)


def _unusable(file: Path, sentence: str) -> JobFileError:
    return JobFileError(str(file), [((), sentence)])


def _yaml_sentence(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: not YAML: {error.problem}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"not YAML: character {error.position + 1} is not allowed ({error.reason})"
    return f"not YAML: {error}"


def _take_out_empty(data: dict[str, Any]) -> list[Mistake]:
    """Remove the keys without a value from ``data``, at any depth, and report them."""
    mistakes: list[Mistake] = []
    seen: set[int] = set()  # aliases may share a part, or loop

    def walk(node: Any, place: tuple[int | str, ...]) -> None:
        if id(node) in seen or not isinstance(node, dict | list):
            return
        seen.add(id(node))
        entries = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in list(entries):
            if value is None and isinstance(node, dict):
                del node[key]
                sentence = "has no value; give one or remove the key"
                mistakes.append(((*place, key), sentence))
            walk(value, (*place, key))

    walk(data, ())
    return mistakes
