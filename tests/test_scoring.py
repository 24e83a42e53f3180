import numpy as np
import pytest

from benchmarks.scoring import ucr, vus
from benchmarks.scoring.nab import (
    PROFILES,
    ScoredSeries,
    nab_scores,
    probation_rows,
    row_weights,
    scaled_sigmoid,
)


def mixed(rows, step, modulus):
    """Values in [0, 1) in a mixed order, the same on every machine."""
    return (np.arange(rows) * step % modulus) / modulus


def corpus():
    first, second, third = mixed(400, 37, 101), mixed(300, 53, 89), mixed(250, 29, 61)
    first[97] = 1.5
    first[120:124] = np.nan
    second[[60, 209]] = 1.25
    return [
        ScoredSeries(first, [(90, 119), (300, 339)]),
        ScoredSeries(second, [(200, 229)]),
        ScoredSeries(third, []),
    ]


def anomaly():
    labels = np.zeros(400, bool)
    for first, last in [(90, 119), (130, 133), (300, 339)]:
        labels[first : last + 1] = True
    return labels, mixed(400, 37, 101) + 0.5 * labels


def naive_nab(series, profile, threshold):
    """The definition: every detection of every series by itself, no sorting, no sums."""
    total = 0.0
    for one in series:
        weights, window_of = row_weights(len(one.scores), one.windows)
        start = probation_rows(len(one.scores))
        scored = range(start, len(one.scores))
        detected = [row for row in scored if one.scores[row] >= threshold]
        total += sum(
            profile.false_positive * weights[row] for row in detected if window_of[row] < 0
        )
        for window in {window_of[row] for row in scored} - {-1}:
            found = [weights[row] for row in detected if window_of[row] == window]
            best = max(found, default=None)
            full = float(scaled_sigmoid(np.array(-1.0)))
            total += (
                -profile.false_negative if best is None else profile.true_positive * best / full
            )
    return total


class TestNab:
    @pytest.mark.parametrize(
        ("profile", "score", "raw"),
        [
            ("standard", 83.94348047825794, 2.036608828695476),
            ("reward_low_FP_rate", 78.85469715646072, 1.731281829387643),
            ("reward_low_FN_rate", 89.29565365217195, 2.036608828695476),
        ],
    )
    def test_golden(self, profile, score, raw):
        found = nab_scores(corpus())[profile]
        assert found.score == pytest.approx(score, rel=1e-12)
        assert found.raw == pytest.approx(raw, rel=1e-12)
        assert found.threshold == 100 / 101
        assert (found.windows_found, found.windows, found.false_positive_rows) == (3, 3, 3)

    def test_golden_with_given_thresholds(self):
        given = {"standard": 1.25, "reward_low_FP_rate": 0.98}
        found = nab_scores(corpus(), given)
        standard, low_fp = found["standard"], found["reward_low_FP_rate"]
        assert standard.score == pytest.approx(63.57969789790608, rel=1e-12)
        assert (standard.windows_found, standard.false_positive_rows) == (2, 1)
        assert low_fp.score == pytest.approx(46.183120973954125, rel=1e-12)
        assert low_fp.threshold == 99 / 101  # the lowest score that reaches the one given
        assert (low_fp.windows_found, low_fp.false_positive_rows) == (3, 12)
        assert found["reward_low_FN_rate"] == nab_scores(corpus())["reward_low_FN_rate"]

    @pytest.mark.parametrize("name", PROFILES)
    @pytest.mark.parametrize("seed", range(5))
    def test_total_is_the_best_of_the_naive_ones(self, name, seed):
        random = np.random.default_rng(seed)
        series = [
            ScoredSeries(random.integers(0, 6, 80).astype(float), [(20, 24), (30, 39), (70, 79)]),
            ScoredSeries(random.integers(0, 6, 50).astype(float), [(0, 3), (9, 9), (10, 12)]),
        ]
        found = nab_scores(series)[name]
        totals = [naive_nab(series, PROFILES[name], t) for t in (np.inf, 5, 4, 3, 2, 1, 0)]
        assert found.raw == pytest.approx(max(totals), rel=1e-12)
        assert naive_nab(series, PROFILES[name], found.threshold) == pytest.approx(found.raw)

    @pytest.mark.parametrize("name", PROFILES)
    def test_a_perfect_detector_scores_100(self, name):
        series = []
        for one in corpus():
            scores = np.zeros(len(one.scores))
            scores[[first for first, _ in one.windows]] = 1.0
            series.append(ScoredSeries(scores, one.windows))
        found = nab_scores(series)[name]
        assert found.score == pytest.approx(100.0)
        assert (found.windows_found, found.false_positive_rows) == (3, 0)

    @pytest.mark.parametrize("name", PROFILES)
    @pytest.mark.parametrize("constant", [0.0, 7.5, np.nan, -np.inf])
    def test_a_silent_detector_scores_0(self, name, constant):
        series = [ScoredSeries(np.full(len(s.scores), constant), s.windows) for s in corpus()]
        found = nab_scores(series)[name]
        assert found.score == 0.0
        assert found.threshold == np.inf
        assert (found.windows_found, found.false_positive_rows) == (0, 0)

    def test_without_windows_there_is_no_score(self):
        found = nab_scores([ScoredSeries(mixed(100, 37, 101), [])])["standard"]
        assert np.isnan(found.score)
        assert (found.threshold, found.windows, found.false_positive_rows) == (np.inf, 0, 0)

    def test_only_the_order_of_the_scores_counts(self):
        stretched = [ScoredSeries(np.exp(3 * s.scores) - 9, s.windows) for s in corpus()]
        for name, found in nab_scores(stretched).items():
            assert found.score == nab_scores(corpus())[name].score

    def test_missing_and_infinite_scores_rank_lowest(self):
        windows = [(60, 79)]
        lowest = np.where(np.arange(100) % 2, -1.0, mixed(100, 37, 101))
        for missing in (np.nan, np.inf, -np.inf):
            scores = np.where(np.arange(100) % 2, missing, mixed(100, 37, 101))
            found = nab_scores([ScoredSeries(scores, windows)])
            expected = nab_scores([ScoredSeries(lowest, windows)])
            assert found == expected

    def test_probation_is_not_scored(self):
        scores = np.zeros(100)
        scores[:15] = 9.0
        scores[60] = 1.0
        found = nab_scores([ScoredSeries(scores, [(60, 69)])])["standard"]
        assert found.score == pytest.approx(100.0)
        rows = [probation_rows(n) for n in (0, 10, 100, 101, 4999, 5000, 5001, 10_000)]
        assert rows == [0, 1, 15, 15, 749, 750, 750, 750]

    def test_an_earlier_detection_is_worth_more(self):
        def score(row):
            scores = np.zeros(100)
            scores[row] = 1.0
            return nab_scores([ScoredSeries(scores, [(60, 79)])], {"standard": 1.0})["standard"]

        raw = [score(row).raw for row in (60, 65, 70, 79, 80, 85, 59)]
        assert raw == sorted(raw, reverse=True)
        assert raw[3] > -1.0 > raw[4]  # the last row of the window, and the first one after it

    def test_row_weights(self):
        weights, window_of = row_weights(12, [(7, 8), (2, 4)])
        assert window_of.tolist() == [-1, -1, 0, 0, 0, -1, -1, 1, 1, -1, -1, -1]
        golden = [-1, -1, 0.9866143, 0.93110961, 0.68226179, -0.84828364, -0.9866143]
        golden += [0.9866143, 0.84828364, -0.9866143, -0.9999092, -0.99999939]
        assert weights == pytest.approx(golden, abs=1e-8)

    def test_the_sigmoid_ends_at_three_widths(self):
        values = scaled_sigmoid(np.array([-1.0, 0.0, 1.0, 3.0, 3.01, 1e9]))
        assert values == pytest.approx([0.98661430, 0, -0.98661430, -0.99999939, -1, -1], abs=1e-8)


