"""Arrays survive the way through bytes; bytes that are not theirs never become a model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from detectors.state import MAGIC, StateError, pack, parameters_hash, unpack

OWNER = bytes(range(16))
DTYPES = ("<f8", "<f4", "<i8", "<i4", "<u2", "|u1", "|b1", ">f8", ">i4")
ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(np.dtype(dtype), hnp.array_shapes(min_dims=0, min_side=0))
    ),
    max_size=4,
)
SAMPLE = {
    "numbers": np.array([1.5, np.nan, -0.0, np.inf, 5e-324]),
    "table": np.arange(6, dtype=np.int32).reshape(2, 3),
    "none": np.zeros((0, 4)),
    "odd": np.array([1, 2, 3], np.uint8),
}
PACKED = pack(OWNER, SAMPLE)


@dataclass(frozen=True)
class Size:
    size: int = 3
    share: float | None = 0.5


@given(ARRAYS)
def test_arrays_come_back_bit_by_bit(arrays: dict[str, np.ndarray]) -> None:
    again = unpack(OWNER, pack(OWNER, arrays))
    assert list(again) == list(arrays)
    for name, array in arrays.items():
        assert again[name].shape == array.shape
        little = array.astype(array.dtype.newbyteorder("<"))
        assert again[name].dtype == little.dtype and again[name].tobytes() == little.tobytes()


def test_equal_arrays_make_equal_bytes_whatever_their_layout() -> None:
    table = np.arange(12.0).reshape(3, 4)
    layouts = (table, np.asfortranarray(table), np.repeat(table, 2, axis=1)[:, ::2])
    assert len({pack(OWNER, {"table": one}) for one in layouts}) == 1


def test_arrays_are_aligned_views_that_nobody_can_write_to() -> None:
    whole = np.frombuffer(PACKED, np.uint8).ctypes.data
    for array in unpack(OWNER, PACKED).values():
        assert not array.flags.writeable
        assert array.size == 0 or (array.ctypes.data - whole) % 8 == 0
        assert array.size == 0 or 0 < array.ctypes.data - whole < len(PACKED)


@given(st.integers(0, len(PACKED) - 1))
def test_cut_short_at_any_place(size: int) -> None:
    with pytest.raises(StateError):
        unpack(OWNER, PACKED[:size])


@given(st.binary(min_size=1, max_size=40))
def test_more_than_was_written(more: bytes) -> None:
    with pytest.raises(StateError):
        unpack(OWNER, PACKED + more)


@given(place=st.integers(0, len(PACKED) - 1), bit=st.integers(0, 7))
def test_any_bit_turned(place: int, bit: int) -> None:
    damaged = bytearray(PACKED)
    damaged[place] ^= 1 << bit
    with pytest.raises(StateError):
        unpack(OWNER, bytes(damaged))


@given(st.binary(max_size=60))
def test_bytes_from_elsewhere(state: bytes) -> None:
    for other in (state, MAGIC + state, MAGIC + OWNER + state):
        with pytest.raises(StateError):
            unpack(OWNER, other)


def test_errors_say_what_was_found_and_what_was_expected() -> None:
    with pytest.raises(StateError, match=r"start with b'PK..', expected at least 28 .* b'TWS1'"):
        unpack(OWNER, b"PK.." + PACKED[4:])
    with pytest.raises(StateError, match="7 bytes that start with b'TWS1', expected at least 28 "):
        unpack(OWNER, PACKED[:7])
    other = bytes(16)
    with pytest.raises(
        StateError, match=f"belongs to model {OWNER.hex()}, asked for {other.hex()}"
    ):
        unpack(other, PACKED)
    with pytest.raises(StateError, match=f"state of {len(PACKED) - 1} bytes is cut short"):
        unpack(OWNER, PACKED[:-1])


def test_the_hash_changes_with_whatever_gives_the_state_its_meaning() -> None:
    one = Size()
    hashes = {
        parameters_hash("Forest", 1, one),
        parameters_hash("Discord", 1, one),
        parameters_hash("Forest", 2, one),
        parameters_hash("Forest", 1, replace(one, size=4)),
        parameters_hash("Forest", 1, replace(one, share=0.25)),
        parameters_hash("Forest", 1, replace(one, share=None)),
        parameters_hash("Forest", 1, None),
    }
    assert len(hashes) == 7 and {len(each) for each in hashes} == {16}
    assert parameters_hash("Forest", 1, Size()) == parameters_hash("Forest", 1, one)


def test_the_hash_is_the_same_in_every_process() -> None:
    # saved states hold it: to change this is to throw away every saved state
    assert parameters_hash("Forest", 1, Size()).hex() == "71baa895d6dff76ada784b8f764911d8"
