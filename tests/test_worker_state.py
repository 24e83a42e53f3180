"""A worker's state when three of Beam's waits are left out."""

from __future__ import annotations

from types import SimpleNamespace

import apache_beam as beam
import pytest
from apache_beam.coders import BytesCoder, StrUtf8Coder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.worker import data_plane, statecache
from apache_beam.runners.worker.bundle_processor import (
    FnApiUserStateContext,
    SynchronousBagRuntimeState,
)
from apache_beam.runners.worker.sdk_worker import GlobalCachingStateHandler
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.userstate import BagStateSpec

from runners import worker_state
from transforms.detect import DetectFn

Elements = beam_fn_api_pb2.Elements


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(FnApiUserStateContext, "commit", FnApiUserStateContext.commit)
    token_of = GlobalCachingStateHandler._get_cache_token
    monkeypatch.setattr(GlobalCachingStateHandler, "_get_cache_token", token_of)
    monkeypatch.setattr(statecache, "get_deep_size", statecache.get_deep_size)
    bound = data_plane._DEFAULT_RECEIVE_QUEUE_MAX_ELEMENTS
    monkeypatch.setattr(data_plane, "_DEFAULT_RECEIVE_QUEUE_MAX_ELEMENTS", bound)
    worker_state.quicken()


class Runner:
    """Takes requests for state, and notes them and when it was waited for."""

    def __init__(self, error=""):
        self.error = error
        self.log = []

    def clear(self, key):
        self.log.append(("clear", key))
        return self

    def extend(self, key, coder, values):
        self.log.append(("extend", key, *values))
        return self

    def get(self):
        self.log.append("waited")
        return SimpleNamespace(error=self.error)


def context_of(runner, keys):
    context = FnApiUserStateContext(None, "step", None, None)
    for key in keys:
        cell = SynchronousBagRuntimeState(runner, key, StrUtf8Coder())
        cell.clear()
        cell.add(f"{key}1")
        cell.add(f"{key}2")
        context._all_states[key] = cell
    return context


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
    channel._clean_receiving_queue("1")
    channel.close()
    return len(taken)


def test_all_timers_of_a_bundle_are_taken_in_though_the_first_waits_for_state(quick):
    assert taken_in(500) == 500


def test_without_it_timers_wait_for_the_one_that_waits_for_state():
    """If this fails, Beam has mended it, and `_ALL` can go."""
    assert taken_in(500) < 20


def test_all_cells_are_sent_in_order_before_any_answer_is_waited_for(quick):
    runner = Runner()
    context_of(runner, "ab").commit()
    sent = [
        ("clear", "a"),
        ("extend", "a", "a1", "a2"),
        ("clear", "b"),
        ("extend", "b", "b1", "b2"),
    ]
    assert runner.log == [*sent, *["waited"] * 4]


def test_without_it_each_cell_is_waited_for():
    """If this fails, Beam has mended it, and `_commit` can go."""
    runner = Runner()
    context_of(runner, "ab").commit()
    assert runner.log[2] == "waited"


def test_state_that_the_runner_did_not_take_fails_the_bundle(quick):
    with pytest.raises(RuntimeError, match="did not take the state of a bundle: disk full"):
        context_of(Runner("disk full"), "a").commit()


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
