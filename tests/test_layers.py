"""The house rules on imports: one way, and nothing from beside the product."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("detectors", "transforms", "pipeline", "runners")
BESIDE = {"examples", "benchmarks", "lake", "dashboard", "ingest", "tests"}
LAUNCHERS = {"pipeline/launch.py", "pipeline/__main__.py"}
"""The command: it alone knows the runners."""
IN_DETECTORS = {"detectors", "numpy", "numba", *sys.stdlib_module_names}
IMPURE = {"asyncio", "datetime", "io", "logging", "os", "random", "socket", "threading", "time"}
"""Of the standard library, what has a clock, input and output, or global randomness."""


def modules_of(layer):
    return sorted((ROOT / layer).rglob("*.py"))


def imports_of(text):
    """Top-level packages that a module's text imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level or (node.module or "").partition(".")[0])
    return found


MODULES = [path for layer in LAYERS for path in modules_of(layer)]


def test_imports_are_found_wherever_they_are():
    text = "import a.b as c, d\ndef f():\n    from e.f import g\n    from . import h\n"
    assert imports_of(text) == {"a", "d", "e", "."}


def test_there_are_modules_in_every_layer():
    assert all(len(modules_of(layer)) >= 2 for layer in LAYERS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_go_one_way(path):
    name = path.relative_to(ROOT).as_posix()
    above = set(LAYERS[LAYERS.index(name.partition("/")[0]) + 1 :])
    if name in LAUNCHERS:
        above -= {"runners"}
    found = imports_of(path.read_text())
    assert not found & above, "a lower layer imports a higher one"
    assert not found & BESIDE, "the product imports what is not shipped"
    assert not {each for each in found if each.startswith(".")}, "relative import"


@pytest.mark.parametrize("path", modules_of("detectors"), ids=lambda path: path.name)
def test_detectors_are_numbers_alone(path):
    text = path.read_text()
    # time zones need its arithmetic, but nobody asks it for the time of day
    calendar = {"datetime"} if path.stem == "seasonality" else set()
    assert imports_of(text) <= (IN_DETECTORS - IMPURE) | calendar
    assert not re.search(r"\.(now|utcnow|today)\(", text)


def test_module_names_are_unique():
    names = Counter(path.stem for path in MODULES if not path.stem.startswith("__"))
    assert [name for name, times in names.items() if times > 1] == []


def test_packages_do_no_work_when_imported():
    for path in (path for path in MODULES if path.name == "__init__.py"):
        (docstring,) = ast.parse(path.read_text()).body
        assert isinstance(docstring, ast.Expr), f"{path} has more than its docstring"


def test_a_function_that_polls_loads_neither_beam_nor_examples():
    heavy = ("apache_beam", "numba", "pyarrow", "examples", "runners", "lake", "dashboard")
    code = (
        "import sys, ingest.postgres, ingest.aws_lambda, ingest.kafka_publisher,"
        " ingest.kinesis_publisher\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
