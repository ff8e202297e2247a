"""After a trading halt: the stop is looked up at the broker, and a price beyond it is left by widening limits."""

import json
from pathlib import Path

from tests.integration.races.stage import OutsideStage
from tests.integration.services.invariants import violations
from tests.integration.services.market import local
from tests.integration.services.world import DAY, Stage

STOP_E4 = 970_000


async def halted(
    stage: OutsideStage, *, until: str, bars: dict[str, tuple[float, float, float, float]]
) -> None:
    """AAA is held with its stop at the broker, and trading stops from 10:00 until the time given."""
    stage.market.day("AAA", DAY, bars)
    stage.market.halts.append(("AAA", local(DAY, "10:00"), local(DAY, until)))
    await stage.until("09:31")
    stage.broker.fill(stage.broker.the("entry"))
    await stage.hear()
    await stage.until("10:01")
    assert await stage.journal("halt_over") == []


def exits(stage: OutsideStage) -> list[tuple[str, int | None, str]]:
    """Type, limit and state at the broker of the exits of everything, by generation; at most one works."""
    found = [o for o in stage.broker.book.values() if o.intent.leg == "exit"]
    assert sum(1 for each in found if each.is_open) <= 1
    assert all(stage.broker.claimed_e4(o.intent) <= stage.broker.held_e4("AAA") for o in found if o.is_open)
    return [(o.intent.type.value, o.intent.limit_e4, o.state.value) for o in found]


async def test_stop_that_vanished_in_a_halt_is_placed_again_within_15_s_of_the_resume(home: Path) -> None:
    """Nobody told of its end: only a look at the broker finds it."""
    async with OutsideStage(home) as stage:
        await halted(stage, until="10:05:22", bars={})
        stage.broker.expire(stage.broker.the("stop"))
        await stage.until("10:05:37")
        ((_, data),) = await stage.journal("halt_over")
        assert json.loads(data)["stop"] == "expired"
        again = stage.broker.book[stage.broker.the("stop", 2)]
        assert again.is_open
        assert (again.intent.stop_e4, again.intent.quantity_e4) == (STOP_E4, stage.broker.held_e4("AAA"))
        assert again.accepted_at_ms - local(DAY, "10:05:22") <= 15_000
        assert exits(stage) == []


async def test_stop_that_still_rests_is_left_alone(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await halted(stage, until="10:05", bars={})
        await stage.until("10:20")
        ((_, data),) = await stage.journal("halt_over")
        assert json.loads(data)["stop"] == "accepted"
        assert exits(stage) == []
        assert stage.broker.cancels == []


async def test_price_beyond_the_stop_is_left_by_wider_limits_and_then_at_the_market(home: Path) -> None:
    """Reopened at 95 below the stop at 97, and falling: each limit has a minute, measured from the newest price."""
    fall = {"10:05": (95, 95, 95, 95), "10:06": (94, 94, 94, 94), "10:07": (90, 90, 90, 90)}
    async with OutsideStage(home) as stage:
        await halted(stage, until="10:05", bars=fall)
        await stage.until("10:05:50")
        assert exits(stage) == [], "the price from before the halt says nothing"
        await stage.until("10:06")
        assert exits(stage) == [("limit", 940_500, "accepted")]
        assert not stage.broker.book[stage.broker.the("stop")].is_open
        await stage.until("10:07")
        assert exits(stage)[1:] == [("limit", 921_200, "accepted")]
        await stage.until("10:08")
        assert exits(stage)[2:] == [("limit", 864_000, "accepted")]
        await stage.until("10:09")
        assert [state for *_, state in exits(stage)] == ["cancelled", "cancelled", "cancelled", "accepted"]
        assert exits(stage)[3][:2] == ("market", None)
        await stage.hear()
        stage.broker.fill(stage.broker.the("exit", 4))
        await stage.hear()
        await stage.until("10:12")
        assert await stage.held() is None
        assert await stage.states() == {"AAA": "closed stop"}
        assert len(await stage.journal("halt_exit")) == 4
        assert len(await stage.journal("exit_escalated")) == 3


async def test_ladder_takes_the_place_of_a_limit_that_still_works(home: Path) -> None:
    """Resumed at 15:43: the rung at 15:45 asks at the market, and no later band softens that."""
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", DAY, {"15:43": (95, 95, 95, 95)})
        stage.market.halts.append(("AAA", local(DAY, "15:30"), local(DAY, "15:43")))
        await stage.until("09:31")
        stage.broker.fill(stage.broker.the("entry"))
        await stage.hear()
        await stage.until("15:44:50")
        assert [kind for kind, *_ in exits(stage)] == ["limit"]
        await stage.until("15:49")
        assert [kind for kind, *_ in exits(stage)][-1] == "market"
        assert exits(stage)[-1][2] == "accepted"


async def test_venue_that_holds_the_exits_itself_is_left_alone_after_a_halt(home: Path) -> None:
    """Attached exits on paper: the stop fills by itself at the first price, as in a backtest."""
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY, {"10:05": (95, 95, 95, 95)})
        stage.market.halts.append(("AAA", local(DAY, "10:00"), local(DAY, "10:05")))
        await stage.finish()
        assert await stage.states() == {"AAA": "closed stop"}
        assert await stage.value("SELECT count(*) FROM job_queue WHERE type = 'halt_check'") == 0
    assert violations(stage.path, is_day_over=True) == []


async def test_attached_position_whose_exits_are_gone_leaves_after_the_halt(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY)
        stage.market.halts.append(("AAA", local(DAY, "10:00"), local(DAY, "10:05")))
        await stage.until("09:40")
        for name, order in (await stage.orders()).items():
            if name != "entry-1":
                await stage.engine.broker.cancel(order.intent.client_order_id)
        await stage.forge(
            "UPDATE venue_order SET is_reported = 1",
            "UPDATE broker_order SET state = 'cancelled', ended_at = 1 WHERE leg <> 'entry'",
        )
        await stage.until("10:05")
        exit_order = (await stage.orders())["exit-1"]
        assert (exit_order.intent.type, exit_order.intent.limit_e4) == ("limit", 990_000)
        await stage.finish()
        assert await stage.states() == {"AAA": "closed stop"}
    assert violations(stage.path, is_day_over=True) == []
