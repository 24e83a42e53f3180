"""State of a Python worker without three of Beam's waits; no result is another.

A worker sends the runner a message for each cell of each key, and waits for the answer to each. So
the 2,000th series of a bundle waits for 1,999 answers, and sending and answering costs more than
most of what is done for a series. The project's job server takes all that a bundle writes in one
message; to another's, the messages are sent as they were, before the first answer is waited for.

A cell that is woken is read from the runner, though the worker itself wrote all that is in it; Beam
has a cache for this, but measures each value that it puts there by a walk through all it refers to.

The third is for ever. Flink holds the lock of its state while it sends a timer. A worker takes in
five messages before it works on the first; if that one reads state, which needs the lock, while the
timers of ten thousand series are being sent, each waits for the other.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from apache_beam.coders.coder_impl import create_OutputStream
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.worker import data_plane, statecache
from apache_beam.runners.worker.bundle_processor import FnApiUserStateContext
from apache_beam.runners.worker.sdk_worker import (
    GlobalCachingStateHandler,
    GrpcStateHandler,
    _Future,
)

from transforms.detect import DetectFn

_BYTES_A_VALUE = 41
"""What Python needs for a `bytes` beside its content, and for its place in a list."""
_LIST_BYTES = 64
_ALL = 0
"""No bound by number; Beam's bound by bytes stays, 100 MB for each bundle."""
_UNCACHED = DetectFn.JOURNAL.name
"""Large, written seldom, and read only when a model is not in memory."""

_MANY = beam_fn_api_pb2.StateKey(runner=beam_fn_api_pb2.StateKey.Runner(key=b"tidewatch:many"))
"""The same as in GrpcStateService.java: what is appended to it is a series of requests."""
_BYTES_A_MESSAGE = 1_000_000
_TAKES_MANY: WeakKeyDictionary[GrpcStateHandler, bool] = WeakKeyDictionary()
_DONE = _Future().set(beam_fn_api_pb2.StateResponse())

_measure = statecache.get_deep_size
_commit_cells = FnApiUserStateContext.commit
_send = GrpcStateHandler._request  # noqa: SLF001
_token_of = GlobalCachingStateHandler._get_cache_token  # noqa: SLF001


def quicken() -> None:
    """Write all cells of a bundle at once, make Beam's cache of state cheap, take in all timers.

    For a worker process, before its first bundle; see the module. Beam has no setting for any of
    this; its version is pinned, and tests/test_worker_state.py runs a worker's state through this.
    """
    FnApiUserStateContext.commit = _commit
    GrpcStateHandler._request = _request  # noqa: SLF001
    GlobalCachingStateHandler._get_cache_token = _token  # noqa: SLF001
    statecache.get_deep_size = size
    data_plane._DEFAULT_RECEIVE_QUEUE_MAX_ELEMENTS = _ALL  # noqa: SLF001


class _Writes:
    """What one commit writes; nothing is waited for before `wait`."""

    def __init__(self, handler: GrpcStateHandler) -> None:
        self._handler = handler
        self._are_together = _takes_many(handler)
        self._out = create_OutputStream()
        self._answers: list[Any] = []

    def add(self, request: beam_fn_api_pb2.StateRequest) -> Any:
        """Send it now or with others; gives what Beam's caller may wait for."""
        if self._are_together:
            self._out.write(request.SerializeToString(), True)
            if self._out.size() > _BYTES_A_MESSAGE:
                self.send()
        else:
            self._answers.append(_send(self._handler, request))
        return _DONE

    def send(self) -> None:
        """Send what was added, in its order."""
        if self._out.size():
            self._answers.append(_send(self._handler, _many(self._out.get())))
            self._out = create_OutputStream()

    def wait(self) -> None:
        """Wait until the runner has all of it."""
        self.send()
        for answer in self._answers:
            if error := answer.get().error:
                raise RuntimeError(f"the runner did not take the state of a bundle: {error}")


def _commit(context: Any) -> None:
    handler = getattr(context._state_handler, "_underlying", None)  # noqa: SLF001
    if not isinstance(handler, GrpcStateHandler):  # a runner in this process
        _commit_cells(context)
    elif context._all_states:  # noqa: SLF001
        bundle = handler._context  # noqa: SLF001 - of this thread
        bundle.writes = writes = _Writes(handler)
        try:
            _commit_cells(context)
        finally:
            bundle.writes = None
        writes.wait()


def _request(handler: Any, request: beam_fn_api_pb2.StateRequest) -> Any:
    writes = getattr(handler._context, "writes", None)  # noqa: SLF001
    if writes is None:
        return _send(handler, request)
    if request.HasField("get"):
        writes.send()  # it reads what is written before it
        return _send(handler, request)
    return writes.add(request)


def _many(requests: bytes) -> beam_fn_api_pb2.StateRequest:
    return beam_fn_api_pb2.StateRequest(
        state_key=_MANY, append=beam_fn_api_pb2.StateAppendRequest(data=requests)
    )


def _takes_many(handler: GrpcStateHandler) -> bool:
    """Whether the runner takes many requests in a message: it is asked once, with none in it."""
    known = _TAKES_MANY.get(handler)
    if known is None:
        known = _TAKES_MANY[handler] = not _send(handler, _many(b"")).get().error
    return known


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
