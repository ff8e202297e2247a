"""Entries and plans that had to wait: what was missed meanwhile is not chased, and nothing is forgotten."""

from pathlib import Path
from typing import Any

from finagent.domain.approvals import Verdict
from finagent.domain.steps import Step
from finagent.ports import NewJob
from finagent.runtime.clock import VirtualClock
from finagent.services.approval import Reply
from tests.integration.services.invariants import violations
from tests.integration.services.market import local
from tests.integration.services.world import DAY, Stage

YES = Reply(verdict=Verdict.APPROVE, channel="cli", identity="ann")
REPRICE: dict[str, Any] = {
    "schedule": {"scans": [{"name": "reprice", "at": "09:25", "kind": "plan"}]},
    "scan": {"min_premarket_volume": 0, "min_premarket_trades": 1, "max_indication_age_s": 3600},
}


async def approve_and_die(stage: Stage, back_at: str) -> None:
    """The answer is committed, the process is gone before its ``execute`` job ran, and comes back later."""
    plan_id = (await stage.plan()).plan.plan_id
    supervisor, running = stage.engine.supervisor, stage._running
    assert supervisor is not None
    assert running is not None
    supervisor.request_stop()
    await running
    assert (await stage.engine.approvals.answer(plan_id, YES)).code == "approved"
    assert isinstance(stage.engine.clock, VirtualClock)
    stage.engine.clock.advance(local(DAY, back_at))
    await stage.engine.queue.publish(
        NewJob(Step.RECONCILE, {"session": DAY, "reason": "boot"}, idem_key="back")
    )
    await stage.engine.close()
    await stage.start()
    await stage.quiet()


async def test_approved_entry_is_not_sent_an_hour_later_at_a_price_that_ran_away(home: Path) -> None:
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY, {"10:00": (100, 102, 100, 101.9)})
        await stage.until("09:31")
        await approve_and_die(stage, "10:30")
        assert await stage.states() == {"AAA": "refused price_moved"}
        assert await stage.orders() == {}
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_approved_entry_is_still_sent_later_at_a_price_that_holds(home: Path) -> None:
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:31")
        await approve_and_die(stage, "10:30")
        assert await stage.states() == {"AAA": "entering"}


async def test_auction_entry_never_becomes_a_market_order_after_the_open(home: Path) -> None:
    async with Stage(home, mode="approve", settings=REPRICE) as stage:
        stage.market.day("AAA", DAY)
        stage.market.premarket("AAA", DAY, high=100.5, low=99.5, close=100)
        await stage.until("09:26")
        await approve_and_die(stage, "10:00")
        assert await stage.states() == {"AAA": "refused auction_missed"}
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_symbols_planned_afresh_apart_both_wait_for_their_setup(home: Path) -> None:
    structure = {"planning": {"preset": "structure", "structure_setup": "first_pullback"}}
    async with Stage(home, settings=structure) as stage:
        for symbol in ("AAA", "BBB"):
            stage.market.day(symbol, DAY)
            stage.market.premarket(symbol, DAY, high=101, low=99.5, close=100)
        await stage.until("09:40")
        for symbol in ("AAA", "BBB"):
            payload = {"session": DAY, "tick": "open", "symbols": [symbol], "version": 2}
            await stage.publish(NewJob(Step.PLAN, dict(payload), idem_key=f"{symbol}/fresh"))
        waiting = await stage.engine.database.read(
            "SELECT json_extract(payload, '$.symbols') FROM job_queue WHERE type = 'plan'"
            " AND status = 'scheduled' AND json_extract(payload, '$.version') = 2 ORDER BY 1"
        )
        assert list(waiting) == [('["AAA"]',), ('["BBB"]',)]


async def test_no_plan_is_made_on_a_half_day_once_its_flatten_ladder_has_begun(home: Path) -> None:
    """The second entry window would go on until the close at 13:00; the ladder begins at 12:45."""
    async with Stage(home, half=(DAY,), mode="approve", settings={"approval": {"ttl_minutes": 5}}) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("12:46")
        stage.mode = "policy"
        payload = {"session": DAY, "tick": "open", "symbols": ["AAA"], "version": 2}
        await stage.publish(NewJob(Step.PLAN, dict(payload), idem_key="AAA/late"))
        assert await stage.states() == {"AAA": "expired approval_expired"}
        assert "outside_entry_window" in (await stage.journal("no_plan"))[0][1]
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []
