"""External: closes what finagent did not open, only where a person asked for that by name; each order exactly once."""

from collections.abc import Sequence
from dataclasses import dataclass

from finagent.domain.external import (
    EXTERNAL_LEG,
    MOST_EXTERNAL_ORDERS,
    ExternalHolding,
    ExternalOrder,
    external_intent,
)
from finagent.domain.facts import ExternalIntended, ExternalOrderMoved, Journalled
from finagent.domain.journal import JsonData
from finagent.domain.orders import TERMINAL_ORDER_STATES, BrokerOrder, OrderState, Scope, body_hash
from finagent.domain.recovery import RECOVERED, RECOVERED_LEG
from finagent.domain.steps import Step
from finagent.ports import (
    CalendarPort,
    Clock,
    DuplicateClientOrderIdError,
    GiveUpError,
    Job,
    JsonValue,
    NewJob,
    OrderExecutionPort,
    OrderRejectedError,
    OutcomeUnknownError,
    RetryError,
    Store,
    Tx,
)
from finagent.runtime.service import ServiceContract

CONTRACT = ServiceContract(name="external", consumes=(Step.SELL_EXTERNAL,), needs=("queue", "broker"))
LOOK_AGAIN_MS = 2_000


@dataclass(frozen=True, slots=True)
class ExternalService:
    """Takes ``sell_external {symbol, reason}`` jobs: intent, then the order, then a look until it is over.

    The id is derived and committed before anything is sent, and looked up before it is sent again. Never more than
    the broker holds beyond our own shares.
    """

    store: Store
    broker: OrderExecutionPort
    calendar: CalendarPort
    clock: Clock
    scope: Scope

    async def handle(self, job: Job, tx: Tx) -> None:
        """The next step towards no shares of a symbol that are not ours."""
        symbol, reason = str(job.payload["symbol"]), str(job.payload["reason"])
        orders = [each for each in await self.store.external_orders() if each.intent.symbol == symbol]
        live = [each for each in orders if each.state not in TERMINAL_ORDER_STATES]
        if live:
            await self._see_through(live[-1], reason, tx)
        else:
            await self._intend(symbol, reason, orders, tx)

    async def _intend(self, symbol: str, reason: str, orders: Sequence[ExternalOrder], tx: Tx) -> None:
        quantity_e4 = await self._free_e4(symbol, reason)
        session = self.calendar.session_at(self.clock.now_ms()).date
        generation = 1 + sum(each.session == session for each in orders)
        if quantity_e4 == 0:
            tx.put(Journalled(kind="external_closed", ref=symbol, data={"reason": reason}))
            return
        if generation > MOST_EXTERNAL_ORDERS:
            raise GiveUpError(f"{symbol}: {MOST_EXTERNAL_ORDERS} orders today did not close what is not ours")
        intent = external_intent(
            ExternalHolding(symbol=symbol, quantity_e4=quantity_e4),
            session=session,
            generation=generation,
            scope=self.scope,
            now_ms=self.clock.now_ms(),
            reason=reason,
            leg=RECOVERED_LEG if reason == RECOVERED else EXTERNAL_LEG,
        )
        tx.put(ExternalIntended(intent=intent, session=session, body_hash=body_hash(intent)))
        data: dict[str, JsonData] = {
            "order": intent.client_order_id,
            "side": intent.side.value,
            "quantity_e4": intent.quantity_e4,
            "reason": reason,
        }
        tx.put(Journalled(kind="external_exit", ref=symbol, data=data))
        self._again(symbol, reason, f"{intent.client_order_id}/send", None, tx)

    async def _free_e4(self, symbol: str, reason: str) -> int:
        """What is not ours by the journal, and no more than the broker holds beyond our own, signed.

        After a restore: what its lost time left, and no more than the broker holds beyond a plan's and a person's.
        """
        known = {each.symbol: each.quantity_e4 for each in await self.store.external()}.get(symbol, 0)
        theirs = sum(each.quantity_e4 for each in await self.broker.positions() if each.symbol == symbol)
        ours = sum(
            each.position.quantity_e4
            for each in await self.store.open_positions()
            if each.plan.symbol == symbol
        )
        rest = theirs - ours
        if reason == RECOVERED:
            rest -= known
            known = (await self.store.lost_time()).shares_e4.get(symbol, 0)
            if known * ours < 0:  # it closed what a plan still holds, and is no position
                known = known + ours if abs(known) > abs(ours) else 0
        if known * rest <= 0:
            return 0
        return min(known, rest, key=abs)

    async def _see_through(self, order: ExternalOrder, reason: str, tx: Tx) -> None:
        order_id = order.intent.client_order_id
        found = await self.broker.find(order_id)
        if found is None and order.state is OrderState.INTENT:
            try:
                found = await self.broker.submit([order.intent])
            except OrderRejectedError as error:
                self._end(order, OrderState.REJECTED, 0, str(error), tx)
                return
            except DuplicateClientOrderIdError:
                found = await self.broker.find(order_id)
            except OutcomeUnknownError as error:
                raise RetryError(f"{order_id}: {error}") from error
        if found is None:
            raise RetryError(f"{order_id}: the broker does not show it")
        self._follow(order, found, reason, tx)

    def _follow(self, order: ExternalOrder, found: BrokerOrder, reason: str, tx: Tx) -> None:
        order_id, symbol, now_ms = found.client_order_id, order.intent.symbol, self.clock.now_ms()
        if found.state in TERMINAL_ORDER_STATES:
            self._end(order, found.state, found.filled_e4, found.reason, tx)
            if found.filled_e4 < order.intent.quantity_e4:
                self._again(symbol, reason, f"{order_id}/rest", now_ms + LOOK_AGAIN_MS, tx)
            return
        if (found.state, found.filled_e4) != (order.state, order.filled_e4):
            tx.put(
                ExternalOrderMoved(client_order_id=order_id, to_state=found.state, filled_e4=found.filled_e4)
            )
        self._again(symbol, reason, f"{order_id}/look@{now_ms}", now_ms + LOOK_AGAIN_MS, tx)

    def _end(self, order: ExternalOrder, state: OrderState, filled_e4: int, reason: str, tx: Tx) -> None:
        order_id = order.intent.client_order_id
        tx.put(
            ExternalOrderMoved(client_order_id=order_id, to_state=state, filled_e4=filled_e4, reason=reason)
        )
        data: dict[str, JsonData] = {
            "order": order_id,
            "state": state.value,
            "filled_e4": filled_e4,
            "reason": reason,
        }
        tx.put(Journalled(kind="external_order_ended", ref=order.intent.symbol, data=data))
        if order.intent.leg == RECOVERED_LEG:
            look: dict[str, JsonValue] = {"session": order.session, "reason": RECOVERED}
            tx.enqueue(NewJob(Step.RECONCILE, look, idem_key=f"{order_id}/ended"))

    def _again(self, symbol: str, reason: str, key: str, due_ms: int | None, tx: Tx) -> None:
        payload: dict[str, JsonValue] = {"symbol": symbol, "reason": reason}
        tx.enqueue(
            NewJob(Step.SELL_EXTERNAL, payload, idem_key=key, key=f"external {symbol}", run_at_ms=due_ms)
        )
