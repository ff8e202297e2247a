"""Exits as orders of their own: a stop for every fill, targets watched by the agent, never more out than held."""

from pathlib import Path
from typing import Any

from finagent.ports import OrderExecutionPort, OrderRejectedError
from tests.integration.services.invariants import violations
from tests.integration.services.world import DAY, Broker, Stage, fails, passes

SEPARATE: dict[str, Any] = {"execution": {"exits": "separate"}}
SHARES = 1_660_000
THIN = {f"09:{minute}": 600 for minute in range(31, 36)}
"""30 shares a minute at 5 percent: the entry comes in parts."""
STRUCTURE: dict[str, Any] = {
    **SEPARATE,
    "planning": {"preset": "structure", "structure_setup": "premarket_break"},
}


def line(found: list[Broker]) -> Any:
    """A wrapper that keeps the line to the broker at hand."""

    def wrap(inner: OrderExecutionPort) -> Broker:
        found.append(Broker(inner))
        return found[-1]

    return wrap


async def test_entry_leaves_alone_and_its_fill_brings_the_stop(home: Path) -> None:
    async with Stage(home, settings=SEPARATE) as stage:
        stage.market.day("AAA", DAY, {"09:45": (100, 110, 100, 108)})
        await stage.until("09:31")
        assert await stage.order_states() == {"entry-1": "accepted"}
        await stage.until("09:32")
        assert await stage.order_states() == {"entry-1": "filled", "stop-1": "accepted"}
        stop = (await stage.orders())["stop-1"]
        assert (stop.intent.quantity_e4, stop.intent.stop_e4, stop.intent.parent_id) == (
            SHARES,
            970_000,
            None,
        )
        await stage.finish()
        assert await stage.states() == {"AAA": "closed target"}
        assert await stage.venue_states() == {
            "entry-1": "filled", "stop-1": "cancelled", "target-1-1": "filled",
        }  # fmt: skip
    assert violations(stage.path, is_day_over=True) == []


async def test_stop_grows_with_each_partial_fill(home: Path) -> None:
    async with Stage(home, settings=SEPARATE) as stage:
        stage.market.day("AAA", DAY, {"09:50": (100, 100, 96, 96)}, volumes=THIN)
        await stage.until("09:32")
        assert await stage.order_states() == {"entry-1": "partially_filled", "stop-1": "accepted"}
        await stage.until("09:34")
        orders = await stage.orders()
        assert (orders["stop-1"].state, orders["stop-2"].state) == ("cancelled", "cancelled")
        held = await stage.held()
        assert held is not None
        assert orders["stop-3"].intent.quantity_e4 == held.position.quantity_e4 == 900_000
        await stage.finish()
        assert await stage.states() == {"AAA": "closed stop"}
    assert violations(stage.path, is_day_over=True) == []


async def test_stop_that_cannot_be_replaced_is_cancelled_and_placed_anew(home: Path) -> None:
    lines: list[Broker] = []
    async with Stage(home, settings=SEPARATE, broker=line(lines)) as stage:
        stage.market.day("AAA", DAY, volumes=THIN)
        await stage.until("09:32")
        lines[0].before_submit += [fails(OrderRejectedError("not_replaceable", "a fraction"))]
        await stage.until("09:33")
        await stage.engine.driver.tick(stage.clock.now_ms() + 1_000)
        await stage.quiet()
        states = await stage.order_states()
        assert (states["stop-1"], states["stop-2"], states["stop-3"]) == ("cancelled", "rejected", "accepted")
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_stop_beyond_the_market_leaves_at_the_market_at_once(home: Path) -> None:
    """The minute of the entry's fill falls through the stop: nothing can rest there."""
    async with Stage(home, settings=SEPARATE) as stage:
        stage.market.day("AAA", DAY, {"09:31": (100, 100, 95, 95)})
        await stage.until("09:32")
        states = await stage.order_states()
        assert (states["stop-1"], states["exit-1"]) == ("rejected", "accepted")
        await stage.finish()
        assert await stage.states() == {"AAA": "closed stop"}
    assert violations(stage.path, is_day_over=True) == []


