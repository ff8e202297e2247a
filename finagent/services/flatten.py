"""Flatten: ends what has not entered, and leaves a cancel for each working entry and an exit for each position."""

from dataclasses import dataclass

from finagent.domain.approvals import ApprovalState
from finagent.domain.book import OpenPosition, StoredOrder, StoredPlan
from finagent.domain.facts import ACCOUNT_ROW, ApprovalAnswered, Journalled, PlanMoved, ReservationReleased
from finagent.domain.legs import ENTRY
from finagent.domain.plan import PlanState
from finagent.domain.steps import Step
from finagent.ports import Job, NewJob, Store, Tx
from finagent.runtime.service import ServiceContract

CONTRACT = ServiceContract(name="flatten", consumes=(Step.FLATTEN,), needs=("queue",))
NOT_ENTERED = (PlanState.PLANNED, PlanState.PENDING, PlanState.APPROVED, PlanState.ARMED)


@dataclass(frozen=True, slots=True)
class FlattenService:
    """Takes ``flatten {session, symbol, reason}`` jobs; ``before`` closes earlier sessions' positions alone."""

    store: Store

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
                _leave_cancel(order, job, tx)
        for held in await self.store.open_positions():
            if symbol is None or held.plan.symbol == symbol:
                _leave_exit(held, reason, job, tx)

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


def _leave_cancel(order: StoredOrder, job: Job, tx: Tx) -> None:
    entry_id, plan_id = order.intent.client_order_id, order.intent.plan_id
    payload, key = {"order": entry_id}, f"{entry_id}/{job.idem_key}"
    tx.enqueue(NewJob(Step.CANCEL_ENTRY, payload, idem_key=key, key=plan_id, priority=1))


def _leave_exit(held: OpenPosition, reason: str, job: Job, tx: Tx) -> None:
    plan_id = held.plan.plan_id
    payload = {"plan": plan_id, "reason": reason}
    tx.enqueue(NewJob(Step.EXIT, payload, idem_key=f"{plan_id}/{job.idem_key}", key=plan_id))
