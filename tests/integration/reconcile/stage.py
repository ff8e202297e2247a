"""A day at a broker whose app is used by hand, driven by a test."""

from pathlib import Path
from typing import Any

from finagent.domain.broker_event import fill_payload
from finagent.domain.steps import Step
from finagent.ports import NewJob, OrderExecutionPort
from tests.integration.reconcile.app_broker import AppBroker
from tests.integration.services.world import DAY, Stage

NO_TIME_STOP = {"planning": {"time_stop_minutes": None}}


class AppStage(Stage):
    """A stage over an ``AppBroker``; its executions are told only when the test says so.

    ``is_outside``: the engine knows it for a broker outside its database.
    """

    def __init__(
        self, path: Path, *, is_attached: bool = True, is_outside: bool = False, **more: Any
    ) -> None:
        self._is_outside, self._is_attached = is_outside, is_attached
        self.app: AppBroker = None  # type: ignore[assignment]
        self._told: set[str] = set()

        def outside(inner: OrderExecutionPort) -> AppBroker:
            self.app = self.app or AppBroker(self.clock, is_attached=is_attached)
            self.app.clock = self.clock
            return self.app

        super().__init__(path, broker=outside, **{"settings": NO_TIME_STOP, "is_checked": False, **more})

    def outside(self) -> OrderExecutionPort | None:
        if not self._is_outside:
            return None
        self.app = self.app or AppBroker(self.clock, is_attached=self._is_attached)
        self.app.clock = self.clock
        return self.app

    async def tell(self) -> None:
        """The broker's stream delivers every execution of ours that it has not told yet."""
        for fill in list(self.app.executions):
            order = await self.engine.store.order(fill.client_order_id)
            if order is None or fill.execution_id in self._told:
                continue
            self._told.add(fill.execution_id)
            payload = dict(fill_payload(fill))
            await self.publish(
                NewJob(Step.BROKER_EVENT, payload, idem_key=fill.execution_id, key=order.intent.plan_id)
            )

    async def compare(self, key: str) -> None:
        """What the timer leaves every half minute."""
        payload = {"session": DAY, "reason": "timer"}
        await self.publish(NewJob(Step.RECONCILE, dict(payload), idem_key=key))

    async def later(self, seconds: int) -> None:
        """Time passes."""
        until_ms = self.clock.now_ms() + seconds * 1000
        await self._run_to(until_ms)
        if self.clock.now_ms() < until_ms:
            await self.engine.driver.tick(until_ms)
        await self.quiet()

    async def confirmed(self, key: str) -> None:
        """A comparison and the second look that follows it."""
        await self.compare(key)
        await self.later(3)

    async def gate(self) -> str | None:
        return (await self.engine.store.control()).gate_reason

    async def found(self) -> list[tuple[str, str]]:
        """(kind, ref) of what differs."""
        return [(each.kind, each.ref) for each in await self.engine.store.differences()]

    async def shares(self, symbol: str = "AAA") -> int:
        """Our whole shares of a symbol by our own fills."""
        held = await self.held(symbol)
        return 0 if held is None else held.position.quantity_e4 // 10_000

    async def bought(self) -> int:
        """Lets the day come to a position in AAA, told by the stream; gives its shares."""
        self.market.day("AAA", DAY)
        await self.until("09:33")
        await self.tell()
        return await self.shares()
