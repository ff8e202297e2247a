"""The broker against the journal: what differs shuts the entry gate, and opens it again when it is gone."""

import json
from pathlib import Path

from finagent.domain.market import Side
from finagent.domain.orders import OrderIntent, OrderType
from finagent.domain.steps import Step
from finagent.ports import NewJob
from tests.integration.services.world import DAY, NEXT, Stage

OURS = "fa-20180220-AAA-entry-1-0123456789abcdef"


async def compare(stage: Stage, key: str) -> None:
    payload = {"session": DAY, "reason": "test"}
    await stage.publish(NewJob(Step.RECONCILE, dict(payload), idem_key=key))


async def test_agreement_says_nothing(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:40")
        await compare(stage, "a")
        assert await stage.journal("reconcile") == []
        assert (await stage.engine.store.control()).gate_reason is None


async def test_order_of_ours_that_nobody_wrote_shuts_the_gate_until_it_is_explained(home: Path) -> None:
    async with Stage(home, dates=(DAY, NEXT), is_checked=False) as stage:
        stage.market.day("AAA", DAY, open_at=95)
        stage.market.day("AAA", NEXT)
        await stage.until("09:40")
        ghost = OrderIntent(
            client_order_id=OURS,
            plan_id="pl_ghost",
            symbol="AAA",
            leg="entry",
            generation=1,
            side=Side.BUY,
            type=OrderType.LIMIT,
            quantity_e4=10_000,
            limit_e4=100_000,
        )
        await stage.engine.broker.submit([ghost])
        await compare(stage, "a")
        ((_, data),) = await stage.journal("reconcile")
        assert json.loads(data)["differences"] == [
            {"kind": "unknown_order", "ref": OURS, "detail": "broker says accepted"}
        ]
        assert (await stage.engine.store.control()).gate_reason == "reconcile"
        await stage.until("09:32", NEXT)
        assert await stage.states(NEXT) == {"AAA": "refused entry_gate"}
        sql = "DELETE FROM venue_order"
        await stage.engine.queue.call(lambda ws: ws.conn.execute(sql).rowcount)
        await compare(stage, "b")
        assert (await stage.engine.store.control()).gate_reason is None


async def test_order_ended_in_silence_is_ended_and_one_the_broker_lost_is_a_difference(home: Path) -> None:
    async with Stage(home, is_checked=False) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:40")
        lost_id = (await stage.orders())["target-1-1"].intent.client_order_id
        ended = "UPDATE venue_order SET state = 'cancelled', ended_at = 1, is_reported = 1 WHERE leg = 'stop'"
        for sql in (ended, "DELETE FROM venue_order WHERE leg = 'target-1'"):
            await stage.engine.queue.call(lambda ws, text=sql: ws.conn.execute(text).rowcount)  # type: ignore[misc]
        await compare(stage, "a")
        found = {(each.kind, each.ref) for each in await stage.engine.store.differences()}
        assert found == {("lost_order", lost_id)}
        assert (await stage.order_states())["stop-1"] == "cancelled"
        assert (await stage.engine.store.control()).gate_reason == "reconcile"


async def test_position_that_is_not_the_brokers_is_a_difference(home: Path) -> None:
    async with Stage(home, is_checked=False) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:40")
        sql = "UPDATE venue_position SET quantity = 10000 WHERE symbol = 'AAA'"
        await stage.engine.queue.call(lambda ws: ws.conn.execute(sql).rowcount)
        (difference,) = await stage.reconcile().differences()
        assert (difference.kind, difference.ref) == ("position", "AAA")
        assert difference.detail == "journal 1660000, broker 10000 (1e-4 shares)"


async def test_orders_of_other_programs_are_none_of_our_business(home: Path) -> None:
    async with Stage(home, is_checked=False) as stage:
        stage.market.day("AAA", DAY, open_at=95)
        await stage.until("09:40")
        order = OrderIntent(
            client_order_id="by-hand-1",
            plan_id="",
            symbol="AAA",
            leg="entry",
            generation=1,
            side=Side.BUY,
            type=OrderType.LIMIT,
            quantity_e4=10_000,
            limit_e4=100_000,
        )
        await stage.engine.broker.submit([order])
        assert await stage.reconcile().differences() == []


async def test_resolving_an_order_that_is_known_by_now_changes_nothing(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:40")
        order_id = (await stage.orders())["entry-1"].intent.client_order_id
        payload = {"session": DAY, "reason": "unknown", "order": order_id, "look": 1}
        await stage.publish(NewJob(Step.RECONCILE, payload, idem_key="late"))
        assert (await stage.order_states())["entry-1"] == "filled"


async def test_unknown_exit_missing_from_two_listings_never_arrived_and_its_plan_stays_open(
    home: Path,
) -> None:
    """Only the order that was looked for is over: its position is still held, whatever became of the entry."""
    async with Stage(home, is_checked=False) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:40")
        order_id = (await stage.orders())["stop-1"].intent.client_order_id
        for sql in (
            "UPDATE broker_order SET state = 'unknown' WHERE leg = 'stop'",
            "DELETE FROM venue_order WHERE leg = 'stop'",
        ):
            await stage.engine.queue.call(lambda ws, text=sql: ws.conn.execute(text).rowcount)  # type: ignore[misc]
        payload = {"session": DAY, "reason": "unknown", "order": order_id, "look": 1}
        await stage.publish(NewJob(Step.RECONCILE, payload, idem_key="look"))
        assert (await stage.order_states())["stop-1"] == "unknown"
        await stage.until("09:42")
        assert (await stage.order_states())["stop-1"] == "never_arrived"
        assert await stage.states() == {"AAA": "open"}
