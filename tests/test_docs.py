"""The documentation says what the code does: names, types, defaults, commands, links."""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import runpy
from dataclasses import MISSING, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from detectors.calibration import MOST_LEARNT_DECADES, score_of
from detectors.model import DETECTORS, ModelSpec, SeriesModel
from detectors.thresholds import THRESHOLDS
from pipeline import feedback, launch, verify
from pipeline.endpoints import LAKE_TABLES
from pipeline.job import load_job
from pipeline.specs import model_parameters
from transforms import fields as record_fields
from transforms import metrics, parse, schema
from transforms.aggregate import rows_of_points
from transforms.balance import COUNTERS
from transforms.flatten import table_of
from transforms.io.parquet import ROWS_AN_OBJECT
from transforms.order import Points
from transforms.results import left_discords_lines

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *DOCS.rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
    ]
)
DETECTOR_PAGES = {
    "Ensemble": DOCS / "detectors" / "ensemble.md",
    "RandomCutForest": DOCS / "detectors" / "random_cut_forest.md",
    "LeftDiscord": DOCS / "detectors" / "left_discord.md",
}
RECORDS = {
    "results": schema.RESULT,
    "alerts": schema.ALERT,
    "late records": schema.LATE,
    "dead letters": schema.DEAD_LETTER,
    "undelivered": schema.UNDELIVERED,
    "feedback": schema.FEEDBACK,
}
"""Records by their heading in docs/records.md."""

TYPES = {
    pa.string(): "text",
    pa.float64(): "number",
    pa.int64(): "integer",
    pa.bool_(): "boolean",
    pa.list_(pa.float64()): "list of numbers",
    pa.list_(schema.DIMENSION): "list of {name, value}",
    pa.list_(schema.MEMBER): "list of {name, share}",
}

every_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)


def text_of(page):
    return page.read_text(encoding="utf-8")


