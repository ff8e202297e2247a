"""The shell of a page: one HTML file with its style, its tables and its charts, which loads nothing from anywhere.

Charts are drawn by plotly.js, which the plotly package carries and a page holds packed (zlib, base64): 2 MB instead of
nearly 5. A chart is handed over as the traces and the layout of its reference. Whatever is not ``Html`` already is
escaped. The page's own policy lets only its two scripts run: the one that unpacks and draws, and plotly.js.
"""

import base64
import hashlib
import html
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

GAIN, LOSS, LINE, SHADE = "#1a7f4b", "#c0392b", "#24557a", "rgba(192,57,43,0.25)"
"""Colours of what was won and lost, of a course and of the area below it."""
CHART_HEIGHT_PX = 340
ROWS_SHOWN = 5_000
"""So many rows at most stand in one table: more of them make a browser slow."""

_STYLE = (
    """
:root{--ink:#1c2530;--dim:#5d6b7a;--rule:#d9e0e7;--paper:#fff;--wash:#f4f7fa;--gain:#1a7f4b;--loss:#c0392b}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1280px;padding:1.5rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:1.6rem;margin:0 0 .2rem}h2{font-size:1.15rem;margin:2rem 0 .6rem;border-bottom:1px solid var(--rule)}
p{margin:.3rem 0 .8rem}.dim{color:var(--dim)}.gain{color:var(--gain)}.loss{color:var(--loss)}
.warn{background:#fff4e5;border-left:4px solid #d9822b;padding:.6rem .9rem;margin:.8rem 0}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(10.5rem,1fr));gap:.6rem;margin:1rem 0}
.card{background:var(--wash);border:1px solid var(--rule);border-radius:6px;padding:.5rem .8rem}
.card b{display:block;font-size:1.15rem;font-variant-numeric:tabular-nums}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(34rem,100%),1fr));gap:1rem}
figure{margin:0 0 1rem}figcaption{color:var(--dim);font-size:.88rem}.chart{width:100%}
.scroll{overflow:auto;max-height:36rem;border:1px solid var(--rule);border-radius:6px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.88rem}
th{position:sticky;top:0;background:var(--wash);text-align:left}
th,td{padding:.25rem .4rem;border-bottom:1px solid var(--rule);white-space:nowrap}:is(td.wide,th){white-space:normal}
"""
    + "".join(f".r{place} :is(th,td):nth-child({place})," for place in range(1, 31))
    + """
.right{text-align:right}
@media print{.scroll{max-height:none;overflow:visible}body{max-width:none}}
"""
)
_PACKING = 4
"""zlib's level: higher ones take twice as long for 4 % less."""
_DRAW = """
async function library() {
  const packed = Uint8Array.from(atob(document.getElementById("library").textContent), each => each.charCodeAt(0));
  const open = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const script = document.createElement("script");
  script.textContent = await new Response(open).text();
  document.head.append(script);
}
function draw() {
  for (const figure of document.querySelectorAll("figure")) {
    const {data, layout} = JSON.parse(figure.querySelector("script").textContent);
    Plotly.newPlot(figure.querySelector(".chart"), data, layout, {responsive: true, displaylogo: false,
      displayModeBar: "hover", modeBarButtonsToRemove: ["sendChartToCloud", "sendDataToCloud"]});
  }
  document.documentElement.dataset.drawn = "yes";
}
library().then(draw).catch(error => {
  document.getElementById("undrawn").hidden = false;
  document.documentElement.dataset.drawn = "no";
});
"""
_UNDRAWN = "The charts are not drawn: they need a browser of 2023 or later, with scripts. The tables hold the figures."
_LAYOUT: dict[str, object] = {
    "margin": {"l": 56, "r": 20, "t": 16, "b": 44},
    "height": CHART_HEIGHT_PX,
    "font": {"family": "system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, sans-serif", "size": 12},
    "plot_bgcolor": "#fff",
    "paper_bgcolor": "#fff",
    "colorway": [LINE, GAIN, LOSS, "#d9822b", "#6c5b9e", "#4aa3a2", "#8d6e63", "#7f8c8d"],
    "legend": {"orientation": "h", "y": 1.12},
    "hovermode": "closest",
}


class Html(str):
    """Markup that is safe as it stands."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; ``right`` for numbers, ``is_wide`` for sentences that may wrap."""

    title: str
    right: bool = False
    is_wide: bool = False


def escaped(value: object) -> Html:
    """Any value as markup: ``Html`` as it is, None as a dash, everything else with its special characters escaped."""
    if isinstance(value, Html):
        return value
    return Html("–" if value is None else html.escape(str(value)))


