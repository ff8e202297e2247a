"""Orders, positions, trades and results as documents."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finagent.adapters.sqlite.codec import decode
from finagent.adapters.sqlite.store import read_open_positions
from finagent.adapters.sqlite.views_values import (
    MAX_ROWS,
    OF_SESSION,
    Document,
    basis_points,
    instant,
    listed,
    loads,
    maybe_instant,
    maybe_money,
    maybe_price,
    quotient,
    ratio,
)
from finagent.domain.book import OpenPosition, position_pnl_e8
from finagent.domain.legs import EXIT, STOP
from finagent.domain.money import div_half_even, money_text, price_text, quantity_number
from finagent.domain.orders import BrokerFill, OrderIntent, OrderState
from finagent.domain.plan import ExitLeg
from finagent.domain.positions import Trade, entry_price_e4, open_pnl_e8, realised_pnl_e8

LIVE_STATES = (
    OrderState.INTENT.value,
    OrderState.ACCEPTED.value,
    OrderState.PARTIALLY_FILLED.value,
    OrderState.UNKNOWN.value,
)
LIVE = "state IN ('intent', 'accepted', 'partially_filled', 'unknown')"
"""Written out, so that the partial index answers."""
RESTING = (OrderState.ACCEPTED.value, OrderState.PARTIALLY_FILLED.value)

ORDER_COLUMNS = "body, session, state, filled, created_at, accepted_at, ended_at, reason"
NEWEST_ORDERS = f"""
SELECT {ORDER_COLUMNS} FROM broker_order WHERE {OF_SESSION}
ORDER BY session DESC, created_at DESC, plan_id DESC, leg DESC, generation DESC LIMIT {MAX_ROWS}"""
LIVE_ORDERS = f"""
SELECT {ORDER_COLUMNS} FROM broker_order WHERE {LIVE} AND {OF_SESSION}
ORDER BY session DESC, created_at DESC, plan_id DESC, leg DESC, generation DESC LIMIT {MAX_ROWS}"""
PLAN_ORDERS = (
    f"SELECT {ORDER_COLUMNS} FROM broker_order WHERE plan_id = ? ORDER BY created_at, leg, generation"
)
FILLS = """
SELECT body, leg, reason FROM fill WHERE plan_id IN (SELECT value FROM json_each(?)) ORDER BY recorded_seq"""


@dataclass(frozen=True, slots=True)
class FillRow:
    """A stored fill with its leg and why it was sent."""

    fill: BrokerFill
    leg: str
    reason: str | None


def read_orders(conn: sqlite3.Connection, session: str | None, *, open_only: bool) -> Document:
    """Orders in order of creation; of very many the newest."""
    rows = conn.execute(LIVE_ORDERS if open_only else NEWEST_ORDERS, (session,)).fetchall()
    return {"orders": listed(order_documents(conn, rows[::-1]))}


def read_plan_orders(conn: sqlite3.Connection, plan_id: str) -> list[Document]:
    """One plan's orders."""
    return order_documents(conn, conn.execute(PLAN_ORDERS, (plan_id,)).fetchall())


def order_documents(conn: sqlite3.Connection, rows: Sequence[Sequence[object]]) -> list[Document]:
    """Rows of ORDER_COLUMNS as documents with what their fills add up to."""
    intents = [decode(OrderIntent, row[0]) for row in rows]
    fills: dict[str, list[BrokerFill]] = {}
    for found in read_fills(conn, sorted({intent.plan_id for intent in intents})):
        fills.setdefault(found.fill.client_order_id, []).append(found.fill)
    return [
        _order(intent, row[1:], fills.get(intent.client_order_id, []))
        for intent, row in zip(intents, rows, strict=True)
    ]


def read_fills(conn: sqlite3.Connection, plan_ids: Sequence[str]) -> list[FillRow]:
    """Fills of some plans in the order they were recorded."""
    rows = conn.execute(FILLS, (json.dumps(list(plan_ids)),)).fetchall()
    return [FillRow(decode(BrokerFill, body), leg, reason) for body, leg, reason in rows]


