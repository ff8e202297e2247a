"""The flatten ladder at a broker outside that takes exits and does not fill them: each rung is harder than the last."""

import json
from pathlib import Path

from finagent.bootstrap.gauges import GaugeService
from finagent.domain.orders import OrderState
from tests.integration.races.stage import OutsideStage
from tests.integration.services.world import DAY


async def entered(stage: OutsideStage) -> None:
    """AAA is held with its stop at the broker."""
    stage.market.day("AAA", DAY)
    await stage.until("09:31")
    stage.broker.fill(stage.broker.the("entry"))
    await stage.hear()


def exits(stage: OutsideStage) -> dict[int, str]:
    """Generation -> state at the broker of the exits of everything."""
    found = {o.intent.generation: o.state.value for o in stage.broker.book.values() if o.intent.leg == "exit"}
    live = [g for g, state in found.items() if state in ("accepted", "partially_filled")]
    assert len(live) <= 1, f"two live exits for the same shares: {found}"
    assert stage.broker.claimed_e4(stage.broker.bodies[-1]) <= stage.broker.held_e4("AAA")
    return found


async def test_later_rung_cancels_an_exit_that_still_works_and_sends_the_next_generation(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await entered(stage)
        await stage.until("15:45")
        assert exits(stage) == {1: "accepted"}
        await stage.until("15:49")
        assert exits(stage) == {1: "accepted"}, "between the rungs an exit is left alone"
        await stage.until("15:50")
        assert exits(stage) == {1: "cancelled", 2: "accepted"}
        await stage.hear()
        stage.broker.fill(stage.broker.the("exit", 2))
        await stage.hear()
        assert stage.broker.held_e4("AAA") == 0
        assert await stage.held() is None
        (escalated,) = await stage.journal("exit_escalated")
        assert json.loads(escalated[1])["after_ms"] == 5 * 60_000
        assert await stage.journal("flatten_late") == []


async def test_next_exit_waits_until_the_one_before_is_over_and_its_fills_are_known(home: Path) -> None:
    """The cancel is slow and a part fills meanwhile: the next generation closes the rest and no more."""
    async with OutsideStage(home) as stage:
        await entered(stage)
        await stage.until("15:45")
        stage.broker.is_slow_to_cancel = True
        await stage.until("15:50")
        await stage.until("15:50:03")
        assert exits(stage) == {1: "accepted"}, "asked to end, and not over yet"
        stage.broker.fill(stage.broker.the("exit"), 600_000)
        stage.broker.end_cancels()
        stage.broker.is_slow_to_cancel = False
        await stage.until("15:50:05")
        assert exits(stage) == {1: "cancelled"}, "its fill is not recorded yet"
        await stage.hear()
        await stage.until("15:50:30")
        assert exits(stage) == {1: "cancelled", 2: "accepted"}
        second = stage.broker.book[stage.broker.the("exit", 2)]
        assert second.intent.quantity_e4 == stage.broker.held_e4("AAA") == 1_660_000 - 600_000


async def test_exit_of_unknown_fate_is_left_to_its_sender(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await entered(stage)
        stage.broker.line += ["dropped"] * 40
        await stage.until("15:50")
        assert (await stage.order_states())["exit-1"] == "unknown"
        assert "exit-2" not in await stage.orders()


async def test_position_open_at_the_last_rung_is_told_each_minute_and_counted_for_the_alert(
    home: Path,
) -> None:
    async with OutsideStage(home) as stage:
        await entered(stage)
        await stage.until("15:57")
        gauges = GaugeService(stage.engine)
        await gauges.run_once()
        assert stage.engine.metrics.registry.get_sample_value("finagent_flatten_late") == 0
        await stage.until("15:58")
        await gauges.run_once()
        assert stage.engine.metrics.registry.get_sample_value("finagent_flatten_late") == 1
        await stage.until("15:59")
        told = [json.loads(data) for _, data in await stage.journal("flatten_late")]
        assert [each["rung"] for each in told] == ["4", "after"]
        assert {each["quantity_e4"] for each in told} == {1_660_000}
        assert exits(stage) == {1: "cancelled", 2: "cancelled", 3: "cancelled", 4: "cancelled", 5: "accepted"}
        stage.broker.fill(stage.broker.the("exit", 5))
        await stage.hear()
        assert (await stage.order_states())["exit-5"] == OrderState.FILLED
        await gauges.run_once()
        assert stage.engine.metrics.registry.get_sample_value("finagent_flatten_late") == 0
