"""Halts: after a trading halt sees that the stop rests, and leaves by limits in widening bands beyond it."""

from collections.abc import Sequence
from dataclasses import dataclass

from finagent.domain.book import OpenPosition, StoredOrder
from finagent.domain.broker_event import ended_key, ended_payload
from finagent.domain.escalation import AT_THE_BROKER, band_limit_e4, is_beyond_stop, is_overdue, working_exit
from finagent.domain.facts import Journalled
from finagent.domain.journal import JsonData
from finagent.domain.legs import STOP, exit_side
from finagent.domain.market import MINUTE_MS, Instrument, Session
from finagent.domain.orders import TERMINAL_ORDER_STATES, OrderState, OrderType
from finagent.domain.positions import ExitReason
from finagent.domain.protection import is_attached, is_bare
from finagent.domain.steps import Step
from finagent.ports import (
    CalendarPort,
    Clock,
    Job,
    JsonValue,
    LastPrice,
    MarketDataPort,
    NewJob,
    OrderExecutionPort,
    RetryError,
    Store,
    Tx,
)
from finagent.runtime.service import ServiceContract

CONTRACT = ServiceContract(name="halt", consumes=(Step.HALT_CHECK,), needs=("queue", "broker"))
LOOK_MS = 10_000
"""Between two looks: a resume is seen, and the stop looked up, within 15 s."""
FRESH_MS = 2 * MINUTE_MS
"""How long after a resume the first price is waited for."""


