from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_forest import Leaf, Node, attribution, grow, impute_newest, sample_ages, tree_score

from detectors import _forest_kernels as kernels
from detectors import state
from detectors._forest_imputation import _impute, mark_newest
from detectors._forest_layout import EXPIRY_PERIOD, OPENING, hand_dtype, tree_dtype
from detectors._forest_sample import WEIGHT_UNITS
from detectors._forest_score import attribute, take_in_hand
from detectors._forest_snapshot import bits_for, unpacked_integers
from detectors._forest_transform import LARGEST
from detectors.calibration import Calibration
from detectors.random_cut_forest import RandomCutForest, RandomCutForestParameters

# few shapes, for each (shingle_size, sample_size) is compiled apart; decay 0.05 makes a ring of
# 182 rows, so that a test of some hundred points goes round it
SMALL = RandomCutForestParameters(
    shingle_size=5, number_of_trees=20, sample_size=32, time_decay=0.05
)
SMALLEST = RandomCutForestParameters(
    shingle_size=1, number_of_trees=20, sample_size=2, time_decay=0.05, output_after=1
)


def wave(count: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(count)
    return np.sin(np.arange(count) * 2 * np.pi / 25) + 0.1 * noise


def with_duplicates(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, count).astype(float)


def run(values, parameters=SMALL, seed=1, cuts=(), reload=False):
    """Raw scores, decades, expected and attribution of a stream cut into calls."""
    forest, calibration = RandomCutForest(parameters, seed), Calibration(0.0, 8.0)
    outcomes = []
    for part in np.split(np.asarray(values, float), sorted(cuts)):
        outcomes.append(forest.score_and_learn(part, calibration))
        forest = reloaded(forest, parameters) if reload else forest
    starts = np.cumsum([0] + [len(o.raw) for o in outcomes])
    shares = {
        int(start) + row: tuple(share)
        for start, o in zip(starts, outcomes, strict=False)
        for row, share in o.attribution.items()
    }
    columns = [np.concatenate([getattr(o, n) for o in outcomes]) for n in FIELDS]
    return forest, dict(zip(FIELDS, columns, strict=True)), shares


FIELDS = ("raw", "decades", "expected")


def raw_scores(values, parameters=SMALL, seed=1):
    return run(values, parameters, seed)[1]["raw"]


def reloaded(forest, parameters=SMALL):
    owner = state.parameters_hash("forest", forest.STATE_VERSION, parameters)
    packed = state.pack(owner, forest.to_arrays())
    return RandomCutForest.from_arrays(parameters, state.unpack(owner, packed))


def assert_same_state(one, other):
    a, b = one.to_arrays(), other.to_arrays()
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        assert a[name].tobytes() == b[name].tobytes(), name


def tree_of(forest, t):
    """Kernel tree ``t`` as a naive tree; its inner nodes' ids in preorder come along."""
    tree, ring = forest._forest.trees[t], forest._forest.ring
    size, d = len(tree["leaves"]), forest._parameters.shingle_size
    ids = []

    def build(here):
        if here >= size:
            leaf = tree["leaves"][here - size]
            point = ring[leaf["position"] : leaf["position"] + d].astype(float)
            return Leaf(point, int(leaf["mass"]))
        ids.append(here)
        node = tree["nodes"][here]
        left, right = (build(int(child)) for child in node["child"])
        return Node(int(node["dimension"]), float(node["cut"]), left, right)

    return build(int(tree["root"])), ids


def ages_of(forest):
    """Rows learnt since, and with, the first one of each leaf's point."""
    arrays = forest.to_arrays()
    leaves = sum(int((tree["leaves"]["mass"] > 0).sum()) for tree in forest._forest.trees)
    return unpacked_integers(arrays["ages"], leaves, bits_for(forest._ring_length())).astype(int)


def inner_nodes(tree):
    return (
        [] if isinstance(tree, Leaf) else [tree, *inner_nodes(tree.left), *inner_nodes(tree.right)]
    )


# --- the contract of a detector -----------------------------------------------------------------


@pytest.mark.parametrize(
    "values", [wave(400), with_duplicates(400), np.r_[wave(90), [np.nan], wave(90)]]
)
def test_a_block_is_score_one_then_learn_one(values):
    forest = RandomCutForest(SMALL, 1)
    one_by_one = []
    for value in values:
        one_by_one.append(forest.score_one(value))
        forest.learn_one(value)
    in_a_block, outcome, _ = run(values)
    assert np.array_equal(outcome["raw"], one_by_one, equal_nan=True)
    assert_same_state(forest, in_a_block)


def test_decades_are_those_of_the_calibration_or_less():
    _, outcome, _ = run(wave(400))
    most = Calibration(0.0, 8.0).decades(outcome["raw"])
    assert (outcome["decades"] <= most).all() and not outcome["decades"][most == 0].any()
    judged = most > 0.5
    assert (outcome["decades"][judged] / most[judged]).min() > 0.1


def test_scoring_changes_nothing():
    forest = run(wave(300))[0]
    before = {name: array.copy() for name, array in forest.to_arrays().items()}
    scores = [forest.score_one(v) for v in (0.0, 50.0, np.nan, 0.0)]
    assert scores[0] == scores[3] and np.isnan(scores[2])
    for name, array in forest.to_arrays().items():
        assert array.tobytes() == before[name].tobytes(), name


def test_the_seed_decides_the_scores():
    values = wave(300)
    assert np.array_equal(raw_scores(values, seed=5), raw_scores(values, seed=5), equal_nan=True)
    assert not np.array_equal(
        raw_scores(values, seed=5), raw_scores(values, seed=6), equal_nan=True
    )


SPIKED = wave(420)
SPIKED[[150, 300, 301]] = 4.0


@pytest.mark.parametrize("parameters", [SMALL, SMALLEST])
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, len(SPIKED)), max_size=6), reload=st.booleans())
def test_no_cut_and_no_reload_shows(parameters, cuts, reload):
    whole, outcome, shares = run(SPIKED, parameters)
    parts, outcome_of_parts, shares_of_parts = run(SPIKED, parameters, cuts=cuts, reload=reload)
    for name in FIELDS:
        assert np.array_equal(outcome[name], outcome_of_parts[name], equal_nan=True), name
    assert shares == shares_of_parts
    assert_same_state(whole, parts)


