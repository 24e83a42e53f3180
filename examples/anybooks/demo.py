"""``python -m examples.anybooks.demo``: weeks of sales, the whole job, a table and a report.

Needs Python alone: no server, no JVM, no cloud.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from examples.anybooks.outcome import Outcome, instant, prepare, product_of, read_outcome
from examples.charts import series_chart
from examples.report import write_report
from pipeline import launch
from transforms.balance import differences

SHOWN_DAYS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 if the job ran and its balance adds up."""
    options = _parser().parse_args(arguments)
    console = Console()
    started = time.monotonic()

    console.rule("1 of 3  AnyBooks sells")
    job = prepare(options.output, options.days, options.seed)
    written = json.loads((options.output / "written.json").read_text(encoding="utf-8"))
    console.print(
        f"{options.days} days of sales, {written['transactions']:,} transactions, "
        f"{written['injections']} anomalies injected: {options.output}"
    )

    console.rule("2 of 3  Tidewatch watches: python -m pipeline")
    status = launch.main([f"--job={job}", "--overwrite"])
    if status:
        return status

    console.rule("3 of 3  What came of it")
    outcome = read_outcome(options.output)
    console.print(_table(outcome))
    report = options.output / "report.html"
    write_report(report, "AnyBooks: what Tidewatch found", _numbers(outcome), _sections(outcome))
    console.print(f"Pictures: {report}   ({time.monotonic() - started:.0f} s in all)")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.anybooks.demo", description=__doc__)
    parser.add_argument("--days", type=int, default=28, help="days of sales (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=2024, help="of the sales (default: %(default)s)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("out/anybooks"),
        help="folder for sales, results and report (default: %(default)s)",
    )
    return parser


def _numbers(outcome: Outcome) -> dict[str, Any]:
    """The numbers that a person looks at first."""
    found, balance = outcome.evaluation, outcome.balance
    last = [rows[-1] for rows in outcome.results.values()]
    by_kind = [f"{kind}s {r.found} of {r.injected}" for kind, r in found.by_kind.items()]
    off = differences(balance)
    return {
        "Series tracked": len(last),
        "Points processed": sum(row["processedDataPoints"] for row in last),
        "Confidence": f"{min(row['anomalyConfidenceScore'] for row in last):.0f} of 100",
        "Anomalies found": f"{found.found} of {found.injected} ({', '.join(by_kind)})",
        "False alerts": found.false_alerts,
        "Records read": balance["read"],
        "Dead letters": balance["dead"],
        "Delivered twice": balance["duplicate"],
        "Late": balance["late"],
        "Balance": "; ".join(off) if off else "every record accounted for",
    }


def _table(outcome: Outcome) -> Table:
    table = Table(show_header=False)
    for name, value in _numbers(outcome).items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    return table


def _sections(outcome: Outcome) -> list[tuple[str, Any]]:
    sections: list[tuple[str, Any]] = []
    for product, rows in sorted(outcome.results.items()):
        truth = [
            {"kind": each.kind, "start": each.start.isoformat(), "end": each.end.isoformat()}
            for each in outcome.injections
            if each.product_name == product
        ]
        sections.append(
            (
                f"{product}: the last {SHOWN_DAYS} days (drag and scroll for the rest)",
                series_chart(rows, ground_truth=truth, window=_last_days(rows)),
            )
        )
    alerts = [event for event in outcome.events if event["event"] == "alert"]
    sections.append(("Alerts", [_alert_row(event) for event in alerts]))
    missed = [
        {
            "product": each.product_name,
            "kind": each.kind,
            "start": f"{each.start:%Y-%m-%d %H:%M}",
            "units a minute": ", ".join(map(str, each.units)),
            "standard deviations": round(each.deviation_sd, 1),
        }
        for each in outcome.evaluation.missed_injections
    ]
    if missed:
        sections.append(("Injected, but not found", missed))
    return sections


def _last_days(rows: list[dict[str, Any]]) -> tuple[str, str]:
    first = rows[max(0, len(rows) - SHOWN_DAYS * 24 * 60)]["detectionPeriodStartTime"]
    last = rows[-1]["detectionPeriodStartTime"]
    return instant(first).isoformat(), instant(last).isoformat()


def _alert_row(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "time": event["time"][:16],
        "product": product_of(event),
        "units": event["aggregatedMeasureValue"],
        "expected": event["expectedValue"],
        "score": round(event["anomalyScore"], 1),
    }


if __name__ == "__main__":
    sys.exit(main())
