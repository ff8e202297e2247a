"""What a broker tells by itself: trusted only behind a listing, told twice or shuffled is once, silence is noticed."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from finagent.domain.market import Side
from finagent.domain.orders import BrokerUpdate, OrderState
from finagent.domain.steps import Step
from finagent.ports import NewJob, RetryError
from finagent.runtime.tasks import spawn
from finagent.services.stream import PollingService, StreamService
from tests.integration.races.stage import OutsideStage, SignalTicker
from tests.integration.services.world import PATIENCE_S


class Listening:
    """A stage with the reader on its broker's stream, on machinery time that the test moves."""

    def __init__(self, stage: OutsideStage) -> None:
        self.stage, self.ticker, self.stop = stage, SignalTicker(), asyncio.Event()
        known = stage.engine.catch_up()
        self.service = StreamService(
            stage.broker, known.missing, known.told, stage.engine.store, stage.engine.queue, self.ticker
        )
        self.task = spawn(self.service.run(self.stop), "stream")

    async def heard(self) -> None:
        """Everything told is in the journal."""
        await asyncio.wait_for(self.service.trusted.wait(), PATIENCE_S)
        await asyncio.wait_for(self.stage.broker.heard(), PATIENCE_S)
        await self.stage.quiet()

    async def passes(self, seconds: float) -> None:
        """Machinery time passes, and what follows from it is done."""
        await self.ticker.passes(seconds)
        await self.stage.quiet()

    async def end(self) -> None:
        self.stop.set()
        await asyncio.wait_for(self.task, PATIENCE_S)


@asynccontextmanager
async def listening(home: Path, **more: Any) -> AsyncIterator[tuple[OutsideStage, Listening]]:
    async with OutsideStage(home, **more) as stage:
        stage.market.day("AAA", "2018-02-20")
        reader = Listening(stage)
        try:
            yield stage, reader
        finally:
            await reader.end()


async def test_fill_on_the_stream_brings_the_position_and_its_stop(home: Path) -> None:
    async with listening(home) as (stage, reader):
        await stage.until("09:31")
        stage.broker.fill(stage.broker.the("entry"))
        await reader.heard()
        assert await stage.order_states() == {"entry-1": "filled", "stop-1": "accepted"}
        stage.broker.fill(stage.broker.the("stop"))
        await reader.heard()
        assert await stage.states() == {"AAA": "closed stop"}


async def test_what_happened_before_the_stream_listened_is_caught_up(home: Path) -> None:
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", "2018-02-20")
        await stage.until("09:31")
        stage.broker.fill(stage.broker.the("entry"))
        assert await stage.held() is None
        reader = Listening(stage)
        await reader.heard()
        assert (await stage.order_states())["stop-1"] == "accepted"
        await reader.end()


async def test_updates_told_twice_and_shuffled_are_once(home: Path) -> None:
    async with listening(home) as (stage, reader):
        await stage.until("09:31")
        entry = stage.broker.the("entry")
        stage.broker.is_mute = True
        for part in (400_000, 500_000, 760_000):
            stage.broker.fill(entry, part)
        updates = [
            BrokerUpdate(
                client_order_id=entry,
                symbol="AAA",
                state=OrderState.PARTIALLY_FILLED,
                at_ms=each.at_ms,
                fill=each,
            )
            for each in stage.broker.executions
        ]
        told = updates * 3
        random.Random(7).shuffle(told)
        stage.broker.say(*told)
        await reader.heard()
        held = await stage.held()
        assert held is not None
        assert held.position.quantity_e4 == 1_660_000
        assert await stage.value("SELECT count(*) FROM fill") == 3
        assert (await stage.order_states())["entry-1"] == "filled"


async def test_lost_stream_is_opened_again_later_each_time_and_catches_up(home: Path) -> None:
    async with listening(home) as (stage, reader):
        await stage.until("09:31")
        await reader.heard()
        stage.broker.is_mute = True
        stage.broker.fill(stage.broker.the("entry"))
        stage.broker.lose()
        await reader.passes(0.1)
        assert not reader.service.trusted.is_set()
        await reader.passes(0.3)
        assert stage.broker.connections == 1
        await reader.passes(0.2)
        await reader.heard()
        assert stage.broker.connections == 2
        assert (await stage.order_states())["entry-1"] == "filled"


