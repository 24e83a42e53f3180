"""Durations: text such as ``90s``, ``1h30m``, ``7d`` to microseconds and back."""

from __future__ import annotations

import re

MICROSECONDS = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
"""Length of each unit; a compound names them in this order, each at most once."""

PATTERN = "^" + "".join(f"([0-9]{{1,18}}{unit})?" for unit in MICROSECONDS) + "$"
LONGEST = 36_500 * MICROSECONDS["d"]
"""100 years: more is a slip of the pen, and sums with an event time stay within 64 bits."""

_TEXT = re.compile(PATTERN.removeprefix("^").removesuffix("$"))


def parse_duration(text: str) -> int:
    """Microseconds of a duration such as ``250ms``, ``90s``, ``1h30m`` or ``30d``.

    Raises
    ------
    ValueError
        If ``text`` is not a duration, or is longer than 36500 days.

    Examples
    --------
    >>> parse_duration("1m30s")
    90000000
    """
    match = _TEXT.fullmatch(text) if text else None
    if match is None:
        raise ValueError(
            f"{text!r} is not a duration; "
            "write a number and a unit (us, ms, s, m, h, d), such as 90s, 1m, 2h30m, 7d"
        )
    parts = zip(match.groups(), MICROSECONDS.items(), strict=True)
    microseconds = sum(int(part.removesuffix(unit)) * us for part, (unit, us) in parts if part)
    if microseconds > LONGEST:
        raise ValueError(f"{text!r} is too long; a duration is at most 36500d")
    return microseconds


def format_duration(microseconds: int) -> str:
    """The shortest text that `parse_duration` reads back as ``microseconds`` (>= 0).

    Examples
    --------
    >>> format_duration(90_000_000)
    '1m30s'
    """
    parts = []
    for unit, length in MICROSECONDS.items():
        count, microseconds = divmod(microseconds, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
