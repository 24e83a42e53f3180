"""The left discord: exact, cut-invariant, restorable, and quiet about nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_discord import naive_left_profile

from detectors.base import RawScores
from detectors.calibration import CANDIDATE_DECADES, Calibration
from detectors.left_discord import LeftDiscord, LeftDiscordParameters
from detectors.state import pack, parameters_hash, unpack

N = 20
M = 128
LEARNING = 4 * N
KINDS = {
    "shape": LeftDiscordParameters(N, M, floor=0.0, differences=False),
    "floored": LeftDiscordParameters(N, M, floor=0.3, differences=False),
    "plain": LeftDiscordParameters(N, M, normalize=False),
}
kinds = pytest.mark.parametrize("kind", KINDS)
EVERY = {
    **KINDS,
    "pan": LeftDiscordParameters(N, M),
    "auto": LeftDiscordParameters("auto", M, learning_points=100),
    "level": LeftDiscordParameters(context=M, score="level"),
}
every_kind = pytest.mark.parametrize("kind", EVERY)


def fresh(parameters: LeftDiscordParameters) -> tuple[LeftDiscord, Calibration]:
    detector = LeftDiscord(parameters, seed=1)
    return detector, Calibration(*detector.raw_range)


def run(parameters: LeftDiscordParameters, values: np.ndarray) -> RawScores:
    detector, calibration = fresh(parameters)
    return detector.score_and_learn(values, calibration)


def wave(rows: int, seed: int = 0, noise: float = 0.1) -> np.ndarray:
    t = np.arange(rows)
    periodic = np.sin(2 * np.pi * t / 17) + 0.3 * np.sin(2 * np.pi * t / 7.3)
    return periodic + noise * np.random.default_rng(seed).normal(size=rows)


def hostile(rows: int) -> np.ndarray:
    """A wave with all that makes the kernels sum afresh: spikes, steps, flats."""
    values = wave(rows)
    values[150::97] += 1e6
    values[430:500] = 3.0
    values[700:] += 1e5
    values[900:960] = values[900:901]
    return values


def same(left: RawScores, right: RawScores) -> None:
    for name in ("raw", "decades", "expected", "neighbour"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
    assert left.attribution.keys() == right.attribution.keys()
    for row in left.attribution:
        np.testing.assert_array_equal(left.attribution[row], right.attribution[row])


def joined(parts: list[RawScores]) -> RawScores:
    sizes = [len(part.raw) for part in parts]
    starts = np.cumsum([0, *sizes])
    return RawScores(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in ("raw", "decades")),
        expected=np.concatenate([p.expected for p in parts]),
        attribution={
            int(start) + row: shares
            for start, part in zip(starts, parts, strict=False)
            for row, shares in part.attribution.items()
        },
        neighbour=np.concatenate([p.neighbour for p in parts]),
    )


# Against the definition


def series(name: str) -> np.ndarray:
    values = wave(1200)
    random = np.random.default_rng(5)
    match name:
        case "offset":
            return values + 1e9
        case "random walk":
            return np.cumsum(random.normal(size=1200))
        case "trend":
            return values + 1000.0 * np.arange(1200)
        case "steps":
            return np.repeat(random.integers(0, 5, 24), 50).astype(float)
        case "flats":
            for start in range(300, 1200, 190):
                values[start : start + 60] = values[start]
        case "spikes 1e6":
            values[200::77] += 1e6
        case "spikes 1e9":
            values[200::77] += 1e9
        case "bursts":
            values[400:460] *= 1e5
            values[800:860] *= 1e5
        case "level":
            values[600:] += 1e9
        case "noise-free":
            return wave(1200, noise=0.0)
    return values


SERIES = (
    "wave", "offset", "random walk", "trend", "steps", "flats", "spikes 1e6", "spikes 1e9",
    "bursts", "level", "noise-free",
)  # fmt: skip


@kinds
@pytest.mark.parametrize("name", SERIES)
def test_equals_the_definition(kind: str, name: str) -> None:
    parameters = KINDS[kind]
    values = series(name)
    rows = [80, 81, 99, 100, 101, 119, 130, 190, 235, *range(270, 1200, 23), 1199]
    expected, _ = naive_left_profile(
        values, N, M, LEARNING, parameters.normalize, parameters.floor, rows
    )
    raw = run(parameters, values).raw
    if parameters.normalize:
        # of the squares: a distance of 0 has the square root of the rounding error
        np.testing.assert_allclose(raw[rows] ** 2, expected[rows] ** 2, rtol=1e-11, atol=1e-11)
    else:
        np.testing.assert_allclose(raw[rows], expected[rows], rtol=1e-9, atol=1e-7)


@kinds
def test_ordinary_data_to_twelve_digits(kind: str) -> None:
    parameters = KINDS[kind]
    values = wave(9000)  # so long that every lag was summed afresh and carried on again
    rows = list(range(8000, 9000, 41))
    expected, _ = naive_left_profile(
        values, N, M, LEARNING, parameters.normalize, parameters.floor, rows
    )
    np.testing.assert_allclose(run(parameters, values).raw[rows], expected[rows], rtol=1e-12)


def test_pan_is_the_root_mean_square_of_values_and_differences() -> None:
    values = hostile(700)
    rows = list(range(90, 700, 13))
    ours, _ = naive_left_profile(values, N, M, LEARNING, True, 0.3, rows)
    steps = np.diff(values, prepend=values[0])
    theirs, _ = naive_left_profile(steps, N // 2, M, LEARNING, True, 1.0, rows)
    squares = (ours[rows] ** 2 + theirs[rows] ** 2) / 2
    raw = run(EVERY["pan"], values).raw[rows]
    np.testing.assert_allclose(raw**2, squares, rtol=1e-9, atol=1e-9)


def test_level_is_two_novelties_above_their_own_past() -> None:
    values = wave(600)
    values[400:404] += 5.0
    parameters = LeftDiscordParameters(16, M, learning_points=150, score="level")
    rows = list(range(150, 600))
    burst, _ = naive_left_profile(values, 16, M, 150, True, 3.0, rows)
    nearest = [np.abs(values[max(t - M, 0) : t] - values[t]).min() for t in rows]
    unit = values[:150].std()
    total = np.zeros(len(rows))
    for past in (burst[rows] * unit * np.sqrt(10.0), np.array(nearest)):
        for k in range(30, len(rows)):
            deviation = past[:k].std() + 0.06 * unit
            total[k] += max((past[k] - past[:k].mean()) / deviation, 0.0)
    raw = run(parameters, values).raw
    np.testing.assert_allclose(raw[150:], np.log1p(total), rtol=1e-8, atol=1e-8)
    assert 400 <= np.nanargmax(raw) < 404


def test_auto_takes_the_period_and_follows_it() -> None:
    t = np.arange(6000)
    noise = 0.05 * np.random.default_rng(3).normal(size=6000)
    values = np.where(t < 3000, np.sin(2 * np.pi * t / 40), np.sin(2 * np.pi * t / 90)) + noise
    detector, calibration = fresh(LeftDiscordParameters(context=1024))
    assert detector.sequence_length is None
    detector.score_and_learn(values[:3000], calibration)
    assert detector.sequence_length == 40
    scores = detector.score_and_learn(values[3000:], calibration)
    assert detector.sequence_length is not None and abs(detector.sequence_length - 90) <= 2
    assert np.isfinite(scores.raw).all()


def test_auto_follows_the_scale() -> None:
    values = wave(9000)
    values[2000:] *= 100.0
    one, calibration = fresh(LeftDiscordParameters(context=1024))
    grown = one.score_and_learn(values, calibration).raw[6000:]
    other, calibration = fresh(LeftDiscordParameters(context=1024))
    usual = other.score_and_learn(wave(9000), calibration).raw[6000:]
    np.testing.assert_allclose(grown, usual, rtol=0.1)


def test_constant_subsequences_without_a_floor() -> None:
    values = wave(400)
    values[300:] = 7.0
    raw = run(KINDS["shape"], values).raw
    assert raw[319] == pytest.approx(1.0)  # the first constant one, against shapes
    assert raw[339] == 0.0  # against a constant one


def test_neighbour_is_the_nearest() -> None:
    for parameters in KINDS.values():
        values = wave(600)
        values[500:510] += np.linspace(0.0, 4.0, 10)
        scores = run(parameters, values)
        rows = list(scores.attribution)
        _, neighbour = naive_left_profile(
            values, N, M, LEARNING, parameters.normalize, parameters.floor, rows
        )
        assert len(rows) >= 5
        np.testing.assert_array_equal(scores.neighbour[rows], neighbour[rows])


# One stream, however it is cut


@every_kind
def test_one_by_one_equals_one_call(kind: str) -> None:
    values = hostile(1500)
    whole = run(EVERY[kind], values)
    detector, calibration = fresh(EVERY[kind])
    parts = [detector.score_and_learn(values[i : i + 1], calibration) for i in range(1500)]
    same(joined(parts), whole)
    assert len(whole.attribution) >= 4


@every_kind
@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 1500), max_size=12), restored=st.booleans())
def test_no_cut_and_no_restore_shows(kind: str, cuts: list[int], restored: bool) -> None:
    parameters = EVERY[kind]
    values = hostile(1500)
    values[[90, 91, 500, 1100]] = np.nan
    whole = run(parameters, values)
    detector, calibration = fresh(parameters)
    owner = parameters_hash("left discord", LeftDiscord.STATE_VERSION, parameters)
    parts = []
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 1500], strict=True):
        parts.append(detector.score_and_learn(values[start:stop], calibration))
        if restored:
            state = pack(owner, detector.to_arrays())
            detector = LeftDiscord.from_arrays(parameters, unpack(owner, state))
            assert pack(owner, detector.to_arrays()) == state
    same(joined(parts), whole)


@every_kind
def test_restored_at_every_point(kind: str) -> None:
    parameters = EVERY[kind]
    values = hostile(760)
    whole = run(parameters, values)
    detector, calibration = fresh(parameters)
    parts = []
    for value in values:
        detector = LeftDiscord.from_arrays(parameters, detector.to_arrays())
        parts.append(detector.score_and_learn(np.array([value]), calibration))
    same(joined(parts), whole)


@every_kind
def test_score_is_pure_and_equal_to_score_and_learn(kind: str) -> None:
    values = hostile(1000)
    whole = run(EVERY[kind], values)
    detector, _ = fresh(EVERY[kind])
    for row, value in enumerate(values):
        if row % 7 == 0:
            before = {name: array.copy() for name, array in detector.to_arrays().items()}
            detector.score_one(1e30)
            raw = detector.score_one(value)
            np.testing.assert_array_equal(raw, whole.raw[row])
            for name, array in detector.to_arrays().items():
                np.testing.assert_array_equal(array, before[name], err_msg=name)
        detector.learn_one(value)


def test_a_missing_value_is_passed_over() -> None:
    for parameters in EVERY.values():
        values = wave(700)
        gaps = np.insert(values, [30, 400, 400, 650], np.nan)
        scores, whole = run(parameters, gaps), run(parameters, values)
        missing = np.isnan(gaps)
        assert np.isnan(scores.raw[missing]).all()
        assert (scores.decades[missing] == 0.0).all()
        np.testing.assert_array_equal(scores.raw[~missing], whole.raw)
        detector, _ = fresh(parameters)
        detector.learn_one(float("nan"))
        assert len(detector.to_arrays()["learning"]) == 0
        assert np.isnan(detector.score_one(float("nan")))


# What a user was told


@kinds
@pytest.mark.parametrize("learning", [None, 2 * N, 700])
def test_nan_until_warm_and_never_after(kind: str, learning: int | None) -> None:
    given_kind = KINDS[kind]
    parameters = replace(given_kind, learning_points=learning)
    scores = run(parameters, hostile(1500))
    warm = learning or LEARNING
    assert np.isnan(scores.raw[:warm]).all()
    low, high = (0.0, 2.0) if parameters.normalize else (0.0, 300.0)
    assert ((scores.raw[warm:] >= low) & (scores.raw[warm:] <= high)).all()
    assert scores.raw[warm + 1] < 1.5  # compares with the few there are: not blind


@kinds
def test_an_odd_stretch_ranks_first(kind: str) -> None:
    values = wave(3000)
    values[2000:2006] += [1.0, 2.0, 3.0, 3.0, 2.0, 1.0]
    scores = run(KINDS[kind], values)
    worst = int(np.nanargmax(scores.raw))
    assert 2000 <= worst < 2006 + N
    assert scores.decades[worst] > CANDIDATE_DECADES


def test_a_shape_is_found_at_equal_amplitude() -> None:
    t = np.arange(2000)
    values = np.sin(2 * np.pi * t / N)
    values[1500:1520] = np.sign(values[1500:1520])  # a square wave for one period
    for kind in ("shape", "floored"):
        assert 1500 < int(np.nanargmax(run(KINDS[kind], values).raw)) < 1540


@kinds
def test_shift_and_scale_change_nothing(kind: str) -> None:
    values = np.round(wave(1500), 3)
    raw = run(KINDS[kind], values).raw
    np.testing.assert_array_equal(run(KINDS[kind], values * 2.0**40).raw, raw)
    np.testing.assert_array_equal(run(KINDS[kind], values * 2.0**-900).raw, raw)
    np.testing.assert_allclose(run(KINDS[kind], 12.3 * values - 4e5).raw, raw, rtol=1e-6)


@kinds
@pytest.mark.parametrize("size", [1e-300, 1e-320, 1e300])
def test_tiny_and_huge_values_are_scored(kind: str, size: float) -> None:
    if size == 1e-320:  # subnormal: a few units in the last place
        values = np.round(wave(800) * 100.0) * 5e-324
    else:
        values = wave(800) * size
    raw = run(KINDS[kind], values).raw[LEARNING:]
    assert np.isfinite(raw).all() and raw.max() > 0.0


@kinds
def test_extremes_after_an_ordinary_start_give_no_nan(kind: str) -> None:
    values = wave(1500)
    values[300::50] = 1.7e308
    values[301::100] = -1.7e308
    values[900:] *= 1e-300
    scores = run(KINDS[kind], values)
    assert np.isfinite(scores.raw[LEARNING:]).all()
    for row, shares in scores.attribution.items():
        assert np.isfinite(scores.expected[row])
        assert shares.sum() == pytest.approx(1.0)


@kinds
@pytest.mark.parametrize("constant", [0.0, 5.1, -1e300])
def test_constant_series(kind: str, constant: float) -> None:
    values = np.full(600, constant)
    assert (run(KINDS[kind], values).raw[LEARNING:] == 0.0).all()
    values[500] = constant / 2 + 1.0
    raw = run(KINDS[kind], values).raw
    assert (raw[LEARNING:500] == 0.0).all()
    assert raw[500] > 0.05
    assert np.isfinite(raw[LEARNING:]).all()


def test_distance_is_the_left_matrix_profile() -> None:
    values = 50.0 + 8.0 * wave(500)
    for kind in ("shape", "plain"):
        detector, calibration = fresh(KINDS[kind])
        assert np.isnan(detector.distance(np.zeros(2))).all()
        scores = detector.score_and_learn(values, calibration)
        windows = np.lib.stride_tricks.sliding_window_view(values, N)
        if kind == "shape":
            windows = windows - windows.mean(axis=1, keepdims=True)
            windows = windows / windows.std(axis=1, keepdims=True)
        query = 400
        others = windows[query - N - M + 1 : query - N + 1]
        nearest = np.sqrt(((others - windows[query]) ** 2).sum(axis=1)).min()
        profile = detector.distance(scores.raw)
        assert profile[query + N - 1] == pytest.approx(nearest, rel=1e-9)


@kinds
def test_candidates_are_explained(kind: str) -> None:
    values = 100.0 + 10.0 * wave(2000, noise=0.02)
    ordinary = values[1500]
    values[1500] += 60.0
    scores = run(KINDS[kind], values)
    assert scores.decades[1500] > CANDIDATE_DECADES
    assert scores.expected[1500] == pytest.approx(ordinary, abs=6.0)
    shares = scores.attribution[1500]
    assert shares.shape == (N,) and shares.sum() == pytest.approx(1.0)
    assert shares.argmax() == N - 1 and shares[-1] > 0.4
    candidates = scores.decades >= CANDIDATE_DECADES
    assert set(scores.attribution) == set(np.flatnonzero(candidates))
    assert ((scores.neighbour >= N) == candidates).all()
    assert (scores.neighbour < N + M).all()
    assert (np.isfinite(scores.expected) == candidates).all()


def test_plain_sees_level_and_shape_does_not() -> None:
    values = wave(1500, noise=0.02)
    values[1000:] += 5.0
    settled = slice(1000 + N, 1000 + 2 * N - 1)  # whole windows at the new level, none to match
    before = slice(500, 1000)
    plain, shape = run(KINDS["plain"], values).raw, run(KINDS["shape"], values).raw
    assert plain[settled].min() > 3 * plain[before].max()
    assert shape[settled].max() < 2 * shape[before].max()


def test_state_is_bounded() -> None:
    for parameters in KINDS.values():
        detector, calibration = fresh(parameters)
        detector.score_and_learn(hostile(1000), calibration)
        live = detector.state_bytes
        saved = 0
        for start in range(0, 20_000, 1000):
            detector.score_and_learn(hostile(1000) + start, calibration)
            saved = max(saved, sum(a.nbytes for a in detector.to_arrays().values()))
        assert detector.state_bytes == live < 64 * (M + 2 * N + 512) + 8 * M + 1
        assert saved < 8 * (2 * M + 2 * N) + 500


def test_context_is_rounded_up_to_the_tile() -> None:
    values = wave(700)
    rounded = run(LeftDiscordParameters(N, 65), values)
    same(rounded, run(LeftDiscordParameters(N, 128), values))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sequence_length": 3}, "sequence_length must be >= 4, got 3"),
        ({"sequence_length": "daily"}, "sequence_length must be auto or a number, got 'daily'"),
        ({"score": "size"}, "score must be shape or level, got 'size'"),
        (
            {"differences": True, "normalize": False},
            "differences goes with normalize True, got False",
        ),
        ({"differences": True, "score": "level"}, "differences goes with score shape, got level"),
        ({"difference_floor": -1.0}, "difference_floor must be >= 0 and finite, got -1.0"),
        ({"context": 0}, "context must be 1 to 100000, got 0"),
        ({"context": 100_001}, "context must be 1 to 100000, got 100001"),
        ({"floor": -0.1}, "floor must be >= 0 and finite, got -0.1"),
        ({"floor": float("nan")}, "floor must be >= 0 and finite, got nan"),
        ({"floor": float("inf")}, "floor must be >= 0 and finite, got inf"),
        (
            {"sequence_length": 50, "learning_points": 99},
            r"learning_points must be >= 2 \* sequence_length = 100, got 99",
        ),
    ],
)
def test_wrong_parameters(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LeftDiscordParameters(**wrong)  # type: ignore[arg-type]


def test_the_names_of_left_discords() -> None:
    config = {"sequenceLength": 25, "initializationPeriods": 16, "context": 64}
    translated = LeftDiscordParameters.translate(config)
    assert translated == {"sequence_length": 25, "learning_points": 400, "context": 64}
    assert LeftDiscordParameters.translate({"context": 64}) == {"context": 64}
    ours = {"sequence_length": 25, "initializationPeriods": 2}
    assert LeftDiscordParameters.translate(ours)["learning_points"] == 50


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"sequenceLength": 9, "sequence_length": 9}, "sequenceLength and sequence_length mean"),
        (
            {"sequenceLength": 9, "initializationPeriods": 2, "learning_points": 18},
            "initializationPeriods and learning_points mean the same",
        ),
        ({"initializationPeriods": 16}, "give sequenceLength a number, got 'auto'"),
        ({"sequenceLength": "auto", "initializationPeriods": 16}, "a number, got 'auto'"),
        (
            {"sequenceLength": 9, "initializationPeriods": 1},
            "initializationPeriods must be a whole number >= 2, got 1",
        ),
        (
            {"sequenceLength": 9, "initializationPeriods": "16"},
            "initializationPeriods must be a whole number >= 2, got '16'",
        ),
    ],
)
def test_names_that_do_not_fit(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LeftDiscordParameters.translate(config)


def test_infinity_is_refused() -> None:
    detector, calibration = fresh(KINDS["shape"])
    with pytest.raises(ValueError, match="must be finite or NaN, got -inf at row 2"):
        detector.score_and_learn(np.array([1.0, 2.0, -np.inf]), calibration)
    with pytest.raises(ValueError, match="must be finite or NaN, got inf"):
        detector.learn_one(float("inf"))


@every_kind
def test_a_long_hostile_series_leaves_no_nan_and_a_bounded_state(kind: str) -> None:
    rng = np.random.default_rng(6)
    values = wave(20_000)
    values[rng.integers(0, 20_000, 40)] = 1e12
    values[rng.integers(0, 20_000, 200)] = np.nan
    for start in rng.integers(1000, 20_000, 10):
        values[start : start + 150] = values[start - 1]
        values[start + 400 :] += 50.0
    values[:100] = wave(100)
    detector, calibration = fresh(EVERY[kind])
    saved = 0
    for start in range(0, 20_000, 1000):
        scores = detector.score_and_learn(values[start : start + 1000], calibration)
        known = ~np.isnan(values[start : start + 1000]) & (np.arange(start, start + 1000) >= 200)
        assert np.isfinite(scores.raw[known]).all()
        saved = max(saved, sum(a.nbytes for a in detector.to_arrays().values()))
    assert saved < 80_000
