"""A position without a stop at the broker is mended: a stop first, else closed; told once each time."""

import json
from pathlib import Path

from finagent.bootstrap.live import ProtectionWatch
from tests.integration.reconcile.stage import AppStage


async def stop_of(stage: AppStage) -> str:
    """The id of the stop that rests for AAA."""
    live = [
        o for name, o in (await stage.orders()).items() if name.startswith("stop") and o.state == "accepted"
    ]
    return live[-1].intent.client_order_id


async def test_stop_cancelled_in_the_brokers_app_is_placed_again(home: Path) -> None:
    async with AppStage(home, is_attached=False) as stage:
        await stage.bought()
        first = await stop_of(stage)
        stage.app.cancel_by_hand(first)
        await stage.confirmed("a")
        second = await stop_of(stage)
        assert second != first
        assert stage.app.known[second].state == "accepted"
        assert stage.app.known[second].quantity_e4 == stage.app.held()["AAA"]
        assert await ProtectionWatch(stage.engine).run_once() == 0


async def test_part_sold_by_hand_leaves_a_stop_for_what_is_left_and_all_sold_leaves_none(home: Path) -> None:
    from finagent.domain.market import Side

    async with AppStage(home, is_attached=False) as stage:
        shares = await stage.bought()
        stage.app.by_hand("AAA", Side.SELL, 10)
        await stage.confirmed("a")
        assert stage.app.known[await stop_of(stage)].quantity_e4 == (shares - 10) * 10_000
        stage.app.by_hand("AAA", Side.SELL, shares - 10)
        await stage.confirmed("b")
        await stage.later(5)
        working = [o for o in stage.app.known.values() if o.state in ("accepted", "partially_filled")]
        assert working == []
        assert await stage.states() == {"AAA": "closed manual"}


async def test_position_that_stays_bare_is_protected_then_closed_and_told_once_each(home: Path) -> None:
    """Attached exits: the broker keeps them, so a bare position is closed at once after 15 s."""
    async with AppStage(home) as stage:
        await stage.bought()
        watch = ProtectionWatch(stage.engine)
        assert await watch.run_once() == 0
        stage.app.cancel_by_hand((await stage.orders())["stop-1"].intent.client_order_id)
        await stage.confirmed("a")
        assert await watch.run_once() == 0, "not for 15 s yet"
        stage.clock.advance(stage.clock.now_ms() + 15_000)
        assert await watch.run_once() == 1
        await watch.run_once()
        ((_, data),) = await stage.journal("unprotected")
        assert json.loads(data)["next"] == "exit"
        await stage.quiet()
        await stage.tell()
        assert await stage.shares() == 0
        assert await stage.states() == {"AAA": "closed flatten"}
