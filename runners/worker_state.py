"""State of a Python worker without three of Beam's waits; no request, and no result, is another.

A worker waits for the runner's answer to each request for state. Beam commits the cells of a bundle
one by one, so that the 2,000th series of a bundle waits for 1,999 answers. And a cell that is woken
is read from the runner, though the worker itself wrote all that is in it; Beam has a cache for
this, but measures each value that it puts there by a walk through all it refers to.

The third is for ever. Flink holds the lock of its state while it sends a timer. A worker takes in
five messages before it works on the first; if that one reads state, which needs the lock, while the
timers of ten thousand series are being sent, each waits for the other.
"""

from __future__ import annotations

from typing import Any

from apache_beam.runners.worker import data_plane, statecache
from apache_beam.runners.worker.bundle_processor import (
    FnApiUserStateContext,
    SynchronousBagRuntimeState,
)
from apache_beam.runners.worker.sdk_worker import GlobalCachingStateHandler

from transforms.detect import DetectFn

_BYTES_A_VALUE = 41
"""What Python needs for a `bytes` beside its content, and for its place in a list."""
_LIST_BYTES = 64
_ALL = 0
"""No bound by number; Beam's bound by bytes stays, 100 MB for each bundle."""
_UNCACHED = DetectFn.JOURNAL.name
"""Large, written seldom, and read only when a model is not in memory."""

_measure = statecache.get_deep_size
_token_of = GlobalCachingStateHandler._get_cache_token  # noqa: SLF001


def quicken() -> None:
    """Commit all cells of a bundle at once, make Beam's cache of state cheap, take in all timers.

    For a worker process, before its first bundle; see the module. Beam has no setting for any of
    this; its version is pinned, and tests/test_worker_state.py runs a worker's state through this.
    """
    FnApiUserStateContext.commit = _commit
    GlobalCachingStateHandler._get_cache_token = _token  # noqa: SLF001
    statecache.get_deep_size = size
    data_plane._DEFAULT_RECEIVE_QUEUE_MAX_ELEMENTS = _ALL  # noqa: SLF001


class _Sending:
    """In place of a cell's state handler at its commit: sends, and keeps what is to be awaited."""

    def __init__(self, handler: Any, sent: list[Any]) -> None:
        self._handler = handler
        self._sent = sent

    def clear(self, *request: Any) -> None:
        """Send; the caller has no answer to wait for."""
        self._sent.append(self._handler.clear(*request))

    def extend(self, *request: Any) -> None:
        """Send; the caller has no answer to wait for."""
        self._sent.append(self._handler.extend(*request))


def _commit(context: Any) -> None:
    sent: list[Any] = []
    for cell in context._all_states.values():  # noqa: SLF001
        if type(cell) is SynchronousBagRuntimeState:
            cell._state_handler = _Sending(cell._state_handler, sent)  # noqa: SLF001
        cell.commit()
    for answer in sent:
        response = answer.get()  # None from a runner in this process
        if response is not None and response.error:
            raise RuntimeError(f"the runner did not take the state of a bundle: {response.error}")


def _token(handler: Any, state_key: Any) -> Any:
    if state_key.bag_user_state.user_state_id == _UNCACHED:
        return None
    return _token_of(handler, state_key)


def size(*values: Any) -> int:
    """About how many bytes the values take, at once for a cell of bytes."""
    if len(values) == 1:
        (value,) = values
        if type(value) is list and all(type(each) is bytes for each in value):
            return _LIST_BYTES + _BYTES_A_VALUE * len(value) + sum(map(len, value))
    return int(_measure(*values))
