import copy
import json
import re
import subprocess
import sys
import typing
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from detectors.model import DETECTORS
from detectors.seasonality import Seasonality
from detectors.thresholds import THRESHOLDS, Spot
from pipeline.job import Job, job_schema, load_job
from pipeline.job_ends import SINK_KINDS, SOURCE_KINDS
from pipeline.job_errors import JobFileError, describe, place_text
from pipeline.job_flagging import ModelSection, ThresholdSection
from pipeline.job_section import QuietPeriod
from pipeline.plan import detections_of
from pipeline.specs import build

ROOT = Path(__file__).parents[1]
SCHEMA_FILE = ROOT / "docs" / "job.schema.json"
REFERENCE = (ROOT / "docs" / "job_file.md").read_text("utf-8")

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND

LEAST = {
    "job": "a",
    "source": {"files": ["a.jsonl"], "format": "json"},
    "detectors": [{"name": "d", "measure": "m", "event_time": {"field": "t"}}],
    "sinks": {"results": {"path": "out/r"}},
}
REMOVE = object()


def changed(*changes):
    """`LEAST` with (dotted place, value) put in, or taken out."""
    data = copy.deepcopy(LEAST)
    for place, value in changes:
        *path, last = [int(p) if p.isdigit() else p for p in place.split(".")]
        node = data
        for part in path:
            if isinstance(node, dict):
                node = node.setdefault(part, {})
            else:
                node.extend({} for _ in range(part + 1 - len(node)))
                node = node[part]
        if value is REMOVE:
            del node[last]
        elif isinstance(node, list) and last >= len(node):
            node.append(value)
        else:
            node[last] = value
    return data


@pytest.fixture
def load(tmp_path):
    def load(text_or_data):
        text = text_or_data
        if not isinstance(text, str):
            text = yaml.safe_dump(text_or_data, sort_keys=False)
        file = tmp_path / "job.yaml"
        file.write_text(text, "utf-8")
        return load_job(file)

    return load


@pytest.fixture
def mistakes(load, tmp_path):
    def mistakes(text_or_data):
        with pytest.raises(JobFileError) as error:
            load(text_or_data)
        assert str(error.value) == "\n".join(error.value.mistakes)
        start = f"{tmp_path / 'job.yaml'}: "
        assert all(line.startswith(start) for line in error.value.mistakes)
        return [line.removeprefix(start) for line in error.value.mistakes]

    return mistakes


def example():
    return re.findall(r"```yaml\n(job: .*?)```", REFERENCE, re.DOTALL)[0]


def live_example():
    [text] = re.findall(r"```yaml\n(# Sales as they happen.*?)```", REFERENCE, re.DOTALL)
    return text


# What is read


def test_the_full_example_is_read_key_by_key(load):
    job = load(example())
    assert job.job == "anybooks"
    assert job.source.files == ("out/anybooks/transactions-*.jsonl",)
    assert job.source.format == "json"
    assert job.source.history == ("out/anybooks/last-month/*.jsonl",)
    [detector] = job.detectors
    assert detector.name == "item-sales"
    assert detector.measure == "quantity"
    assert detector.dimensions == ("product_name",)
    assert detector.event_time.field == "event_time"
    assert detector.event_time.format == "iso8601"
    assert detector.event_time.time_zone == "Europe/Berlin"
    assert detector.event_time.order == "event_time"
    assert detector.aggregation is not None
    assert (detector.aggregation.function, detector.aggregation.period) == ("sum", MINUTE)
    assert detector.allowed_disorder == 2 * MINUTE
    assert detector.record_id == "transaction_id"
    assert detector.gaps.policy == "zero"
    assert detector.model.type == "RandomCutForest"
    assert detector.model.parameters.shingle_size == 8
    assert (detector.threshold, detector.alerts_per_week) == (70.0, None)
    assert detector.rules.direction == "both"
    assert detector.rules.min_absolute_deviation == 5.0
    assert detector.rules.min_relative_deviation == 0.2
    assert (detector.rules.n_of_m.n, detector.rules.n_of_m.m) == (1, 1)
    assert detector.rules.quiet_period == QuietPeriod(rows=100)
    assert detector.rules.recovery_after == 10
    assert detector.ttl == 30 * DAY
    assert [each.match for each in detector.overrides] == [{"product_name": ("item-B", "item-C")}]
    assert job.sinks.paths == {
        "results": "out/anybooks/results",
        "lake": "out/anybooks/lake",
        "alerts": "out/anybooks/alerts",
        "dead_letters": "out/anybooks/dead-letters",
        "late": "out/anybooks/late",
        "balance": "out/anybooks/balance.json",
    }


def test_defaults(load):
    job = load(LEAST)
    [detector] = job.detectors
    assert job.source.history == ()
    assert detector.dimensions == ()
    assert detector.event_time.format == "iso8601"
    assert detector.event_time.step == SECOND
    assert detector.event_time.time_zone == "UTC"
    assert detector.event_time.order == "event_time"
    assert detector.aggregation is None
    assert detector.allowed_disorder == 0
    assert detector.record_id is None
    assert (detector.gaps.policy, detector.gaps.value) == ("ignore", None)
    assert detector.model.type == "Ensemble"
    assert detector.model.parameters == DETECTORS["Ensemble"].Parameters()
    assert (detector.threshold, detector.alerts_per_week) == (70.0, None)
    assert detector.rules.direction == "both"
    assert detector.rules.min_absolute_deviation == 0.0
    assert detector.rules.min_relative_deviation == 0.0
    assert (detector.rules.n_of_m.n, detector.rules.n_of_m.m) == (1, 1)
    assert detector.rules.quiet_period == QuietPeriod(rows=50)
    assert detector.rules.recovery_after == 10
    assert detector.ttl == 30 * DAY
    assert detector.overrides == ()
    assert job.sinks.results.format == "stack"
    assert job.sinks.paths == {
        "results": "out/r",
        "dead_letters": "out/r-dead-letters",
        "late": "out/r-late",
        "balance": "out/r-balance.json",
    }


