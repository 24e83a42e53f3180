"""Live models are used only if they consumed exactly what is asked for."""

from __future__ import annotations

import os

import numpy as np
import pytest
from series_harness import FOREST, SERIES

from detectors.model import SeriesModel
from transforms import live_models
from transforms.live_models import Journal, LiveModels, ModelKey
from transforms.records import Series

MANY = 1 << 40


def journal(rows, seed=0):
    values = np.random.default_rng(seed).normal(size=rows)
    return Journal(np.arange(rows) * 60, values, np.zeros(rows, bool))


def consumed(*parts):
    key, model = ModelKey(SERIES, FOREST), SeriesModel(FOREST, SERIES.seed)
    for part in parts:
        model.score_and_learn(part.values, part.times, part.imputed)
        key = key.after(part)
    return key, model


def test_a_journal_survives_its_bytes():
    rows = journal(7)
    again = Journal.from_bytes(rows.to_bytes())
    for name in ("times", "values", "imputed"):
        assert getattr(again, name).tolist() == getattr(rows, name).tolist()


def test_a_model_is_handed_out_once_and_only_for_what_it_consumed():
    models = LiveModels()
    key, model = consumed(journal(20))
    models.put(key, model, MANY)
    other, _ = consumed(journal(20, seed=1))
    assert key.consumed == other.consumed
    assert models.take(other) is None  # as many rows, but other ones
    models.put(key, model, MANY)
    assert models.take(key) is model
    assert models.take(key) is None  # it is out


def test_a_rebuilt_model_goes_on_like_the_live_one():
    first, second, after = journal(60), journal(11, 1), journal(30, 2)
    key, model = consumed(first, second)
    _, snapshot = consumed(first)
    rebuilt = key.rebuild(snapshot.to_bytes(), [second])
    from_nothing = key.rebuild(None, [first, second])
    expected = model.score_and_learn(after.values)
    for other in (rebuilt, from_nothing):
        found = other.score_and_learn(after.values)
        assert found.score.tobytes() == expected.score.tobytes()
        assert found.expected.tobytes() == expected.expected.tobytes()


def test_cells_that_do_not_add_up_are_an_error():
    key, _ = consumed(journal(20))
    with pytest.raises(RuntimeError, match=r"hold 10 rows, head says 20"):
        key.rebuild(None, [journal(10)])


class Stub:
    """As much of a model as the store looks at."""

    def __init__(self, size=1):
        self.state_bytes = size


def keys(number):
    return [ModelKey(Series("d", "m", (("item", str(i)),)), FOREST) for i in range(number)]


def found(models, order, most_bytes, size=lambda _: 1):
    """Whether each use found its model."""
    hits = []
    for key in order:
        model = models.take(key)
        hits.append(model is not None)
        models.put(key, model or Stub(size(key)), most_bytes)
        assert models.bytes <= most_bytes
    return hits


@pytest.mark.parametrize("room", [10, 50, 99, 100, 400])
def test_series_in_turn_find_as_large_a_share_as_fits(room):
    hits = found(LiveModels(), keys(100) * 40, room)
    # at worst the first turns double the guess of how long one waits for its turn
    assert sum(hits[-1000:]) == 1000 * min(room / 100, 1)


def test_series_in_turn_in_another_order_each_time():
    rng = np.random.default_rng(0)
    series = keys(100)
    order = [series[i] for _ in range(60) for i in rng.permutation(100)]
    assert sum(found(LiveModels(), order, 60)[-2000:]) > 0.9 * 2000 * 0.6


def test_series_at_random_find_about_the_share_that_fits():
    rng = np.random.default_rng(0)
    series = keys(100)
    order = [series[i] for i in rng.integers(0, 100, 10_000)]
    assert 0.5 < np.mean(found(LiveModels(), order, 60)[-5000:]) < 0.7


def test_dead_series_make_room():
    first, second = keys(200)[:100], keys(200)[100:]
    models = LiveModels()
    found(models, first * 20, 80)
    hits = found(models, second * 20, 80)
    assert sum(hits[100:200]) < 40  # patience with the first hundred
    assert sum(hits[-1000:]) == 800


def test_series_that_die_one_by_one_make_room():
    models, alive, hits = LiveModels(), list(range(100)), []
    series = keys(1100)
    for turn in range(1000):
        alive[turn % 100] = 100 + turn
        hits += found(models, [series[i] for i in alive], 50)
    assert np.mean(hits[-50_000:]) > 0.42  # of 50 at most; some room is held by the dead


def test_a_backlog_with_many_wakes_in_a_row_does_not_look_like_silence():
    order = [key for _ in range(20) for key in keys(100) for _ in range(16)]
    hits = found(LiveModels(), order, 80)
    assert np.mean(hits[::16][-1000:]) == 0.8  # the first wake of a turn


def test_more_series_than_before_are_waited_for():
    models = LiveModels()
    found(models, keys(20) * 20, 20)
    assert sum(found(models, keys(1000) * 20, 20)[-5000:]) == 5 * 20


def test_one_that_needs_more_than_there_is_costs_the_others_nothing():
    series = keys(11)
    models = LiveModels()
    order = [*series[:10], series[10]] * 20
    hits = found(models, order, 15, lambda key: 20 if key is series[10] else 1)
    assert sum(hits[-110:]) == 100


def test_a_lower_bound_holds_at_once():
    models = LiveModels()
    found(models, keys(10), 10)
    models.put(keys(1)[0], Stub(), 4)
    assert models.bytes == len(models) == 4
    models.put(keys(1)[0], Stub(), 0)
    assert models.bytes == len(models) == 0


def test_room_follows_the_containers_limit(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(live_models, "_LIMITS", (limit, tmp_path / "not there"))
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    limit.write_text("800\n")
    assert live_models.usual_bytes.__wrapped__() == 100
    limit.write_text("max\n")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert live_models.usual_bytes.__wrapped__() == memory // 8
