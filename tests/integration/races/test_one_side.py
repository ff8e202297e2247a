"""A broker that takes no exit beside a working entry: the rest of the entry makes room for the stop."""

from pathlib import Path

from finagent.domain.orders import OrderState
from tests.integration.races.stage import OutsideStage
from tests.integration.services.invariants import violations
from tests.integration.services.world import DAY, Stage

PART = 700_000


async def test_rest_of_the_entry_is_cancelled_after_a_moment_and_the_stop_rests(home: Path) -> None:
    async with OutsideStage(home, has_opposite_orders=False) as stage:
        await stage.entered(PART)
        assert (await stage.order_states()) == {"entry-1": "partially_filled"}
        await stage.wait(2)
        assert await stage.order_states() == {"entry-1": "cancelled", "stop-1": "accepted"}
        assert stage.broker.book[stage.broker.the("stop")].intent.quantity_e4 == PART
        assert await stage.reserved() == []
        stage.broker.fill(stage.broker.the("stop"))
        await stage.hear()
        assert await stage.states() == {"AAA": "closed stop"}
    assert stage.broken() == []


async def test_entry_that_fills_in_the_moment_keeps_its_shares(home: Path) -> None:
    async with OutsideStage(home, has_opposite_orders=False) as stage:
        await stage.entered(PART)
        await stage.wait(1)
        stage.broker.fill(stage.broker.the("entry"))
        await stage.hear()
        await stage.wait(3)
        assert await stage.order_states() == {"entry-1": "filled", "stop-1": "accepted"}
        assert stage.broker.book[stage.broker.the("stop")].intent.quantity_e4 == 1_660_000


async def test_rest_that_fills_while_it_is_cancelled_is_protected_too(home: Path) -> None:
    async with OutsideStage(home, has_opposite_orders=False) as stage:
        await stage.entered(PART)
        stage.broker.is_slow_to_cancel = True
        await stage.wait(3)
        stage.broker.fill(stage.broker.the("entry"), 100_000)
        stage.broker.end_cancels()
        await stage.wait(2)
        await stage.hear()
        await stage.wait(3)
        assert stage.broker.book[stage.broker.the("entry")].state is OrderState.CANCELLED
        resting = [o for o in stage.broker.book.values() if o.intent.leg == "stop" and o.is_open]
        assert [o.intent.quantity_e4 for o in resting] == [PART + 100_000]


async def test_day_by_alpacas_rules_on_the_paper_venue(home: Path) -> None:
    async with Stage(home, settings={"execution": {"exits": "alpaca"}}) as stage:
        volumes = {f"09:{minute}": 600 for minute in range(31, 36)}
        stage.market.day("AAA", DAY, {"09:50": (100, 100, 96, 96)}, volumes=volumes)
        await stage.until("09:33")
        assert await stage.order_states() == {"entry-1": "cancelled", "stop-1": "accepted"}
        await stage.finish()
        assert await stage.states() == {"AAA": "closed stop"}
    assert violations(stage.path, is_day_over=True) == []