@pytest.mark.parametrize("learnt", [0, 1, 49, 50, 51, 60, 150, 181, 182, 500])
@pytest.mark.parametrize("values", [wave(700), with_duplicates(700), np.zeros(700)])
def test_a_round_trip_has_the_same_future(values, learnt):
    forest = run(values[:learnt])[0]
    again = reloaded(forest)
    assert_same_state(forest, again)
    ahead = values[learnt : learnt + 200]
    one, other = (f.score_and_learn(ahead, Calibration(0.0, 8.0)) for f in (forest, again))
    assert np.array_equal(one.raw, other.raw, equal_nan=True)
    assert_same_state(forest, again)


def test_saved_arrays_do_not_follow_the_forest():
    forest = run(wave(200))[0]
    arrays = forest.to_arrays()
    scores = [RandomCutForest.from_arrays(SMALL, arrays).score_one(2.0)]
    forest.score_and_learn(wave(200), Calibration(0.0, 8.0))
    scores.append(RandomCutForest.from_arrays(SMALL, arrays).score_one(2.0))
    assert scores[0] == scores[1]


def test_not_a_number_until_warm_and_never_after():
    values = wave(300)
    values[[20, 200]] = np.nan
    _, outcome, _ = run(values, replace(SMALL, output_after=60))
    # the NaN in the warm-up is passed over, and the shingle after the 60 points is the first scored
    first = 1 + 60 + (SMALL.shingle_size - 1)
    missing = np.isnan(outcome["raw"])
    assert missing[:first].all() and np.flatnonzero(missing[first:]).tolist() == [200 - first]
    assert outcome["decades"][200] == 0.0


def test_the_opening_is_awaited():
    assert np.flatnonzero(~np.isnan(raw_scores(wave(80), SMALLEST)))[0] == OPENING


