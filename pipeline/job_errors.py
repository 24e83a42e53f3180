"""What is wrong with a job file, in sentences: the place, the value, what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

Place = tuple[int | str, ...]
Mistake = tuple[Place, str]

LONGEST_VALUE = 80
CLOSE = 0.65  # a slip of the pen ("med" for "median"), not another word ("more" for "source")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_CREDENTIALS = re.compile(r"//[^\s'\"]*@")


class JobFileError(ValueError):
    """A job file cannot be used.

    Parameters
    ----------
    file : str
        The job file, as the user named it.
    mistakes : iterable of (place, sentence)
        Every mistake found; a place may be empty.

    Attributes
    ----------
    mistakes : tuple of str
        One line each: ``<file>: <place>: <sentence>``; the error's text is all of them.
    """

    def __init__(self, file: str, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(
            _without_credentials(": ".join(filter(None, (file, place_text(place), sentence))))
            for place, sentence in mistakes
        )
        super().__init__("\n".join(self.mistakes))


def place_text(place: Place) -> str:
    """``("detectors", 0, "measure")`` as ``detectors[0].measure``."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{describe(part)}]"
    return text


def describe(value: object) -> str:
    """``value`` for a message: a scalar as the file has it, of a collection only its kind."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            shown = _without_credentials(value)
            return repr(shown[:LONGEST_VALUE]) + ("..." if len(shown) > LONGEST_VALUE else "")
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
    return f"a {type(value).__name__}"


def not_among(word: str, allowed: Iterable[str]) -> str:
    """The end of a sentence on ``word``: the closest allowed word, if any, and all of them."""
    words = list(allowed)
    close = difflib.get_close_matches(word, words, n=1, cutoff=CLOSE)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}allowed: {', '.join(words)}"


def unknown_key(key: str, allowed: Iterable[str]) -> str:
    """The sentence for a key that does not exist."""
    return f"unknown key {describe(key)}; {not_among(key, allowed)}"


def rule_broken(*mistakes: Mistake) -> ValidationError:
    """An error for a pydantic validator to raise: one or more places below its own."""
    return ValidationError.from_exception_data(
        "job",
        [
            InitErrorDetails(
                type=PydanticCustomError("rule", "{sentence}", {"sentence": sentence}),
                loc=place,
                input=None,
            )
            for place, sentence in mistakes
        ],
    )


def mistakes_of(error: ValidationError, schema: Mapping[str, Any]) -> list[Mistake]:
    """Every mistake in pydantic's ``error``, worded with what the JSON ``schema`` allows there."""
    every = error.errors(include_url=False)
    return [_mistake(details, schema) for details in every if not _follows_from_another(details)]


def _follows_from_another(details: ErrorDetails) -> bool:
    """Whether an error is there only because of other errors that are reported too."""
    # a collection whose entries are wrong counts as short, a default may depend on a wrong value
    short = details["type"] == "too_short" and bool(details["input"])
    return short or details["type"] == "default_factory_not_called"


def _mistake(details: ErrorDetails, schema: Mapping[str, Any]) -> Mistake:
    # "<...>" names a branch of a union, which is no place in the file
    place = tuple(part for part in details["loc"] if not str(part).startswith("<"))
    if details["type"] == "extra_forbidden":
        parent = _node_at(schema, place[:-1])
        return place[:-1], unknown_key(str(place[-1]), parent.get("properties", ()))
    return place, sentence_of(details, _node_at(schema, place))


def sentence_of(details: ErrorDetails, node: Mapping[str, Any]) -> str:
    """One of pydantic's errors in words; ``node`` is the JSON schema of its place."""
    allowed = _allowed(node)
    value = describe(details["input"])
    kind = details["type"]
    context = details.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        return f"missing; {allowed}" if allowed else "missing"
    if kind == "literal_error":
        return _not_a_choice(details["input"], node.get("enum") or [node.get("const")])
    if kind in _BOUNDS:
        return f"must be {_range(node) or _BOUNDS[kind](context)}, got {value}"
    if kind in _KINDS:
        sentence = f"{value} is not {_KINDS[kind]}"
        return f"{sentence}; {_hint(details['input'], kind) or allowed}".rstrip("; ")
    if kind in ("string_pattern_mismatch", "string_too_long", "union_tag_not_found"):
        return f"{value} is not allowed; {allowed}"
    if kind in ("string_too_short", "too_short"):
        return f"is empty; {allowed}"
    return details["msg"]


def _allowed(node: Mapping[str, Any]) -> str:
    """What a place takes: the keys of a section, else its description, as the end of a sentence."""
    if "properties" in node and "minimum" not in node:  # with one it may also be a number
        return f"its keys: {', '.join(node['properties'])}"
    text = str(node.get("description", "")).rstrip(".")
    acronym = text[:2].isalpha() and text[:2].isupper()
    return text if acronym else text[:1].lower() + text[1:]


_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}

_BOUNDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than": lambda context: f"> {context['gt']:g}",
    "greater_than_equal": lambda context: f">= {context['ge']:g}",
    "less_than": lambda context: f"< {context['lt']:g}",
    "less_than_equal": lambda context: f"<= {context['le']:g}",
}


def _not_a_choice(value: object, choices: Sequence[str]) -> str:
    return f"{describe(value)} is not allowed; {not_among(str(value), choices)}"


def _hint(value: object, kind: str) -> str:
    """How to write ``value`` where only its form is wrong."""
    if kind == "string_type" and isinstance(value, int | float):
        return f"put it in quotes: '{describe(value)}'"
    if kind in ("int_type", "float_type") and _is_number(value):
        return "write it without quotes"
    if kind in ("tuple_type", "list_type") and isinstance(value, str):
        return f"write [{value[:LONGEST_VALUE]}]"
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value) is not None


def _range(node: Mapping[str, Any]) -> str:
    if "minimum" in node and "maximum" in node:
        return f"{node['minimum']:g} to {node['maximum']:g}"
    return ""


def _node_at(schema: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
    """The part of a JSON schema that describes ``place``; empty where it says nothing."""
    node = _resolved(schema, schema)
    for part in place:
        below = node.get("items") if isinstance(part, int) else node.get("properties", {}).get(part)
        node = _resolved(below or {}, schema)
    return node


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """``node`` with its reference followed; of alternatives, the one that has keys."""
    found = dict(node)
    if "$ref" in node:
        found = {**schema["$defs"][node["$ref"].rpartition("/")[2]], **node}
    for branch in found.get("oneOf", ()):
        target = _resolved(branch, schema)
        if "properties" in target or "minimum" in target:
            found = {**target, **found}
    return found


def _without_credentials(text: str) -> str:
    """``text`` on one line, without the ``user:password@`` of any address in it."""
    return _CREDENTIALS.sub("//***@", " ".join(text.splitlines()))
