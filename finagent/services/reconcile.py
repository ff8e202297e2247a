"""Reconcile: the broker against the journal, at start and at the day's end; a difference shuts the entry gate."""

from dataclasses import dataclass

from finagent.domain.facts import (
    ACCOUNT_ROW,
    ControlChanged,
    Journalled,
    OrderMoved,
    PlanMoved,
    ReservationReleased,
)
from finagent.domain.journal import JsonData
from finagent.domain.market import Session
from finagent.domain.orders import TERMINAL_ORDER_STATES, OrderState, is_ours
from finagent.domain.plan import PlanState
from finagent.domain.steps import Step
from finagent.ports import CalendarPort, Clock, Job, JsonValue, NewJob, OrderExecutionPort, Store, Tx
from finagent.runtime.service import ServiceContract

BETWEEN_LISTINGS_MS = 60_000
CONTRACT = ServiceContract(name="reconcile", consumes=(Step.RECONCILE,), needs=("queue", "broker"))


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing on which broker and journal disagree."""

    kind: str
    ref: str
    detail: str


@dataclass(frozen=True, slots=True)
class ReconcileService:
    """Takes ``reconcile {session, reason}`` jobs; ``differences`` is asked before services start, too."""

    store: Store
    broker: OrderExecutionPort
    calendar: CalendarPort
    clock: Clock

    async def handle(self, job: Job, tx: Tx) -> None:
        """Compare; a difference is journalled and blocks entries until it is gone."""
        if job.payload["reason"] == "unknown":
            await self._resolve(job, tx)
            return
        session = self.calendar.session_at(self.clock.now_ms())
        found = await self.differences(session.date)
        control = await self.store.control()
        is_blocked = control.gate_reason == "reconcile"
        if found:
            if not is_blocked:
                rows: list[JsonData] = [{"kind": d.kind, "ref": d.ref, "detail": d.detail} for d in found]
                tx.put(Journalled(kind="reconcile", ref=session.date, data={"differences": rows}))
                tx.put(ControlChanged(gate_reason="reconcile"))
                tx.touch(ACCOUNT_ROW)
            self._close_stranded(session, [d for d in found if d.kind == "stranded"], tx)
        elif is_blocked:
            tx.put(ControlChanged(gate_reason=""))
            tx.touch(ACCOUNT_ROW)

    def _close_stranded(self, session: Session, stranded: list[Difference], tx: Tx) -> None:
        """What an earlier session left is closed at the first open."""
        now_ms = self.clock.now_ms()
        if not stranded or now_ms >= session.close_ms:
            return
        payload: dict[str, JsonValue] = {
            "session": session.date, "symbol": None, "reason": "flatten", "before": session.date,
        }  # fmt: skip
        run_at_ms = session.open_ms if now_ms < session.open_ms else None
        tx.enqueue(NewJob(Step.FLATTEN, payload, idem_key=f"{session.date}/stranded", run_at_ms=run_at_ms))

    async def _resolve(self, job: Job, tx: Tx) -> None:
        """Look in the day's complete listing: found, the order is adopted; missing twice, it never arrived."""
        order_id, date, look = str(job.payload["order"]), str(job.payload["session"]), job.payload["look"]
        order = await self.store.order(order_id)
        if order is None or order.state is not OrderState.UNKNOWN:
            return
        listed = {each.client_order_id for each in await self.broker.orders(session=date)}
        plan_id = order.intent.plan_id
        if order_id in listed:
            tx.enqueue(NewJob(Step.SEND, {"order": order_id}, idem_key=f"{order_id}/found", key=plan_id))
            return
        if look == 1:
            again: dict[str, JsonValue] = {**job.payload, "look": 2}
            due_ms = self.clock.now_ms() + BETWEEN_LISTINGS_MS
            tx.enqueue(NewJob(Step.RECONCILE, again, idem_key=f"{order_id}/2", run_at_ms=due_ms))
            return
        for each in await self.store.orders_of(plan_id):
            if each.state is OrderState.UNKNOWN:
                each_id = each.intent.client_order_id
                tx.put(
                    OrderMoved(
                        client_order_id=each_id, to_state=OrderState.NEVER_ARRIVED, reason="not listed"
                    )
                )
        tx.put(
            PlanMoved(
                plan_id=plan_id,
                from_states=(PlanState.ENTERING,),
                to_state=PlanState.NOT_FILLED,
                reason="never_arrived",
            )
        )
        tx.put(ReservationReleased(plan_id=plan_id))
        tx.put(Journalled(kind="never_arrived", ref=order_id, data={"listings": 2}))
        tx.touch(ACCOUNT_ROW)

    async def differences(self, session: str) -> list[Difference]:
        """Unknown orders of ours, orders the broker ended or lost, stranded and unequal positions."""
        found: list[Difference] = []
        today = self.calendar.session(session)
        for date in (session,) if today is None else (today.previous, session):
            for order in await self.broker.orders(session=date):
                order_id = order.client_order_id
                if is_ours(order_id) and await self.store.order(order_id) is None:
                    found.append(Difference("unknown_order", order_id, f"broker says {order.state}"))
        for stored in await self.store.live_orders():
            if stored.state in (OrderState.INTENT, OrderState.UNKNOWN):
                continue  # not sent yet, or blocked as unknown already
            at_broker = await self.broker.find(stored.intent.client_order_id)
            order_id = stored.intent.client_order_id
            if at_broker is None:
                found.append(Difference("lost_order", order_id, f"journal says {stored.state}"))
            elif at_broker.state in TERMINAL_ORDER_STATES and at_broker.filled_e4 == stored.filled_e4:
                found.append(Difference("ended_order", order_id, f"broker says {at_broker.state}"))
        return found + await self._stranded(session) + await self._positions()

    async def _stranded(self, session: str) -> list[Difference]:
        """Positions of an earlier session: nobody meant to hold them over night."""
        return [
            Difference("stranded", held.plan.symbol, f"open since {held.plan.session}")
            for held in await self.store.open_positions()
            if held.plan.session < session
        ]

    async def _positions(self) -> list[Difference]:
        ours: dict[str, int] = {}
        for held in await self.store.open_positions():
            symbol = held.plan.symbol
            ours[symbol] = ours.get(symbol, 0) + held.position.quantity_e4
        theirs = {p.symbol: p.quantity_e4 for p in await self.broker.positions()}
        return [
            Difference(
                "position",
                symbol,
                f"journal {ours.get(symbol, 0)}, broker {theirs.get(symbol, 0)} (1e-4 shares)",
            )
            for symbol in sorted(ours.keys() | theirs.keys())
            if ours.get(symbol, 0) != theirs.get(symbol, 0)
        ]
