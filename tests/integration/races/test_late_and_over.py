"""Fills that nothing allowed: counted in order and position, told as differences, and what is beyond is closed."""

import json
from pathlib import Path

from finagent.domain.steps import Step
from finagent.ports import NewJob
from tests.integration.races.stage import PATIENT, OutsideStage
from tests.integration.services.world import DAY

SHARES = 1_660_000
OVER = 340_000


async def differences(stage: OutsideStage) -> list[str]:
    """The kinds told, in order."""
    return [json.loads(data)["kind"] for _, data in await stage.journal("difference")]


async def test_overfill_of_the_entry_is_held_and_protected_whole(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await stage.entered()
        stage.broker.fill(stage.broker.the("entry"), OVER)
        await stage.hear()
        held = await stage.held()
        assert held is not None
        assert held.position.quantity_e4 == SHARES + OVER == (await stage.orders())["entry-1"].filled_e4
        resting = [
            o for o in (await stage.orders()).values() if o.intent.leg == "stop" and o.state == "accepted"
        ]
        assert [o.intent.quantity_e4 for o in resting] == [SHARES + OVER]
        assert await differences(stage) == ["overfill"]
        stage.broker.fill(stage.broker.the("stop", resting[0].intent.generation))
        await stage.hear()
        assert await stage.states() == {"AAA": "closed stop"}
        (trade,) = await stage.engine.store.trades(DAY)
        assert trade.quantity_e4 == SHARES + OVER
    assert stage.broken() == []


async def test_overfill_of_the_stop_is_bought_back(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await stage.entered()
        stage.broker.fill(stage.broker.the("stop"))
        await stage.hear()
        assert await stage.states() == {"AAA": "closed stop"}
        stage.broker.fill(stage.broker.the("stop"), OVER, price_e4=960_000)
        await stage.hear()
        assert stage.broker.held_e4("AAA") == -OVER
        assert await stage.states() == {"AAA": "open"}
        back = stage.broker.book[stage.broker.the("exit")]
        assert (back.intent.side, back.intent.quantity_e4) == ("buy", OVER)
        stage.broker.fill(stage.broker.the("exit"), price_e4=970_000)
        await stage.hear()
        assert stage.broker.held_e4("AAA") == 0
        assert await stage.states() == {"AAA": "closed flatten"}
        (trade,) = await stage.engine.store.trades(DAY)
        assert [each.quantity_e4 for each in trade.exits] == [SHARES, OVER, -OVER]
        assert trade.pnl_e8 == -OVER * 10_000
        assert await differences(stage) == ["overfill"]
    assert stage.broken() == []


async def test_fill_after_a_recorded_cancel_opens_the_plan_again_and_is_protected(home: Path) -> None:
    async with OutsideStage(home, settings={**PATIENT, "execution": {"entry_ttl_s": 60}}) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:33")
        assert await stage.states() == {"AAA": "not_filled entry_ttl"}
        stage.broker.fill(stage.broker.the("entry"), OVER)
        await stage.hear()
        assert await stage.states() == {"AAA": "open"}
        orders = await stage.orders()
        assert (orders["entry-1"].state, orders["entry-1"].filled_e4) == ("cancelled", OVER)
        assert (orders["stop-1"].state, orders["stop-1"].intent.quantity_e4) == ("accepted", OVER)
        assert await differences(stage) == ["late_fill"]
        stage.broker.fill(stage.broker.the("stop"))
        await stage.hear()
        assert await stage.states() == {"AAA": "closed stop"}
    assert stage.broken() == []


async def test_cancelled_order_that_was_filled_whole_is_filled(home: Path) -> None:
    async with OutsideStage(home, settings={**PATIENT, "execution": {"entry_ttl_s": 60}}) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:33")
        stage.broker.fill(stage.broker.the("entry"), SHARES)
        await stage.hear()
        assert (await stage.order_states())["entry-1"] == "filled"


async def test_fill_of_a_cancelled_stop_beside_a_filled_exit_is_bought_back_once(home: Path) -> None:
    """The broker says cancelled, the exit closes everything, and then it says the stop was filled too."""
    async with OutsideStage(home) as stage:
        await stage.entered()
        await stage.control.flatten(symbol="AAA", identity="ann")
        await stage.quiet()
        stage.broker.fill(stage.broker.the("exit"))
        await stage.hear()
        stage.broker.fill(stage.broker.the("stop"), SHARES)
        await stage.hear()
        back = stage.broker.book[stage.broker.the("exit", 2)]
        assert (back.intent.side, back.intent.quantity_e4) == ("buy", SHARES)
        await stage.hear()
        await stage.wait(5)
        assert len([o for o in stage.broker.book.values() if o.intent.leg == "exit"]) == 2
        stage.broker.fill(stage.broker.the("exit", 2))
        await stage.hear()
        assert stage.broker.held_e4("AAA") == 0


async def test_exit_told_before_its_entry_is_not_taken_for_a_sale_beyond_the_position(home: Path) -> None:
    """Shuffled: the stop's fill is heard first. Nothing is bought back on that; the entry's fill explains it."""
    async with OutsideStage(home) as stage:
        await stage.entered(700_000)
        entry, stop = stage.broker.the("entry"), stage.broker.the("stop")
        stage.broker.fill(entry)
        stage.broker.fill(stop, 700_000)
        late, early = stage.broker.executions[-2:]
        jobs = [job for job in await stage.engine.catch_up().missing() if job.idem_key == early.execution_id]
        await stage.publish(jobs[0])
        assert await stage.held() is None
        more = {**jobs[0].payload, "execution": "x9", "quantity_e4": 100_000}
        stage.broker.fill(stop, 100_000)
        await stage.publish(
            NewJob(Step.BROKER_EVENT, {**more, "execution": "x4"}, idem_key="x4", key=jobs[0].key)
        )
        held = await stage.held()
        assert held is not None
        assert held.position.quantity_e4 == -100_000
        await stage.wait(3)
        assert [
            o for o in stage.broker.book.values() if o.intent.side == "buy" and o.intent.leg == "exit"
        ] == []
        assert late.quantity_e4 == 960_000
        await stage.hear()
        await stage.wait(3)
        held = await stage.held()
        assert held is not None
        assert held.position.quantity_e4 == stage.broker.held_e4("AAA") == 860_000
        assert [
            o for o in stage.broker.book.values() if o.intent.side == "buy" and o.intent.leg == "exit"
        ] == []


async def test_oversold_by_hearsay_alone_buys_nothing_back(home: Path) -> None:
    """The entry is over here, its late fill not heard yet, the stop sold all of it: the broker is asked first."""
    async with OutsideStage(home) as stage:
        await stage.entered(700_000)
        entry, stop = stage.broker.the("entry"), stage.broker.the("stop")
        await stage.engine.broker.cancel(entry)
        await stage.hear()
        stage.broker.fill(entry, 100_000)
        stage.broker.fill(stop, 700_000)
        stage.broker.fill(stop, 100_000)
        late, *sold = stage.broker.executions[-3:]
        told = [each.execution_id for each in sold]
        jobs = [job for job in await stage.engine.catch_up().missing() if job.idem_key in told]
        await stage.engine.queue.publish_many(jobs)
        await stage.wait(3)
        held = await stage.held()
        assert held is not None
        assert (held.position.quantity_e4, late.quantity_e4) == (-100_000, 100_000)
        assert [body for body in stage.broker.bodies if body.side == "buy" and body.leg == "exit"] == []
        await stage.hear()
        await stage.wait(3)
        assert stage.broker.held_e4("AAA") == 0
        assert (await stage.states())["AAA"].startswith("closed")
        assert [body for body in stage.broker.bodies if body.side == "buy" and body.leg == "exit"] == []


async def test_exit_told_before_its_entry_leaves_the_comparison_without_a_cost(home: Path) -> None:
    """Found in the simulated world (seed 221): a position without an entry has no price to compare with."""
    async with OutsideStage(home, is_checked=False) as stage:
        await stage.entered(700_000)
        stage.broker.fill(stage.broker.the("entry"))
        stage.broker.fill(stage.broker.the("stop"), 700_000)
        jobs = {job.idem_key: job for job in await stage.engine.catch_up().missing()}
        await stage.forge("DELETE FROM fill", "DELETE FROM position", "UPDATE plan SET state = 'entering'")
        await stage.publish(jobs[stage.broker.executions[-1].execution_id])
        held = await stage.held()
        assert held is not None
        assert held.position.bought_e4 == 0
        assert await stage.engine.reconciler().differences() is not None


async def test_days_end_waits_for_an_entry_whose_fill_is_still_to_be_told(home: Path) -> None:
    """Found in the simulated world (seed 1308): down over the close, the day was closed before its fills were heard."""
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:31")
        stage.broker.fill(stage.broker.the("entry"))
        await stage.publish(NewJob(Step.DAY_CLOSE, {"session": DAY}, idem_key="early"))
        assert await stage.states() == {"AAA": "entering"}
        held_back = "SELECT count(*) FROM reservation WHERE released_at IS NULL"
        assert await stage.engine.database.read(held_back) == [(1,)]
        await stage.hear()
        assert await stage.states() == {"AAA": "open"}
