"""Readers are shared by the instances of a step, and closed with the last of them."""

from __future__ import annotations

from transforms.io.unbounded import _ReadFn


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
