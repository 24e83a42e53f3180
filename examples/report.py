"""A report as one HTML file that opens anywhere, without a network.

Vega is bundled into the file once; a content security policy forbids the page to load anything.
The charts keep their tooltips and can be zoomed; on a narrow screen they take its width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from examples.charts import THEME

Chart = alt.Chart | alt.LayerChart | alt.VConcatChart
Table = Sequence[Mapping[str, Any]]
Section = tuple[str, Chart | Table]


def write_report(
    path: str | Path,
    title: str,
    summary: Mapping[str, Any] | Table,
    sections: Sequence[Section] = (),
) -> None:
    """Write a report.

    Parameters
    ----------
    path : str or Path
        HTML file; its folder is made if it does not exist.
    title : str
        Heading of the page.
    summary : mapping, or sequence of mapping
        The numbers on top: a mapping of name to value is shown as tiles, rows as a table.
    sections : sequence of (heading, chart or rows)
        What follows, in this order.

    Raises
    ------
    TypeError
        If a section is neither a chart nor rows.
    """
    charts: list[str] = []
    body = [_tiles(summary) if isinstance(summary, Mapping) else _table(summary)]
    for heading, content in sections:
        body.append(f"<section>\n<h2>{escape(heading)}</h2>")
        if isinstance(content, Chart):
            body.append(f'<div class="chart" id="chart-{len(charts)}"></div>')
            charts.append(_for_script(content.to_dict()))
        else:
            body.append(_table(content))
        body.append("</section>")
    page = _PAGE.format(
        title=escape(title),
        policy=_POLICY,
        style=_STYLE,
        body="\n".join(body),
        scripts=_scripts(charts) if charts else "",
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _tiles(numbers: Mapping[str, Any]) -> str:
    tiles = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(_text(value))}</dd></div>"
        for name, value in numbers.items()
    )
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


def _table(rows: Table) -> str:
    if isinstance(rows, str) or not all(isinstance(row, Mapping) for row in rows):
        raise TypeError(f"a section must be a chart or rows of a table, got {type(rows).__name__}")
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = "".join(f"<tr>{''.join(_cell(row.get(name)) for name in names)}</tr>" for row in rows)
    return (
        f'<div class="table"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _cell(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"<td{' class=number' if number else ''}>{escape(_text(value))}</td>"


def _text(value: Any) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
        case _:
            return str(value)


def _for_script(value: Any) -> str:
    # "</script>" in a text would end the script; JSON allows the escaped slash
    return json.dumps(value, separators=(",", ":")).replace("</", "<\\/")


@lru_cache(maxsize=1)
def _vega() -> str:
    version = "_".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    bundle = vl_convert.javascript_bundle("window.vegaEmbed=vegaEmbed;", vl_version=version)
    return str(bundle).replace("</script", "<\\/script")


def _scripts(charts: Sequence[str]) -> str:
    show = _SHOW.replace("CHARTS", f"[{','.join(charts)}]").replace("THEME", _for_script(THEME))
    return f"<script>{_vega()}</script>\n<script>{show}</script>"


_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:"
)

_SHOW = """
for (const [index, spec] of CHARTS.entries()) {
  const place = document.getElementById(`chart-${index}`);
  // concatenated charts cannot take their container's width by themselves: leave room for labels
  for (const part of spec.vconcat ?? []) part.width = Math.max(place.clientWidth - 145, 160);
  const actions = {export: true, source: false, compiled: false, editor: false};
  vegaEmbed(place, spec, {renderer: "svg", actions, config: THEME}).catch((error) => {
    place.textContent = String(error);
  });
}
"""

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 3rem; color: #111827; background: #f6f7f9;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif;
}
h1 { margin: 0 0 1rem; font-size: 1.6rem; line-height: 1.2; }
h2 { margin: 0 0 .75rem; font-size: 1.1rem; }
section, .tiles > div, body > .table {
  background: #fff; border: 1px solid #e5e7eb; border-radius: .6rem;
}
section, body > .table { margin-top: 1rem; padding: 1rem; }
.tiles {
  display: grid; gap: .75rem; margin: 0;
  grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr));
}
.tiles > div { padding: .7rem .9rem; }
dt { color: #6b7280; font-size: .8rem; }
dd { margin: 0; font-size: 1.3rem; font-weight: 600; overflow-wrap: anywhere; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid #e5e7eb; text-align: left; }
th, td { white-space: nowrap; }
th { color: #6b7280; font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.chart { width: 100%; overflow-x: auto; }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
{scripts}
</body>
</html>
"""
