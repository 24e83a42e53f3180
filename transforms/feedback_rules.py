"""What people say of anomalies, as rules that keep later alerts quiet; pure, knows no Beam.

A rule is valid for a stretch of event time. It never changes a result, and never an alert that was
raised before the rule was read.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from transforms.records import MICROSECONDS, text_time

KINDS = ("not_an_anomaly", "expected", "withdrawn")
"""What is said: this is none; so much is expected for a while; what was said no longer holds."""
MOST_RULES = 1_000
"""Of one detector; with more, those are dropped that end first."""
MOST_MUTED = 10_000
"""Alerts of one detector that are quiet and not over; with more, the oldest are dropped."""
_RULE, _MUTED = b"F1", b"Q1"


@dataclass(frozen=True)
class FeedbackRule:
    """One rule; its fields are those of the record, in this order.

    Parameters
    ----------
    ruleId : str
        Names the rule; a later record of the same ID replaces it.
    kind : str
        One of `KINDS`.
    detectorName : str
        The detector whose alerts it is about.
    timeseriesId : str or None
        The series; None: all of the detector.
    validFrom, validUntil : str
        Event time, ``YYYY-MM-DD HH:MM:SS[.ffffff]`` in UTC: alerts that open from the first on and
        before the second.
    mostScore : float or None
        Only alerts whose score is not above it, 0 to 100; None: any.
    alertId : str or None
        The anomaly that it was said of.
    note : str or None
        Why, for people.
    made : str
        When it was said, as the times above.
    """

    # the names are the record's
    ruleId: str  # noqa: N815
    kind: str
    detectorName: str  # noqa: N815
    timeseriesId: str | None  # noqa: N815
    validFrom: str  # noqa: N815
    validUntil: str  # noqa: N815
    mostScore: float | None  # noqa: N815
    alertId: str | None  # noqa: N815
    note: str | None
    made: str

    def covers(self, alert: dict[str, Any]) -> bool:
        """Whether the rule keeps this alert quiet."""
        return (
            self.kind != "withdrawn"
            and self.detectorName == alert["detectorName"]
            and self.timeseriesId in (None, alert["timeseriesId"])
            and self.validFrom <= alert["since"] < self.validUntil
            and (self.mostScore is None or alert["peakScore"] <= self.mostScore)
        )

    def to_line(self) -> bytes:
        """The record as JSON."""
        return orjson.dumps(asdict(self))


def rule_id(kind: str, detector: str, series: str | None, about: str) -> str:
    """Name a rule by what it is about, so that saying the same again replaces it: 16 hex digits."""
    words = orjson.dumps([kind, detector, series, about])
    return hashlib.blake2b(words, digest_size=8).hexdigest()


def time_text(text: str) -> str:
    """ISO 8601 as the records have times; UTC where it names no zone.

    Raises
    ------
    ValueError
        It is none.
    """
    try:
        moment = dt.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        return text_time((moment - _EPOCH) // dt.timedelta(microseconds=1))
    except (ValueError, TypeError, OverflowError):
        raise ValueError(
            f"{text!r} is not a time; write one such as 2026-01-31T12:00:00Z"
        ) from None


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def rule_of(payload: bytes) -> FeedbackRule:
    """The rule that a record tells.

    Raises
    ------
    ValueError
        It tells none; the text says why.
    """
    try:
        record = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    plain: dict[str, Any] = {name: record.get(name) for name in FeedbackRule.__dataclass_fields__}
    for name, value in plain.items():
        is_optional = name in ("timeseriesId", "alertId", "note", "mostScore")
        kind = int | float if name == "mostScore" else str
        if isinstance(value, bool) or not (
            isinstance(value, kind) or (is_optional and value is None)
        ):
            wanted = "a number" if name == "mostScore" else "text"
            raise ValueError(f"{name} is not {wanted}: {value!r}")
    for name in ("validFrom", "validUntil", "made"):
        try:
            plain[name] = time_text(str(plain[name]))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    rule = FeedbackRule(**plain)
    if rule.kind not in KINDS:
        raise ValueError(f"kind {rule.kind!r} is not one of {', '.join(KINDS)}")
    if rule.mostScore is not None and not 0 <= rule.mostScore <= 100:
        raise ValueError(f"mostScore must be 0 to 100, got {rule.mostScore:g}")
    return rule


class Feedback:
    """The rules of one detector, and which open alerts they keep quiet.

    Parameters
    ----------
    elements : iterable of bytes
        What `elements` gave before.
    """

    def __init__(self, elements: Iterable[bytes] = ()) -> None:
        self._rules: dict[str, FeedbackRule] = {}
        self._muted: dict[str, tuple[str, str]] = {}  # alert to (since, rule)
        for data in elements:
            if data.startswith(_RULE):
                self.add(rule_of(data[len(_RULE) :]))
            elif data.startswith(_MUTED):
                alert, since, rule = orjson.loads(data[len(_MUTED) :])
                self._muted[alert] = since, rule
            else:
                raise ValueError(f"neither a rule nor a quiet alert: starts with {data[:2]!r}")

    def elements(self) -> list[bytes]:
        """Everything, as elements of a bag."""
        return [
            *(_RULE + rule.to_line() for rule in self._rules.values()),
            *(
                _MUTED + orjson.dumps([alert, since, rule])
                for alert, (since, rule) in self._muted.items()
            ),
        ]

    @property
    def rules(self) -> list[FeedbackRule]:
        """All rules, withdrawn ones among them."""
        return list(self._rules.values())

    def add(self, rule: FeedbackRule) -> None:
        """Take a rule in; it replaces one of the same ID that was not said later."""
        known = self._rules.get(rule.ruleId)
        if known is None or known.made <= rule.made:
            self._rules[rule.ruleId] = rule
        if len(self._rules) > MOST_RULES:
            first = min(self._rules.values(), key=lambda each: (each.validUntil, each.ruleId))
            del self._rules[first.ruleId]

    def judge(self, line: bytes) -> tuple[bytes, bool]:
        """An alert's or a recovery's record with what keeps it quiet; whether that changed state.

        A recovery is as quiet as its alert was.
        """
        alert = orjson.loads(line)
        key = alert["alertId"]
        if alert["event"] == "recovery":
            _, rule = self._muted.pop(key, ("", None))
            return (_with(alert, rule), True) if rule else (line, False)
        rule = min(
            (each.ruleId for each in self._rules.values() if each.covers(alert)), default=None
        )
        if rule is None:
            return line, False
        self._muted[key] = alert["since"], rule
        if len(self._muted) > MOST_MUTED:
            del self._muted[min(self._muted, key=lambda each: (self._muted[each], each))]
        return _with(alert, rule), True


def _with(alert: dict[str, Any], rule: str) -> bytes:
    return orjson.dumps(alert | {"mutedBy": rule})


def now_text(seconds: float) -> str:
    """A clock's time as the records have times, to the second."""
    return text_time(int(seconds) * MICROSECONDS)
