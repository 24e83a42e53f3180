"""Rows of a query as text: for people, for programs, for spreadsheets."""

from __future__ import annotations

import csv
import io
from typing import Any

import orjson
import pyarrow as pa
from rich.console import Console
from rich.table import Table

FORMATS = ("table", "json", "csv")


def text_of(rows: pa.Table, form: str) -> str:
    """Rows as a table, as JSON lines, or as CSV with a header; lists in CSV are JSON."""
    if form == "json":
        return "".join(orjson.dumps(row).decode() + "\n" for row in rows.to_pylist())
    return _csv(rows) if form == "csv" else _table(rows)


def _csv(rows: pa.Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows.column_names)
    for row in rows.to_pylist():
        writer.writerow(
            [
                orjson.dumps(value).decode() if isinstance(value, list) else value
                for value in row.values()
            ]
        )
    return text.getvalue()


def _table(rows: pa.Table) -> str:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for field in rows.schema:
        numeric = pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
        table.add_column(field.name, justify="right" if numeric else "left", no_wrap=True)
    for row in rows.to_pylist():
        table.add_row(*(_cell(name, value) for name, value in row.items()))
    console = Console(file=io.StringIO(), width=10_000)
    console.print(table)
    lines = str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined] # a StringIO
    plural = "row" if rows.num_rows == 1 else "rows"
    return "".join(f"{line.rstrip()}\n" for line in lines) + f"({rows.num_rows} {plural})\n"


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "series" and isinstance(value, str):
        return value[:12]  # enough for --series, and leaves room for the rest
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, list):
        return " ".join(_cell("", each) for each in value)
    return str(value)
