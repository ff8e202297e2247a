"""Whose the broker's shares are: what changes without an order of ours is a person's, and is believed only twice."""

import json
from pathlib import Path

from finagent.domain.broker_event import ended_payload
from finagent.domain.market import Side
from finagent.domain.orders import OrderState
from finagent.domain.steps import Step
from finagent.ports import NewJob
from tests.integration.reconcile.stage import AppStage
from tests.integration.services.world import DAY


async def test_position_and_broker_agree_after_an_entry(home: Path) -> None:
    async with AppStage(home) as stage:
        shares = await stage.bought()
        assert shares > 0
        await stage.confirmed("a")
        assert await stage.found() == []
        assert await stage.gate() is None
        assert await stage.journal("reconcile") == []


async def test_fill_that_no_stream_told_is_recorded_by_the_comparison(home: Path) -> None:
    async with AppStage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:33")
        assert await stage.shares() == 0
        await stage.confirmed("a")
        assert await stage.shares() == stage.app.held()["AAA"] // 10_000 > 0
        assert await stage.states() == {"AAA": "open"}
        assert await stage.gate() is None
        await stage.tell()  # late, and twice
        assert await stage.shares() == stage.app.held()["AAA"] // 10_000


async def test_order_that_ended_in_silence_is_ended_by_the_comparison(home: Path) -> None:
    async with AppStage(home) as stage:
        await stage.bought()
        stop_id = (await stage.orders())["stop-1"].intent.client_order_id
        stage.app.cancel_by_hand(stop_id)
        await stage.confirmed("a")
        assert (await stage.order_states())["stop-1"] == "cancelled"
        assert await stage.gate() is None


async def test_position_sold_by_hand_is_closed_as_manual_with_the_brokers_execution(home: Path) -> None:
    async with AppStage(home) as stage:
        shares = await stage.bought()
        stage.app.price_e4 = 1_010_000
        execution = stage.app.by_hand("AAA", Side.SELL, shares)
        await stage.compare("a")
        assert await stage.found() == [("position", "AAA")]
        assert await stage.gate() == "reconcile"
        assert await stage.shares() == shares, "one look adopts nothing"
        await stage.later(3)
        assert await stage.shares() == 0
        assert await stage.states() == {"AAA": "closed manual"}
        assert await stage.found() == []
        assert await stage.gate() is None
        (trade,) = await stage.engine.store.trades(DAY)
        assert (trade.exit_reason, trade.exit_price_e4) == ("manual", 1_010_000)
        ((_, data),) = await stage.journal("manual")
        assert json.loads(data)["executions"] == [execution.execution_id]


async def test_sale_by_hand_that_is_not_listed_is_closed_at_the_last_price(home: Path) -> None:
    async with AppStage(home) as stage:
        shares = await stage.bought()
        stage.app.is_silent = True
        stage.app.by_hand("AAA", Side.SELL, shares)
        await stage.confirmed("a")
        assert await stage.states() == {"AAA": "closed manual"}
        (fill,) = [
            f for f in await stage.engine.store.fills_of((await stage.plan()).plan.plan_id) if f.reason
        ]
        assert fill.fill.execution_id.endswith(":unlisted")
        assert fill.fill.price_e4 == 1_000_000


async def test_sale_by_hand_is_believed_beside_shares_that_nobody_disputes(home: Path) -> None:
    """Found in the simulated world (seed 166): the account's money is that of the other shares, too."""
    async with AppStage(home) as stage:
        shares = await stage.bought()
        stage.app.has_marks = False
        stage.market.day("BBB", DAY)
        stage.app.by_hand("BBB", Side.BUY, shares)
        await stage.confirmed("a")
        stage.app.by_hand("AAA", Side.SELL, shares)
        await stage.confirmed("b")
        assert await stage.shares() == 0
        assert await stage.states() == {"AAA": "closed manual"}


async def test_what_a_person_buys_back_before_the_agent_looks_is_not_ours(home: Path) -> None:
    """Found in the simulated world (seed 5876): by the sum alone ten of ours were left, and were sold."""
    async with AppStage(home) as stage:
        shares = await stage.bought()
        sale = stage.app.by_hand("AAA", Side.SELL, shares - 20)
        stage.app.by_hand("AAA", Side.BUY, 10)
        await stage.confirmed("a")
        assert await stage.shares() == 20
        ((_, data),) = await stage.journal("manual")
        assert json.loads(data)["executions"] == [sale.execution_id]
        assert await stage.found() == [("external", "AAA")]
        (external,) = await stage.engine.store.external()
        assert (external.symbol, external.quantity_e4) == ("AAA", 100_000)


