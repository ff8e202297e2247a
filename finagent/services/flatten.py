"""Flatten: ends what has not entered, and leaves a cancel for each entry under way and an exit for each position."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from finagent.domain.approvals import ApprovalState
from finagent.domain.book import OpenPosition, StoredOrder, StoredPlan
from finagent.domain.facts import (
    ACCOUNT_ROW,
    ApprovalAnswered,
    EntryUnwanted,
    Journalled,
    PlanMoved,
    ReservationReleased,
)
from finagent.domain.journal import JsonData
from finagent.domain.legs import ENTRY, EXIT
from finagent.domain.market import MINUTE_MS
from finagent.domain.plan import PlanState
from finagent.domain.steps import Step
from finagent.ports import Clock, Job, JsonValue, NewJob, Store, Tx
from finagent.runtime.service import ServiceContract

LOG = logging.getLogger(__name__)
CONTRACT = ServiceContract(name="flatten", consumes=(Step.FLATTEN,), needs=("queue",))
NOT_ENTERED = (PlanState.PLANNED, PlanState.PENDING, PlanState.APPROVED, PlanState.ARMED)


@dataclass(frozen=True, slots=True)
class FlattenService:
    """Takes ``flatten {session, symbol, reason}`` jobs; ``before`` closes earlier sessions' positions alone.

    ``rung`` names a step of the ladder; the last one has ``until_ms``, the close: what is open then is told as late,
    and asked for again each minute until the close.
    """

    store: Store
    clock: Clock

    async def handle(self, job: Job, tx: Tx) -> None:
        """One rung of the ladder, a person's word or a limit; each may be repeated."""
        date, symbol, reason = str(job.payload["session"]), job.payload["symbol"], str(job.payload["reason"])
        tx.touch(ACCOUNT_ROW)
        before = job.payload.get("before")
        if before is not None:
            for held in await self.store.open_positions():
                if held.plan.session < str(before):
                    _leave_exit(held, reason, job, tx)
            return
        for stored in await self.store.plans(date, states=NOT_ENTERED):
            if symbol is None or stored.plan.symbol == symbol:
                await self._end(stored, reason, tx)
        for order in await self.store.live_orders():
            if order.intent.leg == ENTRY and (symbol is None or order.intent.symbol == symbol):
                tx.put(EntryUnwanted(client_order_id=order.intent.client_order_id, reason=reason))
                _leave_cancel(order, reason, job, tx)
        held_now = [h for h in await self.store.open_positions() if symbol in (None, h.plan.symbol)]
        for held in held_now:
            _leave_exit(held, reason, job, tx)
        until_ms = job.payload.get("until_ms")
        if held_now and isinstance(until_ms, int):
            await self._late(held_now, until_ms, job, tx)

    async def _late(self, late: Sequence[OpenPosition], until_ms: int, job: Job, tx: Tx) -> None:
        """The ladder has ended and these are open: journalled, counted for the alert, and asked again."""
        for held in late:
            plan_id = held.plan.plan_id
            exits = [o for o in await self.store.orders_of(plan_id) if o.intent.leg == EXIT]
            data: dict[str, JsonData] = {
                "symbol": held.plan.symbol,
                "quantity_e4": held.position.quantity_e4,
                "exits": len(exits),
                "state": exits[-1].state.value if exits else "none",
                "rung": str(job.payload["rung"]),
            }
            tx.put(Journalled(kind="flatten_late", ref=plan_id, data=data))
            LOG.error("flatten.late", extra={"plan": plan_id, "symbol": held.plan.symbol})
        due_ms = self.clock.now_ms() + MINUTE_MS
        if due_ms < until_ms:
            key = f"{job.payload['session']}/ladder-{due_ms}"
            again = NewJob(Step.FLATTEN, {**job.payload, "rung": "after"}, idem_key=key, run_at_ms=due_ms)
            tx.enqueue(again)

    async def _end(self, stored: StoredPlan, reason: str, tx: Tx) -> None:
        plan_id = stored.plan.plan_id
        tx.put(
            PlanMoved(plan_id=plan_id, from_states=NOT_ENTERED, to_state=PlanState.CANCELLED, reason=reason)
        )
        tx.put(ReservationReleased(plan_id=plan_id))
        await self._close_question(stored, reason, tx)
        tx.put(Journalled(kind="plan_ended", ref=plan_id, data={"state": "cancelled", "reason": reason}))

    async def _close_question(self, stored: StoredPlan, reason: str, tx: Tx) -> None:
        """A plan that was cancelled waits for no answer any more."""
        if stored.state is not PlanState.PENDING:
            return
        approval = await self.store.approval(stored.plan.plan_id)
        if approval is not None:
            tx.put(
                ApprovalAnswered(
                    plan_id=approval.plan_id,
                    plan_hash=approval.plan_hash,
                    state=ApprovalState.SUPERSEDED.value,
                    channel=reason,
                    identity="",
                )
            )


def _leave_cancel(order: StoredOrder, reason: str, job: Job, tx: Tx) -> None:
    entry_id, plan_id = order.intent.client_order_id, order.intent.plan_id
    payload, key = {"order": entry_id, "reason": reason}, f"{entry_id}/{job.idem_key}"
    tx.enqueue(NewJob(Step.CANCEL_ENTRY, payload, idem_key=key, key=plan_id, priority=1))


def _leave_exit(held: OpenPosition, reason: str, job: Job, tx: Tx) -> None:
    plan_id = held.plan.plan_id
    payload: dict[str, JsonValue] = {"plan": plan_id, "reason": reason}
    if "rung" in job.payload:
        payload["rung"] = job.payload["rung"]
    tx.enqueue(NewJob(Step.EXIT, payload, idem_key=f"{plan_id}/{job.idem_key}", key=plan_id))