class TestUcr:
    @pytest.mark.parametrize(
        ("row", "right"),
        [(399, False), (400, True), (500, True), (519, True), (619, True), (620, False)],
    )
    def test_slack_of_100_rows_around_a_short_anomaly(self, row, right):
        scores = np.zeros(1000)
        scores[row] = 1.0
        assert ucr.ucr_correct(scores, 500, 519, 200) == (right, row)

    @pytest.mark.parametrize(
        ("row", "right"), [(349, False), (350, True), (799, True), (800, False)]
    )
    def test_a_long_anomaly_has_its_length_as_slack(self, row, right):
        scores = np.zeros(1000)
        scores[row] = 1.0
        assert ucr.ucr_correct(scores, 500, 649, 200) == (right, row)

    def test_the_learning_part_is_not_scored(self):
        scores = np.zeros(1000)
        scores[199], scores[200] = 3.0, 1.0
        assert ucr.ucr_correct(scores, 500, 519, 200) == (False, 200)
        assert scores[199] == 3.0  # the caller's array is left alone

    def test_of_equal_scores_the_first_counts(self):
        scores = np.zeros(1000)
        scores[[300, 505]] = 1.0
        assert ucr.ucr_correct(scores, 500, 519, 200) == (False, 300)

    def test_missing_and_infinite_scores_rank_lowest(self):
        scores = np.full(1000, -5.0)
        scores[[300, 301, 302]] = np.nan, np.inf, -np.inf
        scores[510] = -4.0
        assert ucr.ucr_correct(scores, 500, 519, 200) == (True, 510)
        assert ucr.ucr_correct(np.full(1000, np.nan), 500, 519, 200) == (False, 0)

    def test_accuracies(self):
        correct = [True, True, True, False]
        assert ucr.accuracy(correct) == 0.75
        assert ucr.accuracy_per_recording(correct, ["a", "a", "a", "b"]) == 0.5
        assert np.isnan(ucr.accuracy([]))
        assert np.isnan(ucr.accuracy_per_recording([], []))


