from transforms.live_series import SPAN_SECONDS, LiveSeries


def test_each_series_counts_once_for_one_to_two_spans():
    now = [5.0]
    series = LiveSeries(lambda: now[0])
    for key in ("a", "b", "a"):
        series.saw(key)
    assert len(series) == 2
    now[0] += SPAN_SECONDS
    assert len(series) == 2
    for key in ("b", "c"):
        series.saw(key)
    assert len(series) == 3
    now[0] += SPAN_SECONDS
    assert len(series) == 2
    series.saw("b")
    assert len(series) == 2
    now[0] += 2 * SPAN_SECONDS
    assert len(series) == 0
