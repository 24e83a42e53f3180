"""The bytes of a checkpoint mark."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.io.kafka_mark import KafkaMark, KafkaMarkCoder, Reached

CODER = KafkaMarkCoder()
MAYBE = st.none() | st.integers(-(2**60), 2**60)
MARKS = st.builds(
    KafkaMark,
    st.none()
    | st.dictionaries(
        st.integers(0, 999), st.builds(Reached, st.integers(-2, 2**62), MAYBE), max_size=5
    ),
    MAYBE,
)


@given(MARKS)
def test_a_mark_comes_back(mark):
    assert CODER.decode(CODER.encode(mark)) == mark


def test_the_bytes_are_those_of_version_1():
    mark = KafkaMark({2: Reached(7, None), 0: Reached(-2, 5)}, 3, commit=print)
    written = b'{"version":1,"watermark":3,"partitions":[[0,-2,5],[2,7,null]]}'
    assert CODER.encode(mark) == written
    assert CODER.decode(written).commit is None


def test_a_later_version_is_refused():
    with pytest.raises(ValueError, match="mark of version 2, this is for version 1: resume with"):
        CODER.decode(b'{"version":2}')


def test_a_mark_that_nobody_waits_for_commits_nothing():
    told = []
    KafkaMark({}, None).finalize_checkpoint()
    mark = KafkaMark({}, None, told.append)
    mark.finalize_checkpoint()
    assert told == [mark]


def test_coders_are_equal():
    assert CODER == KafkaMarkCoder()
    assert hash(CODER) == hash(KafkaMarkCoder())
    assert CODER.is_deterministic()
