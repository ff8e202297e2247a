"""Execution: turns an approved plan into committed intents, once, under the account's guard."""

from dataclasses import dataclass

from finagent.domain.approvals import price_refusal, seal_refusal
from finagent.domain.book import StoredPlan
from finagent.domain.facts import (
    ACCOUNT_ROW,
    IntentRecorded,
    Journalled,
    PlanMoved,
    ReservationReduced,
    ReservationReleased,
)
from finagent.domain.journal import JsonData
from finagent.domain.legs import entry_intents
from finagent.domain.order_check import HALT_LOOK_MS, waits_for_halt
from finagent.domain.orders import OrderIntent, Scope, body_hash
from finagent.domain.plan import AUCTION_LEAD_MS, AUCTION_NOTE, Plan, PlanState
from finagent.domain.risk import RiskDecision
from finagent.domain.steps import Step
from finagent.ports import Clock, Job, JobQueue, JsonValue, LastPrice, NewJob, RiskCheck, Store, Tx
from finagent.runtime.service import ServiceContract

CONTRACT = ServiceContract(
    name="execution", consumes=(Step.EXECUTE, Step.PLAN_EXPIRY), needs=("queue", "risk", "broker")
)
WAITING = (PlanState.APPROVED, PlanState.ARMED)


@dataclass(frozen=True, slots=True)
class ExecutionService:
    """Takes ``execute`` and ``plan_expiry`` jobs ``{plan}``.

    Risk runs again under the guard; entry and attached legs are one commit, and only then a ``send`` job exists.
    Where the broker takes no attached exits the entry is alone: its fills bring the stop. While its symbol is halted an
    entry waits; ``halted_ms`` in its job says when that was last seen.
    """

    store: Store
    queue: JobQueue
    clock: Clock
    risk: RiskCheck
    scope: Scope
    time_to_live_ms: int
    has_attached_exits: bool

    async def handle(self, job: Job, tx: Tx) -> None:
        """Commit the intents of an approved plan, or end it with the reason."""
        plan_id = str(job.payload["plan"])
        version = await self.queue.row_version(ACCOUNT_ROW)
        stored = await self.store.plan(plan_id)
        if stored is None or stored.state not in WAITING:
            return
        tx.expect(ACCOUNT_ROW, version)
        if job.type == Step.PLAN_EXPIRY or self.clock.now_ms() >= stored.plan.entry_until_ms:
            reason = job.payload.get("reason")
            self._end(tx, stored, PlanState.EXPIRED, str(reason) if reason else "entry_window_over")
            return
        broken = await self._broken_seal(stored)
        if broken is not None:
            self._end(tx, stored, PlanState.REFUSED, broken)
            return
        found = await self.risk.recheck(stored.plan)
        decision, price = found.decision, found.price
        missed = self._missed(stored.plan, price)
        if missed is not None or not decision.is_approved:
            self._end(tx, stored, PlanState.REFUSED, missed or ", ".join(decision.reasons))
            return
        intents = self._intents(stored.plan, decision)
        reasons = self.risk.check_order(intents[0], stored.plan, found)
        if self._is_waiting(job, stored.plan, price, reasons):
            self._wait(job, stored.plan, reasons, tx)
            return
        if reasons:
            self._end(tx, stored, PlanState.REFUSED, ", ".join(reasons))
            return
        self._commit(tx, stored, decision, intents)

    async def _broken_seal(self, stored: StoredPlan) -> str | None:
        """Whether the body is another than the one sealed and answered; the last look before it becomes orders."""
        approval = await self.store.approval(stored.plan.plan_id)
        answered = (approval.state, approval.plan_hash) if approval is not None else None
        return seal_refusal(stored.plan, stored.plan_hash, answered)

    def _intents(self, plan: Plan, decision: RiskDecision) -> tuple[OrderIntent, ...]:
        return entry_intents(
            plan,
            min(plan.quantity_e4, decision.quantity_e4),
            scope=self.scope,
            now_ms=self.clock.now_ms(),
            time_to_live_ms=self.time_to_live_ms,
            is_alone=not self.has_attached_exits,
            limit_e4=decision.entry_limit_e4,
        )

    def _missed(self, plan: Plan, price: LastPrice | None) -> str | None:
        """Why a market entry that waited (the agent was down) leaves no more; a trigger's limit guards itself."""
        if AUCTION_NOTE in plan.notes and self.clock.now_ms() > plan.entry_from_ms - AUCTION_LEAD_MS:
            return "auction_missed"
        refusal = price_refusal(plan, price.price_e4) if price is not None and plan.limit_e4 is None else None
        return None if refusal is None else refusal[0]

    def _is_waiting(self, job: Job, plan: Plan, price: LastPrice | None, reasons: tuple[str, ...]) -> bool:
        return waits_for_halt(
            reasons,
            plan,
            halted_ms=_halted_ms(job),
            price_e4=price.price_e4 if price is not None else None,
            price_at_ms=price.at_ms if price is not None else None,
        )

    def _wait(self, job: Job, plan: Plan, reasons: tuple[str, ...], tx: Tx) -> None:
        """Nothing leaves into a halt: another look, and the first one is told."""
        plan_id, now_ms, halted_ms = plan.plan_id, self.clock.now_ms(), _halted_ms(job)
        if halted_ms is None:
            data: dict[str, JsonData] = {"symbol": plan.symbol, "reason": ", ".join(reasons)}
            tx.put(Journalled(kind="entry_waits", ref=plan_id, data=data))
        seen_ms, due_ms = now_ms if "halted" in reasons else halted_ms, now_ms + HALT_LOOK_MS
        payload: dict[str, JsonValue] = {"plan": plan_id, "halted_ms": seen_ms}
        key = f"{plan_id}/halted@{due_ms}"
        tx.enqueue(NewJob(Step.EXECUTE, payload, idem_key=key, key=plan_id, run_at_ms=due_ms))

    def _end(self, tx: Tx, stored: StoredPlan, state: PlanState, reason: str) -> None:
        plan_id = stored.plan.plan_id
        tx.put(PlanMoved(plan_id=plan_id, from_states=WAITING, to_state=state, reason=reason))
        tx.put(ReservationReleased(plan_id=plan_id))
        tx.put(Journalled(kind="plan_ended", ref=plan_id, data={"state": state.value, "reason": reason}))

    def _commit(
        self, tx: Tx, stored: StoredPlan, decision: RiskDecision, intents: tuple[OrderIntent, ...]
    ) -> None:
        plan = stored.plan
        digest = body_hash(intents[0], intents[1:])
        for intent in intents:
            tx.put(IntentRecorded(intent=intent, session=plan.session, body_hash=digest))
        tx.put(
            ReservationReduced(
                plan_id=plan.plan_id, notional_e8=decision.notional_e8, worst_case_e8=decision.worst_case_e8
            )
        )
        tx.put(PlanMoved(plan_id=plan.plan_id, from_states=WAITING, to_state=PlanState.ENTERING))
        tx.put(Journalled(kind="intent", ref=plan.plan_id, data={"orders": [_line(i) for i in intents]}))
        entry_id = intents[0].client_order_id
        tx.enqueue(NewJob(Step.SEND, {"order": entry_id}, idem_key=entry_id, key=plan.plan_id))


def _halted_ms(job: Job) -> int | None:
    """When an earlier look at this entry last saw its symbol halted."""
    seen_ms = job.payload.get("halted_ms")
    return seen_ms if isinstance(seen_ms, int) else None


def _line(intent: OrderIntent) -> dict[str, str | int | None]:
    return {
        "id": intent.client_order_id,
        "leg": intent.leg,
        "side": intent.side.value,
        "type": intent.type.value,
        "quantity_e4": intent.quantity_e4,
        "limit_e4": intent.limit_e4,
        "stop_e4": intent.stop_e4,
    }
