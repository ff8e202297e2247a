"""The broker as one life of the agent reaches it: slow, lossy, forgetful, by the faults of the seed."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from finagent.domain.orders import (
    BrokerAccount,
    BrokerCapabilities,
    BrokerCashFlow,
    BrokerFill,
    BrokerOrder,
    BrokerPosition,
    BrokerUpdate,
    OrderIntent,
    OrderType,
)
from finagent.ports import (
    DuplicateClientOrderIdError,
    OrderRejectedError,
    OutcomeUnknownError,
    RetryError,
    StreamLostError,
)
from finagent.simulation.exchange import Exchange, Refused
from finagent.simulation.faults import Faults
from finagent.simulation.loop import Outside

TIMEOUT_S = 5.0
SIGN_OF_LIFE_S = 15.0
NOT_SHOWN_MS = 6_000
HEARD_MS = 45_000
"""What the stream does not tell the next comparison with the broker tells, so late at most."""
LATE_S = (1, 2, 20, 90, 240, 600)


class Line(Protocol):
    """Who hears what leaves, and what may end the process in the middle of a call."""

    def sends(self, intents: Sequence[OrderIntent]) -> None:
        """A body leaves."""

    def looked_up(self, client_order_id: str) -> None:
        """An id was asked for, and an answer came."""

    async def calls(self, moment: str) -> None:
        """A moment of a call: ``submit.before``, ``submit.arrived``, ``cancel.arrived``, ``replace.arrived``."""


class SimulatedBroker:
    """OrderExecutionPort and BrokerStreamPort over an exchange."""

    def __init__(
        self, exchange: Exchange, outside: Outside, faults: Faults, rng: random.Random, line: Line
    ) -> None:
        self._exchange, self._outside, self._faults, self._rng, self._line = (
            exchange,
            outside,
            faults,
            rng,
            line,
        )
        self.capabilities = BrokerCapabilities(
            name="simulated",
            has_attached_exits=exchange.has_attached_exits,
            has_fractions=False,
            has_shorts=False,
            order_types=(OrderType.MARKET, OrderType.LIMIT, OrderType.STOP),
        )

    # ------------------------------------------------------------ orders out
    async def submit(self, intents: Sequence[OrderIntent]) -> BrokerOrder:
        """One POST."""
        body = tuple(intents)
        self._line.sends(body)
        return await self._post("submit", body[0].client_order_id, lambda: self._exchange.accept(body))

    async def replace(self, client_order_id: str, *, new: OrderIntent) -> BrokerOrder:
        """One PATCH."""
        self._line.sends((new,))
        return await self._post(
            "replace", new.client_order_id, lambda: self._exchange.change(client_order_id, new)
        )

    async def cancel(self, client_order_id: str) -> bool:
        """One DELETE; RetryError when nobody knows whether it arrived."""
        await self._travel()
        if self._faults.strikes("request_lost"):
            self._faults.happened("request_lost")
            await asyncio.sleep(TIMEOUT_S)
            raise RetryError(f"cancel {client_order_id}: no answer")
        is_open = self._exchange.cancel(client_order_id)
        await self._line.calls("cancel.arrived")
        if self._faults.strikes("reply_lost"):
            self._faults.happened("reply_lost")
            raise RetryError(f"cancel {client_order_id}: the connection was lost")
        return is_open

    async def _post(self, verb: str, order_id: str, arrive: Callable[[], BrokerOrder]) -> BrokerOrder:
        await self._line.calls(f"{verb}.before")
        await self._travel()
        faults = self._faults
        if self._exchange.is_doomed(order_id, is_entry="-entry-" in order_id):
            faults.happened("never_arrived")
            await asyncio.sleep(TIMEOUT_S)
            raise OutcomeUnknownError("no answer")
        for kind, words in (("request_lost", "connection refused"), ("http_504_before", "HTTP 504"),
                            ("http_429_before", "HTTP 429")):  # fmt: skip
            if faults.strikes(kind):
                faults.happened(kind)
                raise OutcomeUnknownError(words)
        if faults.strikes("late_arrival"):
            faults.happened("late_arrival")
            self._arrive_late(order_id, arrive)
            await asyncio.sleep(TIMEOUT_S)
            raise OutcomeUnknownError("no answer in time")
        try:
            accepted = arrive()
        except Refused as refused:
            raise OrderRejectedError(refused.reason, refused.detail) from None
        except KeyError:
            raise DuplicateClientOrderIdError(order_id) from None
        await self._line.calls(f"{verb}.arrived")
        for kind, words in (("reply_lost", "the connection was lost"), ("http_504_after", "HTTP 504"),
                            ("http_429_after", "HTTP 429")):  # fmt: skip
            if faults.strikes(kind):
                faults.happened(kind)
                raise OutcomeUnknownError(words)
        await self._travel()
        return accepted

    def _arrive_late(self, order_id: str, arrive: Callable[[], BrokerOrder]) -> None:
        """The request is under way in some proxy; it is taken when it comes, unless its id is there by then."""

        def late() -> None:
            try:
                arrive()
            except (Refused, KeyError):
                return
            self._faults.lasts()
            self._exchange.say(f"{order_id} arrived late")

        self._outside.at(self._outside.now_ms + self._rng.choice(LATE_S) * 1000, late)

    # ------------------------------------------------------------ state back
    async def find(self, client_order_id: str) -> BrokerOrder | None:
        """One GET by our id."""
        await self._read("order")
        self._line.looked_up(client_order_id)
        found = self._exchange.books.orders.get(client_order_id)
        if found is None:
            return None
        age_ms = self._outside.now_ms - found.order.accepted_at_ms
        if age_ms < NOT_SHOWN_MS and self._faults.strikes("order_not_shown_yet"):
            self._faults.happened("order_not_shown_yet")
            return None
        return found.order

    async def orders(self, *, session: str) -> Sequence[BrokerOrder]:
        """The complete list of a session."""
        await self._read("orders")
        return [each.order for each in self._exchange.books.orders.values() if each.session == session]

    async def fills(self, *, session: str) -> Sequence[BrokerFill]:
        """The complete list of a session's executions."""
        await self._read("fills")
        return [fill for date, fill in self._exchange.books.fills if date == session]

    async def positions(self) -> Sequence[BrokerPosition]:
        """Everything held, ours or not."""
        await self._read("positions")
        held = [BrokerPosition(symbol=s, quantity_e4=q) for s, q in sorted(self._held().items()) if q]
        if held and self._faults.strikes("positions_empty"):
            self._faults.happened("positions_empty")
            return []
        return held

    async def account(self) -> BrokerAccount:
        """Cash and equity."""
        await self._read("account")
        cash_e8, equity_e8 = self._exchange.books.cash_e8, self._exchange.equity_e8()
        return BrokerAccount(
            currency="USD",
            cash_e8=cash_e8,
            equity_e8=equity_e8,
            buying_power_e8=max(0, 2 * equity_e8),
            account_id="SIM",
        )

    async def cash_flows(self, *, session: str) -> Sequence[BrokerCashFlow]:
        """Deposits and withdrawals of a session."""
        await self._read("cash_flows")
        return [flow for date, flow in self._exchange.books.flows if date == session]

    # ------------------------------------------------------------ the stream
    async def updates(self) -> AsyncIterator[BrokerUpdate | None]:
        """What the broker tells; lost, silent, late, doubled and shuffled by the faults."""
        await self._travel()
        if self._faults.strikes("stream_lost"):
            self._faults.happened("stream_lost")
            raise StreamLostError("connection refused")
        inbox, arrived = deque[BrokerUpdate](), asyncio.Event()
        connection = _Connection(self._outside, self._faults, self._rng, inbox, arrived)
        self._exchange.listeners.append(connection.hear)
        try:
            yield None
            while True:
                while inbox:
                    yield inbox.popleft()
                if connection.is_lost:
                    raise StreamLostError("the connection was lost")
                arrived.clear()
                try:
                    async with asyncio.timeout(SIGN_OF_LIFE_S):
                        await arrived.wait()
                except TimeoutError:
                    yield None
        finally:
            self._exchange.listeners.remove(connection.hear)

    # ------------------------------------------------------------ the way there
    async def _travel(self) -> None:
        delay_ms = self._rng.randrange(5, 120)
        if self._faults.strikes("slow_broker"):
            delay_ms = self._rng.randrange(1_000, 8_000)
            self._faults.happened("slow_broker")
        await asyncio.sleep(delay_ms / 1000)

    async def _read(self, what: str) -> None:
        await self._travel()
        if self._faults.strikes("read_failed"):
            self._faults.happened("read_failed")
            raise RetryError(f"{what}: HTTP 500")

    def _held(self) -> dict[str, int]:
        return self._exchange.books.held_e4


