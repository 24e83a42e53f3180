"""State as versioned bytes: named arrays with a hash of the parameters that gave them meaning."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"TWS1"
# magic, owner, CRC-32 of all that follows it, bytes of the directory
_HEAD = struct.Struct("<4s16sII")
_CHECKED_FROM = _HEAD.size - 4
_ALIGNMENT = 8


class StateError(ValueError):
    """Bytes that are no state, or a state of another model."""


def parameters_hash(kind: str, version: int, parameters: object) -> bytes:
    """16 bytes that change with the detector's kind, its state version or any of its parameters."""
    plain = asdict(parameters) if is_dataclass(parameters) else parameters  # type: ignore[arg-type]
    text = json.dumps([kind, version, plain], sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def pack(owner: bytes, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Named arrays as bytes.

    Parameters
    ----------
    owner : bytes[16]
        `parameters_hash` of the model whose state this is; `unpack` asks for the same.
    arrays : mapping of str to ndarray
        Any shapes and plain dtypes; stored little-endian, 8-byte aligned, in the order given.
    """
    directory = [[name, a.dtype.newbyteorder("<").str, list(a.shape)] for name, a in arrays.items()]
    text = json.dumps(directory, separators=(",", ":")).encode()
    text += b" " * (-(_HEAD.size + len(text)) % _ALIGNMENT)
    parts = [struct.pack("<I", len(text)), text]
    for array in arrays.values():
        data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        parts += [data, b"\0" * (-len(data) % _ALIGNMENT)]
    checked = b"".join(parts)
    return MAGIC + owner + struct.pack("<I", zlib.crc32(checked)) + checked


def unpack(owner: bytes, state: bytes) -> dict[str, NDArray[Any]]:
    """The arrays that `pack` stored, as read-only views into ``state``.

    Raises
    ------
    StateError
        Not a packed state, cut short or damaged, or packed for other parameters or another
        version.
    """
    if len(state) < _HEAD.size or state[:4] != MAGIC:
        raise StateError(
            f"not a Tidewatch state: {len(state)} bytes that start with {state[:4]!r}, "
            f"expected at least {_HEAD.size} that start with {MAGIC!r}"
        )
    _, found, checksum, directory_size = _HEAD.unpack_from(state)
    if found != owner:
        raise StateError(
            f"state belongs to model {found.hex()}, asked for {owner.hex()}: "
            "its kind, state version or parameters differ"
        )
    # a kernel trusts its arrays: one wrong index would write anywhere in memory
    if zlib.crc32(memoryview(state)[_CHECKED_FROM:]) != checksum:
        raise StateError(f"state of {len(state)} bytes is cut short or damaged: wrong checksum")
    offset = _HEAD.size + directory_size
    arrays: dict[str, NDArray[Any]] = {}
    for name, dtype, shape in json.loads(state[_HEAD.size : offset]):
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(state, dtype, count, offset).reshape(shape)
        size = count * np.dtype(dtype).itemsize
        offset += size + (-size % _ALIGNMENT)
    return arrays
