"""What a person is told of an alert, of its recovery, and of many at once."""

from __future__ import annotations

import datetime as dt
import hashlib
import zoneinfo
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson

LISTED = 20
"""Alerts that a digest tells one by one, the strangest first; of the others it tells how many."""
_SHORT_TITLE = 120


class Message(NamedTuple):
    """What a channel delivers.

    Attributes
    ----------
    id : str
        Names the message: equal whenever it is sent again. Of one alert, its delivery ID.
    kind : str
        ``alert``, ``recovery``, ``digest`` or ``test``.
    title : str
        One line.
    body : str
        Plain text.
    follows : str
        ID of the message that it follows: of a recovery, its alert's; else empty.
    score : float
        Highest score in it, 0 to 100.
    """

    id: str
    kind: str
    title: str
    body: str
    follows: str = ""
    score: float = 0.0


def delivery_id(channel: str, alert: dict[str, Any], event: str = "") -> str:
    """Name one event of one alert on one channel: 32 hex digits, equal in every run."""
    return _hash(channel, event or alert["event"], alert["detectorName"], alert["alertId"])


def digest_id(ids: Sequence[str]) -> str:
    """Name a message of several deliveries."""
    return _hash("digest", *sorted(ids))


def _hash(*words: str) -> str:
    return hashlib.blake2b(orjson.dumps(words), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Wording:
    """How a job's messages are written.

    Parameters
    ----------
    job : str
        The job's name.
    time_zone : str
        IANA name of the zone that times are shown in.
    dashboard_url : str
        Address of the dashboard, for links; empty: none.
    """

    job: str
    time_zone: str = "UTC"
    dashboard_url: str = ""

    def of_one(self, channel: str, alert: dict[str, Any]) -> Message:
        """Tell one alert or one recovery."""
        name, measure = _series_name(alert), alert["measure"]
        score = float(alert["peakScore"])
        follows = ""
        if alert["event"] == "recovery":
            lasted = _lasted(alert["since"], alert["time"])
            title = f"Over: {name}, {measure} as usual again after {lasted}"
            lines = [f"{self._what(alert)}. It had been unusual since {self._at(alert['since'])}."]
            lines.append(f"Highest score: {score:.0f} of 100")
            follows = delivery_id(channel, alert, "alert")
        else:
            title = f"{name}: {_short(alert)}, score {score:.0f}"
            lines = [f"{self._what(alert)}.", _how_unusual(alert)]
            if alert.get("explanation"):
                lines.append(f"Why: {alert['explanation']}")
            lines.append(f"Since: {self._at(alert['since'])}")
        identity = delivery_id(channel, alert)
        lines.append(f"Detector: {alert['detectorName']}, job {self.job}")
        lines += self._link(alert)
        return self._message(identity, alert["event"], title, lines, follows, score)

    def of_many(self, channel: str, alerts: Sequence[dict[str, Any]], why: str = "") -> Message:
        """Tell several at once: the strangest one by one, of the others how many."""
        counts = Counter(alert["event"] for alert in alerts)
        told = [
            _number_of(number, word, words)
            for number, word, words in (
                (counts["alert"], "alert", "alerts"),
                (counts["recovery"], "recovery", "recoveries"),
            )
            if number
        ]
        ranked = sorted(alerts, key=_rank)
        series = {(alert["detectorName"], alert["timeseriesId"]) for alert in alerts}
        title = f"{' and '.join(told)} of {_number_of(len(series), 'series', 'series')}"
        lines = [why] if why else []
        lines += [self._line(alert) for alert in ranked[:LISTED]]
        if left := Counter(alert["detectorName"] for alert in ranked[LISTED:]):
            listed = ", ".join(f"{number} of {name}" for name, number in sorted(left.items()))
            lines.append(f"And {sum(left.values())} more: {listed}")
        lines.append(f"Job: {self.job}")
        if self.dashboard_url:
            lines.append(f"Look: {_with_query(self.dashboard_url, {'only': 'anomalies'})}")
        identity = digest_id([delivery_id(channel, alert) for alert in alerts])
        return self._message(identity, "digest", title, lines, "", float(ranked[0]["peakScore"]))

    def of_test(self, channel: str, once: str) -> Message:
        """Tell that a channel works; ``once`` is another text each time."""
        lines = ["If you can read this, notifications of this job reach you.", f"Job: {self.job}"]
        if self.dashboard_url:
            lines.append(f"Look: {self.dashboard_url}")
        title = f"Test of the channel {channel}"
        return self._message(_hash("test", self.job, channel, once), "test", title, lines, "", 0.0)

    def _message(
        self, identity: str, kind: str, title: str, lines: list[str], follows: str, score: float
    ) -> Message:
        body = "\n".join([*lines, f"Delivery: {identity}"])
        return Message(identity, kind, f"[{self.job}] {_one_line(title)}", body, follows, score)

    def _what(self, alert: dict[str, Any]) -> str:
        dimensions = ", ".join(f"{each['name']} {each['value']}" for each in alert["dimensionList"])
        of = f" of {dimensions}" if dimensions else ""
        value = number_text(alert["aggregatedMeasureValue"])
        told = f"{alert['measure']}{of} was {value} at {self._at(alert['time'])}"
        return told + _expected(alert, ", where ")

    def _line(self, alert: dict[str, Any]) -> str:
        told = f"- {self._at(alert['since'])} {_one_line(_series_name(alert))}: "
        if alert["event"] == "recovery":
            return told + f"over after {_lasted(alert['since'], alert['time'])}"
        return told + f"{_short(alert)}, score {alert['peakScore']:.0f}"

    def _at(self, text: str) -> str:
        """A record's time in the zone of the reader, with its zone."""
        moment = _moment(text).astimezone(zoneinfo.ZoneInfo(self.time_zone))
        return f"{moment:%Y-%m-%d %H:%M}{f':{moment:%S}' if moment.second else ''} {moment:%Z}"

    def _link(self, alert: dict[str, Any]) -> list[str]:
        if not self.dashboard_url:
            return []
        day = _moment(alert["since"]).date()
        asked = {
            "span": "days",
            "first": str(day - dt.timedelta(days=1)),
            "last": str(_moment(alert["time"]).date()),
            "series": alert["timeseriesId"],
            "of": alert["detectorName"],
            "anomaly": alert["alertId"],
        }
        return [f"Look: {_with_query(self.dashboard_url, asked)}"]


def _series_name(alert: dict[str, Any]) -> str:
    """What people call a series: the values of its dimensions, else its detector."""
    return ", ".join(each["value"] for each in alert["dimensionList"]) or alert["detectorName"]


def _short(alert: dict[str, Any]) -> str:
    value = number_text(alert["aggregatedMeasureValue"])
    return f"{alert['measure']} {value}" + _expected(alert, " where ")


def _expected(alert: dict[str, Any], joint: str) -> str:
    """What was expected, as the end of a sentence; empty where nothing was."""
    if alert["expectedValue"] is None:
        return ""
    told = f"{joint}{number_text(alert['expectedValue'])} was expected"
    lower, upper = alert.get("expectedLower"), alert.get("expectedUpper")
    if lower is None or upper is None:
        return told
    return f"{told} ({number_text(lower)} to {number_text(upper)})"


def _how_unusual(alert: dict[str, Any]) -> str:
    told = f"How unusual: score {alert['anomalyScore']:.1f} of 100"
    surprise = alert.get("surprise")
    if surprise is None:
        return told
    rows = float(f"{10 ** min(max(surprise, 0.0), 12.0):.2g}")
    return f"{told}; about one row in {rows:,.0f} of this series scores so high"


def _rank(alert: dict[str, Any]) -> tuple[Any, ...]:
    """Alerts before recoveries, the highest score first."""
    recovered = alert["event"] == "recovery"
    return recovered, -alert["peakScore"], alert["time"], alert["alertId"]


def _number_of(number: int, word: str, words: str) -> str:
    return f"{number:,} {word if number == 1 else words}"


def number_text(value: float) -> str:
    """Four digits are enough to tell values apart."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def _moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def _lasted(since: str, until: str) -> str:
    """A duration as people say it: its two largest units."""
    seconds = int((_moment(until) - _moment(since)).total_seconds())
    units = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
    told = []
    for unit, length in units:
        number, seconds = divmod(seconds, length)
        if number:
            told.append(_number_of(number, unit, unit + "s"))
    return " ".join(told[:2]) or "0 seconds"


def _one_line(text: str) -> str:
    """Without what would end a line: values come from records, and a title is one line."""
    line = " ".join(text.split())
    return line if len(line) <= _SHORT_TITLE else line[: _SHORT_TITLE - 3] + "..."


def _with_query(address: str, asked: dict[str, str]) -> str:
    joint = "&" if "?" in address else "?"
    return f"{address}{joint}{urlencode(asked)}"