def test_the_live_example_names_its_brokers_once(load):
    job = load(live_example())
    assert job.kafka.bootstrap_servers == ("localhost:9092",)
    source = job.source.kafka
    assert (source.topic, source.start, source.idle_after) == ("sales", "earliest", 30 * SECOND)
    assert (source.group, source.splits) == (None, None)
    assert job.source.is_live
    assert {name: sink.name for name, sink in job.sinks.lines.items()} == {
        "results": "sales-results",
        "alerts": "sales-alerts",
        "dead_letters": "sales-results-dead-letters",
        "late": "sales-results-late",
    }
    assert job.sinks.paths == {"lake": "out/sales/lake"}
    assert job.sinks.balance_path == ""
    assert (job.sinks.lake.bucket, job.sinks.lake.shards) == (10 * MINUTE, 2)


def test_kinesis_needs_no_section_of_its_own(load):
    job = load(changed(*to_kinesis(start="2026-01-31T00:00:00+01:00", splits=2)))
    assert job.kinesis is None
    assert (job.source.kinesis.stream, job.source.kinesis.splits) == ("in", 2)
    assert job.source.kinesis.start == 1_769_814_000 * SECOND
    assert job.sinks.lines["late"].kinesis.stream == "out-late"


def test_a_client_s_options_are_text(load):
    properties = {"enable.ssl.certificate.verification": False, "linger.ms": 5}
    connection = {
        "bootstrap_servers": ["a:1", "[::1]:9092"],
        "properties": properties,
        "secrets": {"sasl.password": "file:/run/secrets/kafka", "ssl.key.pem": "KEY"},
        "msk_iam_region": "eu-central-1",
    }
    kafka = load(changed(*to_kafka(), ("kafka", connection))).kafka
    assert kafka.bootstrap_servers == ("a:1", "[::1]:9092")
    assert kafka.properties == {"enable.ssl.certificate.verification": "false", "linger.ms": "5"}
    assert kafka.secrets == connection["secrets"]


def to_kafka(**source):
    return (
        ("kafka", {"bootstrap_servers": "localhost:9092"}),
        ("source.files", REMOVE),
        ("source.kafka", {"topic": "in", **source}),
        ("sinks.results", {"kafka": {"topic": "out"}}),
    )


def to_kinesis(**source):
    return (
        ("source.files", REMOVE),
        ("source.kinesis", {"stream": "in", **source}),
        ("sinks.results", {"kinesis": {"stream": "out"}}),
    )


NO_BROKERS = "needs brokers; name them in kafka.bootstrap_servers, at the top of the file"

LIVE_MISTAKES = [
    # place changed in a job from Kafka to Kafka, value, the line, or its beginning
    ("kafka", REMOVE, f"source.kafka: {NO_BROKERS}", f"sinks.results.kafka: {NO_BROKERS}"),
    ("kafka.bootstrap_servers", REMOVE, "kafka.bootstrap_servers: missing; brokers to ask first"),
    (
        "kafka.bootstrap_servers",
        ["a:1", "b"],
        "kafka.bootstrap_servers: 'b' is not a broker; write host:port",
    ),
    ("kafka.bootstrap_servers", [], "kafka.bootstrap_servers: is empty"),
    ("kafka.brokers", "a:1", "kafka: unknown key 'brokers'; allowed: bootstrap_servers, prop"),
    (
        "kafka.properties",
        {"sasl.password": "hunter2"},
        "kafka.properties['sasl.password']: is a secret, which the file may not hold; name an env",
    ),
    (
        "kafka.properties",
        {"group.id": "x"},
        "kafka.properties['group.id']: is not set here; write source.kafka.group",
    ),
    (
        "kafka.properties",
        {"linger.ms": [5]},
        "kafka.properties['linger.ms']: a list is not text, a number, true or false",
    ),
    (
        "kafka.secrets",
        {"sasl.password": "hunter 2"},
        "kafka.secrets['sasl.password']: is neither the name of an environment variable nor file:/",
    ),
    ("source.kafka.topic", REMOVE, "source.kafka.topic: missing; topic: letters, digits"),
    ("source.kafka.topic", "a b", "source.kafka.topic: 'a b' is not allowed; topic: letters"),
    (
        "source.kafka.start",
        "newest",
        "source.kafka.start: 'newest' is not allowed; write earliest, latest, or a time such as",
    ),
    ("source.kafka.splits", 0, "source.kafka.splits: must be 1 to 1000, got 0"),
    ("source.kafka.stream", "x", "source.kafka: unknown key 'stream'; allowed: start, idle_after"),
    (
        "source.files",
        ["a"],
        "source: needs exactly one of: files, kafka, kinesis; got files, kafka",
    ),
    ("source.format", "csv", "source.format: 'csv' is for files; a live source has json"),
    (
        "detectors.0.event_time",
        {"format": "counter"},
        "detectors[0].event_time.format: counter counts the records of a file; name a field",
    ),
    (
        "detectors.0.event_time.order",
        "position",
        "detectors[0].event_time.order: 'position' is for files; partitions have no common order",
    ),
    ("sinks.results.path", "out", "sinks.results: needs exactly one of: path, kafka, kinesis; got"),
    (
        "sinks.alerts",
        {"kafka": {"topic": "in"}},
        "sinks.alerts.kafka.topic: 'in' is the source's topic",
    ),
    (
        "sinks.alerts",
        {"kafka": {"topic": "out-late"}},
        "sinks.late.kafka.topic: 'out-late' is another sink's topic",
    ),
    ("sinks.lake", {"path": "l", "bucket": "7m"}, "sinks.lake.bucket: must be whole seconds th"),
    ("sinks.lake", {"path": "l", "flush_every": "7m"}, "sinks.lake.flush_every: must divide the b"),
    ("sinks.lake", {"path": "l", "shards": 0}, "sinks.lake.shards: must be 1 to 99, got 0"),
    ("sinks.balance", {"kafka": {"topic": "b"}}, "sinks.balance.path: missing", "sinks.balance: u"),
]


@pytest.mark.parametrize(("place", "value", "lines"), [(p, v, x) for p, v, *x in LIVE_MISTAKES])
def test_a_mistake_in_a_live_job_makes_one_line(mistakes, place, value, lines):
    found = mistakes(changed(*to_kafka(), (place, value)))
    assert len(found) == len(lines)
    assert all(line.startswith(start) for line, start in zip(found, lines, strict=True))
    assert "hunter" not in "".join(found)


def test_bare_numbers_need_no_fields(load):
    data = changed(
        ("source.format", "number"),
        ("detectors.0", {"name": "d", "event_time": {"format": "counter", "step": "250ms"}}),
    )
    [detector] = load(data).detectors
    assert detector.measure == "value"
    assert detector.event_time.step == SECOND // 4


@pytest.mark.parametrize(
    ("place", "value", "read"),
    [
        ("gaps", {"policy": "fixed", "value": -1}, ("gaps.value", -1.0)),
        ("gaps", {"policy": "previous"}, ("gaps.policy", "previous")),
        ("threshold", 0, ("threshold", 0.0)),
        ("threshold", 99.5, ("threshold", 99.5)),
        ("threshold", {"type": "Spot"}, ("threshold.parameters", Spot())),
        (
            "threshold",
            {"type": "Spot", "config": {"risk": 1e-5}},
            ("threshold.parameters", Spot(risk=1e-5)),
        ),
        ("alerts_per_week", 0.5, ("alerts_per_week", 0.5)),
        ("alerts_per_week", 1, ("threshold", None)),
        ("rules", {"quiet_period": "10m"}, ("rules.quiet_period.microseconds", 10 * MINUTE)),
        ("rules", {"quiet_period": 0}, ("rules.quiet_period", QuietPeriod())),
        ("rules", {"n_of_m": {"n": 3, "m": 5}}, ("rules.n_of_m.m", 5)),
        ("ttl", "1m", ("ttl", MINUTE)),
    ],
)
def test_other_settings(load, place, value, read):
    aggregation = {"function": "median", "period": "1m"}
    found = load(
        changed((f"detectors.0.{place}", value), ("detectors.0.aggregation", aggregation))
    ).detectors[0]
    for name in read[0].split("."):
        found = getattr(found, name)
    assert found == read[1]


@pytest.mark.parametrize(("rows", "text"), [(7, "7"), (0, "0")])
def test_a_quiet_period_reads_as_written(rows, text):
    assert str(QuietPeriod(rows=rows)) == text
    assert str(QuietPeriod(microseconds=90 * SECOND)) == "1m30s"


def test_a_job_is_frozen(load):
    job = load(LEAST)
    with pytest.raises(ValidationError):
        job.job = "b"


def test_scalars_are_those_of_yaml_1_2(load):
    text = """
        job: a
        source: {files: [a.jsonl], format: json}
        detectors:
          - name: d
            measure: on
            dimensions: [no, 'y']
            event_time: {field: t}
            threshold: {type: Spot, config: {risk: 1e-5}}
            overrides: [{match: {no: [yes, 1:30, 2026-01-01]}, rules: {recovery_after: 010}}]
        sinks: {results: {path: r}}
        """
    [detector] = load(text).detectors
    assert detector.measure == "on"
    assert detector.dimensions == ("no", "y")
    assert detector.threshold.parameters.risk == 1e-5
    assert detector.overrides[0].match == {"no": ("yes", "1:30", "2026-01-01")}
    assert detector.overrides[0].rules.recovery_after == 10


def test_anchors_and_merge_keys_are_no_repetition(load):
    text = """
        job: a
        source: {files: [a.jsonl], format: json}
        detectors:
          - &first {name: c, measure: m, event_time: {field: t}}
          - {<<: *first, name: d}
        sinks: {results: {path: r}}
        """
    assert [each.name for each in load(text).detectors] == ["c", "d"]


# Overrides


def override(load, series, *overrides, **settings):
    data = changed(
        ("detectors.0.dimensions", ["item", "store"]),
        ("detectors.0.aggregation", {"function": "sum", "period": "1m"}),
        ("detectors.0.overrides", list(overrides)),
        *((f"detectors.0.{key}", value) for key, value in settings.items()),
    )
    return load(data).detectors[0].for_series(series)


def test_the_first_match_wins_and_every_named_dimension_must_fit(load):
    overrides = [
        {"match": {"item": "x", "store": ["1", "2"]}, "threshold": 80},
        {"match": {"item": ["x", "y"]}, "threshold": 90},
    ]
    thresholds = {
        ("x", "1"): 80.0,
        ("x", "2"): 80.0,
        ("x", "3"): 90.0,
        ("y", "1"): 90.0,
        ("z", "1"): 70.0,
    }
    for (item, store), threshold in thresholds.items():
        found = override(load, {"item": item, "store": store}, *overrides)
        assert found.threshold == threshold
        assert found.overrides == ()


def test_an_override_of_the_flagging_replaces_it(load):
    series = {"item": "x", "store": "1"}
    budget = {"match": {"item": "x"}, "alerts_per_week": 2}
    found = override(load, series, budget)
    assert (found.threshold, found.alerts_per_week) == (None, 2.0)
    fixed = {"match": {"item": "x"}, "threshold": 60}
    found = override(load, series, fixed, alerts_per_week=1)
    assert (found.threshold, found.alerts_per_week) == (60.0, None)


