"""A worker's state when three of Beam's waits are left out."""

from __future__ import annotations

import threading
import time

import apache_beam as beam
import pytest
from apache_beam.coders import BytesCoder
from apache_beam.coders.coder_impl import create_InputStream
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.worker import data_plane, statecache
from apache_beam.runners.worker.bundle_processor import (
    FnApiUserStateContext,
    SynchronousBagRuntimeState,
)
from apache_beam.runners.worker.sdk_worker import (
    GlobalCachingStateHandler,
    GrpcStateHandler,
    _Future,
)
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.userstate import BagStateSpec

from runners import worker_state
from transforms.detect import DetectFn

Elements = beam_fn_api_pb2.Elements
StateKey, StateRequest = beam_fn_api_pb2.StateKey, beam_fn_api_pb2.StateRequest


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(FnApiUserStateContext, "commit", FnApiUserStateContext.commit)
    monkeypatch.setattr(GrpcStateHandler, "_request", GrpcStateHandler._request)
    token_of = GlobalCachingStateHandler._get_cache_token
    monkeypatch.setattr(GlobalCachingStateHandler, "_get_cache_token", token_of)
    monkeypatch.setattr(statecache, "get_deep_size", statecache.get_deep_size)
    bound = data_plane._DEFAULT_RECEIVE_QUEUE_MAX_ELEMENTS
    monkeypatch.setattr(data_plane, "_DEFAULT_RECEIVE_QUEUE_MAX_ELEMENTS", bound)
    worker_state.quicken()


class Runner:
    """The runner's end of the connection; notes each message, and answers when it had enough."""

    def __init__(self, takes_many=True, answers_after=1, error=""):
        self.takes_many = takes_many
        self.answers_after = answers_after
        self.error = error
        self.messages = []
        self.cells = {}

    def State(self, requests):  # noqa: N802 - gRPC's name
        waiting = []
        for request in requests:
            is_many = request.state_key.HasField("runner")
            error = self.error
            if is_many and not self.takes_many:
                error = "IllegalStateException"
            elif is_many:
                self.messages.append(found := list(parsed(request.append.data)))
                error = error if found else ""  # nothing is asked of it: it was asked whether
            else:
                self.messages.append([request])
            waiting.append(beam_fn_api_pb2.StateResponse(id=request.id, error=error))
            if len(self.messages) >= self.answers_after or not self.messages:
                yield from waiting
                waiting = []


def parsed(requests):
    stream = create_InputStream(requests)
    while stream.size():
        yield StateRequest.FromString(stream.read_all(True))


def said(message):
    """A message's requests, short."""
    return [
        (request.WhichOneof("request"), request.state_key.bag_user_state.key, request.append.data)
        for request in message
    ]


def key_of(name):
    return StateKey(bag_user_state=StateKey.BagUserState(user_state_id="pending", key=name))


def committed(runner, names):
    """Commit a cell for each name, each cleared and with two values."""
    below = GrpcStateHandler(runner)
    handler = GlobalCachingStateHandler(statecache.StateCache(0), below)
    context = FnApiUserStateContext(handler, "step", None, None)
    for name in names:
        cell = SynchronousBagRuntimeState(handler, key_of(name), BytesCoder())
        cell.clear()
        cell.add(name + b"1")
        cell.add(name + b"2")
        context._all_states[name] = cell
    try:
        with handler.process_instruction_id("bundle", []):
            context.commit()
    finally:
        handler.done()


WRITTEN = [
    ("clear", b"a", b""),
    ("append", b"a", b"\x02a1\x02a2"),
    ("clear", b"b", b""),
    ("append", b"b", b"\x02b1\x02b2"),
]


def taken_in(messages):
    """How many messages of a bundle a worker takes in before it works on the first."""
    taken = []

    def timers():
        for number in range(messages):
            taken.append(number)
            yield Elements(timers=[Elements.Timers(instruction_id="1", timers=b"timer")])

    channel = data_plane._GrpcDataChannel()
    channel.set_inputs(timers())
    channel._reads_finished.wait(2)
    before_any_is_worked_on = len(taken)
    channel._clean_receiving_queue("1")
    channel.close()
    return before_any_is_worked_on


def test_all_timers_of_a_bundle_are_taken_in_though_the_first_waits_for_state(quick):
    assert taken_in(500) == 500


