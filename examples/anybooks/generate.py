"""Write AnyBooks' sales as the JSON lines a shop would deliver, with the faults of real streams.

Records arrive late and out of order, some arrive twice, and some are malformed. All of it is
seeded and counted, so that a job's balance can be held against the truth in ``written.json``:

>>> delivery = deliver(generate(days=2, seed=1))
>>> len(delivery.lines) == (
...     delivery.transactions + delivery.duplicates + sum(delivery.malformed.values())
... )
True

On the command line::

    python -m examples.anybooks.generate --days 28 --seed 1 --output out/anybooks
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from examples.anybooks.sales import (
    Injection,
    MinuteTotals,
    Sales,
    generate,
    minute_totals,
    read_ground_truth,
    write_ground_truth,
)

__all__ = [
    "MALFORMED_KINDS",
    "Delivery",
    "Injection",
    "MinuteTotals",
    "Sales",
    "deliver",
    "generate",
    "minute_totals",
    "read_ground_truth",
    "write",
    "write_ground_truth",
]

MALFORMED_KINDS = ("truncated", "wrong_type", "missing_field", "nan", "not_utf8")
FIELDS_TO_MISS = ("event_time", "product_name", "quantity")

MOST_DELAY_SECONDS = 90.0
DUPLICATE_SHARE = 0.005
MALFORMED_SHARE = 0.001


@dataclass(frozen=True)
class Delivery:
    """Records in the order in which they arrive.

    Attributes
    ----------
    lines : list of bytes
        One record each, without a newline.
    transactions : int
        Well-formed records, each counted once.
    duplicates : int
        Well-formed records that repeat one of the transactions byte for byte.
    malformed : dict of str -> int
        Records that cannot be used, by kind (`MALFORMED_KINDS`). They come on top: what is
        well-formed still adds up to the true totals.
    """

    lines: list[bytes]
    transactions: int
    duplicates: int
    malformed: dict[str, int]


def deliver(
    sales: Sales,
    seed: int = 1,
    *,
    most_delay_seconds: float = MOST_DELAY_SECONDS,
    duplicate_share: float = DUPLICATE_SHARE,
    malformed_share: float = MALFORMED_SHARE,
) -> Delivery:
    """Put the records of ``sales`` into the order in which they arrive.

    Parameters
    ----------
    sales : Sales
        What was sold.
    seed : int
        Same seed, same delivery.
    most_delay_seconds : float
        A record arrives this long after its event time at most. Delays are exponential with a
        sixth of this as their mean: most records are nearly in order, a few are far out of it.
    duplicate_share, malformed_share : float
        Extra records as a share of the transactions, 0 to 1.

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    """
    _check(most_delay_seconds, duplicate_share, malformed_share)
    rng = np.random.default_rng([seed, 0xDE])
    transactions = sales.transaction_ids.size
    duplicates = round(duplicate_share * transactions)
    malformed = round(malformed_share * transactions)

    repeated = np.sort(rng.choice(transactions, size=duplicates, replace=False))
    spoilt = np.sort(rng.choice(transactions, size=malformed, replace=False))
    sources = np.concatenate([np.arange(transactions), repeated, spoilt])
    delays = rng.exponential(most_delay_seconds / 6.0, size=sources.size)
    delays = np.minimum(delays, most_delay_seconds) * 1e6
    arrivals = np.argsort(sales.event_times[sources] + delays.astype(np.int64), kind="stable")

    well_formed = _lines(sales)
    records = well_formed + [well_formed[source] for source in repeated]
    kinds = [MALFORMED_KINDS[index % len(MALFORMED_KINDS)] for index in range(malformed)]
    for index, (source, kind) in enumerate(zip(spoilt, kinds, strict=True)):
        record = json.loads(well_formed[source]) | {"transaction_id": transactions + index + 1}
        records.append(_malformed(record, kind, rng))
    return Delivery(
        lines=[records[arrival] for arrival in arrivals],
        transactions=transactions,
        duplicates=duplicates,
        malformed={kind: kinds.count(kind) for kind in MALFORMED_KINDS},
    )


def write(output: Path, sales: Sales, delivery: Delivery, *, files: int = 4) -> None:
    """Write a delivery, its ground truth and its true counts.

    The folder gets ``transactions-NNNNN-of-NNNNN.jsonl`` (consecutive parts of the stream),
    ``ground_truth.jsonl`` and ``written.json``.

    Parameters
    ----------
    output : Path
        Folder; made if it does not exist.
    sales : Sales
        What was sold.
    delivery : Delivery
        What `deliver` made of it.
    files : int
        Number of parts.

    Raises
    ------
    ValueError
        If ``files`` is below 1.
    """
    if files < 1:
        raise ValueError(f"files must be >= 1, got {files}")
    output.mkdir(parents=True, exist_ok=True)
    for stale in output.glob("transactions-*-of-*.jsonl"):
        stale.unlink()  # a job reads by pattern: an older run's parts must not mix in
    cuts = np.linspace(0, len(delivery.lines), files + 1).astype(int)
    names = [f"transactions-{part:05d}-of-{files:05d}.jsonl" for part in range(files)]
    for name, begin, end in zip(names, cuts[:-1], cuts[1:], strict=True):
        part = delivery.lines[begin:end]
        (output / name).write_bytes(b"".join(line + b"\n" for line in part))
    write_ground_truth(output / "ground_truth.jsonl", sales.injections)
    counts = written_counts(sales, delivery) | {"files": names}
    (output / "written.json").write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")


def written_counts(sales: Sales, delivery: Delivery) -> dict[str, object]:
    """Count what a delivery holds, as ``written.json`` says it."""
    by_kind = [injection.kind for injection in sales.injections]
    return {
        "start": sales.start.isoformat(),
        "minutes": int(sales.totals.shape[1]),
        "records": len(delivery.lines),
        "transactions": delivery.transactions,
        "duplicates": delivery.duplicates,
        "malformed": sum(delivery.malformed.values()),
        "malformed_by_kind": delivery.malformed,
        "units": dict(zip(sales.products, sales.totals.sum(axis=1).tolist(), strict=True)),
        "injections": len(by_kind),
        "injections_by_kind": {kind: by_kind.count(kind) for kind in ("spike", "drop")},
    }


def _check(most_delay_seconds: float, duplicate_share: float, malformed_share: float) -> None:
    if not 0.0 <= most_delay_seconds < float("inf"):
        raise ValueError(f"most_delay_seconds must be >= 0 and finite, got {most_delay_seconds}")
    shares = {"duplicate_share": duplicate_share, "malformed_share": malformed_share}
    for name, share in shares.items():
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"{name} must be from 0 to 1, got {share}")


def _lines(sales: Sales) -> list[bytes]:
    # formatted by column: a call of json.dumps for each record would take four times as long
    instants = np.datetime_as_string(sales.event_times.astype("datetime64[us]"), unit="us")
    columns = zip(
        sales.transaction_ids.tolist(),
        instants.tolist(),
        [json.dumps(sales.products[index]) for index in sales.product_indices.tolist()],
        sales.quantities.tolist(),
        strict=True,
    )
    return [
        f'{{"transaction_id": {transaction_id}, "event_time": "{instant}Z", '
        f'"product_name": {product}, "quantity": {quantity}}}'.encode()
        for transaction_id, instant, product, quantity in columns
    ]


def _malformed(record: dict[str, object], kind: str, rng: np.random.Generator) -> bytes:
    match kind:
        case "truncated":
            line = json.dumps(record).encode()
            return line[: rng.integers(1, len(line))]
        case "wrong_type":
            return json.dumps(record | {"quantity": "two"}).encode()
        case "missing_field":
            missed = FIELDS_TO_MISS[rng.integers(len(FIELDS_TO_MISS))]
            return json.dumps({k: v for k, v in record.items() if k != missed}).encode()
        case "nan":
            return json.dumps(record | {"quantity": float("nan")}).encode()
        case _:  # not_utf8: the two bytes occur in no UTF-8 text
            return json.dumps(record).encode().replace(b"item", b"item\xff\xfe")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a stream, its ground truth and its true counts into a folder."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.anybooks.generate",
        description="Write AnyBooks' sales transactions with injected anomalies.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--days", type=int, default=28, help="length of the stream")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same stream")
    parser.add_argument("--learning-days", type=int, default=1, help="days without an anomaly")
    parser.add_argument("--most-delay-seconds", type=float, default=MOST_DELAY_SECONDS)
    parser.add_argument("--duplicate-share", type=float, default=DUPLICATE_SHARE)
    parser.add_argument("--malformed-share", type=float, default=MALFORMED_SHARE)
    parser.add_argument("--files", type=int, default=4, help="parts the stream is written in")
    parser.add_argument("--output", type=Path, default=Path("out/anybooks"), help="folder")
    options = parser.parse_args(arguments)
    try:
        sales = generate(options.days, options.seed, learning_days=options.learning_days)
        delivery = deliver(
            sales,
            options.seed,
            most_delay_seconds=options.most_delay_seconds,
            duplicate_share=options.duplicate_share,
            malformed_share=options.malformed_share,
        )
        write(options.output, sales, delivery, files=options.files)
    except ValueError as error:
        parser.error(str(error))
    print(
        f"{options.output}: {len(delivery.lines):,} records "
        f"({delivery.duplicates:,} duplicates, {sum(delivery.malformed.values()):,} malformed), "
        f"{len(sales.injections)} injected anomalies"
    )


if __name__ == "__main__":
    main()
