"""Limits through the whole day: sectors, the order rate, the breakers, and what opens entries again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from finagent.domain.facts import ControlChanged
from finagent.domain.market import Instrument
from finagent.ports import OrderExecutionPort, OrderRejectedError, Tx
from tests.integration.services.invariants import violations
from tests.integration.services.world import DAY, NEXT, Broker, Stage, fails, settings_with

SCANS = {
    "scans": [
        {"name": "open", "at": "09:31", "kind": "plan"},
        {"name": "second-look", "at": "12:15", "kind": "second_look"},
    ]
}
NO = OrderRejectedError("insufficient_buying_power", "the broker's own words")


@asynccontextmanager
async def day(home: Path, *symbols: str, **more: Any) -> AsyncIterator[tuple[Stage, Broker]]:
    """A day on which some symbols gap, and a line to the broker that a test can break."""
    lines: list[Broker] = []

    def wrap(inner: OrderExecutionPort) -> Broker:
        lines.append(Broker(inner))
        return lines[-1]

    async with Stage(home, broker=wrap, **more) as stage:
        for symbol in symbols:
            stage.market.day(symbol, DAY)
        yield stage, lines[-1]


async def test_positions_of_one_sector_share_its_limit(home: Path) -> None:
    """Two reservations of 20 % fill a sector's 40 %; a symbol of unknown sector is held to none."""
    settings = {"risk": {"risk_per_trade_pct": 5}}
    async with Stage(home, settings=settings) as stage:
        for symbol in ("AAA", "BBB", "CCC", "DDD"):
            stage.market.day(symbol, DAY)
        for symbol in ("AAA", "BBB", "CCC"):
            stage.market.instruments[symbol] = Instrument(symbol=symbol, sector="Retail")
        await stage.until("09:31")
        assert await stage.states() == {
            "AAA": "entering", "BBB": "entering", "CCC": "refused too_small", "DDD": "entering",
        }  # fmt: skip
        sector = "SELECT json_extract(body, '$.binding_cap') FROM risk_decision WHERE is_approved = 0"
        assert await stage.value(sector) == "sector"
        await stage.until("09:40")
        book = await stage.engine.store.book(DAY, now_ms=stage.clock.now_ms())
        assert [held.plan.sector for held in book.positions] == ["Retail", "Retail", None]


async def test_order_rate_is_counted_at_the_order_and_not_only_at_the_plan(home: Path) -> None:
    """All three plans pass risk at one instant; the third order of the minute does not leave."""
    async with Stage(home, settings={"risk": {"max_orders_per_minute": 2}}) as stage:
        for symbol in ("AAA", "BBB", "CCC"):
            stage.market.day(symbol, DAY)
        await stage.until("09:31")
        assert await stage.states() == {
            "AAA": "entering", "BBB": "entering", "CCC": "refused orders_per_minute",
        }  # fmt: skip
        assert await stage.reserved() == ["AAA", "BBB"]


async def test_orders_refused_in_a_row_shut_entries_until_a_person_rearms(home: Path) -> None:
    symbols = ("AAA", "BBB", "CCC")
    async with day(home, *symbols, settings={"schedule": SCANS}, is_live=True) as (stage, broker):
        broker.before_submit += [fails(NO)] * 3
        await stage.until("09:40")
        control = await stage.engine.store.control()
        assert (control.needs_rearm, control.is_paused, control.paused_by) == (True, True, "risk")
        assert [data for _, data in await stage.journal("limit")] == ['{"tier":"rejected_orders"}']
        assert await stage.control.resume(identity="ann") == "rearm_needed"
        stage.market.day("DDD", DAY, open_at=50, previous=45)
        await stage.restart()
        await stage.until("12:16")
        assert (await stage.states())["DDD"] == "refused entry_gate, paused, rejected_orders"
        await stage.control.rearm(identity="ann")
        book = await stage.engine.store.book(DAY, now_ms=stage.clock.now_ms())
        assert (book.rejected_in_a_row, book.rearmed_at_ms) == (0, stage.clock.now_ms())
        await stage.finish()
        assert not (await stage.engine.store.control()).needs_rearm
    assert violations(stage.path, is_day_over=True) == []


async def test_breaker_holds_before_the_tick_that_tells_it(home: Path) -> None:
    """What refuses is the orders themselves, not the flag that a job sets behind them."""
    settings = {"risk": {"max_rejected_in_a_row": 1}}
    async with day(home, "AAA", "BBB", settings=settings, mode="approve") as (stage, broker):
        broker.before_submit.append(fails(NO))
        await stage.until("09:31")
        await stage.answer((await stage.plan("AAA")).plan.plan_id)
        assert (await stage.states())["AAA"] == f"cancelled rejected: {NO}"
        outcome = await stage.answer((await stage.plan("BBB")).plan.plan_id)
        assert (outcome.code, outcome.detail) == ("refused_by_risk", "rejected_orders")
        assert not (await stage.engine.store.control()).needs_rearm
        assert len(broker.submitted) == 1


async def test_accepted_order_ends_the_row_of_refused_ones(home: Path) -> None:
    async with day(home, "AAA", "BBB", "CCC", settings={"schedule": SCANS}) as (stage, broker):
        broker.before_submit += [fails(NO)] * 2
        await stage.until("09:40")
        book = await stage.engine.store.book(DAY, now_ms=stage.clock.now_ms())
        assert book.rejected_in_a_row == 0
        assert not (await stage.engine.store.control()).needs_rearm


