"""Rules that watch a position or the day by the minute: what daily bars cannot play of them, and what that may matter.

A day that is one bar tells no order of events, so nothing that acts between the open and the close is played there. A
rule that was asked for by name and can do nothing at all is refused; of what is always on a result tells in how many
trades or sessions it may have acted, and in how many it did for certain.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from finagent.backtest.dataset import Dataset
from finagent.backtest.errors import BacktestError
from finagent.backtest.ledger import Ledger
from finagent.backtest.parameters import Parameters
from finagent.backtest.running import Bars
from finagent.domain.limits import flatten_limit_e8
from finagent.domain.market import MINUTE_MS, Session
from finagent.domain.money import RATIO_SCALE
from finagent.domain.positions import ExitReason, Trade
from finagent.domain.risk_profile import RiskProfile
from finagent.domain.setups import Setup

AT_CLOSE = (ExitReason.FLATTEN, ExitReason.CLOSE_FORCED)
"""Exits that left the position to the end of its day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplayed:
    """A rule that was not played: of ``of`` trades or sessions on daily bars it may have acted in ``maybe``, and had to
    in ``surely`` of these.
    """

    rule: str
    setting: str
    unit: str
    of: int
    maybe: int
    surely: int = 0

    @property
    def words(self) -> str:
        """As a result tells it."""
        told = f"{self.rule} ({self.setting}) not played on daily bars: may have acted in {self.maybe:,}"
        sure = f", surely in {self.surely:,}" if self.surely else ""
        return f"{told} of {self.of:,} {self.unit} there{sure}"


@dataclass(frozen=True, slots=True)
class _DayStart:
    """An account before its first trade of a session."""

    day_start_equity_e8: int
    rejected_in_a_row: int = 0
    losses_in_a_row: int = 0
    orders_out: int = 0


def needs_minutes(rules: Parameters) -> tuple[str, str] | None:
    """What was asked for that no daily bar can answer, and the setting that asks nothing of the kind; else None."""
    planning = rules.planning
    if planning.preset != "classic":
        return f"planning.preset {planning.preset} enters", "planning.preset: classic"
    if planning.classic_entry != Setup.NEXT_OPEN:
        return f"planning.classic_entry {planning.classic_entry} enters", "planning.classic_entry: next_open"
    if planning.trail_after_r_e6 is not None:
        return "planning.trail_after_r moves stops", "planning.trail_after_r and trail_atr: null"
    return None


def refuse_unanswerable(dataset: Dataset, rules: Parameters, sessions: Sequence[Session], bars: Bars) -> None:
    """BacktestError where no session has minutes and the rules mean nothing without them."""
    if not has_minutes(dataset, sessions, bars):
        refuse_on_daily_bars(rules)


def refuse_on_daily_bars(rules: Parameters) -> None:
    """BacktestError where the rules mean nothing on daily bars alone."""
    found = needs_minutes(rules)
    if found is not None:
        raise BacktestError(
            f"{found[0]} within the session, which daily bars alone do not show",
            hint=f"set {found[1]}, or take sessions with minutes (finagent data list shows them)",
            code="needs_minutes",
        )


def has_minutes(dataset: Dataset, sessions: Sequence[Session], bars: Bars) -> bool:
    """Whether any of the sessions is played on minutes."""
    if bars is Bars.DAILY:
        return False
    return any(dataset.has_minutes(dataset.rows[each.date]) for each in sessions if each.date in dataset.rows)


def as_daily(rules: Parameters) -> Parameters:
    """The rules without all that daily bars never ask: two sets that are equal then come to the same there."""
    usual = Parameters()
    planning = replace(
        rules.planning,
        setup=usual.planning.setup,
        opening_range_minutes=usual.planning.opening_range_minutes,
        break_even_after_r_e6=None,
        time_stop_minutes=None,
        time_stop_min_r_e6=0,
        trail_after_r_e6=None,
        trail_distance_atr_e6=None,
    )
    profile = replace(rules.profile, pause_loss_e6=None, pause_loss_e8=None, max_losses_in_a_row=None)
    return replace(
        rules,
        planning=planning,
        profile=profile,
        costs=replace(rules.costs, close_penalty_e6=0),
        approval_delay_ms=0,
        max_price_age_ms=usual.max_price_age_ms,
        entry_ttl_ms=usual.entry_ttl_ms,
    )


def names(rules: Parameters) -> list[str]:
    """The rules in force that daily bars do not play."""
    has_limit = flatten_limit_e8(_DayStart(rules.start_equity_e8), rules.profile) is not None
    named = (
        ("trailing stop", rules.planning.trail_after_r_e6 is not None),
        ("time stop", rules.planning.time_stop_minutes is not None),
        ("late yes", rules.approval_delay_ms > 0),
        ("the day's loss limit", has_limit),
    )
    return [name for name, is_on in named if is_on]


def unplayed(ledger: Ledger, rules: Parameters) -> list[Unplayed]:
    """What was not played in the sessions of a run that had daily bars alone, where it may have mattered."""
    daily = {day.session for day in ledger.days if not day.has_minutes and not day.skipped}
    trades = [trade for trade in ledger.trades if trade.session in daily]
    found = (
        *_setup(rules, len(daily)),
        *_trailing(rules, trades),
        *_time_stop(rules, trades),
        *_late_yes(rules, len(trades)),
        *_day_loss(ledger, rules.profile, daily),
    )
    return [each for each in found if each.maybe]


def _setup(rules: Parameters, sessions: int) -> Iterator[Unplayed]:
    setup = rules.planning.entry_setup
    if setup is not Setup.NEXT_OPEN:
        rule = f"setup {setup.value}"
        yield Unplayed(rule=rule, setting="planning", unit="sessions", of=sessions, maybe=sessions)


def _trailing(rules: Parameters, trades: Sequence[Trade]) -> Iterator[Unplayed]:
    after_e6 = rules.planning.trail_after_r_e6
    if after_e6 is not None:
        maybe, name = sum(trade.mfe_r_e6 >= after_e6 for trade in trades), "planning.trail_after_r"
        yield Unplayed(rule="trailing stop", setting=name, unit="trades", of=len(trades), maybe=maybe)


def _time_stop(rules: Parameters, trades: Sequence[Trade]) -> Iterator[Unplayed]:
    """Certain where the whole day never reached what the trade had to reach."""
    minutes, least_e6 = rules.planning.time_stop_minutes, rules.planning.time_stop_min_r_e6
    if minutes is None:
        return
    surely = sum(
        trade.exit_reason in AT_CLOSE
        and trade.mfe_r_e6 < least_e6
        and trade.entry_at_ms + minutes * MINUTE_MS < trade.exit_at_ms
        for trade in trades
    )
    name, count = "planning.time_stop_minutes", len(trades)
    yield Unplayed(rule="time stop", setting=name, unit="trades", of=count, maybe=count, surely=surely)


def _late_yes(rules: Parameters, trades: int) -> Iterator[Unplayed]:
    if rules.approval_delay_ms:
        name = "approval.simulated_delay_s"
        yield Unplayed(rule="late yes", setting=name, unit="trades", of=trades, maybe=trades, surely=trades)


def _day_loss(ledger: Ledger, profile: RiskProfile, daily: set[str]) -> Iterator[Unplayed]:
    """The loss that closes everything; the one that stops entries has none to stop after the open.

    A session may have reached it where its positions did, all at their worst prices, and has where it ended there.
    """
    equity_e8, maybe, surely = ledger.start_equity_e8, 0, 0
    gained: dict[str, int] = {}
    worst: dict[str, int] = {}
    for trade, session in zip(ledger.trades, ledger.exit_sessions, strict=True):
        gained[session] = gained.get(session, 0) + trade.pnl_e8
        worst[session] = worst.get(session, 0) + _worst_e8(trade)
    for day in ledger.days:
        limit_e8 = flatten_limit_e8(_DayStart(equity_e8), profile)
        pnl_e8 = gained.get(day.session, 0)
        if day.session in daily and limit_e8 is not None and limit_e8 <= -worst.get(day.session, 0):
            maybe += 1
            surely += limit_e8 <= -pnl_e8
        equity_e8 += pnl_e8
    rule, name, count = "the day's loss limit", "risk.flatten_loss_pct", len(daily)
    yield Unplayed(rule=rule, setting=name, unit="sessions", of=count, maybe=maybe, surely=surely)


def _worst_e8(trade: Trade) -> int:
    """What a trade stood at when its day was at its worst for it."""
    lost_e8 = trade.mae_r_e6 * trade.risk_per_share_e4 * trade.quantity_e4 // RATIO_SCALE
    return min(trade.pnl_e8, lost_e8 - trade.fees_e8)