def joined(parts: Iterable[object]) -> Html:
    """Parts one after the other, each escaped where it has to be."""
    return Html("".join(escaped(part) for part in parts))


def painted(words: object, value: float | None) -> Html:
    """Words in the colour of a gain or a loss."""
    if value is None or value == 0:
        return escaped(words)
    return Html(f'<span class="{"gain" if value > 0 else "loss"}">{escaped(words)}</span>')


def paragraph(words: object, *, kind: str = "") -> Html:
    """A paragraph; ``kind`` is ``dim`` or ``warn``."""
    return Html(f'<p class="{kind}">{escaped(words)}</p>' if kind else f"<p>{escaped(words)}</p>")


def section(heading: str, *parts: object) -> Html:
    """A heading and what stands below it."""
    return Html(f"<section><h2>{escaped(heading)}</h2>{joined(parts)}</section>")


def grid(*parts: Html) -> Html:
    """Parts side by side where the window is wide enough."""
    return Html(f'<div class="grid">{"".join(parts)}</div>')


def cards(facts: Iterable[tuple[str, object]]) -> Html:
    """The figures that are read first, each with its name."""
    shown = "".join(
        f'<div class="card"><span class="dim">{escaped(name)}</span><b>{escaped(value)}</b></div>'
        for name, value in facts
    )
    return Html(f'<div class="cards">{shown}</div>')


def table(columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> Html:
    """A table that scrolls; of more than ``ROWS_SHOWN`` rows the last ones, and a line that says so.

    Its class tells which columns are numbers, so that no cell has to; HTML lets cells and rows end by themselves.
    """
    kinds = [' class="wide"' if column.is_wide else "" for column in columns]
    right = " ".join(f"r{place}" for place, column in enumerate(columns, 1) if column.right)
    named = f' class="{right}"' if right else ""
    head = "".join(f"<th>{escaped(column.title)}" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{escaped(cell)}" for kind, cell in zip(kinds, row, strict=True))
        for row in rows[-ROWS_SHOWN:]
    )
    note = f"The last {ROWS_SHOWN:,} of {len(rows):,} rows." if len(rows) > ROWS_SHOWN else ""
    shown = f'<div class="scroll"><table{named}><thead><tr>{head}</thead><tbody>{body}</tbody></table></div>'
    return Html(shown + (paragraph(note, kind="dim") if note else ""))


def facts_table(facts: Iterable[tuple[str, object]]) -> Html:
    """Names and values, one pair a row."""
    return table((Column("What"), Column("Value", is_wide=True)), list(facts))


def chart(traces: Sequence[Mapping[str, object]], layout: Mapping[str, object], *, caption: str = "") -> Html:
    """A chart of plotly.js; its texts go through ``label`` where they come from data."""
    figure = {"data": [*traces], "layout": {**_LAYOUT, **layout}}
    height = figure["layout"]["height"] if isinstance(figure["layout"], dict) else CHART_HEIGHT_PX
    return Html(
        f'<figure><div class="chart" style="min-height:{height}px"></div>'
        f'<script type="application/json">{_embedded(figure)}</script>'
        f"<figcaption>{escaped(caption)}</figcaption></figure>"
    )


def label(value: object) -> str:
    """A text from data as a chart may show it: plotly.js reads some tags, and this leaves none."""
    return html.escape(str(value))


def page(title: str, *parts: object) -> str:
    """The whole file; without a chart it has no script at all."""
    body = joined(parts)
    scripts, allowed = "", "'none'"
    if "<figure>" in body:
        allowed = f"'{_fingerprint(_library())}' '{_fingerprint(_DRAW)}'"
        scripts = f'<script type="text/plain" id="library">{_packed()}</script><script>{_DRAW}</script>'
        hint = f'<p class="warn" id="undrawn" hidden>{_UNDRAWN}</p>'
        body = Html(f'{hint}<noscript><p class="warn">{_UNDRAWN}</p></noscript>{body}')
    policy = (
        f"default-src 'none'; script-src {allowed};"
        " style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escaped(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escaped(title)}</h1>{body}{scripts}</body></html>\n"
    )


def _embedded(figure: Mapping[str, object]) -> str:
    """JSON that no text inside can end early."""
    text = json.dumps(figure, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _library() -> str:
    """plotly.js as its package carries it; the package itself, which takes long to load, is not imported."""
    found = find_spec("plotly")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("no package plotly, which draws the charts: install the project anew")
    folder = Path(next(iter(found.submodule_search_locations)))
    return (folder / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


@cache
def _packed() -> str:
    """plotly.js as the page holds it."""
    return base64.b64encode(zlib.compress(_library().encode(), _PACKING)).decode()


@cache
def _fingerprint(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
