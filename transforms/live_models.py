"""The models a worker process keeps in memory, and how one is rebuilt when it is not there.

Beam pools several instances of a DoFn and bundles can outlive their job, so there is one store a
process, bounded by bytes. A model is taken out while it is used and is only handed out to who names
exactly what it has consumed: after a failed bundle, on a moved key or where there was no room the
next use rebuilds it from snapshot and journal.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.model import ModelSpec, SeriesModel
from transforms import metrics
from transforms.records import Floats, Integers, Series

NOTHING_CONSUMED = b""

PATIENCE = 2.0
"""A model whose series waits so many times the usual wait makes room for others."""
_NEWEST_WEIGHT = 1 / 16
"""Of one wait in the usual one."""


@dataclass(frozen=True)
class Journal:
    """Rows that a model consumed in one go.

    Attributes
    ----------
    times : int64[n]
        Starts of the periods, microseconds since 1970.
    values : float64[n]
        What the model was given.
    imputed : bool[n]
        Which of them a gap policy filled in.
    """

    times: Integers
    values: Floats
    imputed: NDArray[np.bool_]

    def to_bytes(self) -> bytes:
        """The columns one after another, after the number of rows."""
        columns = (self.times, self.values, self.imputed)
        return struct.pack("<I", len(self.times)) + b"".join(c.tobytes() for c in columns)

    @classmethod
    def from_bytes(cls, data: bytes) -> Journal:
        """The rows that `to_bytes` wrote."""
        (rows,) = struct.unpack_from("<I", data)
        return cls(
            np.frombuffer(data, "<i8", rows, 4),
            np.frombuffer(data, "<f8", rows, 4 + 8 * rows),
            np.frombuffer(data, np.bool_, rows, 4 + 16 * rows),
        )


@dataclass(frozen=True)
class ModelKey:
    """Which model, after having consumed what.

    Parameters
    ----------
    series : Series
        The series it models.
    spec : ModelSpec
        What it is made of.
    consumed : int
        Rows it has consumed.
    chain : bytes
        Chained hash of these rows and how they were cut; `NOTHING_CONSUMED` at first.
    """

    series: Series
    spec: ModelSpec
    consumed: int = 0
    chain: bytes = NOTHING_CONSUMED

    def after(self, rows: Journal) -> ModelKey:
        """The key once ``rows`` are consumed too."""
        chain = self.chain or (self.series.key.encode() + self.spec.hash)
        chain = hashlib.blake2b(chain + rows.to_bytes(), digest_size=16).digest()
        return ModelKey(self.series, self.spec, self.consumed + len(rows.times), chain)

    def rebuild(self, snapshot: bytes | None, journal: list[Journal]) -> SeriesModel:
        """The model from its state cells.

        Raises
        ------
        RuntimeError
            The cells do not add up to what the key says: state was lost.
        """
        started = time.perf_counter()
        model = SeriesModel(self.spec, self.series.seed, snapshot)
        if journal:
            columns = [
                np.concatenate([getattr(rows, name) for rows in journal])
                for name in ("times", "values", "imputed")
            ]
            model.score_and_learn(columns[1], columns[0], columns[2])
        if model.rows != self.consumed:
            raise RuntimeError(
                f"series {self.series.key}: snapshot and journal hold {model.rows} rows, "
                f"head says {self.consumed}"
            )
        if self.consumed:
            metrics.count("rebuilt")
            metrics.observe("rebuild_ms", (time.perf_counter() - started) * 1000)
        return model


_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Where a container's memory limit is written (cgroup 2 and 1)."""


@cache
def usual_bytes() -> int:
    """A quarter of the machine's memory, or its container's, shared by one worker process a core.

    The rest is for the processes themselves, for what the allocator adds to the counted bytes, and
    for the runner's own process on the same machine.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [path.read_text().strip() for path in _LIMITS if path.exists()]
    memory = min([memory, *(int(limit) for limit in limits if limit.isdigit())])
    return memory // 4 // (os.cpu_count() or 1)


class _Entry(NamedTuple):
    key: ModelKey
    model: SeriesModel
    size: int
    put_at: int


class LiveModels:
    """Models by series and parameters, bounded by bytes; safe for threads.

    Series come due in turn, all of them each period. Where they do not all fit, dropping the
    longest unused would drop each just before its turn, and none would ever be found. So a model
    that does not fit is refused, and those that are there stay: as large a share is found as fits.
    The longest unused makes room only once it has waited more than `PATIENCE` times as long as is
    usual between two uses of one series: then its series is taken for silent.

    Waiting is counted in puts, not by a clock. A wait of fewer puts than there are models says
    nothing: a series may be woken several times in a row, and then wait for its turn. If all that
    was kept goes unused, the usual wait was guessed too short, and doubles.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: OrderedDict[tuple[str, bytes], _Entry] = OrderedDict()
        self._bytes = 0
        self._puts = 0
        self._usual_wait = 0.0
        self._dropped_unused = 0  # in succession, since one was found

    def take(self, key: ModelKey) -> SeriesModel | None:
        """Remove and return the model if it has consumed exactly what ``key`` says."""
        with self._lock:
            held = len(self._models)
            entry = self._remove((key.series.key, key.spec.hash))
            if entry is None:
                return None
            waited = self._puts - entry.put_at
            if waited >= held - 1:
                self._usual_wait += (waited - self._usual_wait) * _NEWEST_WEIGHT
                self._dropped_unused = 0
        same = (entry.key.consumed, entry.key.chain) == (key.consumed, key.chain)
        return entry.model if same else None

    def put(self, key: ModelKey, model: SeriesModel, most_bytes: int) -> None:
        """Keep ``model`` if there is room for it in ``most_bytes``, or room can be made."""
        size = model.state_bytes
        name = (key.series.key, key.spec.hash)
        with self._lock:
            self._puts += 1
            self._remove(name)
            while self._bytes > most_bytes:  # the bound was lowered
                self._drop_oldest()
            while self._models and self._bytes + size > most_bytes and self._is_oldest_silent():
                self._drop_oldest()
                self._dropped_unused += 1
            if self._bytes + size <= most_bytes:
                self._models[name] = _Entry(key, model, size, self._puts)
                self._bytes += size

    def _is_oldest_silent(self) -> bool:
        held = len(self._models)
        if self._dropped_unused >= held:
            self._usual_wait *= 2
            self._dropped_unused = 0
        self._usual_wait = max(self._usual_wait, held)  # each of them has been put since
        oldest = next(iter(self._models.values()))
        return self._puts - oldest.put_at > PATIENCE * self._usual_wait

    def _drop_oldest(self) -> None:
        self._remove(next(iter(self._models)))

    def _remove(self, name: tuple[str, bytes]) -> _Entry | None:
        entry = self._models.pop(name, None)
        if entry is not None:
            self._bytes -= entry.size
        return entry

    def clear(self) -> None:
        """Drop all models."""
        with self._lock:
            self._models.clear()
            self._bytes = 0

    @property
    def bytes(self) -> int:
        """What the models take."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._models)


LIVE_MODELS = LiveModels()
"""The process's live models."""
