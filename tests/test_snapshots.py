"""Snapshots, against the sets of transactions that they stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.snapshots import NOTHING, Snapshot, advanced

MOST = 40


@st.composite
def snapshots(draw, over=frozenset(), least=1):
    """A snapshot in which at least these transactions are over."""
    xmax = draw(st.integers(least, MOST))
    listed = draw(st.sets(st.integers(1, xmax - 1) if xmax > 1 else st.nothing()))
    listed = frozenset(listed - over)
    return Snapshot(min(listed, default=xmax), xmax, listed)


@st.composite
def pairs(draw):
    then = draw(snapshots())
    return then, draw(snapshots(over_in(then), then.xmax))


def over_in(snapshot):
    return frozenset(xid for xid in range(1, MOST + 5) if snapshot.is_over(xid))


@given(snapshots())
def test_the_text_is_read_again(snapshot):
    assert Snapshot.parse(str(snapshot)) == snapshot
    assert all(snapshot.is_over(xid) for xid in range(1, snapshot.xmin))


@given(pairs(), st.integers(1, MOST + 3))
def test_advanced_is_the_new_one_below_and_the_old_one_above(pair, below):
    then, now = pair
    mixed = advanced(then, now, below)
    expected = {xid for xid in over_in(now) if xid < below} | over_in(then)
    assert over_in(mixed) == expected
    assert Snapshot.parse(str(mixed)) == mixed
    assert mixed.xmin <= mixed.xmax
    assert all(mixed.xmin <= xid < mixed.xmax for xid in mixed.in_progress)


@given(pairs(), st.lists(st.integers(1, MOST + 3)))
def test_steps_come_to_the_same_as_one_stride(pair, steps):
    then, now = pair
    for below in sorted(steps):
        then = advanced(then, now, below)
    assert over_in(advanced(then, now, MOST + 4)) == over_in(now)


def test_nothing_is_over_before_the_first_transaction():
    assert str(NOTHING) == "1:1:"
    assert not over_in(NOTHING)


@pytest.mark.parametrize("text", ["", "1:2", "0:1:", "1:2:3,", "1:2:a", "1:2:3 ", "-1:2:"])
def test_what_is_no_snapshot_is_refused(text):
    with pytest.raises(ValueError, match="not a snapshot"):
        Snapshot.parse(text)