def without_code(text):
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def blocks_of(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def section(text, heading):
    """What stands under a heading, up to the next one of its level or a higher one."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*)", text, re.DOTALL | re.MULTILINE)
    assert found, heading
    return re.split(rf"^#{{1,{len(found[1])}}} ", found[2], flags=re.MULTILINE)[0]


def table(text, number=0):
    """Cells of the rows of a table, without its head."""
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    lines = tables[number].splitlines()[2:]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


def code(cell):
    """The one word that a cell has in code."""
    (word,) = re.findall(r"`([^`]+)`", cell)
    return word


README = text_of(ROOT / "README.md")
RECORDS_PAGE = text_of(DOCS / "records.md")
SCORES_PAGE = text_of(DOCS / "detectors" / "scores.md")
OPERATIONS = text_of(DOCS / "operations.md")
MAKE_WORDS = re.findall(r"^([a-z-]+):.*##", text_of(ROOT / "Makefile"), re.MULTILINE)


# Links, commands, files


def anchors_of(text):
    headings = re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text_of(page))):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors_of(text_of(linked)), target


@every_page
def test_files_that_are_named_exist(page):
    folders = "detectors|transforms|pipeline|runners|examples|benchmarks|tests|docs"
    for name in re.findall(rf"`((?:{folders})/[\w./*]+)`", without_code(text_of(page))):
        if "my_" not in name:  # what a reader would write
            assert list(ROOT.glob(name.rstrip("/"))), name


@every_page
def test_modules_that_are_run_exist(page):
    for module in re.findall(r"python -m ([\w.]+)", text_of(page)):
        found = importlib.util.find_spec(module)
        assert found, module
        is_package = found.submodule_search_locations is not None
        assert not is_package or importlib.util.find_spec(f"{module}.__main__"), module


@every_page
def test_words_that_are_made_exist(page):
    spans = re.findall(r"(?:`|^)make ([a-z-]+)", text_of(page), re.MULTILINE)
    assert set(spans) <= set(MAKE_WORDS)


def test_every_make_word_is_explained():
    told = table(section(text_of(ROOT / "CONTRIBUTING.md"), "Words"))
    assert sorted(code(row[0]).removeprefix("make ") for row in told) == sorted(MAKE_WORDS)


def test_a_quick_start_is_two_commands():
    (commands,) = blocks_of(section(README, "Quick start"), "sh")
    assert commands.splitlines() == ["make demo", "make test"]


def test_the_changelog_has_the_version_and_saved_state(monkeypatch):
    given = {}
    monkeypatch.setattr("setuptools.setup", given.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    newest = section(text_of(ROOT / "CHANGELOG.md"), f"{given['version']} - unreleased")
    assert section(newest, "Saved state").strip()


# The README's own job


def test_the_readmes_job_is_read(tmp_path):
    (text,) = blocks_of(README, "yaml")
    (tmp_path / "job.yaml").write_text(text)
    job = load_job(tmp_path / "job.yaml")
    header = section(README, "Your own data").partition("```\n")[2].splitlines()[0].split(",")
    (detector,) = job.detectors
    assert {detector.measure, detector.event_time.field, *detector.dimensions} == set(header)
    (result,) = [json.loads(block) for block in blocks_of(README, "json")]
    assert result["detectorName"] == detector.name
    assert [pair["name"] for pair in result["dimensionList"]] == list(detector.dimensions)


def test_the_readmes_result_has_the_fields_of_a_result():
    (block,) = blocks_of(README, "json")
    assert_record(json.loads(block), schema.RESULT)


# Records


def assert_record(example, record):
    assert list(example) == record.names
    read = table_of(json.dumps(example).encode(), record, ["room", "product_name"])
    assert read.num_rows == 1
    for field in record:
        assert example[field.name] is not None or field.nullable, field.name


@pytest.mark.parametrize("heading", RECORDS)
def test_every_field_is_in_the_records_with_its_type(heading):
    told = [
        (code(name), kind, null) for name, kind, null, _ in table(section(RECORDS_PAGE, heading))
    ]
    assert told == [
        (field.name, TYPES[field.type], "yes" if field.nullable else "")
        for field in RECORDS[heading]
    ]
    assert all(meaning for *_, meaning in table(section(RECORDS_PAGE, heading)))


@pytest.mark.parametrize("heading", RECORDS)
def test_examples_of_records_are_records(heading):
    lines = "".join(blocks_of(section(RECORDS_PAGE, heading), "json")).splitlines()
    assert lines
    for line in lines:
        assert_record(json.loads(line), RECORDS[heading])


def test_every_record_has_a_section():
    schemas = [value for value in vars(schema).values() if isinstance(value, pa.Schema)]
    assert len(schemas) == len(RECORDS)
    assert all(any(each is known for known in RECORDS.values()) for each in schemas)


def test_the_left_discords_record():
    times = np.array([0, 1])
    points = Points(times, times * 1.0, times * 0, np.zeros(2, bool))
    model = SeriesModel(ModelSpec("LeftDiscord", DETECTORS["LeftDiscord"].Parameters()), 0)
    scores = model.score_and_learn(points.values)
    line = left_discords_lines(
        rows_of_points(points), scores, np.zeros(2, bool), model.detector.distance(scores.raw)
    )[0]
    names = {int: "integer", float: "number", str: "text"}
    written = {name: names[type(value)] for name, value in json.loads(line).items()}
    text = section(RECORDS_PAGE, "left_discords")
    assert {code(name): kind for name, kind, *_ in table(text)} == written
    (example,) = blocks_of(text, "json")
    assert list(json.loads(example)) == list(written)


def test_the_balance_has_every_counter():
    text = section(RECORDS_PAGE, "balance")
    assert [code(name) for name, _ in table(text)] == list(COUNTERS)
    (example,) = blocks_of(text, "json")
    ((_, counts),) = json.loads(example).items()
    assert list(counts) == list(COUNTERS)


def test_the_lake_has_its_tables_and_columns():
    text = section(RECORDS_PAGE, "The lake")
    told = {code(name): re.findall(r"`(\w+)`", order) for name, _, order in table(text)}
    assert told == {name: list(order) for name, (_, order) in LAKE_TABLES.items()}
    columns = dict(table(text, 1))
    kinds = {field.type for _, (record, _) in LAKE_TABLES.items() for field in record}
    arrow = {TYPES[kind]: str(kind) for kind in kinds - {pa.list_(schema.DIMENSION)}}
    arrow["list of numbers"] = "list of double"
    arrow["list of {name, share}"] = "list of struct of string and double"
    assert columns == arrow
    assert f"{ROWS_AN_OBJECT:,} rows" in text


# Parameters


def assert_parameters(rows, parameters):
    told = {code(name): default for name, default, *_ in rows}
    assert list(told) == [field.name for field in fields(parameters)]
    for field in fields(parameters):
        if field.default is MISSING:
            assert told[field.name] == "required"
        elif field.default is None:
            assert told[field.name] == "none"
            (effect,) = [row[-1] for row in rows if code(row[0]) == field.name]
            assert "None: " in effect, field.name
        else:
            assert yaml.safe_load(told[field.name]) == field.default, field.name
    assert all(all(row) for row in rows)


def test_every_detector_has_a_page():
    assert set(DETECTOR_PAGES) == set(DETECTORS)


@pytest.mark.parametrize("kind", DETECTOR_PAGES)
def test_a_detectors_page_has_its_parameters(kind):
    text = text_of(DETECTOR_PAGES[kind])
    assert_parameters(table(section(text, "Parameters")), DETECTORS[kind].Parameters)


@pytest.mark.parametrize("kind", DETECTOR_PAGES)
def test_a_detectors_page_has_a_config_that_fits(kind):
    (text,) = blocks_of(text_of(DETECTOR_PAGES[kind]), "yaml")
    model = yaml.safe_load(text)["model"]
    assert model["type"] == kind
    assert model_parameters(kind, model["config"])


@pytest.mark.parametrize("kind", DETECTOR_PAGES)
def test_a_detectors_page_has_its_warm_up(kind):
    (told,) = re.findall(
        r"defaults that is (\d+) rows", " ".join(text_of(DETECTOR_PAGES[kind]).split())
    )
    model = SeriesModel(ModelSpec(kind, DETECTORS[kind].Parameters()), 0)
    learning = model.score_and_learn(np.sin(np.arange(1500) / 9.0)).learning
    assert int(learning.sum()) == int(told)
    assert learning[: int(told)].all()


def test_every_threshold_has_its_parameters():
    text = section(SCORES_PAGE, "Thresholds")
    names = re.findall(r"^`(\w+)` - ", text, re.MULTILINE)
    assert names == list(THRESHOLDS)
    for number, name in enumerate(names):
        assert_parameters(table(text, number + 1), THRESHOLDS[name])


def test_the_table_of_scores():
    told = table(section(SCORES_PAGE, "The 0-100 score"))
    decades = np.array([float(row[0]) for row in told])
    assert [float(row[2]) for row in told] == np.round(score_of(decades), 1).tolist()
    rarity = [float(row[1].replace(",", "")) for row in told]
    assert rarity == [float(f"{10**d:.3g}") for d in decades]


# Operations, limits, decisions, glossary


def test_every_option_is_explained():
    told = {code(name): default for name, default, _ in table(section(OPERATIONS, "Options"))}
    parser = launch._parser()
    options = {
        action.option_strings[-1]: action for action in parser._actions if action.dest != "help"
    }
    assert set(told) == set(options)
    for name, action in options.items():
        if action.type is int:
            default = "see right" if action.default is None else str(action.default)
            assert told[name] == default


def test_every_metric_is_explained():
    told = [(code(name), kind) for name, kind, _ in table(section(OPERATIONS, "Metrics"))]
    kinds = {
        "counter": metrics.COUNTERS,
        "distribution": metrics.DISTRIBUTIONS,
        "gauge": metrics.GAUGES,
    }
    assert told == [(name, kind) for kind, names in kinds.items() for name in names]


def test_every_option_of_verify_is_explained():
    told = [code(name) for name, _ in table(section(OPERATIONS, "Are two runs equal?"))]
    options = [action.option_strings for action in verify._parser()._actions]
    assert sorted(told) == sorted(each[-1] for each in options if each and "-h" not in each)


def test_every_option_of_feedback_is_explained():
    told = [re.findall(r"`(--\w+)`", row[0]) for row in table(text_of(DOCS / "feedback.md"))]
    parser = argparse.ArgumentParser(add_help=False)
    feedback._add_rule_arguments(parser, "30d")
    options = [action.option_strings[-1] for action in parser._actions]
    assert sorted(sum(told, [])) == sorted(options)


def test_the_code_examples_of_operations_compile():
    for block in blocks_of(OPERATIONS, "python"):
        compile(block, "operations.md", "exec")


def test_the_limits_of_a_record():
    architecture = section(text_of(DOCS / "architecture.md"), "Bad input")
    decision = text_of(DOCS / "decisions" / "0012-limits-of-a-record.md")
    assert f"{parse.MOST_PAYLOAD_BYTES:,} bytes" in architecture
    assert f"{parse.MOST_PAYLOAD_BYTES >> 10} KiB" in decision
    value = f"+-{record_fields.MOST_VALUE:g}".replace("+150", "150")
    assert value in architecture
    assert value in decision
    assert record_fields.FUTURE_MICROS == 86_400_000_000
    assert "a day ahead" in architecture
    assert "one day ahead" in decision


def test_the_limit_of_what_is_learnt():
    decision = text_of(DOCS / "decisions" / "0006-winsorised-calibration.md")
    assert f"`MOST_LEARNT_DECADES` = {MOST_LEARNT_DECADES:g} " in decision


def test_decisions_are_numbered_and_listed():
    folder = DOCS / "decisions"
    pages = sorted(folder.glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    index = re.findall(r"^\| \[(\d+)\]\((.*?)\) \| (.*?) \|$", text_of(folder / "README.md"), re.M)
    assert [name for _, name, _ in index] == [page.name for page in pages]
    for (number, _, title), page in zip(index, pages, strict=True):
        text = text_of(page)
        assert text.startswith(f"# {number}. {title}\n"), page.name
        assert re.findall(r"^## (.*)$", text, re.M) == ["Context", "Choice", "Consequence"]


def test_the_glossary_has_each_term_once_and_in_order():
    text = text_of(DOCS / "glossary.md")
    groups = [section(text, heading) for heading in re.findall(r"^## (.*)$", text, re.MULTILINE)]
    groups = [[term.lower() for term, _ in table(group)] for group in groups]
    terms = [term for group in groups for term in group]
    assert len(terms) == len(set(terms)) > 50
    for group in groups:
        assert group == sorted(group)


def test_the_picture_is_small():
    for image in (DOCS / "images").iterdir():
        assert image.stat().st_size < 200_000, image.name
