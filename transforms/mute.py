"""Alerts that people said are none, kept quiet: rules and alerts meet in one small step.

Only alerts pass here, so a state read an alert does no harm; results go another way and never
change. The step is keyed by detector.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import orjson
from apache_beam.coders import BytesCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagRuntimeState,
    BagStateSpec,
    RuntimeTimer,
    TimerSpec,
    on_timer,
)
from apache_beam.transforms.window import GlobalWindow

from transforms import metrics
from transforms.dead_letter import DeadLetter, dead_letter_line
from transforms.feedback_rules import Feedback, rule_of
from transforms.records import Batch

DEAD = "dead"
STEP = "mute"
_ALERT, _SAID = b"A", b"R"
_END = GlobalWindow().max_timestamp()


class ReadRulesFn(beam.DoFn):
    """Batches of rules' records into (detector, rule); what is none is a dead letter, on `DEAD`.

    Parameters
    ----------
    detectors : frozenset of str
        Those of the job; rules about others are another job's.
    """

    def __init__(self, detectors: frozenset[str]) -> None:
        self._detectors = detectors

    def process(self, elements: tuple[Any, ...]) -> Iterator[Any]:
        """Read each record."""
        batch = Batch(*elements)
        for position, payload in enumerate(batch.payloads):
            try:
                rule = rule_of(payload)
            except ValueError as error:
                letter = DeadLetter(position, str(error))
                yield beam.pvalue.TaggedOutput(DEAD, dead_letter_line(batch, letter, STEP))
                continue
            if rule.detectorName in self._detectors:
                yield rule.detectorName, _SAID + rule.to_line()


class MuteAlerts(beam.PTransform):
    """Alerts as JSON lines, and (detector, rule), into alerts that say what keeps them quiet.

    Parameters
    ----------
    ends : bool
        Whether the run ends: then all rules are read before the first alert is judged.
    """

    def __init__(self, ends: bool) -> None:
        super().__init__()
        self._ends = ends

    def expand(self, both: tuple[Any, Any]) -> Any:
        """Bring them together by detector."""
        alerts, rules = both
        keyed = alerts | "Keyed" >> beam.Map(_keyed).with_output_types(tuple[str, bytes])
        joined = (keyed, rules) | "WithRules" >> beam.Flatten()
        if self._ends:
            # in one stage with the step before, whose timers fire at the end of the input, Beam's
            # Direct runner (2.77) would drop the timers that are set then
            joined = joined | "Apart" >> beam.Reshuffle()
        typed = joined | "Typed" >> beam.Map(_same).with_output_types(tuple[str, bytes])
        return typed | "Judge" >> beam.ParDo(MuteFn(self._ends)).with_output_types(bytes)


class MuteFn(beam.DoFn):
    """(detector, rule or alert) into alerts; see the module.

    Parameters
    ----------
    ends : bool
        See `MuteAlerts`.
    """

    SAID = BagStateSpec("said", BytesCoder())
    UNJUDGED = BagStateSpec("unjudged", BytesCoder())
    # a name of its own: see `transforms.io.lake_live`
    JUDGE_REST = TimerSpec("judge_rest", TimeDomain.WATERMARK)

    def __init__(self, ends: bool) -> None:
        self._ends = ends

    def process(
        self,
        element: tuple[str, bytes],
        said: BagRuntimeState = beam.DoFn.StateParam(SAID),
        unjudged: BagRuntimeState = beam.DoFn.StateParam(UNJUDGED),
        judge_rest: RuntimeTimer = beam.DoFn.TimerParam(JUDGE_REST),
    ) -> Iterator[bytes]:
        """Take in a rule, or judge an alert by the rules so far."""
        _, data = element
        if self._ends:
            unjudged.add(data)
            judge_rest.set(_END)
            return
        yield from _told(said, [data])

    @on_timer(JUDGE_REST)
    def judge(
        self,
        said: BagRuntimeState = beam.DoFn.StateParam(SAID),
        unjudged: BagRuntimeState = beam.DoFn.StateParam(UNJUDGED),
    ) -> Iterator[bytes]:
        """Take in all rules, then judge all alerts in the order of their time."""
        data = list(unjudged.read())
        unjudged.clear()
        rules = [each for each in data if each.startswith(_SAID)]
        alerts = [each for each in data if each.startswith(_ALERT)]
        yield from _told(said, rules + sorted(alerts, key=_order))


def _told(said: BagRuntimeState, data: list[bytes]) -> Iterator[bytes]:
    feedback = Feedback(said.read())
    changed = False
    for each in data:
        if each.startswith(_SAID):
            feedback.add(rule_of(each[len(_SAID) :]))
            changed = True
            continue
        line, is_muted = feedback.judge(each[len(_ALERT) :])
        changed |= is_muted
        metrics.count("muted", int(is_muted))
        yield line
    if changed:
        said.clear()
        for element in feedback.elements():
            said.add(element)


def _keyed(line: bytes) -> tuple[str, bytes]:
    return str(orjson.loads(line)["detectorName"]), _ALERT + line


def _order(data: bytes) -> tuple[str, str]:
    alert = orjson.loads(data[len(_ALERT) :])
    return str(alert["time"]), str(alert["event"])  # an alert before its recovery


def _same(element: Any) -> Any:
    return element