def _order(intent: OrderIntent, row: Sequence[object], fills: Sequence[BrokerFill]) -> Document:
    session, state, filled, created, accepted, ended, reason = row
    shares_e4 = sum(fill.quantity_e4 for fill in fills)
    paid_e8 = sum(fill.quantity_e4 * fill.price_e4 for fill in fills)
    limit, stop = maybe_price(intent.limit_e4), maybe_price(intent.stop_e4)
    return {
        "client_order_id": intent.client_order_id,
        "plan_id": intent.plan_id,
        "session": str(session),
        "symbol": intent.symbol,
        "leg": intent.leg,
        "generation": intent.generation,
        "parent_id": intent.parent_id,
        "side": intent.side.value,
        "type": intent.type.value,
        "quantity": quantity_number(intent.quantity_e4),
        "filled": quantity_number(integer(filled)),
        "price": limit or stop,
        "limit_price": limit,
        "stop_price": stop,
        "average_price": price_text(div_half_even(paid_e8, shares_e4)) if shares_e4 else None,
        "fees": money_text(sum(fill.fees_e8 for fill in fills)),
        "state": str(state),
        "is_open": state in LIVE_STATES,
        "reason": str(reason) or intent.reason or None,
        "created_at": instant(integer(created)),
        "accepted_at": maybe_instant(optional(accepted)),
        "ended_at": maybe_instant(optional(ended)),
    }


def fill_document(found: FillRow) -> Document:
    """One execution."""
    fill = found.fill
    return {
        "execution_id": fill.execution_id,
        "client_order_id": fill.client_order_id,
        "leg": found.leg,
        "side": fill.side.value,
        "quantity": quantity_number(fill.quantity_e4),
        "price": price_text(fill.price_e4),
        "ts": instant(fill.at_ms),
        "fees": money_text(fill.fees_e8),
        "reason": found.reason,
        "ambiguous": fill.is_ambiguous,
    }


