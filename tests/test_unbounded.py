"""Readers are shared by the instances of a step, and closed with the last of them."""

from __future__ import annotations

from transforms.io.unbounded import POLL_SECONDS, _ReadFn, poll_after


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


def test_a_reader_says_when_it_is_polled_again():
    read = _ReadFn("one job")
    read.start_bundle()
    assert read._poll_interval == POLL_SECONDS
    poll_after(0.7)
    assert read._poll_interval == 0.7
    poll_after(0.0)
    assert read._poll_interval == POLL_SECONDS
    poll_after(0.7)
    read.start_bundle()
    assert read._poll_interval == POLL_SECONDS