async def test_silent_stream_is_noticed_by_what_a_listing_shows(home: Path) -> None:
    """Connected, alive, and telling nothing: the listing shows a fill for ten seconds, then the stream is reopened."""
    async with listening(home) as (stage, reader):
        await stage.until("09:31")
        await reader.heard()
        stage.broker.is_mute = True
        stage.broker.fill(stage.broker.the("entry"))
        await reader.passes(5)
        await reader.passes(5)
        assert (stage.broker.connections, await stage.held()) == (1, None)
        await reader.passes(5)
        assert not reader.service.trusted.is_set()
        assert await stage.held() is not None
        await reader.passes(0.5)
        await reader.heard()
        assert stage.broker.connections == 2


async def test_stream_that_tells_in_time_is_not_silent(home: Path) -> None:
    async with listening(home) as (stage, reader):
        await stage.until("09:31")
        await reader.heard()
        stage.broker.is_mute = True
        stage.broker.fill(stage.broker.the("entry"), 400_000)
        await reader.passes(5)
        (fill,) = stage.broker.executions
        stage.broker.say(
            BrokerUpdate(
                client_order_id=fill.client_order_id,
                symbol="AAA",
                state=OrderState.PARTIALLY_FILLED,
                at_ms=1,
                fill=fill,
            )
        )
        await reader.heard()
        for _ in range(5):
            await reader.passes(5)
        assert stage.broker.connections == 1
        assert reader.service.trusted.is_set()


async def test_listing_that_fails_is_tried_again_with_the_connection(home: Path) -> None:
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", "2018-02-20")
        await stage.until("09:31")
        orders, fails = stage.broker.orders, [True]

        async def broken(*, session: str) -> Any:
            if fails.pop() if fails else False:
                raise RetryError("503")
            return await orders(session=session)

        stage.broker.orders = broken  # type: ignore[method-assign]
        reader = Listening(stage)
        while stage.broker.connections < 2:
            await reader.passes(0.5)
        await reader.heard()
        await reader.end()


async def test_orders_of_others_and_of_another_database_are_left_alone(home: Path) -> None:
    async with listening(home) as (stage, reader):
        await stage.until("09:31")
        await reader.heard()
        entry = stage.broker.book[stage.broker.the("entry")]
        for foreign in ("somebody-else", "fa-20180220-AAA-entry-1-0123456789abcdef"):
            stage.broker.book[foreign] = replace(entry, intent=replace(entry.intent, client_order_id=foreign))
            stage.broker.fill(foreign)
        await reader.heard()
        await stage.hear()
        assert await stage.held() is None
        assert (await stage.engine.queue.stats()).dead == []
        del stage.broker.book["somebody-else"]


async def test_unknown_order_that_the_stream_tells_of_is_adopted(home: Path) -> None:
    async with listening(home) as (stage, reader):
        stage.broker.line += ["late"]
        await stage.until("09:31")
        assert (await stage.order_states())["entry-1"] == "unknown"
        stage.broker.deliver()
        await reader.heard()
        assert (await stage.order_states())["entry-1"] == "accepted"


async def test_order_that_is_over_here_and_works_at_the_broker_is_cancelled(home: Path) -> None:
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", "2018-02-20")
        await stage.until("09:31")
        await stage.forge("UPDATE broker_order SET state = 'cancelled', ended_at = 1")
        assert await stage.hear() == 1
        assert stage.broker.book[stage.broker.the("entry")].state is OrderState.CANCELLED


async def test_catch_up_is_a_job_too_and_ends_are_told_by_listings(home: Path) -> None:
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", "2018-02-20")
        await stage.until("09:31")
        stage.broker.expire(stage.broker.the("entry"))
        await stage.publish(NewJob(Step.CATCH_UP, {}, idem_key="x"))
        assert await stage.states() == {"AAA": "not_filled expired"}


async def test_broker_without_a_stream_is_polled_while_anything_is_open(home: Path) -> None:
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", "2018-02-20")
        known, ticker = stage.engine.catch_up(), SignalTicker()
        polling = PollingService(known.missing, stage.engine.store, stage.engine.queue, ticker)
        assert await polling.run_once() == 0
        await stage.until("09:31")
        stage.broker.fill(stage.broker.the("entry"))
        assert await polling.run_once() == 1
        await stage.quiet()
        held = await stage.held()
        assert held is not None
        assert (held.position.quantity_e4, stage.broker.executions[0].side) == (1_660_000, Side.BUY)
        assert await polling.run_once() == 0
