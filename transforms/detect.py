"""The stateful step: keyed by series, it orders points, closes periods, scores and decides.

`DetectFn.process` only appends a block to the pending bag and sets a timer; it reads no state,
because a state read is what a runner makes a worker wait for. The timer does everything else in
one go (`_flush`), for all the points that its due time lets it close. A timer only wakes the step:
one that is repeated, early or out of order changes nothing.

State of a series
-----------------
pending : bag
    The head, and blocks of points that wait for the watermark. The head says how many points were
    consumed, the event time reached, a chained hash of what was consumed, and the alert state.
journal : bag
    A snapshot of the model, and the rows consumed since; read only for a rebuild.

A worker waits for each cell that is read, so what is read together lies in one; an element's first
bytes say what it is. The model that scores lives in the worker process (`transforms.live_models`).
It is used only if it has consumed exactly what the head says, else it is rebuilt from the journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
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
from apache_beam.utils.timestamp import Timestamp

from transforms import metrics
from transforms.advance import Outcome, advance
from transforms.detection import Detection
from transforms.head import LONG_AGO, Head
from transforms.live_models import LIVE_MODELS, Journal, ModelKey, usual_bytes
from transforms.live_series import LIVE_SERIES
from transforms.records import Block, Series, decode_block, decode_blocks, encode_block

ALERTS, LATE, TALLY, LEFT_DISCORDS = "alerts", "late", "tally", "left_discords"
MOST_TIMERS_A_BLOCK = 16
DENSE_POINTS, DENSE_PARTS, LEAST_DENSE_POINTS = 2_000, 4, 100
"""A series that has so many points in a spacing is woken so often in it, if a block shows that."""
_COUNTED = ("used", "late", "duplicate", "scored", "warm_up", "imputed")
_HEAD, _SNAPSHOT, _ROWS = b"H1", b"S1", b"R1"
_END = GlobalWindow().max_timestamp()
_END_MICROS = int(_END.micros)


@dataclass(frozen=True)
class Settings:
    """How the step runs; none of it changes a result.

    Parameters
    ----------
    flush_every : int or None
        Spacing of due times in microseconds; None for bounded input: one flush at its end.
    snapshot_rows : int
        Rows between two snapshots of a model.
    live_bytes : int, optional
        Most memory for live models in a worker process, in bytes; None: what
        `transforms.live_models.usual_bytes` finds there.
    """

    flush_every: int | None = None
    snapshot_rows: int = 256
    live_bytes: int | None = None


class DetectFn(beam.DoFn):
    """Score and decide every series; see the module.

    Elements are (series key, block as bytes). The main output is (series ID, date, JSON lines);
    `LEFT_DISCORDS` is the same in LeftDiscords' layout, where the job asks for it; `ALERTS` and
    `LATE` are JSON, `TALLY` is (detector, counter, number).

    Parameters
    ----------
    detections : dict of str to Detection
        By detector name.
    settings : Settings
        How to run.
    clock : callable, optional
        Seconds since 1970, for metrics only.
    """

    PENDING = BagStateSpec("pending", BytesCoder())
    JOURNAL = BagStateSpec("journal", BytesCoder())
    DUE = TimerSpec("due", TimeDomain.WATERMARK)
    EXPIRY = TimerSpec("expiry", TimeDomain.WATERMARK)
    INPUT_END = TimerSpec("input_end", TimeDomain.WATERMARK)

    def __init__(
        self,
        detections: dict[str, Detection],
        settings: Settings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._detections = detections
        self._settings = settings
        self._clock = clock

    def setup(self) -> None:
        """Compile the kernels before the first bundle."""
        for detection in self._detections.values():
            detection.compile()

    def process(
        self,
        element: tuple[str, bytes],
        pending: BagRuntimeState = beam.DoFn.StateParam(PENDING),
        due: RuntimeTimer = beam.DoFn.TimerParam(DUE),
    ) -> None:
        """Append the block and ask to be woken when its periods are due."""
        _, data = element
        pending.add(data)
        metrics.count("pending_bytes", len(data))
        for micros in self._due_times(decode_block(data)):
            _set(due, micros)

    def _due_times(self, block: Block) -> list[int]:
        if self._settings.flush_every is None:
            return [_END_MICROS]
        detection = self._detections[block.series.detector]
        every = _spacing(self._settings.flush_every, detection, block)
        times = -(-detection.ends(block.times) // every) * every
        if times.min() == times.max():
            return [int(times[0])]
        times = np.unique(times)
        # a long backlog needs no wake for each period it spans, only enough to make progress; what
        # a history says is old, and nobody waits for it
        step = -(-len(times) // (1 if block.history else MOST_TIMERS_A_BLOCK)) or 1
        return list(reversed(times[::-1][::step].tolist()))

    @on_timer(DUE)
    def wake(
        self,
        key: str = beam.DoFn.KeyParam,
        timestamp: Timestamp = beam.DoFn.TimestampParam,
        pending: BagRuntimeState = beam.DoFn.StateParam(PENDING),
        journal: BagRuntimeState = beam.DoFn.StateParam(JOURNAL),
        due: RuntimeTimer = beam.DoFn.TimerParam(DUE),
        expiry: RuntimeTimer = beam.DoFn.TimerParam(EXPIRY),
        input_end: RuntimeTimer = beam.DoFn.TimerParam(INPUT_END),
    ) -> Iterator[Any]:
        """Consume what is due; watch the series while it is silent."""
        detection = self._detections[key.partition("/")[0]]
        now = int(timestamp.micros)
        outcome = self._flush(detection, now, pending, journal)
        if outcome is None:
            return
        self._watch(detection, outcome, now, due, expiry, input_end)
        self._measure(detection, outcome, now)
        yield from _outputs(outcome)

    def _measure(self, detection: Detection, outcome: Outcome, now: int) -> None:
        """How long after the fact the results come; only on a live stream is that of interest."""
        metrics.count("wakes")
        LIVE_SERIES.saw(outcome.series.key)
        if self._settings.flush_every is None or now >= _END_MICROS:
            return
        clock = self._clock() * 1000
        metrics.observe("watermark_lag_ms", clock - now / 1000)
        if outcome.results and outcome.head is not None:
            end = outcome.head.filled_to + detection.period
            metrics.observe("latency_ms", clock - end / 1000)

    def finish_bundle(self) -> None:
        """Show what this process holds in memory."""
        metrics.show("live_series", len(LIVE_SERIES))
        metrics.show("live_models", len(LIVE_MODELS))
        metrics.show("live_model_bytes", LIVE_MODELS.bytes)

    def _watch(
        self,
        detection: Detection,
        outcome: Outcome,
        now: int,
        due: RuntimeTimer,
        expiry: RuntimeTimer,
        input_end: RuntimeTimer,
    ) -> None:
        """Wake the series again though it may stay silent: to fill its gaps, then to forget it."""
        every = self._settings.flush_every
        if every is None or outcome.head is None:
            return
        # the last filled row ends a period after the time to live and is closed one wake later
        over = outcome.head.last_start + detection.ttl + detection.period + 2 * every
        expiry.set(_time(over + every))
        if outcome.watch and not outcome.head.ended and now <= over:
            # once when the next row ends, and once more, as a wake fills up to the one before; a
            # chain of wakes at every spacing would crawl through each second of a long backlog
            next_end = outcome.head.filled_to + 2 * detection.period
            _set(due, max(now // every + 1, -(-next_end // every)) * every)
            input_end.set(_END)

    @on_timer(INPUT_END)
    def end_of_input(self, pending: BagRuntimeState = beam.DoFn.StateParam(PENDING)) -> None:
        """Remember that the watermark passed the end of time: nothing is filled in after it."""
        head, blocks = _read(pending)
        if head is not None:
            _write(pending, head.at_end(), blocks)

    @on_timer(EXPIRY)
    def expire(
        self,
        key: str = beam.DoFn.KeyParam,
        timestamp: Timestamp = beam.DoFn.TimestampParam,
        pending: BagRuntimeState = beam.DoFn.StateParam(PENDING),
        journal: BagRuntimeState = beam.DoFn.StateParam(JOURNAL),
    ) -> None:
        """Forget a series that has been silent for its time to live.

        Only frees space: a point that comes after so long a silence starts a new model anyhow.
        """
        detection = self._detections[key.partition("/")[0]]
        head, blocks = _read(pending)
        if head is None or blocks:
            return
        if head.last_start + detection.ttl < int(timestamp.micros):
            pending.clear()
            journal.clear()

    def _flush(
        self,
        detection: Detection,
        due: int,
        pending: BagRuntimeState,
        journal: BagRuntimeState,
    ) -> Outcome | None:
        before, blocks = _read(pending)
        if not blocks and before is None:
            return None
        store = _Store(self._settings, journal)
        outcome = advance(
            detection,
            before,
            blocks,
            due if due < _END_MICROS else None,
            self._fill_until(before, due),
            store,
        )
        if blocks or outcome.head != before:
            _write(pending, outcome.head, outcome.waiting)
        return outcome

    def _fill_until(self, before: Head | None, due: int) -> int:
        """How far a silent series may be filled in at a wake.

        Not up to the due time: at the end of input the watermark passes every timer at once, and a
        timer cannot see that. The one that was set before may still fire, so it fills up to the
        due time before its own; `end_of_input`, which fires with it, stops the rest.
        """
        if self._settings.flush_every is None or (before is not None and before.ended):
            return LONG_AGO
        return due - self._settings.flush_every


def _spacing(every: int, detection: Detection, block: Block) -> int:
    """``every``, or a part of it where a series has so many points that they are most of a wake."""
    points = len(block.times)
    if detection.aggregation is not None or points < LEAST_DENSE_POINTS:
        return every
    span = int(block.times.max() - block.times.min())
    return max(1, every // DENSE_PARTS) if points * every >= DENSE_POINTS * span else every


class _Store:
    """The models of one series as `advance` sees them: live, or rebuilt from its state cells."""

    def __init__(self, settings: Settings, journal: BagRuntimeState) -> None:
        self._settings = settings
        self._journal = journal

    def take(self, key: ModelKey) -> Any:
        """The model that has consumed exactly what ``key`` says."""
        model = LIVE_MODELS.take(key)
        if model is not None:
            return model
        snapshot, rows = None, []
        for data in self._journal.read():
            if data.startswith(_SNAPSHOT):
                snapshot = data[len(_SNAPSHOT) :]
            else:
                rows.append(Journal.from_bytes(data[len(_ROWS) :]))
        return key.rebuild(snapshot, rows)

    def put(self, key: ModelKey, model: Any, since_snapshot: int, consumed: Journal | None) -> int:
        """Keep the model and what a rebuild needs; rows since the snapshot after it."""
        if consumed is not None:
            since_snapshot += len(consumed.values)
            if since_snapshot >= self._settings.snapshot_rows:
                saved = model.to_bytes()
                self._journal.clear()
                self._journal.add(_SNAPSHOT + saved)
                metrics.count("snapshot_bytes", len(saved))
                since_snapshot = 0
            else:
                rows = consumed.to_bytes()
                self._journal.add(_ROWS + rows)
                metrics.count("journal_bytes", len(rows))
        # bounded input wakes a series once: its model would only take room from the others
        bounded, most = self._settings.flush_every is None, self._settings.live_bytes
        LIVE_MODELS.put(key, model, 0 if bounded else usual_bytes() if most is None else most)
        return since_snapshot

    def forget(self) -> None:
        """Drop snapshot and journal: a new model starts."""
        self._journal.clear()


def _read(pending: BagRuntimeState) -> tuple[Head | None, list[Block]]:
    """The series' head and the blocks that wait, in one read."""
    head, blocks = None, []
    for data in pending.read():
        if data.startswith(_HEAD):
            head = Head.from_bytes(data[len(_HEAD) :])
        else:
            blocks.append(data)
    return head, decode_blocks(blocks)


