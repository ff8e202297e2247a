"""Whatever the future becomes, cut or altered: what was decided before stays, for every entry and exit rule."""

import random
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from finagent.backtest.ledger import Ledger
from finagent.backtest.parameters import Parameters
from finagent.backtest.running import Bars
from finagent.domain.costs import CostRules
from finagent.domain.gap import GapRules, GapStyle
from finagent.domain.market import MINUTE_MS
from finagent.domain.planning_rules import PlanningRules
from finagent.domain.risk_profile import RiskProfile
from finagent.domain.setups import STRUCTURE_SETUPS, Setup
from tests.conformance.made_up import MadeUp, MadeUpCalendar, Row, ms
from tests.conformance.trading import DAY, NEXT_DAY, play

SYMBOLS = ("AAA", "BBB", "CCC", "DDD")
USUAL = Parameters(
    gap=GapRules(min_gap_e6=10_000, min_premarket_volume=0),
    profile=RiskProfile(allow_shorts=True),
    costs=CostRules(),
)
WIDE = PlanningRules(
    preset="structure",
    structure_stop_min_atr_e6=1,
    structure_stop_max_atr_e6=20_000_000,
    time_stop_minutes=15,
)
ENTRIES = {
    "next open": PlanningRules(time_stop_minutes=10),
    "opening range": PlanningRules(classic_entry=Setup.OPENING_RANGE_BREAK),
    **{setup.value: replace(WIDE, setup=setup) for setup in STRUCTURE_SETUPS},
}
EXITS = {
    "tight stop and target": PlanningRules(stop_e6=4_000, target_r_e6=1_000_000),
    "trailing": PlanningRules(
        trail_after_r_e6=100_000, trail_distance_atr_e6=300_000, time_stop_minutes=None
    ),
    "break-even": replace(
        WIDE, setup=Setup.VWAP_RECLAIM, break_even_after_r_e6=300_000, time_stop_minutes=None
    ),
    "time stop": PlanningRules(time_stop_minutes=3, time_stop_min_r_e6=2_000_000),
    "the day's loss": PlanningRules(stop_e6=4_000),
}
RULES: dict[str, Parameters] = {
    **{f"entry: {name}": replace(USUAL, planning=planning) for name, planning in ENTRIES.items()},
    **{f"exit: {name}": replace(USUAL, planning=planning) for name, planning in EXITS.items()},
}
RULES["entry: gap_fill_fade"] = replace(
    RULES["entry: gap_fill_fade"], gap=replace(USUAL.gap, style=GapStyle.FADE)
)
RULES["exit: the day's loss"] = replace(
    RULES["exit: the day's loss"],
    profile=RiskProfile(
        allow_shorts=True,
        risk_per_trade_e6=50_000,
        pause_loss_e6=1_000,
        flatten_loss_e6=2_000,
        max_losses_in_a_row=2,
    ),
)
CUTS = ("09:32", "09:35", "09:41", "09:50", "10:05", "10:20", "10:29")
LAST = "10:30"


def walk(seed: int) -> MadeUp:
    """Two sessions of four stocks that gap and wander, an hour of minutes each."""
    rng = random.Random(seed)
    stored = MadeUp(MadeUpCalendar("2018-01-01", 28))
    for number, symbol in enumerate(SYMBOLS):
        stored.quiet_days(symbol, 100, before=DAY)
        for day in (DAY, NEXT_DAY):
            price = Decimal(104 + number) if number % 2 == 0 else Decimal(97 - number)
            wander(stored, day, symbol, price, ms(day, "09:10"), rng)
            stored.daily_bar(day, symbol, str(price), str(price + 9), str(price - 9), "100", 3_000_000)
    return stored


def wander(stored: MadeUp, day: str, symbol: str, price: Decimal, first_ms: int, rng: random.Random) -> None:
    """Bars from an instant until half past ten, with a drift that turns; now and then a minute without one."""
    drift = 0
    for start in range(first_ms, ms(day, LAST), MINUTE_MS):
        if rng.random() < 0.15:
            drift = rng.choice((-30, -10, 0, 10, 30))
        low, high = (Decimal(rng.randint(0, 60)) / 100 for _ in range(2))
        close = price + Decimal(rng.randint(-40, 40) + drift) / 100
        row: Row = (
            str(price),
            str(max(price, close) + high),
            str(min(price, close) - low),
            str(close),
            rng.randint(1, 90_000),
        )
        if start == ms(day, "09:30") or rng.random() > 0.05:
            stored.bars[day, symbol, start] = row
        price = close


def changed(stored: MadeUp, at_ms: int, seed: int | None) -> MadeUp:
    """The same past, and another future: none at all (None), or one of other prices.

    Of the day's own daily bar only the open was known.
    """
    future = MadeUp(stored.calendar, days=dict(stored.days), bars=dict(stored.bars))
    for day, symbol, start in stored.bars:
        if start + MINUTE_MS > at_ms:
            del future.bars[day, symbol, start]
    for symbol in SYMBOLS:
        opened = stored.days[DAY, symbol][0]
        future.days[DAY, symbol] = (opened, "1000", "1", "500", 7)
        future.days[NEXT_DAY, symbol] = ("300", "300", "300", "300", 7)
    if seed is not None:
        rng = random.Random(seed)
        for symbol in SYMBOLS:
            wander(future, DAY, symbol, Decimal(rng.randint(50, 200)), at_ms, rng)
            wander(future, NEXT_DAY, symbol, Decimal(rng.randint(50, 200)), ms(NEXT_DAY, "09:30"), rng)
    return future


def known(ledger: Ledger, at_ms: int) -> tuple[object, ...]:
    """Everything decided and done up to an instant: decisions, orders with their bodies, fills."""
    return (
        [entry for entry in ledger.journal if entry.at_ms <= at_ms],
        sorted(
            (row.intent.client_order_id, row.intent)
            for row in ledger.orders.values()
            if row.created_at_ms <= at_ms
        ),
        [row.fill for row in ledger.fills if row.fill.at_ms <= at_ms - MINUTE_MS],
    )


@pytest.mark.parametrize("rule", RULES)
@settings(
    max_examples=3,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 10**6), cut=st.sampled_from(CUTS), other=st.none() | st.integers(0, 10**6))
def test_no_future_changes_what_was_decided(
    tmp_path: Path, rule: str, seed: int, cut: str, other: int | None
) -> None:
    """Cut off or altered behind an instant: decisions, orders and fills up to it are the same."""
    stored, at_ms = walk(seed), ms(DAY, cut)
    truth = play(stored, tmp_path, RULES[rule], last=NEXT_DAY)
    future = play(changed(stored, at_ms, other), tmp_path, RULES[rule], last=DAY)
    assert known(future.ledger, at_ms) == known(truth.ledger, at_ms)


@pytest.mark.parametrize("rule", RULES)
def test_there_is_something_to_decide(tmp_path: Path, rule: str) -> None:
    """The property is no empty one: within a dozen seeds each rule plans, and its entries or exits happen."""
    is_shown = SHOWN.get(rule, lambda ledger: bool(ledger.trades))
    assert any(is_shown(play(walk(seed), tmp_path, RULES[rule], last=NEXT_DAY).ledger) for seed in range(12))


SHOWN: dict[str, Callable[[Ledger], bool]] = {
    "entry: premarket_break": lambda ledger: bool(ledger.plans),
    "exit: trailing": lambda ledger: any(entry.kind == "move_stop" for entry in ledger.journal),
    "exit: break-even": lambda ledger: any(entry.kind == "move_stop" for entry in ledger.journal),
    "exit: time stop": lambda ledger: any(trade.exit_reason == "time" for trade in ledger.trades),
    "exit: the day's loss": lambda ledger: any(entry.kind == "limit" for entry in ledger.journal),
}
"""How a rule shows that it acted; the others by a trade."""


def test_the_proof_notices_a_decision_that_looks_one_minute_ahead(tmp_path: Path) -> None:
    """A planted fault: with the future altered a minute too early, what was decided in that minute differs."""
    rules, at_ms = RULES["exit: tight stop and target"], ms(DAY, "09:31")
    stored = walk(3)
    truth = play(stored, tmp_path, rules, last=NEXT_DAY)
    future = play(changed(stored, at_ms - MINUTE_MS, 5), tmp_path, rules)
    assert known(future.ledger, at_ms) != known(truth.ledger, at_ms)


@pytest.mark.parametrize("seed", range(3))
def test_daily_bars_decide_with_the_open_alone(tmp_path: Path, seed: int) -> None:
    """High, low, close and volume of the day, and all of the next: no part in scan, score, plan, size or order."""
    stored = walk(seed)
    other = changed(stored, ms(DAY, "09:30"), None)
    truth = play(stored, tmp_path, USUAL, bars=Bars.DAILY)
    future = play(other, tmp_path, USUAL, bars=Bars.DAILY)
    kinds = ("scan", "score", "plan", "no_plan", "risk", "approved", "intent", "accepted")
    assert [e for e in future.ledger.journal if e.kind in kinds] == [
        e for e in truth.ledger.journal if e.kind in kinds
    ]
    entries = [
        [row.intent for row in found.ledger.orders.values() if row.intent.leg == "entry"]
        for found in (truth, future)
    ]
    assert entries[0] == entries[1] != []
