"""The same sessions with one thing worse: costs, slippage, volume, missing bars, halts, stops that are jumped over."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from finagent.backtest.dataset import Dataset
from finagent.backtest.parameters import Lines, Parameters
from finagent.backtest.running import Bars, Result
from finagent.backtest.search.playing import Played, Player
from finagent.backtest.source import Ints
from finagent.backtest.stress.altered import Place, with_gaps, with_halts, without_days, without_minutes
from finagent.domain.costs import CostRules
from finagent.domain.market import MINUTE_MS, Session
from finagent.domain.money import RATIO_SCALE
from finagent.domain.positions import ExitReason, Trade

HALT_MS = 30 * MINUTE_MS
HALTED_SHARE, GAPPED_SHARE = 4, 2
"""Of so many trades one is halted; of so many stops one is jumped over."""
GAP_R_E6 = RATIO_SCALE
MISSING_DAYS, MISSING_MINUTES = 0.02, 0.05
COMMISSION_E8, LEAST_COMMISSION_E8 = 500_000, 10**8
"""Half a cent a share, a dollar at least."""
Told = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """What is stressed: the rules over the sessions, with the result that they came to."""

    dataset: Dataset
    rules: Parameters
    lines: Lines
    sessions: Sequence[Session]
    bars: Bars
    result: Result
    workers: int = 1

    @property
    def minute_sessions(self) -> list[Session]:
        """Those played on minute bars."""
        rows = self.dataset.rows
        is_daily = self.bars is Bars.DAILY
        return [each for each in self.sessions if not is_daily and self.dataset.has_minutes(rows[each.date])]

    @property
    def daily_sessions(self) -> list[Session]:
        """Those played on daily bars alone."""
        on_minutes = {session.date for session in self.minute_sessions}
        return [each for each in self.sessions if each.date not in on_minutes]

    @property
    def trades(self) -> list[tuple[Trade, str]]:
        """With the session in which each ended."""
        ledger = self.result.ledger
        return list(zip(ledger.trades, ledger.exit_sessions, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Shocked:
    """``how``: rules (played again with other rules), data (with other data), restated (reckoned from the trades);
    ``played`` is None where the shock has nothing to act on, and ``words`` say why.
    """

    name: str
    how: str
    words: str
    played: Played | None


def shocks(base: Base, *, seed: int, folder: Path, told: Told) -> Iterator[Shocked]:
    """All of them, one after the other; ``folder`` is for what is built beside altered data, and may go afterwards."""
    yield from _by_rules(base, told)
    yield from _missing(base, seed, folder, told)
    told("halts")
    yield _halted(base, seed, folder)
    told("gaps through stops")
    yield from _gapped(base, seed, folder)


def _worse(rules: Parameters) -> Mapping[str, tuple[str, Parameters]]:
    """Rules with worse costs, by name, and in words."""
    costs = rules.costs

    def slipped(times: int) -> Parameters:
        slippage = replace(
            costs,
            slippage_e6=costs.slippage_e6 * times,
            slippage_range_e6=costs.slippage_range_e6 * times,
            slippage_impact_e6=costs.slippage_impact_e6 * times,
        )
        return replace(rules, costs=slippage, open_slippage_e6=rules.open_slippage_e6 * times)

    dear = replace(
        costs,
        commission_per_share_e8=costs.commission_per_share_e8 + COMMISSION_E8,
        commission_min_e8=max(costs.commission_min_e8, LEAST_COMMISSION_E8),
    )
    return {
        "slippage_x2": ("twice the slippage, at the open too", slipped(2)),
        "slippage_x4": ("four times the slippage, at the open too", slipped(4)),
        "commission": ("half a cent a share more, a dollar an order at least", replace(rules, costs=dear)),
        "all_costs": ("both: twice the slippage and the commission", _both(slipped(2), dear)),
        "thin_volume": (
            "a fifth of the share of the volume that an order gets",
            replace(rules, costs=replace(costs, participation_e6=max(1, costs.participation_e6 // 5))),
        ),
    }


def _both(slipped: Parameters, dear: CostRules) -> Parameters:
    costs = replace(
        slipped.costs,
        commission_per_share_e8=dear.commission_per_share_e8,
        commission_min_e8=dear.commission_min_e8,
    )
    return replace(slipped, costs=costs)


def _by_rules(base: Base, told: Told) -> Iterator[Shocked]:
    told("costs")
    worse = _worse(base.rules)
    player = Player(base.dataset, base.lines, base.bars, base.workers)
    try:
        played = player.play([rules for _, rules in worse.values()], base.sessions)
    finally:
        player.close()
    for (name, (words, _)), each in zip(worse.items(), played, strict=True):
        yield Shocked(name, "rules", words, each)


def _missing(base: Base, seed: int, folder: Path, told: Told) -> Iterator[Shocked]:
    """Bars that are not there: days where sessions are played on days, minutes where on minutes."""
    for name, sessions, make, share in (
        ("missing_days", base.daily_sessions, without_days, MISSING_DAYS),
        ("missing_minutes", base.minute_sessions, without_minutes, MISSING_MINUTES),
    ):
        words = f"{share:.0%} of the {name.partition('_')[2]} are missing"
        if not sessions:
            yield Shocked(name, "data", f"no session is played on {name.partition('_')[2]}", None)
            continue
        told(name.replace("_", " "))
        data = make(base.dataset, sessions, Place(folder, f"{name}/{seed}"), share=share, seed=seed)
        yield Shocked(name, "data", words, _again(base, data))


def _halted(base: Base, seed: int, folder: Path) -> Shocked:
    """A quarter of the trades on minutes are halted a minute after their entry."""
    on_minutes = {session.date for session in base.minute_sessions}
    able = [trade for trade, _ in base.trades if trade.session in on_minutes]
    if not able:
        return Shocked("halts", "data", "no trade on minutes: a day that is one bar knows of no halt", None)
    chosen = random.Random(seed).sample(able, -(-len(able) // HALTED_SHARE))
    halts: dict[str, list[tuple[int, int]]] = {}
    for trade in sorted(chosen, key=lambda each: (each.entry_at_ms, each.symbol)):
        start_ms = trade.entry_at_ms + MINUTE_MS
        halts.setdefault(trade.symbol, []).append((start_ms, start_ms + HALT_MS))
    data = with_halts(base.dataset, halts, Place(folder, f"halts/{seed}"))
    words = f"{len(chosen)} of {len(able)} trades halted for 30 minutes, a minute after the entry"
    return Shocked("halts", "data", words, _again(base, data))


def _gapped(base: Base, seed: int, folder: Path) -> Iterator[Shocked]:
    """Half of the stops are jumped over: on minutes the bar opens 1 R beyond, on days at the day's worst price."""
    stopped = [each for each in base.trades if each[0].exit_reason is ExitReason.STOP]
    on_minutes = {session.date for session in base.minute_sessions}
    for name, how, able in (
        ("gap_through_stop", "data", [each for each in stopped if each[1] in on_minutes]),
        ("stop_at_day_worst", "restated", [each for each in stopped if each[1] not in on_minutes]),
    ):
        if not able:
            yield Shocked(name, how, "no stop was filled on such bars", None)
            continue
        chosen = random.Random(seed).sample(able, -(-len(able) // GAPPED_SHARE))
        count = f"{len(chosen)} of {len(able)} stops"
        if how == "data":
            data = with_gaps(base.dataset, chosen, Place(folder, f"gaps/{seed}"), risk_e6=GAP_R_E6)
            words = f"{count}: the bar opens 1 R beyond the stop"
            yield Shocked(name, how, words, _again(base, data))
        else:
            words = f"{count} filled at the day's worst price; later trades as large a part of the account as before"
            yield Shocked(name, how, words, _restated(base, [trade for trade, _ in chosen]))


def _again(base: Base, data: Dataset) -> Played:
    """The same rules on other data; in this process, since nobody else can open them."""
    return Player(data, base.lines, base.bars).play([base.rules], base.sessions)[0]


def _restated(base: Base, trades: Sequence[Trade]) -> Played:
    """The sessions' returns with these stops filled at the worst price of their day."""
    places = {session.date: place for place, session in enumerate(base.sessions)}
    lost = np.zeros(len(places), np.int64)
    daily = base.dataset.daily
    for trade in trades:
        row, number = base.dataset.rows[trade.session], base.dataset.numbers[trade.symbol]
        worst_e4 = int((daily.low_e4 if trade.direction.sign > 0 else daily.high_e4)[row, number])
        for leg in trade.exits:
            if leg.reason is ExitReason.STOP:
                away = trade.direction.sign * (worst_e4 - leg.price_e4)
                lost[places[trade.session]] += min(0, away) * leg.quantity_e4
    before = gains_of(base)
    all_trades = [trade for trade, _ in base.trades]
    gains = rescaled(before, lost, base.rules.start_equity_e8)
    return Played(gains, len(all_trades), sum(trade.pnl_e8 > 0 for trade in all_trades))


def gains_of(base: Base) -> Ints:
    """What each session gained."""
    from finagent.backtest.search.playing import as_played

    return as_played(base.result).gains_e8


def rescaled(gains_e8: Ints, lost_e8: Ints, start_equity_e8: int) -> Ints:
    """Gains with losses added, each session's by as much as the account has become smaller or larger, rounded down."""
    equity, other = start_equity_e8, start_equity_e8
    found = []
    for gained, lost in zip(gains_e8.tolist(), lost_e8.tolist(), strict=True):
        change = (gained + lost) * max(other, 0) // equity if equity > 0 else 0
        found.append(change)
        equity, other = equity + gained, other + change
    return np.asarray(found, np.int64)
