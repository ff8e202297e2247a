"""The account as documents: what is open and lost today, and the limits with the part used."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from finagent.adapters.sqlite.store import read_book
from finagent.adapters.sqlite.views_orders import Guarded, read_guarded
from finagent.adapters.sqlite.views_values import (
    Document,
    Json,
    instant,
    listed,
    maybe_money,
    percent,
    quotient,
    ratio,
    texts,
)
from finagent.domain.book import Book, account_state
from finagent.domain.limits import breakers, flatten_limit_e8, limits, limits_used, loss_tier, pause_limit_e8
from finagent.domain.money import money_text, quantity_number
from finagent.domain.risk import AccountState, RiskProfile

CONTROL_AT = "SELECT updated_at FROM control WHERE id = 1"
LOCKS = "SELECT symbol, locked_at FROM symbol_lock ORDER BY symbol"
NAMES = {
    "daily_loss_flatten": "flatten_loss",
    "daily_loss_pause": "pause_loss",
    "daily_worst_case": "worst_case",
}
"""Limits whose name in documents is another than in metrics."""
MARKS = "SELECT symbol, mark FROM venue_position ORDER BY symbol"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What one snapshot says of a session's account; ``venue_marks_e4``: the paper venue's last prices."""

    book: Book
    guarded: tuple[Guarded, ...]
    control_at_ms: int
    locks: tuple[tuple[str, int], ...]
    venue_marks_e4: Mapping[str, int]

    @property
    def held_symbols(self) -> tuple[str, ...]:
        """Symbols with an open position, sorted."""
        return tuple(sorted({each.held.plan.symbol for each in self.guarded}))


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedLedger:
    """A ledger at last prices, as risk sees it."""

    ledger: Ledger
    marks_e4: Mapping[str, int]
    profile: RiskProfile
    account: AccountState

    @property
    def unmarked(self) -> list[str]:
        """Symbols held whose price nobody knows: they count at their stop, the careful side."""
        return [symbol for symbol in self.ledger.held_symbols if symbol not in self.marks_e4]


def read_ledger(
    conn: sqlite3.Connection, session: str, *, start_equity_e8: int, is_outside: bool, now_ms: int
) -> Ledger:
    """The account of a session as this connection sees it."""
    return Ledger(
        book=read_book(conn, session, start_equity_e8=start_equity_e8, is_outside=is_outside, now_ms=now_ms),
        guarded=tuple(read_guarded(conn)),
        control_at_ms=conn.execute(CONTROL_AT).fetchone()[0],
        locks=tuple(conn.execute(LOCKS).fetchall()),
        venue_marks_e4=dict(conn.execute(MARKS).fetchall()),
    )


def mark(ledger: Ledger, marks_e4: Mapping[str, int], profile: RiskProfile) -> MarkedLedger:
    """The ledger at last prices; the venue's own mark where there is no newer one."""
    marks = {
        symbol: price
        for symbol in ledger.held_symbols
        if (price := marks_e4.get(symbol, ledger.venue_marks_e4.get(symbol))) is not None
    }
    return MarkedLedger(
        ledger=ledger,
        marks_e4=marks,
        profile=profile,
        account=account_state(ledger.book, marks, profile),
    )


def loss_used_e6(found: MarkedLedger) -> int | None:
    """The part of the day's last loss limit that is used, in 1e-6; None when both are off."""
    used = limits_used(found.account, found.profile)
    return used.get("daily_loss_flatten", used.get("daily_loss_pause"))


