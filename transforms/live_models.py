"""The models a worker process keeps in memory, and how one is rebuilt when it is not there.

Beam pools several instances of a DoFn and bundles can outlive their job, so there is one store a
process, bounded by bytes, the longest unused dropped first. A model is taken out while it is used
and is only handed out to who names exactly what it has consumed: after a failed bundle, on a moved
key or after an eviction the next use rebuilds it from snapshot and journal.
"""

from __future__ import annotations

import hashlib
import struct
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.model import ModelSpec, SeriesModel
from transforms import metrics
from transforms.records import Floats, Integers, Series

NOTHING_CONSUMED = b""


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


class LiveModels:
    """Models by series and parameters, bounded by bytes; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: OrderedDict[tuple[str, bytes], tuple[ModelKey, SeriesModel, int]]
        self._models = OrderedDict()
        self._bytes = 0

    def take(self, key: ModelKey) -> SeriesModel | None:
        """Remove and return the model if it has consumed exactly what ``key`` says."""
        with self._lock:
            entry = self._models.pop((key.series.key, key.spec.hash), None)
            if entry is None:
                return None
            self._bytes -= entry[2]
        held, model, _ = entry
        same = held.consumed == key.consumed and held.chain == key.chain
        return model if same else None

    def put(self, key: ModelKey, model: SeriesModel, most_bytes: int) -> None:
        """Keep ``model``; drop the longest unused until all fit into ``most_bytes``."""
        size = model.state_bytes
        with self._lock:
            replaced = self._models.pop((key.series.key, key.spec.hash), None)
            if replaced is not None:
                self._bytes -= replaced[2]
            self._models[key.series.key, key.spec.hash] = key, model, size
            self._bytes += size
            while self._bytes > most_bytes and self._models:
                _, (_, _, freed) = self._models.popitem(last=False)
                self._bytes -= freed

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
