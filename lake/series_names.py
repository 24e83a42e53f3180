"""Series by the names that people know them by."""

from __future__ import annotations

from lake.named_queries import Parameters
from lake.reader import Lake
from lake.tables import LakeError

_SHOWN = 5


def series_named(lake: Lake, text: str) -> str:
    """The ``timeseriesId`` that ``text`` names; empty for empty.

    Parameters
    ----------
    lake : Lake
        Where the series are looked up.
    text : str
        An ID, the beginning of one, or dimensions: ``name=value``, several with commas.

    Raises
    ------
    LakeError
        If no series or several are meant.
    """
    if not text or len(text) == 64:
        return text
    overview = lake.query("series_overview", Parameters(rows=1_000_000)).to_pylist()
    named = dict(pair.split("=", 1) for pair in text.split(",")) if "=" in text else {}
    found = {
        row["series"]
        for row in overview
        if (all(row.get(name) == value for name, value in named.items()) and named)
        or (not named and row["series"].startswith(text))
    }
    if len(found) == 1:
        return str(found.pop())
    if found:
        some = ", ".join(sorted(found)[:_SHOWN])
        raise LakeError(f"{text!r} names {len(found)} series, such as {some}; name one")
    known = [name for name in overview[0] if name in lake.dimensions()] if overview else []
    raise LakeError(
        f"no series of the lake is {text!r}; its dimensions are {', '.join(known) or 'none'}"
    )