def test_an_override_of_rules_keeps_what_it_does_not_name(load):
    each = {"match": {"item": "x"}, "rules": {"direction": "up"}}
    rules = {"direction": "down", "recovery_after": 3}
    found = override(load, {"item": "x", "store": "1"}, each, rules=rules).rules
    assert (found.direction, found.recovery_after) == ("up", 3)


def test_an_override_of_gaps_or_model_replaces_them(load):
    each = {
        "match": {"item": "x"},
        "gaps": {"policy": "zero"},
        "model": {"type": "RandomCutForest", "config": {"shingle_size": 4}},
    }
    found = override(load, {"item": "x", "store": "1"}, each)
    assert found.gaps.policy == "zero"
    assert found.model.parameters.shingle_size == 4
    assert len(override(load, {}, each).models) == 1


LEFT_DISCORDS = [
    ("sinks.results.format", "left_discords"),
    ("detectors.0.model", {"type": "LeftDiscord"}),
]


def test_left_discords_are_written_where_every_model_is_one(load, mistakes):
    assert load(changed(*LEFT_DISCORDS)).sinks.results.format == "left_discords"
    other = {"match": {"x": "y"}, "model": {"type": "RandomCutForest"}}
    dimensions = ("detectors.0.dimensions", ["x"])
    [line] = mistakes(changed(*LEFT_DISCORDS, dimensions, ("detectors.0.overrides", [other])))
    assert line.startswith("sinks.results.format: 'left_discords' needs models of type LeftDiscord")


def test_a_left_discord_takes_the_names_of_left_discords(load, mistakes):
    model = {"type": "LeftDiscord", "config": {"sequenceLength": 50, "initializationPeriods": 4}}
    parameters = load(changed(("detectors.0.model", model))).detectors[0].model.parameters
    assert (parameters.sequence_length, parameters.learning_points) == (50, 200)
    both = {"type": "LeftDiscord", "config": {"sequenceLength": 50, "sequence_length": 50}}
    [line] = mistakes(changed(("detectors.0.model", both)))
    assert "sequenceLength and sequence_length mean the same: give one of them" in line


# What is refused

D = "detectors[0]"
NOT_A_DURATION = "is not a duration; write a number and a unit (us, ms, s, m, h, d), such as"

MISTAKES = [
    # place changed, value, the line, or its beginning
    ("job", REMOVE, "job: missing; name of the job: lower-case letters"),
    ("job", "Any Books", "job: 'Any Books' is not allowed; name of the job: lower-case letters"),
    ("job", "a-", "job: 'a-' is not allowed; name"),
    ("job", "a" * 64, f"job: '{'a' * 64}' is not allowed; name"),
    ("job", 7, "job: 7 is not text; put it in quotes: '7'"),
    ("job", "", "job: is empty; name of the job"),
    (
        "sorce",
        {},
        "unknown key 'sorce'; did you mean 'source'? allowed: job, kafka, kinesis, source, ",
    ),
    ("source", REMOVE, "source: missing; its keys: files, kafka, kinesis, format, history"),
    (
        "source",
        "a.jsonl",
        "source: 'a.jsonl' is not a mapping; its keys: files, kafka, kinesis, format, history",
    ),
    ("source.files", REMOVE, "source: needs exactly one of: files, kafka, kinesis; got none"),
    ("source.files", [], "source: needs exactly one of: files, kafka, kinesis; got none"),
    ("source.files", "a.jsonl", "source.files: 'a.jsonl' is not a list; write [a.jsonl]"),
    ("source.files", [1], "source.files[0]: 1 is not text; put it in quotes: '1'"),
    ("source.files", [""], "source.files[0]: is empty"),
    ("source.format", REMOVE, "source.format: missing; a JSON object a line"),
    (
        "source.format",
        "jsn",
        "source.format: 'jsn' is not allowed; did you mean 'json'? "
        "allowed: json, csv, number, parquet",
    ),
    ("source.format", True, "source.format: true is not allowed; allowed: json, csv"),
    (
        "source.topic",
        "x",
        "source: unknown key 'topic'; allowed: files, kafka, kinesis, format, history",
    ),
    ("detectors", REMOVE, "detectors: missing; what is watched"),
    ("detectors", [], "detectors: is empty; what is watched; at least one"),
    ("detectors", {}, "detectors: a mapping is not a list; what is watched"),
    ("detectors.0.name", REMOVE, f"{D}.name: missing; unique name"),
    ("detectors.0.name", "-x", f"{D}.name: '-x' is not allowed; unique name: letters"),
    (
        "detectors.1",
        LEAST["detectors"][0],
        "detectors[1].name: 'd' is another detector's name; names must be unique",
    ),
    ("detectors.0.measure", REMOVE, f"{D}.measure: missing; the field with the value"),
    ("detectors.0.measure", 12, f"{D}.measure: 12 is not text; put it in quotes: '12'"),
    ("detectors.0.dimensions", "item", f"{D}.dimensions: 'item' is not a list; write [item]"),
    ("detectors.0.dimensions", ["a", "a"], f"{D}.dimensions[1]: 'a' is given twice"),
    (
        "detectors.0.treshold",
        5,
        f"{D}: unknown key 'treshold'; did you mean 'threshold'? allowed: name, measure",
    ),
    (
        "detectors.0.event_time",
        REMOVE,
        f"{D}.event_time.field: missing; the field with the event time, unless format is counter",
    ),
    (
        "detectors.0.event_time.format",
        "unix",
        f"{D}.event_time.format: 'unix' is not allowed; did you mean 'unix_s'? allowed: iso8601,",
    ),
    (
        "detectors.0.event_time.format",
        "counter",
        f"{D}.event_time.field: 't' is not read with format counter; remove field",
    ),
    (
        "detectors.0.event_time.step",
        "5s",
        f"{D}.event_time.step: only with format counter, but format is iso8601",
    ),
    ("detectors.0.event_time.step", "0s", f"{D}.event_time.step: must be longer than 0s"),
    (
        "detectors.0.event_time.time_zone",
        "Europe/Berlim",
        f"{D}.event_time.time_zone: 'Europe/Berlim' is not a time zone; "
        "did you mean 'Europe/Berlin'? write an IANA name such as UTC or Europe/Berlin",
    ),
    ("detectors.0.event_time.time_zone", "../x", f"{D}.event_time.time_zone: '../x' is not a time"),
    (
        "detectors.0.seasonality",
        {"season": "hour_of_year"},
        f"{D}.seasonality.season: 'hour_of_year' is not allowed; did you mean 'hour_of_day'? "
        "allowed: hour_parity, hour_of_day, day_of_week, hour_of_week",
    ),
    (
        "detectors.0.seasonality",
        {"season": "hour_of_day", "time_zone": "Europe/Berlim"},
        f"{D}.seasonality.time_zone: 'Europe/Berlim' is not a time zone; did you mean",
    ),
    ("detectors.0.event_time.order", "file", f"{D}.event_time.order: 'file' is not allowed; allow"),
    (
        "detectors.0.aggregation",
        {"function": "sum", "period": "5 minutes"},
        f"{D}.aggregation.period: '5 minutes' {NOT_A_DURATION} 90s, 1m, 2h30m, 7d",
    ),
    (
        "detectors.0.aggregation",
        {"function": "med", "period": "1m"},
        f"{D}.aggregation.function: 'med' is not allowed; did you mean 'median'? allowed: sum, ",
    ),
    (
        "detectors.0.aggregation",
        {"function": "sum", "period": "0s"},
        f"{D}.aggregation.period: must be longer than 0s",
    ),
    (
        "detectors.0.aggregation",
        {"function": "sum"},
        f"{D}.aggregation.period: missing; length of a period, a duration > 0",
    ),
    ("detectors.0.allowed_disorder", 90, f"{D}.allowed_disorder: 90 {NOT_A_DURATION}"),
    ("detectors.0.allowed_disorder", "1:30", f"{D}.allowed_disorder: '1:30' {NOT_A_DURATION}"),
    ("detectors.0.record_id", 5, f"{D}.record_id: 5 is not text; put it in quotes: '5'"),
    (
        "detectors.0.gaps",
        {"policy": "zero"},
        f"{D}.gaps.policy: 'zero' needs aggregation, as only periods can be missing",
    ),
    ("detectors.0.gaps", "zero", f"{D}.gaps: 'zero' is not a mapping; its keys: policy, value"),
    (
        "detectors.0.gaps",
        {"policy": "fixed"},
        f"{D}.gaps.value: missing; policy fixed needs a number",
    ),
    (
        "detectors.0.gaps",
        {"value": 3},
        f"{D}.gaps.value: only with policy fixed, but policy is ignore",
    ),
    (
        "detectors.0.gaps",
        {"policy": "fixed", "value": True},
        f"{D}.gaps.value: true is not a number",
    ),
    (
        "detectors.0.gaps",
        {"policy": "fixed", "value": "3"},
        f"{D}.gaps.value: '3' is not a number; write it without quotes",
    ),
    (
        "detectors.0.model",
        {"type": "RandomForest"},
        f"{D}.model.type: 'RandomForest' is not allowed; did you mean 'RandomCutForest'? allow",
    ),
    ("detectors.0.model", {}, f"{D}.model.type: missing; the detector"),
    (
        "detectors.0.model",
        {"type": "RandomCutForest", "config": {"shingle_siz": 3}},
        f"{D}.model.config: unknown key 'shingle_siz'; did you mean 'shingle_size'? allowed: ",
    ),
    (
        "detectors.0.model",
        {"type": "RandomCutForest", "config": {"shingle_size": 2.5}},
        f"{D}.model.config.shingle_size: 2.5 is not a whole number",
    ),
    (
        "detectors.0.model",
        {"type": "RandomCutForest", "config": {"shingle_size": -3}},
        f"{D}.model.config: shingle_size must be ",
    ),
    ("detectors.0.threshold", 150, f"{D}.threshold: must be 0 to 100, got 150"),
    ("detectors.0.threshold", "70", f"{D}.threshold: '70' is not allowed; number 0 to 100: rows"),
    ("detectors.0.threshold", True, f"{D}.threshold: true is not allowed; number 0 to 100: rows"),
    (
        "detectors.0.threshold",
        {"type": "Spo"},
        f"{D}.threshold.type: 'Spo' is not allowed; did you mean 'Spot'? allowed: Spot, MeanStdDe",
    ),
    (
        "detectors.0.threshold",
        {"type": "Spot", "config": {"level": 2}},
        f"{D}.threshold.config: level must be in [0.5, 1), got 2",
    ),
    ("detectors.0.threshold", {"type": "Fixed"}, f"{D}.threshold.config.raw: missing"),
    (
        "detectors.0.threshold",
        {"type": "Fixed", "config": {"raw": float("inf")}},
        f"{D}.threshold.config.raw: inf is not a finite number",
    ),
    ("detectors.0.alerts_per_week", 0, f"{D}.alerts_per_week: must be > 0, got 0"),
    ("detectors.0.rules.direction", "yes", f"{D}.rules.direction: 'yes' is not allowed; allowed: "),
    (
        "detectors.0.rules.min_absolute_deviation",
        -1,
        f"{D}.rules.min_absolute_deviation: must be >= 0, got -1",
    ),
    (
        "detectors.0.rules.min_relative_deviation",
        float("nan"),
        f"{D}.rules.min_relative_deviation: nan is not a finite number; least distance",
    ),
    ("detectors.0.rules.n_of_m", {"n": 3}, f"{D}.rules.n_of_m.n: must be <= m, got n 3 and m 1"),
    ("detectors.0.rules.n_of_m", {"m": 1001}, f"{D}.rules.n_of_m.m: must be 1 to 1000, got 1001"),
    ("detectors.0.rules.quiet_period", "soon", f"{D}.rules.quiet_period: 'soon' is not allowed; w"),
    ("detectors.0.rules.quiet_period", 100_001, f"{D}.rules.quiet_period: 100001 is not allowed"),
    ("detectors.0.rules.quiet_period", True, f"{D}.rules.quiet_period: true is not allowed; wri"),
    ("detectors.0.rules.recovery_after", 1.5, f"{D}.rules.recovery_after: 1.5 is not a whole num"),
    (
        "detectors.0.rules.recovery_after",
        0,
        f"{D}.rules.recovery_after: must be 1 to 100000, got 0",
    ),
    ("detectors.0.ttl", 30, f"{D}.ttl: 30 {NOT_A_DURATION}"),
    ("detectors.0.ttl", "40000d", f"{D}.ttl: '40000d' is too long; a duration is at most 36500d"),
    ("detectors.0.overrides", {}, f"{D}.overrides: a mapping is not a list"),
    (
        "detectors.0.overrides",
        [{"match": {}, "threshold": 1}],
        f"{D}.overrides[0].match: is empty; dimension to its value",
    ),
    (
        "detectors.0.overrides",
        [{"match": {"x": "y"}, "threshold": 1}],
        f"{D}.overrides[0].match: unknown dimension 'x'; the detector has no dimensions",
    ),
    (
        "detectors.0.overrides",
        [{"match": {"x": "y"}}],
        f"{D}.overrides[0]: changes nothing; give at least one of: model, seasonality, thresh",
    ),
    (
        "detectors.0.overrides",
        [{"match": {"x": 5}, "threshold": 1}],
        f"{D}.overrides[0].match.x: 5 is not text; put it in quotes, or write a list",
    ),
    (
        "detectors.0.overrides",
        [{"match": {"x": "y"}, "threshold": 1, "alerts_per_week": 1}],
        f"{D}.overrides[0]: threshold and alerts_per_week exclude each other",
    ),
    (
        "detectors.0.overrides",
        [{"match": {"x": "y"}, "ttl": "1d"}],
        f"{D}.overrides[0]: unknown key 'ttl'; allowed: match, model, seasonality, threshold,",
    ),
    ("sinks", REMOVE, "sinks: missing; its keys: results, lake, alerts"),
    ("sinks.results", REMOVE, "sinks.results: missing; its keys: path, kafka, kinesis, format"),
    (
        "sinks.results.path",
        REMOVE,
        "sinks.results: needs exactly one of: path, kafka, kinesis; got none",
    ),
    ("sinks.results.path", "", "sinks.results.path: is empty; folder of files"),
    (
        "sinks.results.format",
        "left_discords",
        "sinks.results.format: 'left_discords' needs models of type LeftDiscord, "
        "but there is Ensemble; write stack",
    ),
    ("sinks.lake", "out", "sinks.lake: 'out' is not a mapping; its keys: path"),
    ("sinks.lake", {"path": "out/r/"}, "sinks.lake.path: 'out/r/' is another sink's path"),
    ("sinks.late", {"path": "out/r"}, "sinks.late.path: 'out/r' is another sink's path"),
]


@pytest.mark.parametrize(("place", "value", "line"), MISTAKES)
def test_one_mistake_makes_one_line(mistakes, place, value, line):
    found = mistakes(changed((place, value)))
    assert len(found) == 1
    assert found[0].startswith(line)


SEVERAL = [
    (
        [("detectors.0.alerts_per_week", 1), ("detectors.0.threshold", 70)],
        [f"{D}.threshold: threshold and alerts_per_week exclude each other; give one of them"],
    ),
    (
        [
            ("detectors.0.event_time.order", "position"),
            ("detectors.0.aggregation", {"function": "sum", "period": "1m"}),
        ],
        [f"{D}.aggregation: cannot go with event_time.order position; remove one of them"],
    ),
    (
        [
            ("detectors.0.event_time.order", "position"),
            ("detectors.0.gaps", {"policy": "previous"}),
        ],
        [
            f"{D}.gaps.policy: 'previous' needs aggregation, as only periods can be missing; "
            "or write ignore"
        ],
    ),
    (
        [("detectors.0.aggregation", {"function": "sum", "period": "31d"})],
        [f"{D}.ttl: must be at least the aggregation's period 31d, got 30d"],
    ),
    (
        [
            ("source.format", "number"),
            ("detectors.0.dimensions", ["a"]),
            ("detectors.0.record_id", "b"),
        ],
        [
            f"{D}.event_time.format: 'iso8601' needs a field, which format number has not; "
            "write counter",
            f"{D}.dimensions: names fields, which format number has not; remove it",
            f"{D}.record_id: names fields, which format number has not; remove it",
        ],
    ),
    (
        [("detectors.0.event_time", {"format": "counter", "time_zone": "UTC"})],
        [f"{D}.event_time.time_zone: only with format iso8601, but format is counter"],
    ),
    (
        [
            ("detectors.0.dimensions", ["product", "store"]),
            (
                "detectors.0.overrides",
                [
                    {"match": {"produkt": "x"}, "threshold": 1},
                    {"match": {"store": "x"}, "gaps": {"policy": "zero"}},
                ],
            ),
        ],
        [
            f"{D}.overrides[0].match: unknown dimension 'produkt'; "
            "did you mean 'product'? allowed: product, store",
            f"{D}.overrides[1].gaps.policy: 'zero' needs aggregation, "
            "as only periods can be missing; or write ignore",
        ],
    ),
    (
        [
            ("sorce", 1),
            ("source.format", "x"),
            ("detectors.0.ttl", 5),
            ("detectors.0.rules", {"n_of_m": {"n": 2}, "direction": 1}),
            ("detectors.1", {}),
            ("sinks", {}),
        ],
        [
            "source.format: 'x' is not allowed; allowed: json, csv, number, parquet",
            f"{D}.rules.direction: 1 is not allowed; allowed: both, up, down",
            f"{D}.rules.n_of_m.n: must be <= m, got n 2 and m 1",
            f"{D}.ttl: 5 {NOT_A_DURATION} 90s, 1m, 2h30m, 7d",
            "detectors[1].name: missing; unique name: letters, digits, _ . -, "
            "starting with a letter or digit, at most 100",
            "sinks.results: missing; its keys: path, kafka, kinesis, format",
            "unknown key 'sorce'; did you mean 'source'? "
            "allowed: job, kafka, kinesis, source, detectors, feedback, sinks",
        ],
    ),
]


def test_a_season_becomes_part_of_the_model(load):
    season = {"season": "hour_of_week", "time_zone": "Asia/Tokyo"}
    other = {"match": {"shop": "B"}, "seasonality": {"season": "hour_of_day"}}
    changes = {"dimensions": ["shop"], "seasonality": season, "overrides": [other]}
    job = load(changed(*((f"detectors.0.{key}", value) for key, value in changes.items())))
    [detection] = detections_of(job).values()
    assert detection.settings.model.seasonality == Seasonality("hour_of_week", "Asia/Tokyo")
    [(_, settings)] = detection.overrides
    assert settings.model.seasonality == Seasonality("hour_of_day")
    [plain] = detections_of(load(changed())).values()
    assert plain.settings.model.seasonality is None


def test_a_series_of_a_job_has_one_measure(mistakes):
    model = {"type": "RandomCutForest", "config": {"measures": 2}}
    assert mistakes(changed(("detectors.0.model", model))) == [
        f"{D}.model.config.measures: must be 1, as a detector has one measure, got 2"
    ]


def test_a_gap_that_would_fill_the_memory_is_a_mistake(mistakes):
    changes = [
        ("detectors.0.aggregation", {"function": "sum", "period": "1ms"}),
        ("detectors.0.gaps", {"policy": "zero"}),
    ]
    assert mistakes(changed(*changes)) == [
        f"{D}.ttl: 30d holds 2592000000 periods of 1ms, and gaps.policy zero fills in each; "
        "write a duration of at most 5000000 periods"
    ]


@pytest.mark.parametrize(("changes", "lines"), SEVERAL)
def test_every_mistake_is_named_at_once(mistakes, changes, lines):
    assert mistakes(changed(*changes)) == lines


FILES = [
    ("", "is empty; a job file starts with `job: <name>`"),
    ("# nothing\n", "is empty; a job file starts with `job: <name>`"),
    ("- a\n- b\n", "is a list, not a mapping; write lines of `key: value`"),
    ("job", "is 'job', not a mapping; write lines of `key: value`"),
    ("a: b\n  c: [d\n", "line 2, column 4: not YAML: mapping values are not allowed here"),
    ("a: [b\n", "line 2, column 1: not YAML: expected ',' or ']', but got '<stream end>'"),
    (
        "a:\n\tb: 1\n",
        "line 2, column 1: not YAML: found character '\\t' that cannot start any token",
    ),
    (
        "a: !!python/name:os.system x\n",
        "line 1, column 4: not YAML: could not determine a construc",
    ),
    ("a: !!int x\n", "not YAML: invalid literal for int() with base 10: 'x'"),
    ("a: *b\n", "line 1, column 4: not YAML: found undefined alias 'b'"),
    ("a: 1\n---\nb: 2\n", "line 2, column 1: not YAML: but found another document"),
    ("a: \x01\n", "not YAML: character 4 is not allowed (special characters are not allowed)"),
    ("[" * 5000, "is nested too deeply"),
]


@pytest.mark.parametrize(("text", "line"), FILES)
def test_a_file_that_is_no_mapping_is_one_mistake(mistakes, text, line):
    found = mistakes(text)
    assert len(found) == 1
    assert found[0].startswith(line)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(JobFileError, match=r"none\.yaml: cannot be read: No such file"):
        load_job(tmp_path / "none.yaml")
    with pytest.raises(JobFileError, match="cannot be read: Is a directory"):
        load_job(tmp_path)
    file = tmp_path / "latin.yaml"
    file.write_bytes("job: ä".encode("latin-1"))
    with pytest.raises(JobFileError, match=r"latin\.yaml: is not UTF-8 text \(byte 5\)"):
        load_job(str(file))


def test_repeated_keys_are_named_with_their_lines(mistakes):
    text = yaml.safe_dump(LEAST, sort_keys=False) + "job: b\nsinks: {results: {path: r, path: s}}\n"
    lines = text.splitlines()
    last = len(lines)
    first = [i + 1 for i, line in enumerate(lines) if line.startswith("sinks:")][0]
    assert mistakes(text) == [
        f"line {last}: key 'path' is given twice, first in line {last}",
        f"line {last - 1}: key 'job' is given twice, first in line 1",
        f"line {last}: key 'sinks' is given twice, first in line {first}",
    ]


def test_keys_without_a_value_are_named_once(mistakes):
    data = changed(("detectors.0.record_id", None), ("sinks.lake", None), ("sinks.results", None))
    assert mistakes(data) == [
        f"{D}.record_id: has no value; give one or remove the key",
        "sinks.results: has no value; give one or remove the key",
        "sinks.lake: has no value; give one or remove the key",
    ]


def test_an_alias_to_itself_is_a_mistake_not_a_loop(mistakes):
    text = yaml.safe_dump(LEAST, sort_keys=False) + "more: &a [*a, &b {b: *b}]\n"
    [line] = mistakes(text)
    allowed = "job, kafka, kinesis, source, detectors, feedback, sinks"
    assert line == f"unknown key 'more'; allowed: {allowed}"


def test_credentials_are_never_shown(mistakes):
    secret = "s3://key:hunter2@bucket/x"
    data = changed(
        ("source.files", secret),
        ("source.format", "gs://me:" + "hunter2" * 20 + "@b"),
        ("source.password", "hunter2"),
        ("sinks.lake", {"path": {"secret": "hunter2"}}),
        ("sinks.results.format", secret),
        ("detectors.0.ttl", secret),
        (f"detectors.0.{secret}", 1),
    )
    found = mistakes(data)
    assert len(found) == 7
    assert not [line for line in found if "hunter2" in line]
    assert "sinks.results.format: 's3://***@bucket/x' is not allowed" in "\n".join(found)


def test_a_mistake_is_one_line_whatever_the_value(mistakes):
    [line] = mistakes(changed(("source.format", "a\nb\u2028c" * 50)))
    assert line.splitlines() == [line]
    assert len(line) < 200


def test_places_and_values_in_words():
    assert place_text(("a", 0, "b c", "d")) == "a[0]['b c'].d"
    words = [describe(value) for value in (None, True, 1.5, "x", [], {}, object())]
    assert words == ["nothing", "true", "1.5", "'x'", "a list", "a mapping", "a object"]


# Parameters


@dataclass(frozen=True)
class _Parameters:
    size: int
    share: float = 0.5
    lengths: tuple[int, ...] = ()
    period: int | None = None


def test_a_config_becomes_its_dataclass():
    built = build(_Parameters, {"size": 3, "share": 1, "lengths": [1, 2], "period": 4})
    assert built == _Parameters(3, 1.0, (1, 2), 4)
    assert type(built.share) is float


@pytest.mark.parametrize(
    ("config", "place", "sentence"),
    [
        ({}, ("size",), "missing"),
        ({"size": True}, ("size",), "true is not a whole number"),
        ({"size": 1, "share": "x"}, ("share",), "'x' is not a number"),
        ({"size": 1, "lengths": 3}, ("lengths",), "3 is not a list"),
        ({"size": 1, "lengths": [1, "a"]}, ("lengths",), "'a' is not a whole number"),
        ({"size": 1, "sized": 1}, (), "unknown key 'sized'; did you mean 'size'? allowed: size, s"),
    ],
)
def test_a_config_is_held_against_its_dataclass(config, place, sentence):
    with pytest.raises(ValidationError) as error:
        build(_Parameters, config)
    [found] = error.value.errors()
    assert found["loc"] == place
    assert found["msg"].startswith(sentence)


def test_every_detector_and_threshold_can_be_named():
    def choices(section):
        return set(typing.get_args(section.model_fields["type"].annotation))

    assert choices(ModelSection) == set(DETECTORS)
    assert choices(ThresholdSection) == set(THRESHOLDS)


# Schema and reference


def sections():
    schema = job_schema()
    return {"Job": schema, **schema["$defs"]}


def value_of(node):
    """What a key takes, for the reference's tables."""
    if "$ref" in node:
        return "mapping"
    if "enum" in node:
        return ", ".join(f"`{each}`" for each in node["enum"])
    if "pattern" in node and "us)?$" in node["pattern"]:
        return "duration"
    if branches := node.get("oneOf") or node.get("anyOf"):
        return " or ".join(value_of(each) for each in branches)
    if isinstance(node["type"], list):
        return ", ".join(node["type"])
    words = {"string": "text", "integer": "whole number", "array": "list", "object": "mapping"}
    return words.get(node["type"], node["type"])


def default_of(section, key, node):
    if key in section.get("required", ()):
        return "required"
    return f"`{json.dumps(node['default'])}`" if "default" in node else ""


def rows(section):
    """The reference's table of a section."""
    return [
        f"| `{key}` | {value_of(node)} | {default_of(section, key, node)} | {node['description']} |"
        for key, node in section["properties"].items()
    ]


@pytest.mark.parametrize("name", sections())
def test_the_reference_has_a_table_of_every_section(name):
    assert "\n".join(rows(sections()[name])) in REFERENCE


def test_the_reference_has_every_threshold_parameter():
    for name, parameters in THRESHOLDS.items():
        for field in parameters.__dataclass_fields__.values():
            assert re.search(rf"\| `{name}` \|.*`{field.name}`", REFERENCE), field.name


def test_the_schema_file_is_up_to_date():
    assert json.loads(SCHEMA_FILE.read_text("utf-8")) == job_schema(), (
        "write docs/job.schema.json anew: python -m pipeline --print_schema"
    )


def test_every_key_of_the_schema_is_described_and_no_other_is_allowed():
    for name, section in sections().items():
        assert section["additionalProperties"] is False, name
        for key, node in section["properties"].items():
            assert node.get("description"), f"{name}.{key}"
    assert set(SOURCE_KINDS) <= set(sections()["Source"]["properties"])
    assert set(SINK_KINDS) <= set(sections()["Sink"]["properties"])


def test_the_schema_accepts_what_is_read_and_refuses_typing_errors():
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(job_schema())
    validator.check_schema(job_schema())
    validator.validate(yaml.safe_load(example()))
    validator.validate(LEAST)
    validator.validate(yaml.safe_load(live_example()))
    validator.validate(changed(*to_kinesis()))
    for place, value in [
        ("job", "A"),
        ("source.files", REMOVE),
        ("detectors.0.treshold", 1),
        ("detectors.0.threshold", 101),
        ("detectors.0.ttl", "1 day"),
        ("detectors.0.record_id", None),
    ]:
        assert not validator.is_valid(changed((place, value))), place


def test_checking_a_job_file_does_not_load_beam():
    code = "import sys, pipeline.job; sys.exit('apache_beam' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_job_is_equal_to_its_copy(load):
    assert load(example()) == load(example())
    assert isinstance(load(LEAST), Job)
