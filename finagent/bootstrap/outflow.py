"""Orders out against intents in: what leaves for the broker is held against what was committed, at the port itself."""

import logging
from collections import Counter
from collections.abc import Sequence

from finagent.domain.facts import ACCOUNT_ROW, ControlChanged, Journalled
from finagent.domain.orders import (
    TERMINAL_ORDER_STATES,
    BrokerAccount,
    BrokerCapabilities,
    BrokerCashFlow,
    BrokerFill,
    BrokerOrder,
    BrokerPosition,
    OrderIntent,
    body_hash,
)
from finagent.ports import JobQueue, OrderExecutionPort, OrderRejectedError, Store, Tx

LOG = logging.getLogger(__name__)
REASON = "an order without its intent was stopped at the broker's door"


class OutflowGuard:
    """A broker that takes only what was committed, byte for byte, and is not over.

    Anything else is refused before it leaves, journalled, and halts entries until a person rearms: a program that
    sends what nobody wrote is wrong about more than that order. ``posts`` counts what left, by id.
    """

    def __init__(self, broker: OrderExecutionPort, *, store: Store, queue: JobQueue) -> None:
        self._broker, self._store, self._queue = broker, store, queue
        self.posts: Counter[str] = Counter()

    @property
    def capabilities(self) -> BrokerCapabilities:
        return self._broker.capabilities

    async def submit(self, intents: Sequence[OrderIntent]) -> BrokerOrder:
        await self._pass(intents)
        return await self._broker.submit(intents)

    async def replace(self, client_order_id: str, *, new: OrderIntent) -> BrokerOrder:
        await self._pass([new])
        return await self._broker.replace(client_order_id, new=new)

    async def _pass(self, intents: Sequence[OrderIntent]) -> None:
        digest = body_hash(intents[0], intents[1:])
        for intent in intents:
            stored = await self._store.order(intent.client_order_id)
            is_written = stored is not None and stored.body_hash == digest
            if stored is None or not is_written or stored.state in TERMINAL_ORDER_STATES:
                await self._halt(intent, "absent" if stored is None else stored.state.value)
                raise OrderRejectedError("no_intent", intent.client_order_id)
        self.posts[intents[0].client_order_id] += 1

    async def _halt(self, intent: OrderIntent, seen: str) -> None:
        order_id = intent.client_order_id
        LOG.critical("orders.out_without_intent", extra={"order": order_id, "intent": seen})
        tx = Tx()
        tx.put(Journalled(kind="orders_out", ref=order_id, data={"intent": seen, "left": len(self.posts)}))
        tx.put(ControlChanged(is_paused=True, pause_reason=REASON, paused_by="risk", needs_rearm=True))
        tx.touch(ACCOUNT_ROW)
        await self._queue.commit(tx)

    async def find(self, client_order_id: str) -> BrokerOrder | None:
        return await self._broker.find(client_order_id)

    async def cancel(self, client_order_id: str) -> bool:
        return await self._broker.cancel(client_order_id)

    async def orders(self, *, session: str) -> Sequence[BrokerOrder]:
        return await self._broker.orders(session=session)

    async def fills(self, *, session: str) -> Sequence[BrokerFill]:
        return await self._broker.fills(session=session)

    async def positions(self) -> Sequence[BrokerPosition]:
        return await self._broker.positions()

    async def account(self) -> BrokerAccount:
        return await self._broker.account()

    async def cash_flows(self, *, session: str) -> Sequence[BrokerCashFlow]:
        return await self._broker.cash_flows(session=session)
