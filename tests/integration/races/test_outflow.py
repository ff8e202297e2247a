"""Orders out equal intents in: what nobody committed does not leave, and entries are halted until a person rearms."""

from dataclasses import replace
from pathlib import Path

import pytest

from finagent.bootstrap.outflow import OutflowGuard
from finagent.ports import OrderRejectedError
from tests.integration.races.stage import OutsideStage
from tests.integration.services.world import DAY


def guard(stage: OutsideStage) -> OutflowGuard:
    return OutflowGuard(stage.broker, store=stage.engine.store, queue=stage.engine.queue)


@pytest.mark.parametrize("change", ["id", "quantity", "over"])
async def test_order_without_its_intent_is_stopped_and_halts_entries(home: Path, change: str) -> None:
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:31")
        intent = (await stage.orders())["entry-1"].intent
        if change == "id":
            intent = replace(intent, client_order_id=intent.client_order_id[:-1] + "x")
        elif change == "quantity":
            intent = replace(intent, quantity_e4=10 * intent.quantity_e4)
        else:
            await stage.forge("UPDATE broker_order SET state = 'cancelled', ended_at = 1")
        outflow, posts = guard(stage), list(stage.broker.posts)
        with pytest.raises(OrderRejectedError, match="no_intent"):
            await outflow.submit([intent])
        with pytest.raises(OrderRejectedError, match="no_intent"):
            await outflow.replace("old", new=intent)
        assert stage.broker.posts == posts
        assert outflow.posts.total() == 0
        control = await stage.engine.store.control()
        assert (control.is_paused, control.needs_rearm) == (True, True)
        assert len(await stage.journal("orders_out")) == 2
        assert await stage.control.resume(identity="ann") == "rearm_needed"


async def test_what_leaves_is_counted_by_its_id(home: Path) -> None:
    async with OutsideStage(home) as stage:
        stage.broker.line += ["dropped"] * 3
        outflow = OutflowGuard(stage.broker, store=stage.engine.store, queue=stage.engine.queue)
        stage.market.day("AAA", DAY)
        await stage.until("09:31")
        order = (await stage.orders())["entry-1"]
        stage.broker.line.clear()
        await outflow.submit([order.intent])
        assert outflow.posts == {order.intent.client_order_id: 1}
        assert outflow.capabilities == stage.broker.capabilities
        assert await outflow.find(order.intent.client_order_id) is not None
        assert len(await outflow.orders(session=DAY)) == 1
        assert (await outflow.fills(session=DAY), await outflow.positions()) == ([], [])
        assert (await outflow.account()).currency == "USD"
        assert await outflow.cash_flows(session=DAY) == ()
        assert await outflow.cancel(order.intent.client_order_id)
