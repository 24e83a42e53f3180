"""Readers are shared by the instances of a step, and closed with the last of them; commits."""

from __future__ import annotations

from types import SimpleNamespace

from apache_beam.io import unbounded_source
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.runners.sdf_utils import RestrictionTrackerView, ThreadsafeRestrictionTracker

from transforms.io import unbounded
from transforms.io.unbounded import _Asking, _ReadFn


class Reader:
    """Knows whether it was closed."""

    closed = False

    def close(self):
        self.closed = True


def test_a_reader_that_one_instance_parked_is_the_next_ones():
    first, second, other = _ReadFn("settings"), _ReadFn("settings"), _ReadFn("others")
    for instance in (first, second, other):
        instance.setup()
    reader = Reader()
    first._reader_cache.park(b"mark", reader, True)
    assert other._reader_cache.acquire(b"mark") is None
    assert second._reader_cache.acquire(b"mark") == (reader, True)
    assert first._reader_cache.acquire(b"mark") is None


def test_the_last_instance_closes_the_readers():
    first, second = _ReadFn("one job"), _ReadFn("one job")
    first.setup()
    second.setup()
    reader = Reader()
    first._reader_cache.park(b"mark", reader, True)
    first.teardown()
    first.teardown()  # Beam may call it again
    assert not reader.closed
    second.teardown()
    assert reader.closed


def asks_to_be_told(read, source):
    """Whether a bundle that reads a record of the source asks to be told of the checkpoint."""
    asked = []
    restriction = unbounded_source._UnboundedSourceRestriction(source=source)
    tracker = unbounded_source._UnboundedSourceRestrictionTracker(restriction)
    view = RestrictionTrackerView(ThreadsafeRestrictionTracker(tracker))
    finalizer = SimpleNamespace(register=asked.append)
    bundle = read.process(source, finalizer, view, ManualWatermarkEstimator(None))
    assert len(list(bundle)) == 1
    return len(asked) == 1


def test_a_source_asks_for_the_checkpoint_once_in_a_while(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(unbounded, "_COMMITS", _Asking(lambda: now[0]))
    monkeypatch.setattr(unbounded, "READ_SECONDS", 0.0)
    read = _ReadFn("settings")
    one, other = (unbounded_source.UnboundedCountingSource(99) for _ in range(2))
    assert asks_to_be_told(read, one)
    assert asks_to_be_told(read, other)
    assert not asks_to_be_told(read, one)
    now[0] += 4.9
    assert not asks_to_be_told(_ReadFn("settings"), one), "another bundle's instance"
    now[0] += 0.1
    assert asks_to_be_told(read, one)
    assert not asks_to_be_told(read, one)