# ---------------------------------------------------------------- positions
LIVE_EXITS = f"SELECT body, state, filled FROM broker_order WHERE {LIVE} AND leg <> 'entry'"
FILLED_TARGETS = "SELECT leg FROM broker_order WHERE plan_id = ? AND state = 'filled' AND leg LIKE 'target%'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """An open position with what rests to protect it, in 1e-4; ``target`` is its next one."""

    held: OpenPosition
    protected_e4: int
    exiting_e4: int
    stop_orders: tuple[str, ...]
    target: ExitLeg | None

    @property
    def is_protected(self) -> bool:
        """Whether stop orders that the broker has accepted cover every share."""
        return self.protected_e4 >= abs(self.held.position.quantity_e4)

    @property
    def is_exiting(self) -> bool:
        """Whether orders under way already close every share."""
        return self.exiting_e4 >= abs(self.held.position.quantity_e4)


def read_guarded(conn: sqlite3.Connection) -> list[Guarded]:
    """Open positions by symbol, with their protection."""
    exits: dict[str, list[tuple[OrderIntent, str, int]]] = {}
    for body, state, filled in conn.execute(LIVE_EXITS).fetchall():
        intent = decode(OrderIntent, body)
        exits.setdefault(intent.plan_id, []).append((intent, state, intent.quantity_e4 - filled))
    return [_guarded(conn, held, exits.get(held.plan.plan_id, [])) for held in read_open_positions(conn)]


def _guarded(
    conn: sqlite3.Connection, held: OpenPosition, exits: Sequence[tuple[OrderIntent, str, int]]
) -> Guarded:
    stops = [(i, left) for i, state, left in exits if i.leg == STOP and state in RESTING]
    done = {leg for (leg,) in conn.execute(FILLED_TARGETS, (held.plan.plan_id,)).fetchall()}
    targets = [leg for leg in held.plan.targets if leg.leg not in done]
    return Guarded(
        held=held,
        protected_e4=sum(left for _, left in stops),
        exiting_e4=sum(left for i, _, left in exits if i.leg == EXIT),
        stop_orders=tuple(i.client_order_id for i, _ in stops),
        target=targets[0] if targets else None,
    )


def position_document(guarded: Guarded, mark_e4: int | None) -> Document:
    """An open position with its protection, result and the way to stop and target, in percent and in R."""
    held = guarded.held
    position, plan, sign = held.position, held.plan, held.plan.direction.sign
    risk_e4 = plan.risk_per_share_e4
    opened_e4 = position.bought_e4 if sign > 0 else position.sold_e4
    pnl_e8 = None if mark_e4 is None else position_pnl_e8(position, mark_e4)
    to_stop_e4 = None if mark_e4 is None else sign * (mark_e4 - held.stop_e4)
    target_e4 = guarded.target.price_e4 if guarded.target is not None else None
    to_target_e4 = None if mark_e4 is None or target_e4 is None else sign * (target_e4 - mark_e4)
    return {
        "plan_id": plan.plan_id,
        "session": plan.session,
        "symbol": plan.symbol,
        "setup": plan.setup.value,
        "direction": plan.direction.value,
        "quantity": quantity_number(position.quantity_e4),
        "entry_price": price_text(entry_price_e4(position)) if opened_e4 else None,
        "opened_at": maybe_instant(position.opened_at_ms),
        "mark": maybe_price(mark_e4),
        "stop": price_text(held.stop_e4),
        "initial_stop": price_text(plan.stop_e4),
        "target": maybe_price(target_e4),
        "is_protected": guarded.is_protected,
        "protected_quantity": quantity_number(guarded.protected_e4),
        "is_exiting": guarded.is_exiting,
        "stop_orders": [*guarded.stop_orders],
        "open_pnl": None if mark_e4 is None else money_text(open_pnl_e8(position, mark_e4)),
        "realised": money_text(realised_pnl_e8(position)),
        "pnl": maybe_money(pnl_e8),
        "fees": money_text(position.fees_e8),
        "r_multiple": None if pnl_e8 is None else quotient(pnl_e8, opened_e4 * risk_e4),
        "stop_distance_pct": _percent_of(to_stop_e4, mark_e4),
        "stop_distance_r": None if to_stop_e4 is None else quotient(to_stop_e4, risk_e4),
        "target_distance_pct": _percent_of(to_target_e4, mark_e4),
        "target_distance_r": None if to_target_e4 is None else quotient(to_target_e4, risk_e4),
        "notional": None if mark_e4 is None else money_text(abs(position.quantity_e4) * mark_e4),
    }


def positions_document(found: Sequence[Guarded], marks_e4: Mapping[str, int]) -> Document:
    """All open positions by symbol."""
    return {"positions": listed(position_document(g, marks_e4.get(g.held.plan.symbol)) for g in found)}


def _percent_of(distance_e4: int | None, mark_e4: int | None) -> float | None:
    return None if distance_e4 is None or mark_e4 is None else quotient(100 * distance_e4, mark_e4)


# ---------------------------------------------------------------- trades and results
TRADES = f"""
SELECT body FROM trade WHERE {OF_SESSION}
ORDER BY session DESC, exit_at DESC, symbol DESC, trade_id DESC LIMIT {MAX_ROWS}"""
SESSIONS = """
SELECT session, count(*), sum(pnl), sum(fees), sum(pnl > 0) FROM trade GROUP BY session
UNION ALL
SELECT session, 0, 0, 0, 0 FROM day WHERE session NOT IN (SELECT session FROM trade) ORDER BY session"""
DAYS = "SELECT session, is_flat, held_over FROM day"
COURSE = "SELECT pnl FROM trade ORDER BY exit_at, symbol, trade_id"


def trade_document(trade: Trade) -> Document:
    """A closed round trip in the shape that other programs read."""
    return {
        "trade_id": trade.trade_id,
        "plan_id": trade.plan_id,
        "session": trade.session,
        "symbol": trade.symbol,
        "setup": str(trade.setup),
        "direction": trade.direction.value,
        "quantity": quantity_number(trade.quantity_e4),
        "entry_ts": instant(trade.entry_at_ms),
        "entry_price": price_text(trade.entry_price_e4),
        "exit_ts": instant(trade.exit_at_ms),
        "exit_price": price_text(trade.exit_price_e4),
        "exit_reason": trade.exit_reason.value,
        "exits": [
            {
                "leg": each.leg,
                "quantity": quantity_number(each.quantity_e4),
                "ts": instant(each.at_ms),
                "price": price_text(each.price_e4),
                "reason": each.reason.value,
            }
            for each in trade.exits
        ],
        "stop": price_text(trade.stop_e4),
        "target": price_text(trade.target_e4) if trade.target_e4 else None,
        "reference": price_text(trade.reference_e4),
        "risk_per_share": price_text(trade.risk_per_share_e4),
        "r_multiple": ratio(trade.r_multiple_e6),
        "mae_r": ratio(trade.mae_r_e6),
        "mfe_r": ratio(trade.mfe_r_e6),
        "slippage_bps": basis_points(trade.slippage_e6),
        "fees": money_text(trade.fees_e8),
        "pnl": money_text(trade.pnl_e8),
        "ambiguous": trade.is_ambiguous,
    }


def read_trades(conn: sqlite3.Connection, session: str | None) -> Document:
    """Closed trades in the order they ended; of very many the newest."""
    rows = conn.execute(TRADES, (session,)).fetchall()
    return {"trades": listed(trade_document(decode(Trade, body)) for (body,) in rows[::-1])}


TIE_OUTS = "SELECT session, difference FROM account_snapshot WHERE difference IS NOT NULL"


def read_pnl(conn: sqlite3.Connection, *, start_equity_e8: int) -> Document:
    """Closed trades by session, oldest first, with the equity each session began with, and their sum."""
    days = {session: (flat, held) for session, flat, held in conn.execute(DAYS).fetchall()}
    tied = dict(conn.execute(TIE_OUTS).fetchall())
    starts = dict(conn.execute("SELECT session, equity FROM day_start").fetchall())
    equity_e8, sessions = start_equity_e8, list[Document]()
    trades = won = pnl_e8 = fees_e8 = 0
    for session, count, pnl, fees, wins in conn.execute(SESSIONS).fetchall():
        is_flat, held_over = days.get(session, (None, "[]"))
        equity_e8 = starts.get(session, equity_e8)
        sessions.append(
            {
                "session": session,
                "trades": count,
                "wins": wins,
                "pnl": money_text(pnl),
                "fees": money_text(fees),
                "day_start_equity": money_text(equity_e8),
                "day_end_equity": money_text(equity_e8 + pnl),
                "flat": None if is_flat is None else bool(is_flat),
                "held_over": loads(held_over),
                "tie_out_difference": maybe_money(tied.get(session)),
            }
        )
        equity_e8 += pnl
        trades, won, pnl_e8, fees_e8 = trades + count, won + wins, pnl_e8 + pnl, fees_e8 + fees
    return {
        "sessions": listed(sessions),
        "totals": {
            "trades": trades,
            "wins": won,
            "pnl": money_text(pnl_e8),
            "fees": money_text(fees_e8),
            "win_rate": quotient(won, trades),
            "max_drawdown": money_text(_drawdown_e8(conn)),
            "start_equity": money_text(start_equity_e8),
            "end_equity": money_text(equity_e8),
        },
    }


def _drawdown_e8(conn: sqlite3.Connection) -> int:
    """The deepest fall of the closed result from its highest point so far."""
    reached = highest = deepest = 0
    for (pnl,) in conn.execute(COURSE):
        reached += pnl
        highest = max(highest, reached)
        deepest = max(deepest, highest - reached)
    return deepest


def integer(value: object) -> int:
    """A column that the table declares INTEGER NOT NULL."""
    assert isinstance(value, int)
    return value


def optional(value: object) -> int | None:
    """A column that the table declares INTEGER."""
    return None if value is None else integer(value)
