"""Beam's unbounded source with settings that come from the job, not from the savepoint.

Beam writes the source object into every checkpoint and reads it back from there, so brokers kept in
it could never be changed: a job that goes on from a savepoint would look for the old ones. Here the
source is a name and a share; the settings travel in the step, which a new job brings along.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.io import unbounded_source
from apache_beam.io.unbounded_source import UnboundedSource
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator

POLL_SECONDS = 0.1
"""How soon a reader that found nothing looks again: a lower bound of the latency."""
READ_SECONDS = 0.5
"""A busy reader ends its bundle after so long: the watermark moves only between bundles."""
COMMIT_SECONDS = 5.0
"""How often a source asks to be told of the next checkpoint, so as to say outside how far it got.
The worker keeps what a bundle that asks was processed with, and makes it anew for the next one: at
ten polls a second that took more time than reading, and a slow checkpoint more memory than models.
"""

_BUNDLE = threading.local()


class _Readers:
    """The process's parked readers, by the settings that they were made with.

    Beam parks a reader between two bundles in the instance of its DoFn. A bundle that asks to be
    told of the checkpoint keeps its instance until then, so the next bundle has another one: on
    Flink each poll between two checkpoints would make a reader of its own, with its own clients.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._caches: dict[object, tuple[Any, int]] = {}

    def join(self, settings: object) -> Any:
        """The cache of these settings, for one more instance."""
        with self._lock:
            new = unbounded_source._ReaderCache  # noqa: SLF001
            cache, users = self._caches.get(settings) or (new(), 0)
            self._caches[settings] = cache, users + 1
            return cache

    def leave(self, settings: object) -> None:
        """One instance less; the last one closes the readers."""
        with self._lock:
            cache, users = self._caches.pop(settings)
            if users > 1:
                self._caches[settings] = cache, users - 1
                return
        cache.close_all()


_READERS = _Readers()


class _Asking:
    """Which sources may ask to be told: each once in `COMMIT_SECONDS`.

    Parameters
    ----------
    clock : callable, optional
        Seconds that never jump, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[object, float] = {}

    def is_due(self, key: object) -> bool:
        """Whether it is time again; if so, the next time is counted from now."""
        now = self._clock()
        if now - self._last.get(key, -math.inf) < COMMIT_SECONDS:
            return False
        self._last[key] = now
        return True


_COMMITS = _Asking()


class _Untold:
    """In place of Beam's bundle finalizer, for a bundle that is not to be told."""

    def register(self, callback: Callable[[], None]) -> None:
        """Forget it: a later bundle's says more."""


class ReadUnbounded(beam.PTransform):
    """The elements of an unbounded source, without end.

    Parameters
    ----------
    source : UnboundedSource
        Small, and of the same shape in every version: it is in each savepoint.
    settings : object
        What `bundle_settings` gives while a reader is made; hashable, pickled with the job alone.
    """

    def __init__(self, source: UnboundedSource, settings: object) -> None:
        super().__init__()
        self._source = source
        self._settings = settings

    def expand(self, begin: Any) -> Any:
        """Create the source, read it."""
        read = beam.ParDo(_ReadFn(self._settings))
        return begin | "Source" >> beam.Create([self._source]) | "Read" >> read


def check_parameters(
    start: str | int, allowed_disorder: int, idle_after: int, splits: int | None
) -> None:
    """What every live source asks of its parameters.

    Raises
    ------
    ValueError
        A parameter out of its range.
    """
    if isinstance(start, str) and start not in ("earliest", "latest"):
        raise ValueError(f"start must be earliest, latest or microseconds, got {start!r}")
    if isinstance(start, int) and start < 0:
        raise ValueError(f"start must be >= 0 microseconds since 1970, got {start}")
    for name, value in (("allowed_disorder", allowed_disorder), ("idle_after", idle_after)):
        if value < 0:
            raise ValueError(f"{name} must be >= 0 microseconds, got {value}")
    if splits is not None and splits < 1:
        raise ValueError(f"splits must be >= 1, got {splits}")


def bundle_settings() -> Any:
    """The settings of the step whose bundle this thread works on."""
    return _BUNDLE.settings


_TRACKER = beam.DoFn.RestrictionParam(unbounded_source._PROVIDER)  # noqa: SLF001
_WATERMARK = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())


# Beam has no public way to give a reader anything that is not in the source: `create_reader` gets
# no options. The version of Beam is pinned, and a test reads a source through this.
class _ReadFn(unbounded_source._ReadFromUnboundedSourceDoFn):  # noqa: SLF001
    def __init__(self, settings: object) -> None:
        super().__init__(POLL_SECONDS, max_read_time_seconds=READ_SECONDS)
        self._settings = settings

    def setup(self) -> None:
        """Share the readers with the other instances in this process."""
        self._reader_cache = _READERS.join(self._settings)

    def teardown(self) -> None:
        """Leave the readers to the others; the last one closes them."""
        if self._reader_cache is not None:
            self._reader_cache = None
            _READERS.leave(self._settings)

    def start_bundle(self) -> None:
        """Show the settings to readers that are made in this bundle, on this thread."""
        _BUNDLE.settings = self._settings

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        unused_element: UnboundedSource,
        bundle_finalizer: Any = beam.DoFn.BundleFinalizerParam,
        tracker: Any = _TRACKER,
        watermark_estimator: Any = _WATERMARK,
    ) -> Iterator[Any]:
        """As Beam's, with fewer commits."""
        share = self._settings, tracker.current_restriction().source
        finalizer = bundle_finalizer if _COMMITS.is_due(share) else _Untold()
        yield from super().process(unused_element, finalizer, tracker, watermark_estimator)
