"""An exit of unknown fate when nothing is left to close: sent no more, looked for, ended by evidence alone."""

from dataclasses import replace
from pathlib import Path

from finagent.domain.market import Side
from tests.integration.reconcile.stage import AppStage

DEAD = "SELECT count(*) FROM job_queue WHERE status = 'dead'"
TRIED_AGAIN = "SELECT count(*) FROM job_queue WHERE type = 'protect' AND attempts > 1"


async def sold_by_hand_with_an_exit_in_doubt(stage: AppStage) -> str:
    """The exit gets no answer, its owner sells everything in the app; gives the exit's id."""
    shares = await stage.bought()
    stage.app.is_deaf = True
    await stage.control.flatten(symbol="AAA", identity="ann")
    await stage.quiet()
    exit_id = (await stage.orders())["exit-1"].intent.client_order_id
    assert (await stage.order_states())["exit-1"] == "unknown"
    stage.app.by_hand("AAA", Side.SELL, shares)
    await stage.confirmed("sold")
    assert await stage.states() == {"AAA": "closed manual"}
    return exit_id


async def test_exit_that_never_arrived_ends_by_evidence_after_all_was_sold_by_hand(home: Path) -> None:
    """Found in the simulated world (seed 111): a job tried to free it until it was dead, and paged."""
    async with AppStage(home, is_attached=False) as stage:
        exit_id = await sold_by_hand_with_an_exit_in_doubt(stage)
        sent = stage.app.submitted.count(exit_id)
        await stage.until("16:15")
        assert (await stage.order_states())["exit-1"] == "unknown"
        await stage.until("16:17")
        assert (await stage.order_states())["exit-1"] == "never_arrived"
        assert await stage.states() == {"AAA": "closed manual"}
        assert (await stage.value(DEAD), await stage.value(TRIED_AGAIN)) == (0, 0)
        assert stage.app.submitted.count(exit_id) == sent, "nothing is left that it could close"
        await stage.finish()
        assert stage.app.held() == {}
        assert await stage.gate() is None


async def test_exit_that_arrives_after_all_was_sold_by_hand_is_cancelled(home: Path) -> None:
    """It could open a position on the other side: whoever sent it looks on until its fate is known."""
    async with AppStage(home, is_attached=False) as stage:
        exit_id = await sold_by_hand_with_an_exit_in_doubt(stage)
        await stage.later(120)
        stage.app.resting = {"AAA"}
        stage.app.arrive(exit_id)
        await stage.later(30)
        assert stage.app.known[exit_id].state == "cancelled"
        assert (await stage.order_states())["exit-1"] == "cancelled"
        assert stage.app.held() == {}
        assert await stage.value(DEAD) == 0


async def test_exit_that_sells_after_all_was_sold_by_hand_is_bought_back(home: Path) -> None:
    async with AppStage(home, is_attached=False) as stage:
        exit_id = await sold_by_hand_with_an_exit_in_doubt(stage)
        stage.app.is_deaf = False
        stage.app.arrive(exit_id)
        assert stage.app.held()["AAA"] < 0
        await stage.tell()
        await stage.later(30)
        await stage.tell()
        assert stage.app.held() == {}
        assert await stage.shares() == 0
        assert await stage.value(DEAD) == 0


async def test_exit_of_more_than_is_left_ends_by_evidence_in_the_session_and_the_rest_leaves(
    home: Path,
) -> None:
    """Found in the simulated world (seeds 270, 313, 345): a part is sold by hand, and the rest was bare."""
    async with AppStage(home, is_attached=False) as stage:
        shares = await stage.bought()
        stage.app.is_deaf = True
        await stage.control.flatten(symbol="AAA", identity="ann")
        await stage.quiet()
        exit_id = (await stage.orders())["exit-1"].intent.client_order_id
        stage.app.by_hand("AAA", Side.SELL, shares // 2)
        await stage.confirmed("sold")
        stage.app.is_deaf = False
        sent = stage.app.submitted.count(exit_id)
        await stage.later(100)
        assert (await stage.order_states())["exit-1"] == "unknown"
        assert stage.app.submitted.count(exit_id) == sent, "it would sell more than is held"
        await stage.later(90)
        await stage.tell()
        assert (await stage.order_states())["exit-1"] == "never_arrived"
        assert stage.app.held() == {}
        assert await stage.shares() == 0
        assert (await stage.states())["AAA"].startswith("closed")
        assert await stage.value(DEAD) == 0


async def test_stop_of_more_than_is_left_makes_room_for_one_that_fits(home: Path) -> None:
    async with AppStage(home, is_attached=False) as stage:
        shares = await stage.bought()
        stage.app.resting = {"AAA"}
        stage.app.cancel_by_hand((await stage.orders())["stop-1"].intent.client_order_id)
        stage.app.is_deaf = True
        await stage.confirmed("cancelled")
        assert (await stage.order_states())["stop-2"] == "unknown"
        stage.app.by_hand("AAA", Side.SELL, shares // 2)
        await stage.confirmed("sold")
        stage.app.is_deaf = False
        await stage.later(200)
        await stage.tell()
        states = await stage.order_states()
        assert (states["stop-2"], states["stop-3"]) == ("never_arrived", "accepted")
        assert (await stage.orders())["stop-3"].intent.quantity_e4 == shares // 2 * 10_000
        assert await stage.value(DEAD) == 0


async def test_sale_by_hand_beside_an_unknown_order_that_filled_nothing_is_adopted(home: Path) -> None:
    """Found in the simulated world (seed 3670): such an order hid the sale, and the rest was bare over night."""
    async with AppStage(home, is_attached=False) as stage:
        shares = await stage.bought()
        stage.app.resting = {"AAA"}
        stop = (await stage.orders())["stop-1"].intent
        foreign = "fa-20200101-AAA-entry-1-0000000000000001"
        await stage.app.submit(
            [replace(stop, client_order_id=foreign, leg="entry", side=Side.BUY, quantity_e4=10_000)]
        )
        stage.app.cancel_by_hand(stop.client_order_id)
        stage.app.by_hand("AAA", Side.SELL, shares // 2)
        await stage.confirmed("sold")
        await stage.later(60)
        left = shares - shares // 2
        working = [o.intent for o in (await stage.orders()).values() if o.state == "accepted"]
        assert await stage.shares() == left
        assert [(each.leg, each.quantity_e4) for each in working] == [("stop", left * 10_000)]
        assert stage.app.known[foreign].state == "accepted", "it is a person's to judge"
        assert await stage.gate() == "reconcile"
        assert await stage.value(DEAD) == 0
