"""Short sales through the whole day: off, borrowed, restricted before the plan and after it, covered by the close."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from finagent.domain.market import Instrument
from tests.integration.services.invariants import violations
from tests.integration.services.world import DAY, Stage

EASY = Instrument(symbol="AAA", shortable=True, easy_to_borrow=True)
SHORTS = {"risk": {"allow_shorts": True}}
FALL = 105.5
"""The previous close of a stock that opens at 100."""


@asynccontextmanager
async def day(
    home: Path, script: dict[str, Any] | None = None, *, restricted: bool | None = False, **more: Any
) -> AsyncIterator[Stage]:
    """A day on which AAA gaps down on an account that may sell short; bid 99.98, offer 100.02."""
    async with Stage(home, **{"settings": SHORTS, **more}) as stage:
        stage.market.day("AAA", DAY, script, previous=FALL)
        stage.market.instruments["AAA"] = EASY
        stage.market.is_short_restricted = restricted
        stage.market.quotes[DAY, "AAA"] = (99_9800, 100_0200)
        yield stage


async def test_free_short_enters_at_the_market(home: Path) -> None:
    async with day(home) as stage:
        await stage.until("09:33")
        entry = (await stage.orders())["entry-1"].intent
        assert (entry.side.value, entry.type.value, entry.limit_e4) == ("sell", "market", None)
        (_, told) = (await stage.journal("plan"))[0]
        assert '"short":{"borrow_assumed":false,"borrow_fee_e6":3000,"restricted":false' in told
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_restricted_short_enters_as_a_limit_a_tick_above_the_bid(home: Path) -> None:
    async with day(home, {"09:33": (100, 100.1, 100, 100)}, restricted=True) as stage:
        await stage.until("09:32")
        entry = (await stage.orders())["entry-1"].intent
        assert (entry.side.value, entry.type.value, entry.limit_e4) == ("sell", "limit", 99_9900)
        await stage.until("09:35")
        assert await stage.states() == {"AAA": "open"}
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_restricted_short_that_nobody_buys_is_cancelled_in_time(home: Path) -> None:
    script = {"09:31": (99, 99, 99, 99)}
    async with day(home, script, restricted=True) as stage:
        stage.market.quotes[DAY, "AAA"] = (100_4800, 100_5200)
        await stage.until("09:40")
        assert await stage.states() == {"AAA": "not_filled entry_ttl"}


async def test_restricted_short_without_a_bid_is_refused(home: Path) -> None:
    async with day(home, restricted=True) as stage:
        stage.market.quotes.clear()
        await stage.until("09:32")
        assert await stage.states() == {"AAA": "refused no_bid"}


async def test_restriction_that_begins_after_the_yes_turns_the_market_order_into_a_limit(home: Path) -> None:
    """Planned free at 09:31; at 09:32 the stock trades at 94.95, 10 % below 105.50: the answer sells above the bid."""
    script = {"09:31": (100, 100, 94.9, 100)}
    async with day(home, script, mode="approve") as stage:
        await stage.until("09:32")
        plan = (await stage.plan()).plan
        assert plan.short is not None
        assert (plan.short.is_restricted, plan.short.restricted_at_e4) == (False, 94_9500)
        await stage.answer(plan.plan_id)
        entry = (await stage.orders())["entry-1"].intent
        assert (entry.type.value, entry.limit_e4) == ("limit", 99_9900)


async def test_borrow_that_is_gone_by_the_answer_refuses_it(home: Path) -> None:
    async with day(home, mode="approve") as stage:
        await stage.until("09:32")
        stage.market.instruments["AAA"] = replace(EASY, easy_to_borrow=False)
        outcome = await stage.answer((await stage.plan()).plan.plan_id)
        assert (outcome.code, outcome.detail) == ("refused_by_risk", "not_borrowable")


async def test_unknown_borrow_is_assumed_where_the_past_is_replayed(home: Path) -> None:
    async with day(home) as stage:
        stage.market.instruments["AAA"] = Instrument(symbol="AAA")
        await stage.until("09:33")
        plan = (await stage.plan()).plan
        assert plan.notes == ("borrow_assumed",)
        assert plan.short is not None
        assert plan.short.is_borrow_assumed
        assert await stage.states() == {"AAA": "open"}


async def test_restriction_that_nobody_knows_of_gives_no_plan(home: Path) -> None:
    async with day(home, restricted=None) as stage:
        await stage.until("09:32")
        ((_, told),) = await stage.journal("no_plan")
        assert '"reason":"short_restriction_unknown"' in told


async def test_small_margin_account_sells_nothing_short(home: Path) -> None:
    small = {**SHORTS, "account": {"start_equity": 1999}}
    async with day(home, settings=small) as stage:
        await stage.until("09:32")
        assert await stage.states() == {"AAA": "refused margin_minimum"}
