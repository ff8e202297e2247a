"""A reader of the broker's stream until the agent has its own: lists after each connection, then follows."""

import asyncio
from contextlib import aclosing

from finagent.bootstrap.engine import Engine
from finagent.domain.broker_event import ended_key, ended_payload, fill_payload
from finagent.domain.orders import TERMINAL_ORDER_STATES, BrokerFill, OrderState
from finagent.domain.steps import Step
from finagent.ports import BrokerStreamPort, NewJob, RetryError, StreamLostError
from finagent.runtime.tasks import wait_first

AGAIN_S = 2.0


class StreamReader:
    """Turns what the broker tells into ``broker_event`` jobs, each once by its key."""

    name = "stream"
    needs = ("processor",)

    def __init__(self, engine: Engine, stream: BrokerStreamPort) -> None:
        self._engine, self._stream = engine, stream

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped."""

        async def stopped() -> None:
            await stop.wait()

        await wait_first(self._follow_forever(), stopped(), name=self.name)

    async def _follow_forever(self) -> None:
        while True:
            try:
                await self._follow()
            except (StreamLostError, RetryError):
                await self._engine.ticker.sleep(AGAIN_S)

    async def _follow(self) -> None:
        async with aclosing(self._stream.updates()) as updates:  # type: ignore[type-var]
            async for update in updates:
                if update is None:
                    await self._list()
                elif update.fill is not None:
                    await self._tell_fill(update.fill)
                elif update.state in TERMINAL_ORDER_STATES:
                    await self._tell_end(update.client_order_id, update.state, update.reason)

    async def _list(self) -> None:
        engine = self._engine
        session = engine.world.calendar.session_at(engine.clock.now_ms()).date
        for fill in await engine.broker.fills(session=session):
            await self._tell_fill(fill)
        for order in await engine.broker.orders(session=session):
            if order.state in TERMINAL_ORDER_STATES and order.state is not OrderState.FILLED:
                await self._tell_end(order.client_order_id, order.state, order.reason)

    async def _tell_fill(self, fill: BrokerFill) -> None:
        order = await self._engine.store.order(fill.client_order_id)
        if order is not None:
            key, plan_id = fill.execution_id, order.intent.plan_id
            job = NewJob(Step.BROKER_EVENT, dict(fill_payload(fill)), idem_key=key, key=plan_id)
            await self._engine.queue.publish(job)

    async def _tell_end(self, order_id: str, state: OrderState, reason: str) -> None:
        order = await self._engine.store.order(order_id)
        if order is not None:
            job = NewJob(
                Step.BROKER_EVENT,
                dict(ended_payload(order_id, state, reason)),
                idem_key=ended_key(order_id, state),
                key=order.intent.plan_id,
            )
            await self._engine.queue.publish(job)
