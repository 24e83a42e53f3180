"""Every named query anew, in plain loops over the JSON records instead of SQL over the lake."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime

import pytest

DIMENSION = "product_name"


def assert_same(got, expected):
    assert [list(row) for row in got] == [list(row) for row in expected]
    for one, other in zip(got, expected, strict=True):
        for name, value in one.items():
            # a mean depends in its last bit on the order of its sum
            same = (
                pytest.approx(other[name], rel=1e-12) if isinstance(value, float) else other[name]
            )
            assert value == same, name


def chosen(records, asked, time="detectionPeriodStartTime"):
    return [
        record
        for record in records
        if asked.from_time <= record[time] < asked.to_time
        and asked.series in ("", record.get("timeseriesId"))
        and asked.detector in ("", record["detectorName"] or "")
    ]


def by_series(records):
    found = defaultdict(list)
    for record in sorted(records, key=lambda each: each["detectionPeriodStartTime"]):
        found[record["detectorName"], record["timeseriesId"]].append(record)
    return found


def by_detector(records):
    found = defaultdict(dict)
    for (detector, series), rows in by_series(records).items():
        found[detector][series] = rows
    return sorted(found.items())


def dimension(record):
    pairs = {pair["name"]: pair["value"] for pair in record["dimensionList"]}
    return {DIMENSION: pairs.get(DIMENSION)}


def is_anomaly(record):
    return record["anomalyDecision"] == 1


def anomalies_by_series(results, late, dead, asked):
    rows = []
    for (detector, series), found in by_series(chosen(results, asked)).items():
        hits = [record for record in found if is_anomaly(record)]
        if hits:
            rows.append(
                {"detector": detector, "measure": hits[0]["measure"], "series": series}
                | dimension(hits[0])
                | {
                    "anomalies": len(hits),
                    "peak_score": max(record["anomalyScore"] for record in hits),
                    "first_time": hits[0]["detectionPeriodStartTime"],
                    "last_time": hits[-1]["detectionPeriodStartTime"],
                }
            )
    return sorted(rows, key=lambda row: (-row["anomalies"], row["series"]))[: asked.rows]


def renamed(record, names):
    row = {}
    for name, field in names.items():
        row |= dimension(record) if field is None else {name: record[field]}
    return row


VALUE = {
    "value": "aggregatedMeasureValue",
    "expected": "expectedValue",
    "lower": "expectedLower",
    "upper": "expectedUpper",
    "score": "anomalyScore",
}
NAMED = {
    "time": "detectionPeriodStartTime",
    "detector": "detectorName",
    "measure": "measure",
    "series": "timeseriesId",
    "dimensions": None,
}


def anomalies(results, late, dead, asked):
    time, *rest = NAMED
    names = {time: NAMED[time], "end_time": "detectionPeriodEndTime"}
    names |= {name: NAMED[name] for name in rest} | VALUE
    names |= {
        "threshold": "anomalyDecisionThreshold",
        "surprise": "surprise",
        "raw_score": "rawScore",
        "confidence": "anomalyConfidenceScore",
        "point": "processedDataPoints",
        "neighbour": "nearestNeighbour",
        "neighbour_time": "nearestNeighbourTime",
        "attribution": "attribution",
        "attribution_high": "attributionHigh",
        "reason": "decisionReason",
        "imputed": "imputed",
        "result_id": "resultId",
    }
    rows = [renamed(record, names) for record in chosen(results, asked) if is_anomaly(record)]
    rows.sort(key=lambda row: row["result_id"])
    rows.sort(key=lambda row: row["time"], reverse=True)
    return rows[: asked.rows]


def score_history(results, late, dead, asked):
    names = NAMED | VALUE
    names |= {
        "threshold": "anomalyDecisionThreshold",
        "decision": "anomalyDecision",
        "raw_score": "rawScore",
        "stage": "modelStage",
        "point": "processedDataPoints",
        "imputed": "imputed",
        "result_id": "resultId",
    }
    rows = [renamed(record, names) for record in chosen(results, asked)]
    rows.sort(key=lambda row: (row["series"], row["time"], row["result_id"]))
    return rows[: asked.rows]


def seconds(record):
    text = record["detectionPeriodStartTime"]
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def score_chart(results, late, dead, asked):
    found = chosen(results, asked)
    if not found:
        return []
    first, last = min(map(seconds, found)), max(map(seconds, found))
    buckets = defaultdict(list)
    for record in sorted(found, key=lambda each: each["resultId"]):
        buckets[int((seconds(record) - first) * asked.buckets // (last - first + 1))].append(record)
    kept = {}
    for rows in buckets.values():
        shown = [
            min(rows, key=lambda row: row["aggregatedMeasureValue"]),
            max(rows, key=lambda row: row["aggregatedMeasureValue"]),
            max(rows, key=lambda row: row["anomalyScore"]),
            max(rows, key=lambda row: row["rawScore"] or 0),
            *(row for row in rows if is_anomaly(row)),
        ]
        kept |= {row["resultId"]: row for row in shown}
    names = {"time": NAMED["time"], "measure": "measure"} | VALUE
    names |= {
        "threshold": "anomalyDecisionThreshold",
        "decision": "anomalyDecision",
        "raw_score": "rawScore",
        "stage": "modelStage",
        "point": "processedDataPoints",
        "result_id": "resultId",
    }
    rows = [renamed(record, names) for record in kept.values()]
    return sorted(rows, key=lambda row: (row["time"], row["result_id"]))


def points_between(results, late, dead, asked):
    names = {"time": NAMED["time"], "measure": "measure"} | VALUE
    names |= {
        "decision": "anomalyDecision",
        "point": "processedDataPoints",
        "result_id": "resultId",
    }
    rows = [renamed(record, names) for record in chosen(results, asked)]
    rows = [row for row in rows if asked.first_point <= row["point"] <= asked.last_point]
    return sorted(rows, key=lambda row: (row["point"], row["time"], row["result_id"]))


def series_overview(results, late, dead, asked):
    rows = []
    for (detector, series), found in by_series(chosen(results, asked)).items():
        hits = [record for record in found if is_anomaly(record)]
        newest = found[-1]
        rows.append(
            {"detector": detector, "measure": newest["measure"], "series": series}
            | dimension(newest)
            | {
                "last_time": newest["detectionPeriodStartTime"],
                "points": newest["processedDataPoints"],
                "confidence": newest["anomalyConfidenceScore"],
                "stage": newest["modelStage"],
                "anomalies": len(hits),
                "peak_score": max((record["anomalyScore"] for record in hits), default=None),
                "last_anomaly": hits[-1]["detectionPeriodStartTime"] if hits else None,
            }
        )
    rows.sort(key=lambda row: (-row["anomalies"], row["series"], row["detector"]))
    return rows[: asked.rows]


def series_tracked(results, late, dead, asked):
    return [
        {"detector": detector, "series": len(found)}
        for detector, found in by_detector(chosen(results, asked))
    ]


def points_processed(results, late, dead, asked):
    return [
        {
            "detector": detector,
            "points": sum(max(r["processedDataPoints"] for r in rows) for rows in found.values()),
        }
        for detector, found in by_detector(chosen(results, asked))
    ]


def confidence(results, late, dead, asked):
    rows = []
    for detector, found in by_detector(chosen(results, asked)):
        newest = [series[-1] for series in found.values()]
        scores = [record["anomalyConfidenceScore"] for record in newest]
        rows.append(
            {
                "detector": detector,
                "mean_confidence": sum(scores) / len(scores),
                "least_confidence": min(scores),
                "series_learning": sum(record["modelStage"] == "LEARNING" for record in newest),
            }
        )
    return rows


def alerts_of(found, recovery_after):
    """Days on which the alerts of one series open, as the pipeline's rules say it."""
    is_open, last = False, None
    for record in found:
        if not is_anomaly(record):
            continue
        number = record["processedDataPoints"]
        if last is not None and not 1 <= number - last <= recovery_after:
            is_open = False
        quiet = (record["decisionReason"] or "").startswith("quiet period")
        if not is_open and not quiet:
            yield record["detectionPeriodStartTime"][:10]
        is_open, last = not quiet, number


def daily_alert_budget(results, late, dead, asked):
    tracked, alerts = defaultdict(set), defaultdict(int)
    for (detector, series), found in by_series(chosen(results, asked)).items():
        for record in found:
            tracked[record["detectionPeriodStartTime"][:10], detector].add(series)
        for day in alerts_of(found, asked.recovery_after):
            alerts[day, detector] += 1
    return [
        {
            "day": day,
            "detector": detector,
            "series": len(series),
            "alerts": alerts[day, detector],
            "budget": len(series) * asked.alerts_per_week / 7,
            "over_budget": alerts[day, detector] > len(series) * asked.alerts_per_week / 7,
        }
        for (day, detector), series in sorted(tracked.items())
    ]


def late_and_dead(results, late, dead, asked):
    counts = defaultdict(lambda: [0, 0])
    for record in chosen(late, asked, "eventTime"):
        counts[record["eventTime"][:10], record["detectorName"]][0] += 1
    for record in chosen(dead, asked, "time"):
        counts[record["time"][:10], record["detectorName"] or ""][1] += 1
    return [
        {"day": day, "detector": detector, "late": late_count, "dead": dead_count}
        for (day, detector), (late_count, dead_count) in sorted(counts.items())
    ]
