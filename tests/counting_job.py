"""An endless job whose every output says whether state, timers and positions were right.

Records count up: record n belongs to series ``n % SERIES``, its event time is ``n / 100`` seconds.
Every two seconds of event time a timer folds a series' waiting records into a chained hash, and a
line tells the hash. A record that is lost, comes twice or in another window changes all later
lines.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from pathlib import Path

import apache_beam as beam
from apache_beam import coders
from apache_beam.io.unbounded_source import (
    CheckpointMark,
    ReadFromUnboundedSource,
    UnboundedReader,
    UnboundedSource,
)
from apache_beam.metrics import Metrics
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagStateSpec,
    ReadModifyWriteStateSpec,
    TimerSpec,
    on_timer,
)
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp

SERIES = 20
RECORDS_A_SECOND = 100
WINDOW = 2
START = 1_700_000_000


def expected(series, windows):
    """Lines of a series for the first windows."""
    state = b""
    for window in range(windows):
        first = window * WINDOW * RECORDS_A_SECOND
        numbers = range(first, first + WINDOW * RECORDS_A_SECOND)
        state = folded(state, [n for n in numbers if n % SERIES == series])
        yield f"{series} {window} {state.hex()}"


def folded(state, numbers):
    return hashlib.sha256(state + b"".join(n.to_bytes(8, "big") for n in numbers)).digest()


class Mark(CheckpointMark):
    def __init__(self, following):
        self.following = following


class MarkCoder(coders.Coder):
    def encode(self, value):
        return value.following.to_bytes(8, "big")

    def decode(self, encoded):
        return Mark(int.from_bytes(encoded, "big"))

    def is_deterministic(self):
        return True


class Reader(UnboundedReader):
    """As fast as the clock, and catching up after an interruption; the watermark follows it."""

    def __init__(self, following, total, since):
        self._next = following
        self._total = total
        self._since = since

    def start(self):
        return self.advance()

    def advance(self):
        due = (time.time() - self._since) * RECORDS_A_SECOND
        if self._next >= min(due, self._total):
            return False
        self._next += 1
        return True

    def get_current(self):
        return self._next - 1

    def get_current_timestamp(self):
        return Timestamp(micros=(START * RECORDS_A_SECOND + self._next - 1) * 10_000)

    def get_watermark(self):
        if self._next >= self._total:
            return MAX_TIMESTAMP
        return Timestamp(micros=(START * RECORDS_A_SECOND + self._next) * 10_000)

    def get_checkpoint_mark(self):
        return Mark(self._next)


class Source(UnboundedSource):
    def __init__(self, total):
        self._total = total
        self._since = time.time()

    def split(self, desired_num_splits, options=None):
        return [self]

    def create_reader(self, options, checkpoint_mark):
        following = checkpoint_mark.following if checkpoint_mark else 0
        return Reader(following, self._total, self._since)

    def get_checkpoint_mark_coder(self):
        return MarkCoder()

    def default_output_coder(self):
        return coders.VarIntCoder()


WAITING = BagStateSpec("waiting", coders.VarIntCoder())
STATE = ReadModifyWriteStateSpec("state", coders.BytesCoder())
DUE = TimerSpec("due", TimeDomain.WATERMARK)
WAITING_PARAM = beam.DoFn.StateParam(WAITING)
STATE_PARAM = beam.DoFn.StateParam(STATE)
DUE_PARAM = beam.DoFn.TimerParam(DUE)


class FoldFn(beam.DoFn):
    def __init__(self):
        self._records = Metrics.counter("counting", "records")
        self._newest = Metrics.gauge("counting", "newest")
        self._sizes = Metrics.distribution("counting", "window_size")

    def process(
        self,
        element,
        waiting=WAITING_PARAM,
        due=DUE_PARAM,
    ):
        number = element[1]
        waiting.add(number)
        window = number // (WINDOW * RECORDS_A_SECOND)
        due.set(Timestamp(START + (window + 1) * WINDOW), dynamic_timer_tag=str(window))
        self._records.inc()
        self._newest.set(number)

    @on_timer(DUE)
    def fold(
        self,
        key=beam.DoFn.KeyParam,
        tag=beam.DoFn.DynamicTimerTagParam,
        waiting=WAITING_PARAM,
        state=STATE_PARAM,
    ):
        numbers = sorted(waiting.read())
        end = (int(tag) + 1) * WINDOW * RECORDS_A_SECOND
        due = [n for n in numbers if n < end]
        waiting.clear()
        for number in numbers[len(due) :]:
            waiting.add(number)
        now = folded(state.read() or b"", due)
        state.write(now)
        self._sizes.update(len(due))
        yield f"{key} {tag} {now.hex()}"


class AppendFn(beam.DoFn):
    """Lines to a file of this worker's own."""

    def __init__(self, folder):
        self._folder = folder

    def setup(self):
        self._file = (Path(self._folder) / f"{os.getpid()}-{uuid.uuid4().hex}").open("a")

    def process(self, line):
        self._file.write(line + "\n")
        self._file.flush()

    def teardown(self):
        self._file.close()


def build(pipeline, folder, total=1 << 60):
    (
        pipeline
        | "Read" >> ReadFromUnboundedSource(Source(total), poll_interval=0.1)
        | "Key" >> beam.Map(lambda n: (str(n % SERIES), n)).with_output_types(tuple[str, int])
        | "Fold" >> beam.ParDo(FoldFn()).with_output_types(str)
        | "Append" >> beam.ParDo(AppendFn(str(folder)))
    )


def lines(folder):
    """All lines, whole ones only: a worker that is killed may leave half of one."""
    found = []
    for file in Path(folder).iterdir():
        found += file.read_text().split("\n")[:-1]
    return found