def test_without_it_timers_wait_for_the_one_that_waits_for_state():
    """If this fails, Beam has mended it, and `_ALL` can go."""
    assert taken_in(500) < 20


def test_all_that_a_bundle_writes_is_one_message_in_its_order(quick):
    runner = Runner()
    committed(runner, [b"a", b"b"])
    asked, written = runner.messages
    assert asked == []
    assert said(written) == WRITTEN


def test_much_is_several_messages(quick, monkeypatch):
    monkeypatch.setattr(worker_state, "_BYTES_A_MESSAGE", 50)
    runner = Runner()
    committed(runner, [b"a", b"b"])
    asked, *written = runner.messages
    assert len(written) > 1
    assert [each for message in written for each in said(message)] == WRITTEN


def test_to_another_runner_all_is_sent_before_an_answer_is_waited_for(quick):
    runner = Runner(takes_many=False, answers_after=len(WRITTEN))
    committed(runner, [b"a", b"b"])
    assert [each for message in runner.messages for each in said(message)] == WRITTEN


def test_without_it_each_cell_is_waited_for():
    """If this fails, Beam has mended it, and `_commit` can go."""
    runner = Runner(takes_many=False, answers_after=len(WRITTEN))
    threading.Thread(target=committed, args=(runner, [b"a", b"b"]), daemon=True).start()
    deadline = time.monotonic() + 10
    while len(runner.messages) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert [each for message in runner.messages for each in said(message)] == WRITTEN[:2]


@pytest.mark.parametrize("takes_many", [True, False])
def test_state_that_the_runner_did_not_take_fails_the_bundle(quick, takes_many):
    with pytest.raises(RuntimeError, match="did not take the state of a bundle: disk full"):
        committed(Runner(takes_many, error="disk full"), [b"a"])


def test_a_read_within_a_commit_comes_after_what_was_written_before_it(quick):
    runner = Runner()
    handler = GrpcStateHandler(runner)
    with handler.process_instruction_id("bundle"):
        handler._context.writes = worker_state._Writes(handler)
        assert isinstance(handler.append_raw(key_of(b"a"), b"x"), _Future)
        handler.get_raw(key_of(b"a"))
        handler._context.writes = None
    handler.done()
    _, written, read = runner.messages
    assert said(written) == [("append", b"a", b"x")]
    assert said(read) == [("get", b"a", b"")]


@pytest.mark.parametrize(("cell", "is_cached"), [("pending", True), ("journal", False)])
def test_journals_are_not_cached(quick, cell, is_cached):
    assert cell in (DetectFn.PENDING.name, DetectFn.JOURNAL.name)
    handler = GlobalCachingStateHandler(statecache.StateCache(1 << 20), None)
    handler._context.user_state_cache_token = b"token"
    bag = beam_fn_api_pb2.StateKey.BagUserState(user_state_id=cell, key=b"series")
    token = handler._get_cache_token(beam_fn_api_pb2.StateKey(bag_user_state=bag))
    assert (token == b"token") is is_cached


def test_the_size_of_a_cell_of_bytes_is_that_of_its_content_and_more(quick):
    cell = [b"x" * 100, b"y" * 1000]
    measured = worker_state._measure(cell)
    assert 1100 < statecache.get_deep_size(cell) == pytest.approx(measured, abs=64)
    assert statecache.get_deep_size("text") == worker_state._measure("text")


class Gather(beam.DoFn):
    """Gives what a series has had so far."""

    BAG = BagStateSpec("pending", BytesCoder())

    def process(self, element, bag=beam.DoFn.StateParam(BAG)):  # noqa: B008 - Beam's way
        had = list(bag.read())
        if len(had) == 3:
            bag.clear()
        bag.add(element[1])
        yield element[0], b"".join(had)


def test_a_worker_reads_what_it_wrote(quick):
    records = [("a", each) for each in (b"A", b"B", b"C", b"D", b"E", b"F")]
    had = [("a", each) for each in (b"", b"A", b"AB", b"ABC", b"D", b"DE")]
    with beam.Pipeline(options=PipelineOptions(["--max_cache_memory_usage_mb=10"])) as pipeline:
        keyed = pipeline | beam.Create(records).with_output_types(tuple[str, bytes])
        assert_that(keyed | beam.ParDo(Gather()), equal_to(had))
