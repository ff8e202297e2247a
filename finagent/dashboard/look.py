"""How values and blocks look on the page."""

import html
from datetime import datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from finagent.dashboard.client import Document

EXCHANGE = ZoneInfo("America/New_York")
UNKNOWN = "–"

STYLE = """<style>
.block-container {padding-top: 4.2rem; padding-bottom: 3rem; max-width: 72rem;}
.fa-head {display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: baseline; margin-bottom: .2rem;}
.fa-head h1 {font-size: 1.55rem; margin: 0; padding: 0; letter-spacing: -.01em;}
.fa-dim {color: #78716c; font-size: .9rem;}
.fa-chip {display: inline-block; padding: .1rem .6rem; border-radius: 999px; font-size: .78rem;
  font-weight: 600;
  background: #e7e5e4; color: #44403c; white-space: nowrap;}
.fa-chip.good {background: #d1fae5; color: #065f46;} .fa-chip.warn {background: #fef3c7; color: #92400e;}
.fa-chip.bad {background: #fee2e2; color: #991b1b;} .fa-chip.info {background: #dbeafe; color: #1e40af;}
.fa-cards {display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .8rem;
  margin: .6rem 0;}
.fa-card {background: #fff; border: 1px solid #e2e0db; border-radius: .7rem; padding: .8rem 1rem;}
.fa-card .k {color: #78716c; font-size: .78rem; text-transform: uppercase; letter-spacing: .04em;}
.fa-card .v {font-size: 1.45rem; font-weight: 650; font-variant-numeric: tabular-nums; line-height: 1.3;}
.fa-card .s {color: #78716c; font-size: .82rem;}
.fa-gain {color: #047857;} .fa-loss {color: #b91c1c;}
.fa-bar {position: relative; height: .6rem; background: #e7e5e4; border-radius: 999px; overflow: hidden;}
.fa-bar i {position: absolute; inset: 0 auto 0 0; border-radius: 999px;}
.fa-marks {display: flex; justify-content: space-between; color: #78716c; font-size: .8rem;
  margin-top: .25rem;}
.fa-note {border-left: 4px solid #d97706; background: #fffbeb; padding: .55rem .9rem;
  border-radius: .4rem;
  margin: .35rem 0; overflow-wrap: anywhere;}
.fa-note.bad {border-color: #dc2626; background: #fef2f2;} .fa-note.good {border-color: #059669;
  background: #ecfdf5;}
.fa-scroll {overflow-x: auto;}
table.fa {width: 100%; border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums;}
table.fa th {text-align: right; color: #78716c; font-weight: 500; font-size: .78rem; padding:
  .35rem .45rem;
  border-bottom: 1px solid #e2e0db; white-space: nowrap;}
table.fa td {text-align: right; padding: .45rem .45rem; border-bottom: 1px solid #f0efec;
  white-space: nowrap;}
table.fa th:first-child, table.fa td:first-child {text-align: left; font-weight: 600;}
.fa-plan {display: grid; grid-template-columns: repeat(auto-fit, minmax(6rem, 1fr)); gap: .35rem
  .9rem; margin: .3rem 0;}
.fa-plan .k {color: #78716c; font-size: .76rem;} .fa-plan .v {font-weight: 600;
  font-variant-numeric: tabular-nums;}
.fa-past {opacity: .55;}
</style>"""


def number(document: Document, *keys: str) -> Decimal | None:
    """The first known value among the keys as an exact number."""
    for key in keys:
        value = document.get(key)
        if value is None or isinstance(value, bool):
            continue
        try:
            return Decimal(str(value))
        except InvalidOperation:
            continue
    return None


def text(document: Document, *keys: str) -> str:
    """The first known value among the keys, escaped for HTML: a headline is text, never markup."""
    value = next((document[key] for key in keys if document.get(key) is not None), "")
    return html.escape(str(value))


def inner(document: Document, key: str) -> Document:
    """The mapping under a key, empty where there is none."""
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def rows(document: Document, key: str) -> list[Document]:
    """The list of mappings under a key."""
    value = document.get(key)
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def money(value: Decimal | None, *, signed: bool = False) -> str:
    """Two decimals, thousands separated."""
    if value is None:
        return UNKNOWN
    return f"{value:+,.2f}" if signed and value else f"{value:,.2f}"


def price(value: Decimal | None) -> str:
    """Two decimals, up to four where they matter."""
    if value is None:
        return UNKNOWN
    shown = f"{value:,.4f}"
    return shown[:-2] if shown.endswith("00") else shown


def quantity(value: Decimal | None) -> str:
    """Whole shares without decimals."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value == value.to_integral_value() else f"{value.normalize():,f}"


def multiple(value: Decimal | None) -> str:
    """A multiple of the risk."""
    return UNKNOWN if value is None else f"{value:+.2f} R"


def moment(instant: str, form: str = "%H:%M") -> str:
    """An ISO 8601 instant in exchange time."""
    try:
        parsed = datetime.fromisoformat(instant.replace("Z", "+00:00"))
    except ValueError:
        return html.escape(instant) or UNKNOWN
    return parsed.astimezone(EXCHANGE).strftime(form)


def shade(value: Decimal | None) -> str:
    """The class of a gain or a loss."""
    return "" if not value else "fa-gain" if value > 0 else "fa-loss"


def chip(words: str, kind: str = "") -> str:
    """A small label."""
    return f'<span class="fa-chip {kind}">{words}</span>'


def card(name: str, value: str, below: str = "", css: str = "") -> str:
    """A figure with its name."""
    inside = f'<div class="k">{name}</div><div class="v {css}">{value}</div><div class="s">{below}</div>'
    return f'<div class="fa-card">{inside}</div>'


def cards(*items: str) -> str:
    """Cards side by side, under each other where it is narrow."""
    return f'<div class="fa-cards">{"".join(items)}</div>'


def table(titles: list[str], cells: list[list[str]], *, dim: list[bool] | None = None) -> str:
    """A table that scrolls sideways where it is narrow; rows that are past are grey."""
    head = "".join(f"<th>{title}</th>" for title in titles)
    past = dim or [False] * len(cells)
    body = "".join(
        f"<tr{' class=fa-past' if grey else ''}>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>"
        for row, grey in zip(cells, past, strict=True)
    )
    inside = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="fa-scroll"><table class="fa">{inside}</table></div>'


def coloured(value: Decimal | None, words: str) -> str:
    """Words in the colour of a gain or a loss."""
    return f'<span class="{shade(value)}">{words}</span>'
