"""``python -m pipeline.feedback --job=JOB.yaml not-an-anomaly --link=...``: say what is no anomaly.

A job with ``feedback`` keeps alerts quiet that a rule covers; the dashboard's buttons do the same.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from rich.console import Console
from rich.table import Table

from pipeline.durations import parse_duration
from pipeline.job import Job, load_job
from pipeline.job_errors import JobFileError
from pipeline.say import NOT_AN_ANOMALY_DAYS, CannotSay, make_rule, said, say
from transforms.feedback_rules import FeedbackRule, now_text

WRONG_USE = 2


def main(arguments: list[str]) -> int:
    """Run the command; 0 done, 2 wrong use or the rule could not be put where it belongs."""
    asked = _parser().parse_args(arguments)
    try:
        job = load_job(asked.job)
        if asked.kind == "list":
            _show(Console(), said(job))
            return 0
        rule = _withdrawn(job, asked) if asked.kind == "withdraw" else _asked_rule(job, asked)
        say(job, rule)
    except (CannotSay, JobFileError) as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    print(f"{rule.kind}: rule {rule.ruleId}, {_about(rule)}")
    return 0


def _about(rule: FeedbackRule) -> str:
    series = "all series" if rule.timeseriesId is None else f"series {rule.timeseriesId[:8]}"
    score = "" if rule.mostScore is None else f", scores up to {rule.mostScore:g}"
    return (
        f"{series} of {rule.detectorName}, from {rule.validFrom} until {rule.validUntil} UTC{score}"
    )


def _asked_rule(job: Job, asked: argparse.Namespace) -> FeedbackRule:
    link = {name: each[0] for name, each in parse_qs(urlsplit(asked.link or "").query).items()}
    detector = asked.detector or link.get("of") or _only_detector(job)
    series = asked.series or link.get("series")
    if series is None and not asked.all_series:
        raise CannotSay(
            "whose alerts? Give --link (of a notification), --series (a timeseriesId), or "
            "--all_series"
        )
    now = datetime.now(UTC)
    start = asked.valid_from or now.isoformat()
    kind = asked.kind.replace("-", "_")
    until = asked.until
    if until is None:
        until = (now + timedelta(days=NOT_AN_ANOMALY_DAYS)).isoformat()
    elif _is_duration(until):
        until = (now + timedelta(microseconds=parse_duration(until))).isoformat()
    return make_rule(
        kind,
        detector,
        None if asked.all_series else series,
        start,
        until,
        asked.most_score,
        link.get("anomaly"),
        asked.note,
    )


def _only_detector(job: Job) -> str:
    if len(job.detectors) > 1:
        raise CannotSay("which detector? Give --detector, or --link of a notification")
    return job.detectors[0].name


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except ValueError:
        return False
    return True


def _withdrawn(job: Job, asked: argparse.Namespace) -> FeedbackRule:
    known = {rule.ruleId: rule for rule in said(job)}
    if asked.rule not in known:
        raise CannotSay(f"there is no rule {asked.rule}; `list` shows those that hold")
    return replace(known[asked.rule], kind="withdrawn", made=now_text(time.time()))


def _show(console: Console, rules: list[FeedbackRule]) -> None:
    table = Table()
    for name in ("rule", "kind", "about", "note"):
        table.add_column(name, overflow="fold")
    for rule in rules:
        table.add_row(rule.ruleId, rule.kind, _about(rule), rule.note or "")
    console.print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.feedback",
        description="Say that an anomaly is none, or that one is expected for a while: later "
        "alerts like it are kept quiet. Results never change.",
        allow_abbrev=False,
    )
    parser.add_argument("--job", required=True, metavar="JOB.yaml", help="the job that reads it")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="WHAT")
    none = kinds.add_parser(
        "not-an-anomaly", help="this is no anomaly, and what is like it neither"
    )
    _add_rule_arguments(none, f"default: {NOT_AN_ANOMALY_DAYS}d")
    expected = kinds.add_parser("expected", help="so much is expected for a while")
    _add_rule_arguments(expected, "")
    withdraw = kinds.add_parser("withdraw", help="what a rule says no longer holds")
    withdraw.add_argument("rule", help="ID of the rule")
    kinds.add_parser("list", help="show the rules that hold")
    return parser


def _add_rule_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--link", help="the link of a notification: names series and anomaly")
    parser.add_argument("--detector", help="default: the link's, else the job's only one")
    parser.add_argument("--series", metavar="ID", help="a timeseriesId; default: the link's")
    parser.add_argument("--all_series", action="store_true", help="all series of the detector")
    parser.add_argument(
        "--from",
        dest="valid_from",
        metavar="TIME",
        help="event time from which alerts are kept quiet, ISO 8601 (default: now)",
    )
    parser.add_argument(
        "--until",
        required=not default,
        metavar="TIME",
        help="event time until which, ISO 8601, or a duration from now such as 7d"
        + (f" ({default})" if default else ""),
    )
    parser.add_argument(
        "--most_score",
        type=float,
        metavar="SCORE",
        help="only alerts whose score is not above it, 0 to 100 (default: any)",
    )
    parser.add_argument("--note", help="why, for people")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