class _Connection:
    """One open stream: when each update reaches the listener, if it does."""

    def __init__(
        self,
        outside: Outside,
        faults: Faults,
        rng: random.Random,
        inbox: deque[BrokerUpdate],
        arrived: asyncio.Event,
    ) -> None:
        self.is_lost = False
        self._outside, self._faults, self._rng = outside, faults, rng
        self._inbox, self._arrived = inbox, arrived

    def hear(self, update: BrokerUpdate) -> None:
        """The exchange tells."""
        faults, rng = self._faults, self._rng
        if self.is_lost:
            return
        if faults.strikes("stream_lost"):
            faults.happened("stream_lost")
            self.is_lost = True
            self._outside.at(self._outside.now_ms + rng.randrange(10, 25_000), self._arrived.set)
            return
        for kind in ("stream_silent", "event_lost"):
            if faults.strikes(kind):
                faults.happened(kind)
                faults.lasts(HEARD_MS)
                return
        delay_ms = rng.randrange(5, 80)
        if faults.strikes("event_late"):
            faults.happened("event_late")
            delay_ms = rng.randrange(2_000, 90_000)
            faults.lasts(min(delay_ms, HEARD_MS))
        elif faults.strikes("events_shuffled"):
            faults.happened("events_shuffled")
            delay_ms = rng.randrange(5, 3_000)
        self._deliver(update, delay_ms)
        if faults.strikes("event_twice"):
            faults.happened("event_twice")
            self._deliver(update, delay_ms + rng.randrange(0, 40_000))

    def _deliver(self, update: BrokerUpdate, delay_ms: int) -> None:
        def arrive() -> None:
            self._inbox.append(update)
            self._arrived.set()

        self._outside.at(self._outside.now_ms + delay_ms, arrive)
