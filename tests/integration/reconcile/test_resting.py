"""Who stops the agent reads what rests at the broker, line by line; a position past its close is counted."""

from pathlib import Path

from finagent.bootstrap.gauges import GaugeService
from finagent.bootstrap.left_open import resting, shortened
from finagent.bootstrap.readers import engine_views
from finagent.context import ApplicationContext
from tests.integration.reconcile.stage import AppStage


async def test_each_resting_order_and_each_position_has_its_line(home: Path) -> None:
    async with AppStage(home) as stage:
        views = engine_views(stage.engine, home, mode="auto", run_id=None, health=dict)
        context = ApplicationContext(views=views, commands=None, home=str(home), version="0")
        assert await resting(context) == "Nothing is open and nothing rests at the broker."
        shares = await stage.bought()
        lines = (await resting(context)).splitlines()
        orders = {name: order.intent for name, order in (await stage.orders()).items()}
        stop_e4 = orders["stop-1"].stop_e4 or 0
        assert lines[0].startswith("Left as they are: 1 open positions, ")
        assert f"  order AAA stop sell {shares} stop {stop_e4 / 10_000:.2f} (accepted)" in lines
        assert lines[-1].startswith(f"  position AAA long {shares} at 100.00 stop ")


def test_of_very_many_lines_the_first_are_told_and_the_rest_counted() -> None:
    assert shortened(["a"] * 20) == ["a"] * 20
    assert shortened(["a"] * 23) == ["a"] * 20 + ["  +3 more"]


async def test_position_open_past_its_close_is_held_over(home: Path) -> None:
    async with AppStage(home) as stage:
        await stage.bought()
        gauges = GaugeService(stage.engine)

        async def held_over() -> float | None:
            await gauges.run_once()
            return stage.engine.metrics.registry.get_sample_value("finagent_positions_held_over")

        assert await held_over() == 0
        stage.app.is_down = True  # no exit leaves
        await stage.until("15:59")
        assert await held_over() == 0
        stage.clock.advance(stage.calendar.session_at(stage.clock.now_ms()).close_ms)
        assert await held_over() == 1
