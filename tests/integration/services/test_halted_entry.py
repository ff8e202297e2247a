"""Entries while nobody trades: a halt is waited out, a price that is too old refuses."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finagent.domain.steps import Step
from finagent.ports import NewJob
from tests.integration.services.invariants import violations
from tests.integration.services.market import local
from tests.integration.services.world import DAY, Stage

BREAK: Mapping[str, Mapping[str, Any]] = {
    "planning": {"preset": "structure", "structure_setup": "premarket_break"}
}
SHORT: Mapping[str, Mapping[str, Any]] = {
    "schedule": {
        "scans": [{"name": "open", "at": "09:31", "kind": "plan"}],
        "entry_windows": [{"start": "09:31", "end": "09:45"}],
    }
}


def halt(stage: Stage, since: str, until: str) -> None:
    """No trades in AAA between two times."""
    since_ms, until_ms = local(DAY, since), local(DAY, until)
    stage.market.halts.append(("AAA", since_ms, until_ms))
    bars = stage.market.bars[DAY, "AAA"]
    stage.market.bars[DAY, "AAA"] = [bar for bar in bars if not since_ms <= bar.start_ms < until_ms]


async def waits(stage: Stage) -> list[str]:
    return [json.loads(data)["reason"] for _, data in await stage.journal("entry_waits")]


async def test_yes_in_a_halt_leaves_with_the_first_price_after_it(home: Path) -> None:
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY)
        halt(stage, "09:32", "09:38")
        await stage.until("09:33")
        assert (await stage.answer((await stage.plan()).plan.plan_id)).code == "approved"
        await stage.until("09:38:40")
        assert await stage.states() == {"AAA": "approved"}
        assert await stage.orders() == {}
        await stage.until("09:39")
        assert (await stage.order_states())["entry-1"] == "accepted"
        assert await waits(stage) == ["halted"]
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_yes_in_a_halt_is_refused_where_the_price_has_moved_behind_it(home: Path) -> None:
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY, {"09:38": (102, 102, 102, 102)})
        halt(stage, "09:32", "09:38")
        await stage.until("09:33")
        await stage.answer((await stage.plan()).plan.plan_id)
        await stage.until("09:39")
        assert await stage.states() == {"AAA": "refused price_moved"}
        assert await stage.reserved() == []


async def test_halt_to_the_end_of_the_window_lets_the_plan_expire(home: Path) -> None:
    async with Stage(home, mode="approve", settings=SHORT) as stage:
        stage.market.day("AAA", DAY)
        halt(stage, "09:32", "12:00")
        await stage.until("09:33")
        await stage.answer((await stage.plan()).plan.plan_id)
        await stage.until("09:45")
        assert await stage.states() == {"AAA": "expired entry_window_over"}
        assert await stage.reserved() == []
        await stage.finish()
        assert await stage.orders() == {}
    assert violations(stage.path, is_day_over=True) == []


async def test_trigger_that_is_halted_has_to_be_reached_again(home: Path) -> None:
    """Broken in the 09:33 minute, halted at its end; back at 100.50 at first, above the trigger in the 09:42 minute."""
    script = {
        "09:33": (100, 101.5, 100, 101.05),
        "09:38": (100.5,) * 4,
        "09:42": (100.5, 101.1, 100.5, 101.05),
    }
    async with Stage(home, settings=BREAK) as stage:
        stage.market.day("AAA", DAY, script)
        stage.market.premarket("AAA", DAY, high=101, low=99.5, close=100)
        halt(stage, "09:34", "09:38")
        await stage.until("09:42:40")
        assert await stage.states() == {"AAA": "armed"}
        assert await waits(stage) == ["halted"]
        await stage.until("09:43")
        entry = (await stage.orders())["entry-1"].intent
        assert (entry.type, entry.limit_e4) == ("limit", 1_011_100)
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_policy_says_no_at_a_price_that_is_too_old(home: Path) -> None:
    async with Stage(home, settings={"approval": {"simulated_delay_s": 900}}) as stage:
        stage.market.day("AAA", DAY, silent_from="09:32")
        await stage.until("09:46")
        assert await stage.states() == {"AAA": "refused stale_quote"}
        assert await stage.journal("approved") == []
        assert await stage.reserved() == []


async def test_entry_whose_price_went_stale_since_the_yes_is_refused(home: Path) -> None:
    """The job of an approved entry was not done for a quarter of an hour, and the feed is silent."""
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY, silent_from="09:32")
        stage.market.halts.append(("AAA", local(DAY, "09:32"), local(DAY, "09:34")))
        await stage.until("09:33")
        plan_id = (await stage.plan()).plan.plan_id
        await stage.answer(plan_id)
        await stage.forge("DELETE FROM job_queue WHERE type = 'execute' AND idem_key LIKE '%halted%'")
        await stage.until("09:48")
        await stage.publish(NewJob(Step.EXECUTE, {"plan": plan_id}, idem_key="late", key=plan_id))
        assert await stage.states() == {"AAA": "refused stale_quote"}
        assert await stage.orders() == {}
        ((_, told),) = await stage.journal("plan_ended")
        assert json.loads(told) == {"state": "refused", "reason": "stale_quote"}