@dataclass(frozen=True, slots=True)
class HaltService:
    """Takes ``halt_check {plan, since_ms}`` jobs, one for each minute of a halt and one at its end.

    ``resumed_ms`` says when trading was first seen to go on; from then on the job leaves itself again until a price
    that is newer lies on the right side of the stop, or the position is gone or leaves at the market.
    """

    store: Store
    broker: OrderExecutionPort
    market: MarketDataPort
    calendar: CalendarPort
    clock: Clock

    async def handle(self, job: Job, tx: Tx) -> None:
        """One look."""
        held = await self.store.position(str(job.payload["plan"]))
        if held is None or held.position.quantity_e4 * held.plan.direction.sign <= 0:
            return
        now_ms = self.clock.now_ms()
        session = self.calendar.session_at(now_ms)
        if now_ms >= session.close_ms or held.plan.session < session.date:
            return  # what an earlier session left is closed at the open as stranded
        since_ms, resumed_ms = _ms(job, "since_ms"), _ms(job, "resumed_ms")
        if self.market.is_halted(session, held.plan.symbol, now_ms):
            if since_ms is not None and now_ms + LOOK_MS < since_ms + MINUTE_MS:
                # The next minute's tick leaves a job of its own.
                self._look_again(held, {"since_ms": since_ms, "is_between": True}, tx)
            return
        if since_ms is not None and self._was_seen(job, session, held.plan.symbol, since_ms):
            return
        orders = await self.store.orders_of(held.plan.plan_id)
        price = await self._price(held.plan.symbol, session, now_ms)
        if resumed_ms is None:
            resumed_ms = now_ms
            await self._verify(held, orders, price, tx)
        if await self._leaves(held, orders, price, resumed_ms, tx):
            self._look_again(held, {"resumed_ms": resumed_ms}, tx)

    def _was_seen(self, job: Job, session: Session, symbol: str, since_ms: int) -> bool:
        """Whether a look between two ticks has seen the resume that this tick sees as well."""
        is_between = job.payload.get("is_between") is True
        looks = (since_ms, since_ms - LOOK_MS)
        return not is_between and not any(self.market.is_halted(session, symbol, at) for at in looks)

    async def _price(self, symbol: str, session: Session, now_ms: int) -> LastPrice | None:
        return (await self.market.last_prices([symbol], session, now_ms)).get(symbol)

    async def _verify(
        self, held: OpenPosition, orders: Sequence[StoredOrder], price: LastPrice | None, tx: Tx
    ) -> None:
        """Look at the broker whether the stop still rests, and have it placed again where it does not."""
        plan_id, found_as = held.plan.plan_id, "none"
        for order in orders:
            if order.intent.leg != STOP or order.state not in AT_THE_BROKER:
                continue
            order_id = order.intent.client_order_id
            found = await self.broker.find(order_id)
            if found is None:
                raise RetryError(f"{order_id}: the broker shows no such stop after the halt", retry_after_s=1)
            found_as = found.state.value
            if found.state in TERMINAL_ORDER_STATES and found.state is not OrderState.FILLED:
                ended = dict(ended_payload(order_id, found.state, found.reason, filled_e4=found.filled_e4))
                key = ended_key(order_id, found.state)
                tx.enqueue(NewJob(Step.BROKER_EVENT, ended, idem_key=key, key=plan_id))
        data: dict[str, JsonData] = {
            "symbol": held.plan.symbol,
            "stop": found_as,
            "stop_e4": held.stop_e4,
            "price_e4": None if price is None else price.price_e4,
        }
        tx.put(Journalled(kind="halt_over", ref=plan_id, data=data))
        key = f"{plan_id}/halt-{self.clock.now_ms()}"
        tx.enqueue(NewJob(Step.PROTECT, {"plan": plan_id}, idem_key=key, key=plan_id))

    async def _leaves(
        self,
        held: OpenPosition,
        orders: Sequence[StoredOrder],
        price: LastPrice | None,
        resumed_ms: int,
        tx: Tx,
    ) -> bool:
        """Ask for the exit that the price calls for; gives whether to look again."""
        own, now_ms = [order.own for order in orders], self.clock.now_ms()
        working = working_exit(own, exit_side(held.plan))
        if working is not None:
            if working.intent.type is OrderType.MARKET:
                return False
            if is_overdue(working, now_ms=now_ms):
                self._leave(held, orders, price, tx)
            return True
        is_fresh = price is not None and price.at_ms > resumed_ms
        if price is not None and is_fresh and is_beyond_stop(held.plan, held.stop_e4, price.price_e4):
            self._leave(held, orders, price, tx)
            return True
        if is_attached(own) and is_bare(own):  # no stop can be placed for it any more
            self._leave(held, orders, price, tx)
            return True
        return not is_fresh and now_ms < resumed_ms + FRESH_MS

    def _leave(
        self, held: OpenPosition, orders: Sequence[StoredOrder], price: LastPrice | None, tx: Tx
    ) -> None:
        plan_id, symbol, now_ms = held.plan.plan_id, held.plan.symbol, self.clock.now_ms()
        instrument = self.market.instrument(symbol) or Instrument(symbol=symbol)
        side = exit_side(held.plan)
        last_e4 = None if price is None else price.price_e4
        limit_e4 = band_limit_e4([o.own for o in orders], side, last_e4, instrument)
        payload: dict[str, JsonValue] = {"plan": plan_id, "reason": ExitReason.STOP.value, "is_banded": True}
        if limit_e4 is not None:
            payload["limit_e4"] = limit_e4
        data: dict[str, JsonData] = {
            "symbol": symbol,
            "price_e4": last_e4,
            "stop_e4": held.stop_e4,
            "limit_e4": limit_e4,
        }
        tx.put(Journalled(kind="halt_exit", ref=plan_id, data=data))
        tx.enqueue(NewJob(Step.EXIT, payload, idem_key=f"{plan_id}/band-{now_ms}", key=plan_id))

    def _look_again(self, held: OpenPosition, what: dict[str, JsonValue], tx: Tx) -> None:
        plan_id, due_ms = held.plan.plan_id, self.clock.now_ms() + LOOK_MS
        payload: dict[str, JsonValue] = {"plan": plan_id, **what}
        key = f"{plan_id}/look-{due_ms}"
        tx.enqueue(NewJob(Step.HALT_CHECK, payload, idem_key=key, key=plan_id, run_at_ms=due_ms))


def _ms(job: Job, name: str) -> int | None:
    value = job.payload.get(name)
    return value if isinstance(value, int) else None
