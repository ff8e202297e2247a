"""A backtest as documents: what the command prints, and what is kept under ``reports/backtests`` of the home."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import orjson

from finagent.adapters.sqlite.views_orders import trade_document
from finagent.adapters.sqlite.views_values import instant
from finagent.backtest.ledger import DayRow, FillRow, Ledger
from finagent.backtest.metrics import course_of, drawdowns, figures
from finagent.backtest.pages.result import result_page
from finagent.backtest.running import (
    Bars,
    Engine,
    Result,
    as_lines,
    fill_rows,
    journal_rows,
    order_rows,
    outcome_of,
    trades_hash,
)
from finagent.backtest.unplayed import Unplayed, unplayed
from finagent.context import Document, Json
from finagent.domain.money import money_text
from finagent.domain.orders import ENTRY_LEG
from finagent.domain.positions import Trade
from finagent.runtime.files import write_whole

FOLDER = Path("reports") / "backtests"
RESULT, SUMMARY, REPORT = "result.json", "summary.json", "report.html"
LONG = ("sessions", "trades")
"""What a summary leaves out."""
OPEN_ASSUMED = "open assumed known"
BORROW_ASSUMED = "borrow assumed"
EXITS_ATTACHED = "exits attached to the entry, as the paper venue takes them"
MINUTE_STOP_FIRST = "stop first where a minute bar holds stop and target"
DRILLED = (
    "daily bars with stop and target drilled into their minutes where these tell the order, else stop first"
)


def report(result: Result, *, bars: Bars, elapsed_ms: int, at: str | None = None) -> Document:
    """The document of surfaces.md, and what a reader has to know beside it.

    ``outcome_hash`` covers decisions and orders too: there is none where the kernel played a session.
    """
    ledger = result.ledger
    trades = sorted(
        ledger.trades, key=lambda each: (each.session, each.exit_at_ms, each.symbol, each.trade_id)
    )
    failure = result.failure
    partial: Json = None if failure is None else {"session": failure.session, "error": failure.error}
    return {
        "result_id": result.result_id,
        "outcome_hash": outcome_of(ledger) if result.engine is Engine.REFERENCE else None,
        "trades_hash": trades_hash(ledger),
        "from": result.sessions[0].date,
        "to": result.sessions[-1].date,
        "engine": result.engine.value,
        "kernel_sessions": len(ledger.tallies),
        "checked": result.checked,
        "looked_ahead": result.looked_ahead,
        "bars": bars.value,
        "dataset_id": result.dataset_id,
        "partial": partial,
        "assumptions": [*assumptions(result, at)],
        "unplayed": [_unplayed(each) for each in unplayed(ledger, result.rules)],
        "sessions": _sessions(ledger),
        "drilled": None if result.drilled is None else asdict(result.drilled),
        "trades": [_trade(trade, ledger) for trade in trades],
        "totals": _totals(ledger, trades),
        "metrics": {**figures(ledger)},
        "drawdowns": [{**each} for each in drawdowns(course_of(ledger))],
        "jobs": {"done": 0, "dead": 0, "live": 0},
        "elapsed_ms": elapsed_ms,
    }


def keep(home: Path, document: Document, result: Result) -> Path:
    """Store document, its summary, page and fills under the result's id, decisions and orders where the reference
    played all of it; gives the folder.
    """
    folder = home / FOLDER / result.result_id
    folder.mkdir(parents=True, exist_ok=True)
    if result.engine is Engine.REFERENCE:
        write_whole(folder / "decisions.jsonl", as_lines(journal_rows(result.ledger)).encode())
        write_whole(folder / "orders.jsonl", as_lines(order_rows(result.ledger)).encode())
    write_whole(folder / "fills.jsonl", as_lines(fill_rows(result.ledger)).encode())
    write_whole(folder / RESULT, as_json(document))
    write_whole(folder / REPORT, result_page(document).encode())
    write_whole(folder / SUMMARY, as_json(summary_of(document)))
    write_whole(folder.parent / "last", f"{result.result_id}\n".encode())
    return folder


def summary_of(document: Document) -> Document:
    """A result without its sessions and trades, or the market's: what a list of results shows."""
    found = {key: value for key, value in document.items() if key not in LONG}
    market = found.get("market")
    if isinstance(market, dict):
        found["market"] = {key: value for key, value in market.items() if key != "returns"}
    return found


def as_json(document: Document) -> bytes:
    """A document as it is stored."""
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def assumptions(result: Result, at: str | None = None) -> list[str]:
    """What the result takes for granted, and which rules it could not play; ``at``: when it was to be scanned."""
    ledger = result.ledger
    has_daily = any(not day.has_minutes and not day.skipped for day in ledger.days)
    is_borrowed = any("borrow_assumed" in row.plan.notes for row in ledger.plans.values())
    is_borrowed |= any(tally.shorts for tally in ledger.tallies.values())
    named = ((OPEN_ASSUMED, has_daily), (BORROW_ASSUMED, is_borrowed), (EXITS_ATTACHED, True))
    unseen = [each.words for each in unplayed(ledger, result.rules)]
    daily = sum(not day.has_minutes and not day.skipped for day in ledger.days)
    stated = [name for name, is_true in named if is_true]
    return [*stated, *scanned_at(at, daily), *unseen, *_drilled(result, daily)]