async def test_breaker_of_the_next_day_starts_anew_where_nobody_can_rearm(home: Path) -> None:
    """A replay must go on: its next session counts from nothing."""
    async with day(home, "AAA", "BBB", "CCC", dates=(DAY, NEXT)) as (stage, broker):
        broker.before_submit += [fails(NO)] * 3
        stage.market.day("DDD", NEXT)
        await stage.until("16:05")
        assert not (await stage.engine.store.control()).needs_rearm
        await stage.finish()
        assert await stage.states(NEXT) == {"DDD": "closed time"}


async def test_losses_in_a_row_shut_entries_where_they_are_asked_to(home: Path) -> None:
    falls = {"10:00": (96, 96, 96, 96)}
    settings = {"risk": {"max_losses_in_a_row": 2}, "schedule": SCANS}
    async with Stage(home, settings=settings, is_live=True) as stage:
        stage.market.day("AAA", DAY, falls)
        stage.market.day("BBB", DAY, falls)
        await stage.until("10:05")
        assert [data for _, data in await stage.journal("limit")] == ['{"tier":"losses_in_a_row"}']
        stage.market.day("CCC", DAY, open_at=50, previous=45)
        await stage.until("12:16")
        assert (await stage.states())["CCC"] == "refused entry_gate, paused, losses_in_a_row"
        await stage.control.rearm(identity="ann")
        assert (await stage.engine.store.book(DAY, now_ms=stage.clock.now_ms())).losses_in_a_row == 0


async def test_gain_ends_the_row_of_losses(home: Path) -> None:
    settings = {"risk": {"max_losses_in_a_row": 2}}
    async with Stage(home, settings=settings) as stage:
        stage.market.day("AAA", DAY, {"10:00": (96, 96, 96, 96)})
        stage.market.day("BBB", DAY, {"10:10": (110, 110, 110, 110)})
        stage.market.day("CCC", DAY, {"10:20": (96, 96, 96, 96)})
        await stage.until("10:30")
        book = await stage.engine.store.book(DAY, now_ms=stage.clock.now_ms())
        assert (len(book.positions), book.losses_in_a_row) == (0, 1)
        assert await stage.journal("limit") == []


async def test_loss_limit_flattens_though_entries_wait_for_a_rearm_already(home: Path) -> None:
    """After a restore or a breaker the flag is up before the loss is: open positions are closed all the same."""
    settings = {"risk": {"risk_per_trade_pct": 0.7, "max_position_pct": 40}}
    async with Stage(home, settings=settings) as stage:
        stage.market.day("AAA", DAY, {"10:00": (88, 88, 88, 88)})
        stage.market.day("BBB", DAY, open_at=50, previous=45)
        await stage.until("09:40")
        tx = Tx()
        tx.put(ControlChanged(needs_rearm=True))
        await stage.engine.queue.commit(tx)
        await stage.until("10:03")
        assert await stage.states() == {"AAA": "closed stop", "BBB": "closed flatten"}


async def test_no_trade_window_delays_the_plan_to_its_end(home: Path) -> None:
    file = home / "no_trade.csv"
    file.write_text(f"{DAY},09:30,10:00,Fed\n")
    settings = {"schedule": {"scans": [SCANS["scans"][0]], "no_trade_days": file}}
    async with Stage(home, settings=settings) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:59")
        assert await stage.plans() == []
        await stage.until("10:01")
        assert await stage.states() == {"AAA": "open"}


async def test_trigger_that_waits_expires_where_a_no_trade_window_begins(home: Path) -> None:
    file = home / "no_trade.csv"
    file.write_text(f"{DAY},10:00,10:30\n")
    settings = {
        "schedule": {"scans": [SCANS["scans"][0]], "no_trade_days": file},
        "planning": {"classic_entry": "opening_range_break"},
    }
    async with Stage(home, settings=settings) as stage:
        stage.market.day("AAA", DAY, {"10:05": (102, 104, 102, 104)})
        await stage.until("09:50")
        assert await stage.states() == {"AAA": "armed"}
        await stage.until("10:10")
        assert await stage.states() == {"AAA": "expired entry_window_over"}


@pytest.mark.parametrize(
    ("section", "keys", "reason"),
    [
        ("universe", {"exclude": ["AAA"]}, "symbol_excluded"),
        ("schedule", {"no_trade_days": "no_trade.csv"}, "no_trade_window"),
    ],
)
async def test_plan_that_waits_is_held_to_the_settings_of_the_next_start(
    home: Path, section: str, keys: dict[str, Any], reason: str
) -> None:
    """Excluded, or a no-trade day by now: what was planned before is refused at the answer."""
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:32")
        plan_id = (await stage.plan()).plan.plan_id
        (home / "no_trade.csv").write_text(f"{DAY}\n")
        given = {**keys, "no_trade_days": home / "no_trade.csv"} if section == "schedule" else keys
        stage.settings = settings_with({section: given})
        await stage.restart()
        outcome = await stage.answer(plan_id)
        assert (outcome.code, outcome.detail) == ("refused_by_risk", reason)
