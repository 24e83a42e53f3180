"""Live models are used only if they consumed exactly what is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from series_harness import FOREST, SERIES

from detectors.model import SeriesModel
from transforms.live_models import Journal, LiveModels, ModelKey

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


def test_the_longest_unused_is_dropped_first():
    models = LiveModels()
    keys = []
    for item in "ABC":
        series = type(SERIES)("d", "m", (("item", item),))
        model = SeriesModel(FOREST, series.seed)
        keys.append(ModelKey(series, FOREST))
        models.put(keys[-1], model, int(2.5 * model.state_bytes))
    assert models.take(keys[0]) is None
    assert models.take(keys[1]) is not None
    assert models.take(keys[2]) is not None
    assert len(models) == 0
