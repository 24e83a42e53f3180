import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import durations
from pipeline.durations import LONGEST, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("0s", 0),
        ("7us", 7),
        ("250ms", 250_000),
        ("90s", 90_000_000),
        ("1m", 60_000_000),
        ("2h", 7_200_000_000),
        ("30d", 2_592_000_000_000),
        ("1h30m", 5_400_000_000),
        ("1d2h3m4s5ms6us", 93_784_005_006),
        ("1m5ms", 60_005_000),
    ],
)
def test_text_is_read(text, microseconds):
    assert parse_duration(text) == microseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "5 m",
        "m",
        "1.5h",
        "-1s",
        "+1s",
        "1M",
        "30m1h",
        "1m1m",
        "1w",
        "5 minutes",
        "1s\n",
        "١s",
    ],
)
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match="is not a duration; write a number and a unit") as error:
        parse_duration(text)
    assert repr(text) in str(error.value)


def test_a_duration_is_at_most_a_hundred_years():
    assert parse_duration("36500d") == LONGEST
    with pytest.raises(ValueError, match="'36500d1us' is too long; a duration is at most 36500d"):
        parse_duration("36500d1us")


@given(st.integers(0, LONGEST))
def test_format_then_parse_is_the_identity(microseconds):
    assert parse_duration(format_duration(microseconds)) == microseconds


@given(st.text(alphabet="0123456789dhmsu", max_size=12))
def test_what_parses_formats_to_the_same_length(text):
    try:
        microseconds = parse_duration(text)
    except ValueError:
        return
    assert parse_duration(format_duration(microseconds)) == microseconds
    assert len(format_duration(microseconds)) >= 2


def test_examples_run():
    assert doctest.testmod(durations).failed == 0
