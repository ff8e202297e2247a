"""Daily bars drilled into their minutes: both engines alike, as a plain walk through all minutes says; bugs planted."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finagent.backtest.ledger import FillRow
from finagent.backtest.parameters import Lines, Parameters
from finagent.backtest.running import Bars, Engine, trades_hash
from finagent.domain.fills import Ambiguity
from finagent.domain.market import MINUTE_MS, Session
from finagent.domain.plan import Plan
from tests.conformance.made_up import MadeUp, e4
from tests.conformance.trading import lines as usual_lines
from tests.kernel.mutants import DRILL_MUTANTS
from tests.kernel.test_equal import LARGE_EXAMPLES, alone, unseen
from tests.kernel.world import PATIENT, QUIET, Case, dataset_of, first_difference, markets, run
from tests.kernel.world import rules as usual_rules

OFF_E4 = (0,) * 12 + (50, 100, 100, 100, 101, 5_000)
"""How far a day's high or low is beyond its minutes, now and then."""
PLACES_E6 = (-40_000, -30_000, -9_000, -9_000, -5_000, 0, 0, 0, 5_000, 9_000, 9_000, 30_000, 40_000)
"""Where prices of a minute are, from the day's open."""
MINUTES = (0, 1, 4, 90, 207, 250)
"""When there are bars, the last one behind a half day."""


@st.composite
def drilled_markets(draw: st.DrawFn) -> MadeUp:
    """Most days have some minutes, of which some are not quite the day's, or another stock's."""
    stored: MadeUp = draw(markets())
    chance = random.Random(draw(st.integers(0, 2**32)))
    for (date, symbol), row in list(stored.days.items()):
        session = stored.calendar.session(date)
        if session is None or date < stored.calendar.all[QUIET].date or chance.random() < 0.1:
            continue
        opened, factor = e4(row[0]), 2 if chance.random() < 0.05 else 1
        bars = {
            minute: sorted(_moved(opened, chance.choice(PLACES_E6), chance) for _ in range(3))
            for minute in MINUTES
            if minute == 0 or chance.random() < 0.6
        }
        for minute, (low, middle, high) in bars.items():
            begun = chance.choice((low, middle, middle, high)) if minute else opened
            prices = (begun, max(high, begun), min(low, begun), middle)
            at_ms = session.open_ms + minute * MINUTE_MS
            stored.bars[date, symbol, at_ms] = (*_dollars(*(price * factor for price in prices)), 100)
        regular = [price for minute, own in bars.items() if minute < session.minutes for price in own]
        high, low = (
            max(opened, *regular) + chance.choice(OFF_E4),
            min(opened, *regular) - chance.choice(OFF_E4),
        )
        close = chance.choice((high, low, opened, opened, opened))
        stored.days[date, symbol] = (*_dollars(opened, high, max(1, low), max(1, close)), row[4])
    return stored


def _moved(price: int, by_e6: int, chance: random.Random) -> int:
    """Now and then a cent short of it: where the day is that cent further, no minute holds a level there."""
    short = chance.choice((0, 0, 100)) * ((by_e6 < 0) - (by_e6 > 0))
    return max(1, price + price * by_e6 // 1_000_000 + short)


def _dollars(*prices: int) -> tuple[str, str, str, str]:
    opened, high, low, close = (f"{price // 10_000}.{price % 10_000:04d}" for price in prices)
    return opened, high, low, close


@st.composite
def drilled_rules(draw: st.DrawFn) -> tuple[Parameters, Lines]:
    """Stops and targets that many days reach both."""
    found = draw(usual_rules())
    planning = replace(
        found.planning,
        stop_e6=draw(st.sampled_from((9_000, 9_000, 30_000))),
        target_r_e6=draw(st.sampled_from((700_000, 1_000_000))),
    )
    gap = replace(found.gap, min_gap_e6=10_000, min_adv_usd=0, min_price_e4=0, keep_unknown=True)
    return replace(found, planning=planning, gap=gap, top=5, ambiguity=Ambiguity.MINUTES), usual_lines


def drilled_cases() -> st.SearchStrategy[Case]:
    """A market, and four kinds of rules."""
    return st.builds(Case, drilled_markets(), st.tuples(*[drilled_rules()] * 4))


@settings(PATIENT, max_examples=12)
@given(drilled_cases())
def test_kernel_is_the_reference_and_both_are_a_walk_through_the_minutes(case: Case) -> None:
    """Every fill, trade, count and session; and each doubtful day as a person would look it up."""
    with dataset_of(case) as dataset:
        for number in range(len(case.asked)):
            reference = run(case, dataset, number, Engine.REFERENCE)
            result = run(case, dataset, number, Engine.KERNEL, check=1)
            assert len(result.ledger.tallies) == len(result.sessions)
            assert first_difference(result, reference) is None
            assert trades_hash(result.ledger) == trades_hash(reference.ledger)
            for fill in reference.ledger.fills:
                if fill.model.is_ambiguous or fill.model.drilled_ms is not None:
                    session = dataset.session(fill.session)
                    assert session is not None
                    plan = reference.ledger.plans[fill.plan_id].plan
                    assert told(fill) == walked(case.stored, session, plan)


def told(fill: FillRow) -> tuple[str, int, int] | None:
    """Leg, price before slippage and minute; None where it stayed doubtful."""
    minute_ms = fill.model.drilled_ms
    if minute_ms is None:
        assert fill.leg == "stop"
        return None
    assert not fill.model.is_ambiguous
    return fill.leg, fill.model.reference_e4, minute_ms


def walked(stored: MadeUp, session: Session, plan: Plan) -> tuple[str, int, int] | None:
    """Through every minute of regular hours in order, one price after the other."""
    day = [e4(price) for price in stored.days[session.date, plan.symbol][:4]]
    rows = sorted(
        (at_ms, *map(e4, row[:3]))
        for (date, symbol, at_ms), row in stored.bars.items()
        if (date, symbol) == (session.date, plan.symbol) and session.open_ms <= at_ms < session.close_ms
    )
    if not rows or abs(day[0] - rows[0][1]) * 10 > rows[0][1]:
        return None
    tick = 100 if day[2] >= 10_000 else 1
    highest = max(day[0], day[3], *(row[2] for row in rows))
    lowest = min(day[0], day[3], *(row[3] for row in rows))
    if abs(highest - day[1]) > tick or abs(lowest - day[2]) > tick:
        return None
    sign, levels = plan.direction.sign, {"stop": plan.stop_e4, "target-1": plan.targets[0].price_e4}

    def is_there(leg: str, price: int) -> bool:
        return sign * (price - levels[leg]) * (1 if leg == "stop" else -1) <= 0

    if not all(any(is_there(leg, price) for price in (highest, lowest)) for leg in levels):
        return None
    for place, (at_ms, opened, high, low) in enumerate(rows):
        opened = day[0] if place == 0 else opened
        for leg in levels:
            if is_there(leg, opened):
                return leg, opened, at_ms
        here = [leg for leg in levels if is_there(leg, high) or is_there(leg, low)]
        if here:
            return (here[0], levels[here[0]], at_ms) if len(here) == 1 else None
    raise AssertionError("the close alone holds no two levels")


@pytest.mark.full
@settings(PATIENT, max_examples=6)
@given(drilled_cases())
def test_machine_code_drills_as_it_is_written(case: Case) -> None:
    """Every column of what is told of a set."""
    pytest.importorskip("numba")
    from finagent.backtest.kernel import engine
    from tests.kernel.world import tables

    with dataset_of(case) as dataset:
        for number in range(len(case.asked)):
            given_tables = tables(case, dataset, number)
            compiled = engine.play_one(*given_tables, is_compiled=True)
            written = engine.play_one(*given_tables, is_compiled=False)
            for name in ("states", "gains", "tallies", "kept", "fills"):
                assert (getattr(compiled, name) == getattr(written, name)).all(), name


@LARGE_EXAMPLES
def test_property_sees_every_planted_bug_in_the_drill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each makes some example differ."""
    assert not unseen(DRILL_MUTANTS, drilled_cases(), alone(Bars.DAILY), monkeypatch)