def _drilled(result: Result, daily: int) -> list[str]:
    """Where minutes were asked about ambiguous bars: what they decided, and that a minute bar has none inside."""
    if result.drilled is None:
        return []
    has_minutes = any(day.has_minutes and not day.skipped for day in result.ledger.days)
    return [*([result.drilled.words] if daily else []), *([MINUTE_STOP_FIRST] if has_minutes else [])]


def scanned_at(at: str | None, daily: int) -> list[str]:
    """Where a time of the scan was asked for, that sessions on daily bars did not follow it."""
    if at is None or not daily:
        return []
    noun = "session" if daily == 1 else "sessions"
    return [f"scanned at {at} on minutes alone: {daily:,} {noun} on daily bars at their open"]


def _unplayed(found: Unplayed) -> Json:
    """What daily bars left unplayed, in numbers."""
    return {
        "rule": found.rule,
        "setting": found.setting,
        found.unit: found.of,
        "maybe": found.maybe,
        "surely": found.surely,
    }


def _sessions(ledger: Ledger) -> list[Json]:
    plans = Counter(row.plan.session for row in ledger.plans.values())
    approved = Counter(row.plan.session for row in ledger.plans.values() if row.approved)
    orders = Counter(row.session for row in ledger.orders.values())
    for date, tally in ledger.tallies.items():
        plans[date], approved[date], orders[date] = tally.plans, tally.approved, tally.orders
    fills = Counter(row.session for row in ledger.fills)
    trades: Counter[str] = Counter(ledger.exit_sessions)
    pnl: Counter[str] = Counter()
    for trade, date in zip(ledger.trades, ledger.exit_sessions, strict=True):
        pnl[date] += trade.pnl_e8
    counts = {"plans": plans, "approved": approved, "orders": orders, "fills": fills, "trades": trades}
    return [_session(day, counts, pnl) for day in ledger.days]


def _session(day: DayRow, counts: Mapping[str, Counter[str]], pnl: Counter[str]) -> Json:
    return {
        "session": day.session,
        "skipped": [*day.skipped],
        "bars": "minute" if day.has_minutes else "daily",
        "candidates": day.candidates,
        **{name: found[day.session] for name, found in counts.items()},
        "pnl": money_text(pnl[day.session]),
        "flat": day.is_flat,
        "held_over": [*day.held_over],
    }


def _trade(trade: Trade, ledger: Ledger) -> Json:
    """A trade, with the minute that decided an ambiguous daily bar where one did."""
    minutes = [fill.model.drilled_ms for fill in ledger.fills_of(trade.plan_id)]
    told = [minute for minute in minutes if minute is not None]
    return {**trade_document(trade), **({"drilled": instant(told[0])} if told else {})}


def _totals(ledger: Ledger, trades: Sequence[Trade]) -> Json:
    pnl_e8 = sum(trade.pnl_e8 for trade in trades)
    best_e8, worst_e8 = bounds_e8(ledger)
    return {
        "trades": len(trades),
        "pnl": money_text(pnl_e8),
        "fees": money_text(sum(trade.fees_e8 for trade in trades)),
        "win_rate": sum(trade.pnl_e8 > 0 for trade in trades) / len(trades) if trades else None,
        "max_drawdown": money_text(drawdown_e8(trades)),
        "ambiguous": sum(trade.is_ambiguous for trade in trades),
        "pnl_best": money_text(best_e8),
        "pnl_worst": money_text(worst_e8),
        "start_equity": money_text(ledger.start_equity_e8),
        "end_equity": money_text(ledger.start_equity_e8 + pnl_e8),
    }


def drawdown_e8(trades: Sequence[Trade]) -> int:
    """The deepest fall of summed profit from its highest point, over trades in order of exit."""
    peak = level = deepest = 0
    for trade in sorted(trades, key=lambda each: (each.exit_at_ms, each.symbol, each.trade_id)):
        level += trade.pnl_e8
        peak = max(peak, level)
        deepest = max(deepest, peak - level)
    return deepest


def bounds_e8(ledger: Ledger) -> tuple[int, int]:
    """Profit of all trades had every bar that does not tell its order played out best, and worst.

    Fees and the sizes of later trades are left as they were.
    """
    best = worst = 0
    for trade in ledger.trades:
        best_e8 = worst_e8 = 0
        for row in ledger.fills_of(trade.plan_id):
            gained = _gains_e8(row, trade)
            best_e8, worst_e8 = best_e8 + gained[0], worst_e8 + gained[1]
        best, worst = best + trade.pnl_e8 + max(0, best_e8), worst + trade.pnl_e8 + min(0, worst_e8)
    return best, worst


def _gains_e8(row: FillRow, trade: Trade) -> tuple[int, int]:
    """What a doubtful fill could have earned more, and less: an exit at another price, an entry left sooner."""
    model, sign = row.model, trade.direction.sign
    if not model.is_ambiguous or model.best_e4 is None or model.worst_e4 is None:
        return 0, 0
    left_e4 = trade.exit_price_e4 if row.leg == ENTRY_LEG else model.price_e4
    quantity_e4 = model.quantity_e4
    return sign * (model.best_e4 - left_e4) * quantity_e4, sign * (model.worst_e4 - left_e4) * quantity_e4