class TestCurves:
    def test_golden_auc_pr(self):
        labels, scores = anomaly()
        assert vus.auc_pr(labels, scores) == pytest.approx(0.7372725933991467, rel=1e-12)

    def test_golden_auc_pr_with_ties(self):
        labels, scores = anomaly()
        found = vus.auc_pr(labels, np.round(scores, 1))
        assert found == pytest.approx(0.7015816235900472, rel=1e-12)

    @pytest.mark.parametrize(
        ("buffer", "thresholds", "golden"),
        [
            (0, 250, 0.7365673435277952),
            (1, 250, 0.7365673435277952),
            (7, 250, 0.7485307097126097),
            (40, 250, 0.7862080116153909),
            (0, 30, 0.7061464133163162),
            (40, 30, 0.7566808036997761),
        ],
    )
    def test_golden_vus_pr(self, buffer, thresholds, golden):
        found = vus.vus_pr(*anomaly(), buffer, thresholds)
        assert found == pytest.approx(golden, rel=1e-12)

    def test_golden_vus_pr_with_ties(self):
        labels, scores = anomaly()
        found = vus.vus_pr(labels, np.round(scores, 1), 20)
        assert found == pytest.approx(0.7315163897906877, rel=1e-12)

    def test_golden_vus_pr_of_anomalies_whose_buffers_just_meet(self):
        labels = np.zeros(100, bool)
        labels[20:25] = labels[34:39] = True
        scores = mixed(100, 37, 101)
        scores[[21, 50, 70]] = 2.0, 3.0, 3.0
        assert vus.vus_pr(labels, scores, 10) == pytest.approx(0.22288180963064938, rel=1e-12)

    @pytest.mark.parametrize("seed", range(5))
    def test_auc_pr_is_the_sum_over_naive_thresholds(self, seed):
        random = np.random.default_rng(seed)
        labels = random.random(60) < 0.3
        scores = random.integers(0, 9, 60).astype(float)
        area, recall = 0.0, 0.0
        for threshold in range(8, -1, -1):
            detected = scores >= threshold
            if not detected.any():
                continue
            hits = (detected & labels).sum()
            area += (hits / labels.sum() - recall) * hits / detected.sum()
            recall = hits / labels.sum()
        assert vus.auc_pr(labels, scores) == pytest.approx(area, rel=1e-12)

    def test_a_perfect_ranking_has_area_1(self):
        labels, _ = anomaly()
        assert vus.auc_pr(labels, labels.astype(float)) == 1.0
        assert vus.vus_pr(labels, labels.astype(float), 0) == pytest.approx(1.0)

    def test_a_constant_ranking_has_the_share_of_anomalies_as_area(self):
        labels, _ = anomaly()
        assert vus.auc_pr(labels, np.zeros(400)) == pytest.approx(labels.mean())
        assert vus.vus_pr(labels, np.zeros(400), 0) == pytest.approx(labels.mean())

    def test_without_an_anomaly_there_is_no_volume(self):
        assert vus.auc_pr(np.zeros(50, bool), mixed(50, 37, 101)) == 0.0
        assert np.isnan(vus.vus_pr(np.zeros(50, bool), mixed(50, 37, 101), 10))

    def test_missing_scores_rank_with_the_lowest_and_infinite_ones_with_the_extremes(self):
        labels, scores = anomaly()
        odd, plain = scores.copy(), scores.copy()
        odd[[5, 95, 305, 200]] = np.nan, np.nan, -np.inf, np.inf
        plain[[5, 95, 305]] = scores.min()
        plain[200] = scores.max()
        assert vus.auc_pr(labels, odd) == vus.auc_pr(labels, plain)
        assert vus.vus_pr(labels, odd, 10) == vus.vus_pr(labels, plain, 10)
        assert vus.auc_pr(labels, np.full(400, np.nan)) == pytest.approx(labels.mean())

    def test_a_near_miss_counts_only_with_a_buffer(self):
        labels = np.zeros(300, bool)
        labels[100:110] = True
        scores = np.zeros(300)
        scores[112:118] = 1.0
        assert vus.vus_pr(labels, scores, 60) > 2 * vus.vus_pr(labels, scores, 0)

    def test_anomalies_at_the_ends(self):
        labels = np.zeros(100, bool)
        labels[[0, 1, 98, 99]] = True
        assert vus.vus_pr(labels, labels.astype(float), 30) > 0.8


class TestPeriod:
    def test_a_sine(self):
        rows = np.arange(1000)
        assert vus.find_period(np.sin(2 * np.pi * rows / 48)) == 48
        noisy = np.sin(2 * np.pi * rows / 48) + 0.3 * mixed(1000, 37, 101)
        assert vus.find_period(noisy) == 49

    @pytest.mark.parametrize(
        "values",
        [
            np.ones(50),
            np.arange(1000.0),
            np.sin(np.pi * np.arange(1000) / 2 + 0.1),
            np.sin(2 * np.pi * np.arange(1000) / 350),
            np.r_[np.nan, np.arange(99.0)],
            np.array([1.0, 2.0]),
            np.empty(0),
        ],
        ids=["constant", "no peak", "short", "long", "missing", "two rows", "empty"],
    )
    def test_the_default(self, values):
        assert vus.find_period(values) == 125
        assert vus.find_period(values, 7) == 7