def test_a_missing_value_is_as_if_it_had_not_come():
    values = wave(200)
    holes = np.insert(values, [10, 120, 120], np.nan)
    given_values = ~np.isnan(holes)
    assert np.array_equal(raw_scores(holes)[given_values], raw_scores(values), equal_nan=True)


def test_a_spike_ranks_first():
    values = wave(400)
    values[300] = 4.0
    assert np.nanargmax(raw_scores(values)) == 300


@pytest.mark.parametrize(
    "a, b", [(3.7, -12.3), (1e-6, 5.0), (-2.0, 1e4), (1e200, 0.0), (1e-200, 0.0)]
)
def test_scale_and_shift_do_not_matter(a, b):
    values = wave(500)
    # a float64 shift loses digits of its own: 1e-6 * x + 5 keeps 10
    assert np.allclose(raw_scores(a * values + b), scores_of_wave(a), rtol=1e-4, equal_nan=True)


def scores_of_wave(a):
    return raw_scores(wave(500) if a > 0 else -wave(500))


EDGES = {
    "constant": np.full(300, 5.0),
    "constant, then the smallest change": np.r_[
        np.full(150, 5.0), np.nextafter(5.0, 6.0), [5.0] * 99
    ],
    "zero, then the smallest number": np.r_[np.zeros(150), 5e-324, np.zeros(99)],
    "tiny": 1e-300 * wave(300),
    "subnormal": 1e-320 * wave(300),
    "huge": 1e300 * wave(300),
    "the largest, either sign": np.where(wave(300) > 0, 1.0, -1.0) * LARGEST,
    "tiny, then huge": np.r_[1e-300 * wave(150), 1e300 * wave(150)],
    "huge, then tiny": np.r_[1e300 * wave(150), 1e-300 * wave(150)],
    "a constant, then huge": np.r_[np.full(150, 1e-300), 1e300 * wave(150)],
}


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("parameters", [SMALL, SMALLEST])
def test_no_input_makes_a_score_that_is_no_number(name, parameters):
    _, outcome, shares = run(EDGES[name], parameters)
    raw = outcome["raw"][OPENING + 64 :]
    assert np.isfinite(raw).all() and (raw >= 0).all()
    assert np.isfinite(outcome["decades"]).all()
    assert all(np.isfinite(outcome["expected"][row]) for row in shares)
    for row, share in shares.items():
        assert np.isclose(sum(share), 1.0), row


def test_the_smallest_change_of_a_constant_scores_highest():
    raw = raw_scores(EDGES["constant, then the smallest change"])
    assert np.nanargmax(raw) == 150 and raw[150] == pytest.approx(np.log2(33))