def _write(pending: BagRuntimeState, head: Head | None, blocks: list[Block]) -> None:
    pending.clear()
    if head is not None:
        pending.add(_HEAD + head.to_bytes())
    for block in blocks:
        pending.add(encode_block(block))


def _time(micros: int) -> Timestamp:
    return Timestamp(micros=min(micros, _END_MICROS))


def _set(timer: RuntimeTimer, micros: int) -> None:
    """Set a timer under its due time's own tag, so that another's due time never moves it."""
    timer.set(_time(micros), dynamic_timer_tag=str(micros))


def _outputs(outcome: Outcome) -> Iterator[Any]:
    series: Series = outcome.series
    for counter in _COUNTED:
        metrics.count(counter, outcome.tally[counter])
    metrics.count("alerts", len(outcome.alerts))
    for date, lines in outcome.results:
        yield series.id, date, lines
    for date, lines in outcome.left_discords:
        yield beam.pvalue.TaggedOutput(LEFT_DISCORDS, (series.id, date, lines))
    for line in outcome.alerts:
        yield beam.pvalue.TaggedOutput(ALERTS, line)
    for line in outcome.late:
        yield beam.pvalue.TaggedOutput(LATE, line)
    for counter, number in outcome.tally.items():
        if number:
            yield beam.pvalue.TaggedOutput(TALLY, (series.detector, counter, number))