def account_document(found: MarkedLedger, currency: str) -> Document:
    """Equity and the day's result; ``pause_at`` and ``flatten_at`` are results at which that happens."""
    account = found.account
    pause_e8 = pause_limit_e8(account, found.profile)
    flatten_e8 = flatten_limit_e8(account, found.profile)
    share = quotient(100 * account.day_pnl_e8, account.day_start_equity_e8)
    return {
        "currency": currency,
        "equity": money_text(account.equity_e8),
        "cash": money_text(account.cash_e8),
        "day_start_equity": money_text(account.day_start_equity_e8),
        "day_pnl": money_text(account.day_pnl_e8),
        "day_pnl_pct": share,
        "realised": money_text(account.realised_pnl_e8),
        "open": money_text(account.open_pnl_e8),
        "exposure": money_text(account.exposure_e8),
        "worst_case": money_text(account.open_worst_case_e8),
        "pause_at": None if pause_e8 is None else money_text(-pause_e8),
        "flatten_at": None if flatten_e8 is None else money_text(-flatten_e8),
        "limit_used_ratio": ratio(loss_used_e6(found)),
        "loss_tier": loss_tier(account, found.profile),
        "valued_at_stop": texts(found.unmarked),
    }


def control_document(found: MarkedLedger) -> Document:
    """The halt flags; ``gate_reason`` is why no entry is possible at all, whichever flag says so."""
    control = found.ledger.book.control
    return {
        "paused": control.is_paused,
        "pause_reason": control.pause_reason,
        "paused_by": control.paused_by,
        "killed": control.is_killed,
        "needs_rearm": control.needs_rearm,
        "gate_reason": found.account.entry_gate_reason,
        "locked_symbols": texts(control.locked_symbols),
    }


def risk_document(found: MarkedLedger, currency: str) -> Document:
    """Profile, limits with the part used, open breakers, reservations and locks."""
    ledger = found.ledger
    return {
        "session": ledger.book.session,
        "profile": found.profile.name,
        "settings": _settings(found.profile),
        "account": account_document(found, currency),
        "loss_tier": loss_tier(found.account, found.profile),
        "breakers": texts(breakers(found.account, found.profile)),
        "limits": _limits(found),
        "reservations": listed(
            {
                "plan_id": each.plan_id,
                "symbol": each.symbol,
                "notional": money_text(each.notional_e8),
                "worst_case": money_text(each.worst_case_e8),
            }
            for each in ledger.book.reservations
        ),
        "locks": listed({"symbol": symbol, "since": instant(at)} for symbol, at in ledger.locks),
        "control": control_document(found),
    }


def _limits(found: MarkedLedger) -> Document:
    """By name ``{limit, used, left, used_ratio, unit, reopens}``; limits that are off miss."""
    return {
        NAMES.get(each.name, each.name): {
            "limit": money_text(each.limit) if each.is_money else each.limit,
            "used": money_text(each.used) if each.is_money else each.used,
            "left": money_text(each.left) if each.is_money else each.left,
            "used_ratio": ratio(each.used_e6),
            "unit": "money" if each.is_money else "count",
            "reopens": each.reopens.value,
        }
        for each in limits(found.account, found.profile)
    }


def _settings(profile: RiskProfile) -> dict[str, Json]:
    return {
        "risk_per_trade_pct": percent(profile.risk_per_trade_e6),
        "max_position_pct": percent(profile.max_position_e6),
        "max_position_notional": maybe_money(profile.max_position_notional_e8),
        "max_order_notional": maybe_money(profile.max_order_notional_e8),
        "max_exposure_pct": percent(profile.max_exposure_e6),
        "max_sector_pct": percent(profile.max_sector_e6),
        "max_adv_share_pct": percent(profile.max_adv_share_e6),
        "max_spread_pct": percent(profile.max_spread_e6),
        "max_spread_cost_pct": percent(profile.max_spread_cost_e6),
        "price_band_pct": percent(profile.price_band_e6),
        "worst_case_extra_r": ratio(profile.worst_case_extra_r_e6),
        "lot": quantity_number(profile.lot_e4),
        "allow_shorts": profile.allow_shorts,
        "day_trade_rule": profile.day_trade_rule,
        "bankroll": maybe_money(profile.bankroll_e8),
    }