def test_the_state_is_bounded():
    forest = run(wave(300))[0]
    size, saved = forest.state_bytes, sum(a.nbytes for a in forest.to_arrays().values())
    forest.score_and_learn(wave(5_000), Calibration(0.0, 8.0))
    assert forest.state_bytes == size
    trees, samples = SMALL.number_of_trees, SMALL.sample_size
    assert (
        sum(a.nbytes for a in forest.to_arrays().values())
        <= trees * (samples * 13 + 10) + 4 * 182 + 64
    )
    assert saved <= size


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"shingle_size": 0}, "shingle_size must be >= 1, got 0"),
        ({"shingle_size": 129}, "shingle_size must be <= 128, got 129"),
        ({"number_of_trees": 0}, "number_of_trees must be >= 1, got 0"),
        ({"number_of_trees": 1001}, "number_of_trees must be <= 1000, got 1001"),
        ({"sample_size": 1}, "sample_size must be >= 2, got 1"),
        ({"sample_size": 32768}, "sample_size must be <= 32767, got 32768"),
        ({"time_decay": 0.0}, "time_decay must be > 0 and <= 1, got 0.0"),
        ({"time_decay": 1.5}, "time_decay must be > 0 and <= 1, got 1.5"),
        ({"time_decay": float("nan")}, "time_decay must be > 0 and <= 1, got nan"),
        ({"output_after": 0}, "output_after must be >= 1, got 0"),
    ],
)
def test_wrong_parameters_say_what_is_allowed(wrong, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        RandomCutForestParameters(**wrong)


def test_a_fraction_is_no_count():
    with pytest.raises(TypeError, match="^sample_size must be an integer, got 2.5$"):
        RandomCutForestParameters(sample_size=2.5)


def test_a_seed_must_fit():
    with pytest.raises(ValueError, match=r"^seed must be >= 0 and < 2\*\*63, got -1$"):
        RandomCutForest(SMALL, -1)


# --- the trees ----------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [wave(700), with_duplicates(700), EDGES["tiny, then huge"]])
@pytest.mark.parametrize("parameters", [SMALL, SMALLEST])
def test_trees_hold_together(values, parameters):
    forest = run(values, parameters)[0]
    for t, tree in enumerate(forest._forest.trees):
        naive, ids = tree_of(forest, t)
        samples, size = int(tree["samples"]), parameters.sample_size
        weights, sampled = tree["weights"][:samples], tree["sampled"][:samples]
        assert all(weights[(i - 1) // 2] >= weights[i] for i in range(1, samples))
        masses = np.bincount(sampled - size, minlength=size)
        assert sum(np.unique(masses[masses > 0], return_counts=True)[1]) == len(ids) + 1
        assert masses.sum() == samples
        for node, here in zip(inner_nodes(naive), ids, strict=True):
            left, right = (np.array(c.points())[:, node.dimension] for c in (node.left, node.right))
            assert (left <= node.cut).all() and (right > node.cut).all()
            points = np.array(node.points())
            box, extent = tree["boxes"][here], tree["nodes"][here]["extent"]
            assert np.array_equal(box["low"], points.min(axis=0).astype(np.float32))
            assert np.array_equal(box["high"], points.max(axis=0).astype(np.float32))
            assert np.isclose(extent, (points.max(axis=0) - points.min(axis=0)).sum(), rtol=1e-5)


def test_points_leave_before_the_ring_overwrites_them():
    # a sample that would live 10,000 values on average, in a ring cut to about 500
    parameters = replace(SMALLEST, time_decay=1e-4)
    forest = RandomCutForest(parameters, 1)
    short = forest._forest._replace(ring=np.zeros(500 + 1, np.float32))
    forest._forest = short
    values = np.arange(3_000.0)
    forest.score_and_learn(values, Calibration(0.0, 8.0))
    ages = ages_of(forest)
    points = np.concatenate([np.array(tree_of(forest, t)[0].points())[:, 0] for t in range(20)])
    assert ages.max() <= 500 and (short.trees["samples"] >= 1).all()
    # the ring's values grow by one step a value: a leaf's age must lead to its own value
    step = 1.0 / forest._forest.measures[0]["scale"]
    newest = (values[-1] - forest._forest.measures[0]["centre"]) * step
    assert np.allclose(points, newest - (ages - 1) * step, atol=0.01 * step)


@pytest.mark.parametrize("values", [wave(400), with_duplicates(400)])
def test_scores_and_explanations_equal_the_naive_ones(values):
    forest = run(values)[0]
    trees = [tree_of(forest, t)[0] for t in range(SMALL.number_of_trees)]
    samples = [int(s) for s in forest._forest.trees["samples"]]
    recent = forest.to_arrays()["ring"][-4:].astype(float)
    ring = forest._forest.ring
    head = forest._forest.measures[0]
    for value in (values[375], values[-1], 0.3, 3.0, -40.0):
        newest = np.float32((value - head["centre"]) / head["scale"])
        point = np.append(recent, newest)
        pairs = list(zip(trees, samples, strict=True))
        mean = np.mean([tree_score(tree, point, count) for tree, count in pairs])
        assert forest.score_one(value) == pytest.approx(mean, rel=1e-4)
        parts = sum(attribution(tree, point, n) * np.log2(n + 1) for tree, n in pairs)
        high, low = np.empty((2, 5))
        attribute(forest._forest, high, low)
        assert np.allclose(high + low, parts / parts.sum(), atol=1e-4)
        assert forest._forest.hand["onset"][0] == pytest.approx(parts[-1] / 20, rel=1e-3)
        for t, (tree, count) in enumerate(pairs):
            take_in_hand(forest._forest, np.array([value]))
            mark_newest(forest._forest)
            best = np.empty(1, np.float32)
            _impute(forest._forest.trees[t], forest._forest.hand[0], ring, 4, best)
            imputed, naive = (
                tree_score(tree, np.append(recent, v), count)
                for v in (best[0], impute_newest(tree, point, count))
            )
            assert imputed == pytest.approx(naive, rel=1e-5)  # values of equal scores are as good


def test_updated_trees_are_distributed_like_freshly_grown_ones():
    parameters = replace(SMALL, number_of_trees=500)
    forest = run(wave(300), parameters)[0]
    random = np.random.default_rng(3)
    probes = [np.r_[np.zeros(4), 3.0], np.r_[2.0, np.zeros(4)], np.linspace(-1, 1, 5)]
    differences, sides = [], []
    for t in range(parameters.number_of_trees):
        tree, _ = tree_of(forest, t)
        points = [p for leaf in leaves(tree) for p in [leaf.point] * leaf.mass]
        fresh = grow(points, random)
        differences.append([tree_score(tree, p, 32) - tree_score(fresh, p, 32) for p in probes])
        spread = np.ptp(points, axis=0)
        sides.append(np.eye(5)[tree.dimension] - spread / spread.sum())
    for sample in (np.array(differences), np.array(sides)):
        error = sample.std(axis=0) / np.sqrt(len(sample))
        assert (np.abs(sample.mean(axis=0)) < 4 * error).all(), sample.mean(axis=0) / error


def leaves(tree):
    return [tree] if isinstance(tree, Leaf) else leaves(tree.left) + leaves(tree.right)


def test_samples_have_the_ages_of_a_time_decayed_sample():
    parameters = replace(SMALL, number_of_trees=500, time_decay=1.0 / 320)
    count = 3_000
    forest = run(wave(count), parameters)[0]
    ours = np.sort(ages_of(forest) - SMALL.shingle_size)
    random = np.random.default_rng(4)
    theirs = np.sort(
        np.concatenate([sample_ages(count, 32, 1.0 / 320, random) for _ in range(500)])
    )
    grid = np.arange(0, 1_300, 10)
    shares = [np.searchsorted(ages, grid) / len(ages) for ages in (ours, theirs)]
    # 0.02 for what the end of the ring takes away, 0.02 for chance; a decay 20 % off makes 0.07
    assert np.abs(shares[0] - shares[1]).max() < 0.04


def test_the_clock_keeps_its_precision():
    parameters = replace(SMALLEST, time_decay=1.0)
    forest = RandomCutForest(parameters, 1)
    forest.score_and_learn(np.tile(wave(10_000), 20), Calibration(0.0, 8.0))
    most = 2 * EXPIRY_PERIOD * WEIGHT_UNITS
    assert np.abs(forest._forest.trees["weights"].astype(int)).max() < most


# --- explanations -------------------------------------------------------------------------------


@pytest.mark.parametrize("spike", [4.0, -4.0])
def test_a_spike_in_a_sine_is_explained(spike):
    parameters = RandomCutForestParameters(number_of_trees=30)
    values = wave(1_000)
    truth = np.sin(800 * 2 * np.pi / 25)
    values[800] = spike
    _, outcome, shares = run(values, parameters)
    assert np.argmax(shares[800]) == 7 and shares[800][7] > 0.5
    assert outcome["expected"][800] == pytest.approx(truth, abs=0.35)


def test_candidates_alone_are_explained():
    _, outcome, shares = run(SPIKED)
    found = np.flatnonzero(outcome["decades"] >= kernels.CANDIDATE_DECADES)
    candidates = np.array(sorted(shares))  # those that were held back among them
    assert 300 in candidates and len(candidates) < 40 and set(found) <= set(candidates)
    assert np.flatnonzero(~np.isnan(outcome["expected"])).tolist() == candidates.tolist()
    assert all(sum(share) == pytest.approx(1.0) for share in shares.values())


def test_forests_of_many_shapes_may_come_and_go():
    # numba recognises a record type by the address of its dtype: one that was freed and taken by
    # another shape's would run that shape's kernel on this one's memory
    assert tree_dtype(2, 16) is tree_dtype(2, 16)
    assert hand_dtype(2, 16) is hand_dtype(2, 16)
