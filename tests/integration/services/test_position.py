"""Broker events in every order a broker may tell them: twice, late, of nobody, of an end without a fill."""

from pathlib import Path
from typing import Any

from finagent.domain.steps import Step
from finagent.ports import NewJob, OrderExecutionPort
from tests.integration.services.invariants import violations
from tests.integration.services.world import DAY, Broker, Stage

FILL: dict[str, Any] = {
    "event": "fill",
    "execution": "x1",
    "quantity_e4": 500_000,
    "price_e4": 1_000_000,
    "at_ms": 1,
    "fees_e8": 0,
    "reference_e4": None,
    "side": "buy",
    "ambiguous": False,
    "forced": False,
}


async def test_event_told_twice_changes_nothing(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:33")
        rows = await stage.engine.queue.list(type=Step.BROKER_EVENT)
        before = await stage.engine.database.read("SELECT * FROM fill")
        position = await stage.held()
        for job in rows:
            await stage.publish(NewJob(job.type, job.payload, idem_key=f"again {job.id}", key=job.key))
        assert len(rows) == 1
        assert await stage.engine.database.read("SELECT * FROM fill") == before
        assert await stage.held() == position
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_whole_day_of_events_told_again_changes_nothing(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY, {"09:45": (100, 110, 100, 108)})
        await stage.finish()
        sql = "SELECT hash FROM journal ORDER BY seq DESC LIMIT 1"
        before = await stage.value(sql)
        for job in await stage.engine.queue.list(type=Step.BROKER_EVENT):
            await stage.publish(NewJob(job.type, job.payload, idem_key=f"again {job.id}", key=job.key))
        assert await stage.value(sql) == before
        assert await stage.value("SELECT count(*) FROM trade") == 1
    assert violations(stage.path, is_day_over=True) == []


async def test_event_of_an_order_that_is_not_ours_is_given_up(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:33")
        await stage.publish(NewJob(Step.BROKER_EVENT, {**FILL, "order": "foreign"}, idem_key="foreign"))
        (dead,) = (await stage.engine.queue.stats()).dead
        assert "not ours: foreign" in str(dead.error)


async def test_malformed_fill_is_given_up_and_books_nothing(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:31")
        order_id = (await stage.orders())["entry-1"].intent.client_order_id
        bad = {**FILL, "order": order_id, "price_e4": "dear"}
        await stage.publish(NewJob(Step.BROKER_EVENT, bad, idem_key="bad"))
        (dead,) = (await stage.engine.queue.stats()).dead
        assert "malformed" in str(dead.error)
        assert await stage.value("SELECT count(*) FROM fill") == 0


async def test_entry_that_the_broker_expires_ends_its_plan(home: Path) -> None:
    async with Stage(home, settings={"execution": {"entry_ttl_s": 7200}, "schedule": LATE}) as stage:
        stage.market.day("AAA", DAY, silent_from="15:00")
        await stage.until("15:05")
        assert await stage.states() == {"AAA": "entering"}
        sql = "UPDATE job_queue SET status = 'done', finished_at = 1 WHERE type = 'flatten'"
        await stage.engine.queue.call(lambda ws: ws.conn.execute(sql).rowcount)
        await stage.until("16:00")
        assert (await stage.states())["AAA"].startswith("not_filled")
        assert await stage.reserved() == []
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_entry_cancelled_at_the_broker_by_somebody_else_ends_its_plan(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY, silent_from="09:31")
        await stage.until("09:31")
        await stage.engine.broker.cancel((await stage.orders())["entry-1"].intent.client_order_id)
        await stage.until("09:32")
        assert await stage.states() == {"AAA": "not_filled cancelled"}
        assert await stage.reserved() == []
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_trade_is_booked_only_when_the_entry_is_over(home: Path) -> None:
    """A broker that tells the exit while the entry still works: flat is not done."""
    lines: list[Broker] = []

    def wrap(inner: OrderExecutionPort) -> Broker:
        lines.append(Broker(inner))
        return lines[0]

    async with Stage(home, broker=wrap, is_checked=False) as stage:
        stage.market.day("AAA", DAY, silent_from="09:31")
        await stage.until("09:31")
        orders = await stage.orders()
        entry, stop = (orders[name].intent.client_order_id for name in ("entry-1", "stop-1"))
        blocked = [0]

        async def cancel(order_id: str) -> bool:
            blocked[0] += 1
            return await lines[0].inner.cancel(order_id)

        lines[0].cancel = cancel  # type: ignore[attr-defined]
        await stage.publish(NewJob(Step.BROKER_EVENT, {**FILL, "order": entry}, idem_key="e1", key="k"))
        sold = {**FILL, "order": stop, "side": "sell", "execution": "x2", "price_e4": 970_000}
        sql = "UPDATE venue_order SET filled = 500000 WHERE leg = 'entry'"
        await stage.engine.queue.call(lambda ws: ws.conn.execute(sql).rowcount)
        await stage.publish(NewJob(Step.BROKER_EVENT, sold, idem_key="s1", key="k"))
        assert blocked == [1]
        assert (await stage.order_states())["entry-1"] == "cancelled"
        assert await stage.states() == {"AAA": "closed stop"}
        (trade,) = await stage.engine.store.trades(DAY)
        assert trade.quantity_e4 == 500_000


async def test_exit_waits_while_an_acceptance_is_on_its_way(home: Path) -> None:
    """The stop rests at the broker, the journal has not heard: flatten asks again instead of leaving it there."""
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:35")
        sql = "UPDATE broker_order SET state = 'intent' WHERE leg = 'stop'"
        await stage.engine.queue.call(lambda ws: ws.conn.execute(sql).rowcount)
        await stage.control.flatten(symbol="AAA", identity="ann")
        await stage.quiet()
        assert "exit-1" not in await stage.orders()
        sql = "UPDATE broker_order SET state = 'accepted' WHERE leg = 'stop'"
        await stage.engine.queue.call(lambda ws: ws.conn.execute(sql.replace("intent", "accepted")).rowcount)
        await stage.until("09:38")
        assert await stage.states() == {"AAA": "closed flatten"}
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_leg_that_was_never_sent_does_not_hold_up_the_exit(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:35")
        for sql in (
            "UPDATE broker_order SET state = 'intent' WHERE leg LIKE 'target%'",
            "DELETE FROM venue_order WHERE leg LIKE 'target%'",
        ):
            await stage.engine.queue.call(lambda ws, text=sql: ws.conn.execute(text).rowcount)  # type: ignore[misc]
        await stage.control.flatten(symbol="AAA", identity="ann")
        await stage.until("09:37")
        assert await stage.states() == {"AAA": "closed flatten"}
        assert (await stage.order_states())["target-1-1"] == "cancelled"
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_second_exit_waits_for_the_first(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY, silent_from="09:35")
        await stage.until("09:36")
        await stage.control.flatten(symbol="AAA", identity="ann")
        await stage.until("09:37")
        await stage.control.kill(reason="fire", identity="ann")
        await stage.until("09:38")
        assert {n for n in await stage.orders() if n.startswith("exit")} == {"exit-1"}
        await stage.finish()
        assert await stage.states() == {"AAA": "closed close_forced"}
    assert violations(stage.path, is_day_over=True) == []


async def test_stop_is_not_moved_back_nor_for_a_position_that_is_gone(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY, {"09:45": (100, 110, 100, 108)})
        await stage.until("09:35")
        plan_id = (await stage.plan()).plan.plan_id
        move = {"plan": plan_id, "stop_e4": 960_000, "reason": "trailing"}
        await stage.publish(NewJob(Step.MOVE_STOP, move, idem_key="back", key=plan_id))
        assert "stop-2" not in await stage.orders()
        await stage.publish(NewJob(Step.MOVE_STOP, {**move, "stop_e4": "high"}, idem_key="text", key=plan_id))
        (dead,) = (await stage.engine.queue.stats()).dead
        assert "has no stop" in str(dead.error)
        await stage.until("09:47")
        await stage.publish(
            NewJob(Step.MOVE_STOP, {**move, "stop_e4": 990_000}, idem_key="gone", key=plan_id)
        )
        assert "stop-2" not in await stage.orders()


async def test_stop_that_is_still_on_its_way_is_not_replaced(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:35")
        sql = "UPDATE broker_order SET state = 'intent' WHERE leg = 'stop'"
        await stage.engine.queue.call(lambda ws: ws.conn.execute(sql).rowcount)
        plan_id = (await stage.plan()).plan.plan_id
        move = {"plan": plan_id, "stop_e4": 985_000, "reason": "trailing"}
        await stage.publish(NewJob(Step.MOVE_STOP, move, idem_key="early", key=plan_id))
        assert "stop-2" not in await stage.orders()
        back = "UPDATE broker_order SET state = 'accepted' WHERE leg = 'stop'"
        await stage.engine.queue.call(lambda ws: ws.conn.execute(back).rowcount)
        await stage.until("09:37")
        states = await stage.order_states()
        assert (states["stop-1"], states["stop-2"]) == ("cancelled", "accepted")
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_trade_of_a_plan_without_a_position_is_given_up(home: Path) -> None:
    async with Stage(home) as stage:
        await stage.publish(NewJob(Step.RECORD_TRADE, {"plan": "pl_x"}, idem_key="x"))
        (dead,) = (await stage.engine.queue.stats()).dead
        assert "has no position" in str(dead.error)


async def test_jobs_of_dates_without_a_session_are_given_up_by_name(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY)
        holiday = "2018-02-24"
        for job in (
            NewJob(Step.SCAN, {"session": holiday, "tick": "t", "kind": "plan"}, idem_key="a"),
            NewJob(
                Step.SCORE, {"session": holiday, "tick": "t", "kind": "plan", "as_of_ms": 1}, idem_key="b"
            ),
            NewJob(Step.PLAN, {"session": holiday, "tick": "t", "symbols": [], "version": 1}, idem_key="c"),
            NewJob(Step.RISK, {"session": holiday, "tick": "t", "plans": []}, idem_key="d"),
            NewJob(Step.RISK, {"session": DAY, "tick": "t", "plans": "all"}, idem_key="e"),
        ):
            await stage.publish(job)
        assert len((await stage.engine.queue.stats()).dead) == 5
        assert await stage.plans() == []


async def test_guard_makes_risk_decide_again_on_fresh_reads(home: Path) -> None:
    """A person pauses between risk's read and its commit: no plan of that tick is reserved."""
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY)
        market = stage.market
        last_prices, calls = market.last_prices, [0]

        async def interrupted(*args: Any) -> Any:
            calls[0] += 1
            if calls[0] == 1:
                await stage.control.pause(reason="lunch", identity="bob")
            return await last_prices(*args)

        market.last_prices = interrupted  # type: ignore[method-assign]
        await stage.until("09:31")
        assert await stage.states() == {"AAA": "refused paused"}
        assert calls[0] >= 2
        assert len(await stage.journal("risk")) == 1
    assert violations(stage.path) == []


LATE = {
    "scans": [{"name": "late", "at": "15:00", "kind": "plan"}],
    "entry_windows": [{"start": "09:30", "end": "16:00"}],
    "min_minutes_to_flatten": 0,
    "flatten": ["close-1m"],
}
