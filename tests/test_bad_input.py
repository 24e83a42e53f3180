"""Ten thousand malformed records among twenty thousand good ones, through the whole pipeline.

Each bad one is one dead letter that says why, where, and what it was, byte for byte; each good one
is counted: the sums of every minute prove it.
"""

from __future__ import annotations

import base64
import json
from collections import Counter, defaultdict
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest

from pipeline.launch import main

GOOD, BAD = 20_000, 10_000
MEGABYTE = 1 << 20
PRODUCTS = ("A", "B", "ü/…")
JOB = """\
job: bad-input
source: {files: [in-*.jsonl], format: json}
detectors:
  - name: sales
    measure: quantity
    dimensions: [product]
    event_time: {field: t}
    aggregation: {function: sum, period: 1m}
    record_id: id
    model:
      type: RandomCutForest
      config: {number_of_trees: 5, sample_size: 16}
sinks:
  results: {path: out/results}
  lake: {path: out/lake}
"""


def good(random, number):
    minute, second = random.randrange(300), random.randrange(60)
    return {
        "id": number,
        "t": f"2024-08-29T{minute // 60:02}:{minute % 60:02}:{second:02}Z",
        "product": random.choice(PRODUCTS),
        "quantity": random.randrange(-5, 50) + random.randrange(4) / 4,
    }


def changed(**fields):
    return lambda record, random: json.dumps(record | fields).encode()


def without(field):
    def make(record, random):
        return json.dumps({k: v for k, v in record.items() if k != field}).encode()

    return make


def truncated(record, random):
    text = json.dumps(record).encode()
    return text[: random.randrange(1, len(text))]


def constant(word):
    return lambda record, random: json.dumps(record | {"quantity": float(word)}).encode()


def noise(record, random):
    # a first byte that starts no JSON, and no line end
    return b"\xff" + random.randbytes(20).replace(b"\n", b"\0").replace(b"\r", b"\0")


KINDS = {
    "truncated": (truncated, "not JSON: "),
    "noise": (noise, "not JSON: "),
    "text": (lambda record, random: b"hello", "not JSON: "),
    "spaces": (lambda record, random: b"   ", "not JSON: "),
    "array": (lambda record, random: b"[1, 2, 3]", "not a JSON object but [1, 2, 3]"),
    "null": (lambda record, random: b"null", "not a JSON object but None"),
    "NaN": (constant("nan"), "not JSON: "),
    "infinite": (constant("-inf"), "not JSON: "),
    "NaN as text": (changed(quantity="NaN"), "quantity is not finite: nan"),
    "too big": (changed(quantity="1e999"), "quantity is not finite: inf"),
    "huge": (changed(quantity=1e300), "quantity is beyond +-1e+150: 1e+300"),
    "word": (changed(quantity="many"), "quantity is not a number: 'many'"),
    "true": (changed(quantity=True), "quantity is not a number: True"),
    "value null": (changed(quantity=None), "quantity is null"),
    "nested": (changed(quantity={"n": 1}), "quantity is not a number: {'n': 1}"),
    "no value": (without("quantity"), "field 'quantity' is missing"),
    "no product": (without("product"), "dimension 'product' is missing"),
    "product list": (changed(product=["A"]), "dimension product is neither text nor a number"),
    "no time": (without("t"), "event time field 't' is missing"),
    "no ID": (without("id"), "record ID 'id' is missing"),
    "time word": (changed(t="noon"), "event time is not ISO 8601: 'noon'"),
    "time number": (changed(t=1724938500), "event time is not ISO 8601 text: 1724938500"),
    "far future": (
        changed(t="9999-01-01T00:00:00Z"),
        "event time is more than a day in the future",
    ),
    "past": (changed(t="1812-06-24T00:00:00Z"), "event time is before 1970: "),
    "megabyte": (
        lambda record, random: b'{"quantity": 1, "t": "' + b"9" * MEGABYTE + b'"}',
        f"{MEGABYTE + 24} bytes, at most 262144 are allowed",
    ),
}
MEGABYTES = 8  # of that kind; the others share the rest


def malformed(random):
    """(kind, payload) of every bad record."""
    others = [kind for kind in KINDS if kind != "megabyte"]
    kinds = ["megabyte"] * MEGABYTES
    kinds += [others[i % len(others)] for i in range(BAD - MEGABYTES)]
    return [(kind, KINDS[kind][0](good(random, -i), random)) for i, kind in enumerate(kinds)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad_input")
    random = Random(7)
    records = [good(random, number) for number in range(GOOD)]
    every = [(None, json.dumps(record).encode()) for record in records] + malformed(random)
    random.shuffle(every)
    expected = {}
    for part in range(3):
        path = folder / f"in-{part}.jsonl"
        share = every[part::3]
        path.write_bytes(b"\n".join(payload for _, payload in share))
        for position, (kind, payload) in enumerate(share):
            if kind is not None:
                expected[str(path), position] = (KINDS[kind][1], payload)
    (folder / "job.yaml").write_text(JOB)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "job.yaml").write_text(JOB.replace("in-*", str(folder / "in-*")))
        assert main(["--job=job.yaml"]) == 0
    return folder, records, expected


def lines_of(folder: Path):
    paths = folder.glob("part-*")
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


def check_letters(letters, expected):
    assert len(letters) == len(expected) == BAD
    for letter in letters:
        reason, payload = expected.pop((letter["source"], letter["position"]))
        assert letter["reason"].startswith(reason)
        assert base64.b64decode(letter["payload"], validate=True) == payload
        assert letter["step"] == "parse"
    assert not expected, "each once"


def test_each_bad_record_is_one_dead_letter(run):
    folder, _, expected = run
    check_letters(lines_of(folder / "out/results-dead-letters"), dict(expected))


def test_the_lake_holds_the_same_dead_letters(run):
    folder, _, expected = run
    paths = sorted((folder / "out/lake/dead_letters").rglob("*.parquet"))
    check_letters(
        [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()], dict(expected)
    )


def test_every_good_record_is_in_the_sum_of_its_minute(run):
    folder, records, _ = run
    sums, counts = defaultdict(float), Counter()
    for record in records:
        key = record["product"], record["t"][:16].replace("T", " ") + ":00"
        sums[key] += record["quantity"]  # quarters: exact in any order
        counts[key] += 1
    found = {
        (row["dimensionList"][0]["value"], row["detectionPeriodStartTime"]): row[
            "aggregatedMeasureValue"
        ]
        for row in lines_of(folder / "out/results")
    }
    assert found == dict(sums)
    assert sum(counts.values()) == GOOD


def test_the_balance_adds_up(run):
    folder, _, _ = run
    counts = json.loads((folder / "out/results-balance.json").read_bytes())["sales"]
    assert (counts["read"], counts["used"], counts["dead"]) == (GOOD + BAD, GOOD, BAD)
    assert (counts["duplicate"], counts["late"], counts["waiting"]) == (0, 0, 0)
    rows = lines_of(folder / "out/results")
    assert counts["closed"] == counts["scored"] + counts["warm_up"] == len(rows)
    assert list((folder / "out/results-late").iterdir()) != []
    assert lines_of(folder / "out/results-late") == []
