"""Recovery: after a restore the orders of the lost time are taken over, cancelled, and what they hold is closed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from finagent.domain.external import is_external_id
from finagent.domain.facts import FillRecovered, Journalled, OrderRecovered, RecoveryMoved
from finagent.domain.journal import JsonData
from finagent.domain.market import Session
from finagent.domain.orders import TERMINAL_ORDER_STATES, BrokerFill, BrokerOrder, is_ours
from finagent.domain.reconcile import BrokerLook, Difference, DifferenceKind, OwnLook
from finagent.domain.recovery import (
    RECOVERED,
    RECOVERED_LEG,
    LostTime,
    RecoveredFill,
    RecoveryState,
    is_entry_id,
)
from finagent.domain.steps import Step
from finagent.ports import CalendarPort, Clock, NewJob, OrderExecutionPort, Store, Tx

MOST_SESSIONS = 20
"""How many sessions back the broker is asked for orders of the lost time."""
BETWEEN_SALES_MS = 60_000


@dataclass(frozen=True, slots=True)
class Recovered:
    """What one look took over and leaves to do: differences, and what it must look at again, by name."""

    lost: LostTime
    differences: tuple[Difference, ...] = ()
    told: tuple[str, ...] = ()
    is_new: bool = False
    moving: frozenset[str] = frozenset()
    """Symbols of which an order is still working: their shares cannot be judged yet."""

    @property
    def is_quiet(self) -> bool:
        """Whether nothing was new and nothing is left to cancel or close."""
        return not self.is_new and not self.differences


@dataclass(frozen=True, slots=True)
class RecoveryDesk:
    """The part of a comparison that is only there between a restore and its rearm."""

    store: Store
    broker: OrderExecutionPort
    calendar: CalendarPort
    clock: Clock

    def dates(self, lost: LostTime, session: Session) -> list[str]:
        """The sessions whose lists may hold the lost time, newest last; none without an open recovery."""
        if lost.since_ms is None:
            return []
        first = self.calendar.session_at(lost.since_ms).date
        return [each.date for each in self.calendar.sessions(first, session.date)][-MOST_SESSIONS:]

    async def adopt(
        self, lost: LostTime, own: OwnLook, broker: BrokerLook, session: Session, tx: Tx
    ) -> Recovered:
        """Take over what is ours and not in the database; cancel what works of it, close what it holds.

        Entries are cancelled at once; a stop rests until the market is open, then it makes way for the sale.
        """
        if not lost.is_open:
            return Recovered(lost)
        seen = {order_id: order for order_id, order in broker.orders.items() if order is not None}
        new = [
            order
            for order_id, order in sorted(seen.items())
            if order_id not in own.orders.keys() | set(lost.order_ids)
        ]
        for order in new:
            tx.put(OrderRecovered(order=order, session=self._session(order.accepted_at_ms)))
            tx.put(Journalled(kind=RECOVERED, ref=order.client_order_id, data=_order_data(order)))
        lost = lost.with_more([order.client_order_id for order in new], [])
        exits = [each for each in await self.store.external_orders() if each.intent.leg == RECOVERED_LEG]
        fills = await self._fills(lost, own, broker, {each.intent.client_order_id for each in exits})
        for each in fills:
            tx.put(FillRecovered(fill=each.fill, session=each.session))
            tx.put(Journalled(kind=RECOVERED, ref=each.fill.execution_id, data=_fill_data(each.fill)))
        lost = lost.with_more([], fills)
        working = [
            order
            for order_id, order in sorted(seen.items())
            if order_id in lost.order_ids and order.state not in TERMINAL_ORDER_STATES
        ]
        await self._cancel(working, session)
        held_back = {order.symbol for order in working}
        self._close(held_back, lost, own, session, tx)
        selling = {each.intent.symbol for each in exits if each.state not in TERMINAL_ORDER_STATES}
        found = _left(lost, working, is_new=bool(new or fills))
        return replace(found, moving=frozenset(held_back | selling))

    def settle(self, found: Recovered, *, is_quiet: bool, tx: Tx) -> None:
        """Remember whether a person may rearm: nothing new, nothing working, nothing held, nothing in dispute."""
        is_settled = is_quiet and found.is_quiet
        if found.lost.is_open and is_settled is not found.lost.is_settled:
            to_state = RecoveryState.SETTLED if is_settled else RecoveryState.UNSETTLED
            tx.put(RecoveryMoved(to_state=to_state))
            tx.put(Journalled(kind="recovery", ref=to_state.value, data={}))

    async def _fills(
        self, lost: LostTime, own: OwnLook, broker: BrokerLook, exits: Collection[str]
    ) -> list[RecoveredFill]:
        """Executions of ours that no plan explains; one that closed what was never ours says nothing of us."""
        found: dict[str, RecoveredFill] = {}
        for fill in sorted(broker.fills, key=lambda each: (each.at_ms, each.execution_id)):
            ref = fill.client_order_id
            is_known = fill.execution_id in lost.executions or fill.execution_id in own.executions
            if is_known or not is_ours(ref) or is_external_id(ref) or ref in own.orders:
                continue
            if ref in exits or ref in lost.order_ids or await self.store.order(ref) is None:
                found[fill.execution_id] = RecoveredFill(fill=fill, session=self._session(fill.at_ms))
        return list(found.values())

    async def _cancel(self, working: Sequence[BrokerOrder], session: Session) -> None:
        for order in working:
            if is_entry_id(order.client_order_id) or self._is_open(session):
                await self.broker.cancel(order.client_order_id)

    def _close(self, working: set[str], lost: LostTime, own: OwnLook, session: Session, tx: Tx) -> None:
        """A job for each symbol whose shares nothing holds back; what a plan of ours holds is not closed twice."""
        now_ms = self.clock.now_ms()
        for symbol, quantity_e4 in sorted(lost.shares_e4.items()):
            is_plans = own.ours_e4(symbol) * quantity_e4 < 0
            if symbol in working or is_plans or not self._is_open(session):
                continue
            key = f"{session.date}/{RECOVERED}/{symbol}/{now_ms // BETWEEN_SALES_MS}"
            payload = {"symbol": symbol, "reason": RECOVERED}
            tx.enqueue(NewJob(Step.SELL_EXTERNAL, dict(payload), idem_key=key, key=f"external {symbol}"))

    def _is_open(self, session: Session) -> bool:
        return session.open_ms <= self.clock.now_ms() < session.close_ms

    def _session(self, at_ms: int) -> str:
        return self.calendar.session_at(at_ms).date


def _left(lost: LostTime, working: Sequence[BrokerOrder], *, is_new: bool) -> Recovered:
    orders = [
        Difference(
            DifferenceKind.RECOVERED, order.client_order_id, f"broker says {order.state}; it is cancelled"
        )
        for order in working
    ]
    shares = [
        Difference(DifferenceKind.RECOVERED, symbol, f"{quantity_e4} (1e-4 shares) from before the restore")
        for symbol, quantity_e4 in sorted(lost.shares_e4.items())
    ]
    differences = (*orders, *shares)
    return Recovered(lost, differences, tuple(f"{RECOVERED} {each.ref}" for each in differences), is_new)


def _order_data(order: BrokerOrder) -> dict[str, JsonData]:
    return {
        "symbol": order.symbol,
        "side": order.side.value,
        "state": order.state.value,
        "quantity_e4": order.quantity_e4,
        "filled_e4": order.filled_e4,
    }


def _fill_data(fill: BrokerFill) -> dict[str, JsonData]:
    return {
        "order": fill.client_order_id,
        "symbol": fill.symbol,
        "side": fill.side.value,
        "quantity_e4": fill.quantity_e4,
        "price_e4": fill.price_e4,
        "fees_e8": fill.fees_e8,
    }