async def test_part_sold_by_hand_is_seen_as_soon_as_a_stop_for_all_is_refused(home: Path) -> None:
    """Found in the simulated world (seed 5798): until the next comparison by the clock the rest stood bare."""
    async with AppStage(home, is_attached=False) as stage:
        shares = await stage.bought()
        stage.app.cancel_by_hand((await stage.orders())["stop-1"].intent.client_order_id)
        stage.app.by_hand("AAA", Side.SELL, 10)
        plan_id = (await stage.plan()).plan.plan_id
        ended = ended_payload(
            (await stage.orders())["stop-1"].intent.client_order_id, OrderState.CANCELLED, "", filled_e4=0
        )
        await stage.publish(NewJob(Step.BROKER_EVENT, dict(ended), idem_key="ended", key=plan_id))
        await stage.later(6)
        assert await stage.shares() == shares - 10
        (stop,) = [each for each in (await stage.orders()).values() if each.state is OrderState.ACCEPTED]
        assert (stop.intent.leg, stop.intent.quantity_e4) == ("stop", (shares - 10) * 10_000)


async def test_part_sold_by_hand_shrinks_the_position(home: Path) -> None:
    async with AppStage(home) as stage:
        shares = await stage.bought()
        stage.app.by_hand("AAA", Side.SELL, 10)
        await stage.confirmed("a")
        assert await stage.shares() == shares - 10
        assert await stage.gate() is None
        assert await stage.states() == {"AAA": "open"}


async def test_empty_list_with_status_200_is_not_flat(home: Path) -> None:
    """One empty answer is read again at once; an account whose money says otherwise is never believed flat."""
    async with AppStage(home) as stage:
        shares = await stage.bought()
        stage.app.empty_lists = 1
        await stage.confirmed("once")
        assert await stage.found() == []
        assert await stage.gate() is None
        stage.app.empty_lists = 1_000
        for number in range(3):
            await stage.confirmed(f"always-{number}")
            assert await stage.found() == [("position", "AAA")]
        assert await stage.shares() == shares
        assert await stage.journal("manual") == []
        assert await stage.gate() == "reconcile"
        stage.app.empty_lists = 0
        await stage.confirmed("mended")
        assert await stage.found() == []
        assert await stage.gate() is None
        assert await stage.shares() == shares


async def test_empty_list_beside_a_price_ten_times_too_high_is_not_believed(home: Path) -> None:
    """Found in the simulated world (seed 2582): at such a price the worth of another symbol spoke for a sale."""
    async with AppStage(home) as stage:
        stage.market.day("BBB", DAY)
        stage.market.day("AAA", DAY, {"09:40": (1000, 1000, 1000, 1000)})
        await stage.until("09:33")
        await stage.tell()
        shares = await stage.shares()
        stage.app.by_hand("BBB", Side.BUY, shares)
        await stage.confirmed("bought")
        await stage.until("09:42")
        stage.app.empty_lists = 1_000
        await stage.confirmed("empty")
        assert await stage.shares() == shares
        assert await stage.journal("manual") == []


async def test_part_sold_by_hand_is_believed_though_the_price_has_left_what_it_cost(home: Path) -> None:
    """Found in the simulated world (seed 5876): a broker without marks, and a fifth gained over night."""
    async with AppStage(home) as stage:
        stage.market.day("AAA", DAY, {"09:40": (120, 120, 120, 120)})
        await stage.until("09:33")
        await stage.tell()
        shares = await stage.shares()
        stage.app.has_marks = False
        await stage.until("09:42")
        stage.app.price_e4 = 1_200_000
        stage.app.by_hand("AAA", Side.SELL, 10)
        await stage.confirmed("sold")
        assert await stage.shares() == shares - 10
        assert await stage.gate() is None


async def test_shares_bought_by_hand_are_external_and_ours_stay_ours(home: Path) -> None:
    async with AppStage(home) as stage:
        shares = await stage.bought()
        stage.app.by_hand("AAA", Side.BUY, 7)
        stage.app.by_hand("ZZZ", Side.BUY, 5)
        await stage.confirmed("a")
        assert await stage.shares() == shares
        held = {each.symbol: each.quantity_e4 for each in await stage.engine.store.external()}
        assert held == {"AAA": 70_000, "ZZZ": 50_000}
        assert await stage.found() == [("external", "AAA"), ("external", "ZZZ")]
        assert await stage.gate() == "reconcile"
