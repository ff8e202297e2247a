"""Real daily bars drilled into real minutes: what was decided and what was not, as the raw files say."""

from collections import Counter
from dataclasses import asdict

import pytest

from finagent.adapters.vendors.calendar import ExchangeCalendar
from finagent.backtest.dataset import Dataset
from finagent.backtest.running import Bars, Engine, run_backtest, trades_hash
from finagent.domain.plan import Plan
from tests.e2e.cases import Case
from tests.e2e.independent.market import RawMarket
from tests.e2e.test_backtest_kernel import EXECUTION, MANY, MINUTES, PLANNING, RISK, SCAN, asked

CENT = 100
NARROW = Case(
    "narrow",
    MINUTES,
    {
        **MANY, f"{SCAN}TOP": "40", f"{RISK}MAX_OPEN_POSITIONS": "50", f"{RISK}MAX_ORDERS_PER_MINUTE": "50",
        f"{RISK}MAX_POSITION_PCT": "1", f"{PLANNING}STOP_PCT": "1", f"{PLANNING}TARGET_R": "1",
        f"{EXECUTION}AMBIGUITY": "minutes",
    },
    300,
)  # fmt: skip


def test_real_ambiguous_days_are_decided_as_the_raw_minutes_say(
    dataset: Dataset, calendar: ExchangeCalendar, raw_market: RawMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both engines alike; each doubtful day looked up by hand: its leg, its price, or why the minutes do not tell."""
    rules, lines, sessions = asked(NARROW, dataset, calendar, monkeypatch)
    reference = run_backtest(dataset, rules, lines, sessions, bars=Bars.DAILY)
    kernel = run_backtest(dataset, rules, lines, sessions, bars=Bars.DAILY, engine=Engine.KERNEL, check=5)
    assert (len(kernel.ledger.tallies), kernel.checked) == (len(sessions), 5)
    assert trades_hash(kernel.ledger) == trades_hash(reference.ledger)
    assert kernel.drilled == reference.drilled
    assert len(reference.ledger.trades) >= NARROW.least_trades
    told: Counter[str] = Counter()
    for fill in reference.ledger.fills:
        if fill.model.is_ambiguous or fill.model.drilled_ms is not None:
            plan = reference.ledger.plans[fill.plan_id].plan
            leg, price_e4, reason = looked_up(raw_market, plan)
            assert (fill.leg, fill.model.reference_e4) == (leg, price_e4), plan
            assert fill.model.is_ambiguous is (reason != "decided")
            told[reason] += 1
    assert reference.drilled is not None
    counts = {name: count for name, count in asdict(reference.drilled).items() if count}
    assert counts == {"bars": told.total(), **told}
    assert min(told["decided"], told["no_minutes"]) > 20


def looked_up(raw: RawMarket, plan: Plan) -> tuple[str, int, str]:
    """The leg that left, at which price before slippage, and whether the minutes told it, or why not."""
    day, minutes = raw.daily(plan.session)[plan.symbol], raw.regular(plan.session, plan.symbol)
    sign, stop, target = plan.direction.sign, plan.stop_e4, plan.targets[0].price_e4
    if not minutes:
        return "stop", stop, "no_minutes"
    if abs(day.open - minutes[0].open) * 10 > minutes[0].open:
        return "stop", stop, "identity_mismatch"
    highest, lowest = (
        max(day.close, *(bar.high for bar in minutes)),
        min(day.close, *(bar.low for bar in minutes)),
    )
    is_beside = max(abs(highest - day.high), abs(lowest - day.low)) > CENT
    if is_beside or not all(lowest <= level <= highest for level in (stop, target)):
        return "stop", stop, "incomplete"
    for bar in minutes:
        opened = day.open if bar is minutes[0] else bar.open
        worst, best = (bar.low, bar.high) if sign > 0 else (bar.high, bar.low)
        if sign * (opened - stop) <= 0:
            return "stop", opened, "decided"
        if sign * (opened - target) >= 0:
            return "target-1", opened, "decided"
        is_stopped, is_reached = sign * (worst - stop) <= 0, sign * (best - target) >= 0
        if is_stopped and is_reached:
            return "stop", stop, "one_minute"
        if is_stopped or is_reached:
            return ("stop", stop, "decided") if is_stopped else ("target-1", target, "decided")
    raise AssertionError("the day reached both")