async def test_refused_stop_leaves_at_the_market_whatever_the_reason(home: Path) -> None:
    lines: list[Broker] = []
    async with Stage(home, settings=SEPARATE, broker=line(lines)) as stage:
        stage.market.day("AAA", DAY)
        lines[0].before_submit += [passes, fails(OrderRejectedError("halted", "news pending"))]
        await stage.until("09:33")
        assert await stage.states() == {"AAA": "closed stop"}
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_half_is_taken_at_one_r_and_the_stop_goes_to_break_even(home: Path) -> None:
    async with Stage(home, settings=STRUCTURE) as stage:
        rise = {"09:33": (100, 101.5, 100, 101.05), "09:40": (101.05, 102.6, 101.05, 102.5)}
        stage.market.day("AAA", DAY, {**rise, "09:50": (102, 102, 99, 99)})
        stage.market.premarket("AAA", DAY, high=101, low=99.5, close=100)
        await stage.until("09:36")
        assert await stage.order_states() == {"entry-1": "filled", "stop-1": "accepted"}
        await stage.until("09:42")
        orders = await stage.orders()
        held = await stage.held()
        assert held is not None
        assert orders["target-1-1"].state == "filled"
        newest = max(
            (o for n, o in orders.items() if n.startswith("stop")), key=lambda o: o.intent.generation
        )
        assert newest.state == "accepted"
        assert newest.intent.quantity_e4 == held.position.quantity_e4 < orders["entry-1"].filled_e4
        assert newest.intent.stop_e4 == held.stop_e4 > held.plan.stop_e4
        await stage.finish()
        assert await stage.states() == {"AAA": "closed trailing"}
        (trade,) = await stage.engine.store.trades(DAY)
        assert [each.reason for each in trade.exits] == ["target", "trailing"]
    assert violations(stage.path, is_day_over=True) == []


async def test_both_targets_in_one_minute_close_everything(home: Path) -> None:
    async with Stage(home, settings=STRUCTURE) as stage:
        rise = {"09:33": (100, 101.5, 100, 101.05), "09:40": (101.05, 109, 101.05, 108)}
        stage.market.day("AAA", DAY, rise)
        stage.market.premarket("AAA", DAY, high=101, low=99.5, close=100)
        await stage.finish()
        assert await stage.states() == {"AAA": "closed target"}
        (trade,) = await stage.engine.store.trades(DAY)
        assert [each.leg for each in trade.exits] == ["target-1", "target-2"]
    assert violations(stage.path, is_day_over=True) == []


async def test_target_is_not_taken_before_the_stop_has_shrunk(home: Path) -> None:
    """The broker refuses to replace the stop: its shares are not free, so the target's exit waits for the cancel."""
    lines: list[Broker] = []
    async with Stage(home, settings=STRUCTURE, broker=line(lines)) as stage:
        rise = {"09:33": (100, 101.5, 100, 101.05), "09:40": (101.05, 102.6, 101.05, 102.5)}
        stage.market.day("AAA", DAY, rise)
        stage.market.premarket("AAA", DAY, high=101, low=99.5, close=100)
        await stage.until("09:36")
        lines[0].before_submit += [fails(OrderRejectedError("not_replaceable", "a fraction"))]
        await stage.until("09:43")
        states = await stage.order_states()
        assert states["target-1-1"] == "cancelled"
        assert states["target-1-2"] == "filled"
        held = await stage.held()
        assert held is not None
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_time_stop_and_flatten_cancel_the_stop_and_leave(home: Path) -> None:
    async with Stage(home, settings=SEPARATE) as stage:
        stage.market.day("AAA", DAY)
        stage.market.day("BBB", DAY, open_at=50, previous=47)
        await stage.until("10:29")
        await stage.control.flatten(symbol="BBB", identity="ann")
        await stage.until("10:32")
        assert await stage.states() == {"AAA": "closed time", "BBB": "closed flatten"}
        assert (await stage.order_states())["stop-1"] == "cancelled"
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_bare_position_is_protected_at_the_next_minute(home: Path) -> None:
    """The stop vanished and nobody told: the watch sees a position with nothing on its way."""
    async with Stage(home, settings=SEPARATE) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:33")
        stop_id = (await stage.orders())["stop-1"].intent.client_order_id
        await stage.engine.broker.cancel(stop_id)
        await stage.forge(
            "UPDATE venue_order SET is_reported = 1",
            "UPDATE broker_order SET state = 'cancelled', ended_at = 1 WHERE leg = 'stop'",
        )
        await stage.until("09:34")
        assert (await stage.order_states())["stop-2"] == "accepted"
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_stop_that_somebody_cancels_is_placed_again_while_the_shares_are_held(home: Path) -> None:
    async with Stage(home, settings=SEPARATE) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:33")
        await stage.engine.broker.cancel((await stage.orders())["stop-1"].intent.client_order_id)
        await stage.until("09:34")
        states = await stage.order_states()
        assert (states["stop-1"], states["stop-2"]) == ("cancelled", "accepted")
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []
