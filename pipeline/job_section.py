"""What every section of the job file is made of: its base class and the types of its values."""

from __future__ import annotations

import difflib
import math
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from pipeline.durations import PATTERN, format_duration, parse_duration
from pipeline.job_errors import describe


class Section(BaseModel):
    """A part of the job file: frozen, no unknown keys, no value taken for another type."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )


def written(default: int | str, description: str) -> Any:
    """Make a field whose default stands as a file would have it, and is read like a given value."""
    return Field(default=default, description=description)


def exactly_one(section: Section, kinds: tuple[str, ...]) -> None:
    """Raise for a section that has none of these keys, or several."""
    given = [kind for kind in kinds if getattr(section, kind)]
    if len(given) != 1:
        named = ", ".join(given) or "none"
        raise ValueError(f"needs exactly one of: {', '.join(kinds)}; got {named}")


def repeated(words: Iterable[str]) -> list[tuple[int, str]]:
    """Position and word of each that stood before already."""
    seen: set[str] = set()
    again = []
    for i, word in enumerate(words):
        if word in seen:
            again.append((i, word))
        seen.add(word)
    return again


def _duration(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError(
            f"{describe(value)} is not a duration; write a number and a unit "
            "(us, ms, s, m, h, d), such as 90s, 1m, 2h30m, 7d"
        )
    return parse_duration(value)


def _positive(microseconds: int) -> int:
    if microseconds == 0:
        raise ValueError("must be longer than 0s")
    return microseconds


_DURATION_SCHEMA = {"type": "string", "minLength": 2, "pattern": PATTERN}

Duration = Annotated[int, BeforeValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
"""Microseconds, >= 0; text in the file."""

PositiveDuration = Annotated[
    int,
    BeforeValidator(_duration),
    AfterValidator(_positive),
    WithJsonSchema(_DURATION_SCHEMA),
]
"""Microseconds, > 0; text in the file."""

MOST_QUIET_ROWS = 100_000


@dataclass(frozen=True)
class QuietPeriod:
    """How long a series stays quiet after an alert: rows or event time; the other is 0."""

    rows: int = 0
    microseconds: int = 0

    def __str__(self) -> str:
        """As the job file has it."""
        return format_duration(self.microseconds) if self.microseconds else str(self.rows)


def _quiet_period(value: object) -> QuietPeriod:
    if isinstance(value, str):
        try:
            return QuietPeriod(microseconds=parse_duration(value))
        except ValueError:
            pass  # said below, for rows and durations at once
    elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_QUIET_ROWS:
        return QuietPeriod(rows=value)
    raise ValueError(
        f"{describe(value)} is not allowed; write rows (0 to {MOST_QUIET_ROWS}) "
        "or a duration such as 10m"
    )


Quiet = Annotated[
    QuietPeriod,
    BeforeValidator(_quiet_period),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": MOST_QUIET_ROWS},
                _DURATION_SCHEMA,
            ]
        }
    ),
]

Text = Annotated[str, StringConstraints(min_length=1)]


def _known_time_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        close = difflib.get_close_matches(name, zoneinfo.available_timezones(), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(
            f"{describe(name)} is not a time zone; "
            f"{hint}write an IANA name such as UTC or Europe/Berlin"
        ) from None
    return name


TimeZone = Annotated[Text, AfterValidator(_known_time_zone)]
"""An IANA name."""


def _one_or_more(value: object) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, str):
        raise ValueError(f"{describe(value)} is not text; put it in quotes, or write a list")
    return (value,)


# YAML has lists; a frozen section has tuples
Texts = Annotated[tuple[Text, ...], Field(strict=False)]
TextOrTexts = Annotated[
    tuple[Text, ...],
    BeforeValidator(_one_or_more),
    Field(min_length=1),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
            ]
        }
    ),
]


def is_number(value: object) -> bool:
    """Whether ``value`` is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
