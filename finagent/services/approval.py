"""Approval: a person's (or the policy's) yes to exactly one plan, once, in time, at a price that still holds."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from finagent.domain.approvals import (
    Accepted,
    Answer,
    ApprovalRequest,
    ApprovalState,
    RefusedAnswer,
    Verdict,
    is_fresh_plan_due,
    is_stale,
    judge,
    make_request,
    price_refusal,
)
from finagent.domain.book import StoredApproval, StoredPlan
from finagent.domain.facts import (
    ACCOUNT_ROW,
    ApprovalAnswered,
    ApprovalRequested,
    Journalled,
    PlanMoved,
    PlanRecorded,
    PlanSized,
    ReservationReleased,
)
from finagent.domain.journal import JsonData
from finagent.domain.market import MINUTE_MS
from finagent.domain.orders import Scope
from finagent.domain.plan import (
    AUCTION_LEAD_MS,
    AUCTION_NOTE,
    NoPlan,
    Plan,
    PlanState,
    is_edited,
    next_version_id,
    plan_hash,
    revise,
    with_size,
)
from finagent.domain.steps import Step
from finagent.ports import Clock, Job, JobQueue, JsonValue, NewJob, RiskCheck, Store, Tx
from finagent.queue.errors import GuardFailedError
from finagent.runtime.service import ServiceContract

CONTRACT = ServiceContract(
    name="approval", consumes=(Step.APPROVE, Step.APPROVAL_EXPIRY), needs=("queue", "risk")
)
GUARD_TRIES = 20
DONE = ("approved", "rejected")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an answer led to: ``approved``, ``rejected`` or why it was refused; the plan it ended at.

    ``fresh_plan_id`` is the version that takes the plan's place, if its setup still holds; it is made at once, or at
    ``fresh_at_ms``.
    """

    code: str
    detail: str
    plan_id: str
    fresh_plan_id: str | None = None
    fresh_at_ms: int | None = None
    is_journalled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A person's answer as a surface brings it; None stands for what the plan says."""

    verdict: Verdict
    channel: str
    identity: str
    nonce: str | None = None
    plan_hash: str | None = None
    quantity_e4: int | None = None
    stop_e4: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalService:
    """Takes ``approve`` and ``approval_expiry`` jobs ``{plan}``, and answers through ``answer``.

    ``mode`` is ``approve`` (ask a person), ``policy`` or ``auto`` (yes at once) or ``alert`` (tell only).
    """

    store: Store
    queue: JobQueue
    clock: Clock
    risk: RiskCheck
    scope: Scope
    mode: Callable[[], str]
    ttl_ms: int
    max_price_age_ms: int
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Answers of this process take turns: a crowd of them must not wear out each other's guard."""

    async def handle(self, job: Job, tx: Tx) -> None:
        """Ask, decide by policy, or let a question expire."""
        version = await self.queue.row_version(ACCOUNT_ROW)
        stored = await self.store.plan(str(job.payload["plan"]))
        if stored is None:
            return
        if job.type == Step.APPROVAL_EXPIRY:
            await self._expire(stored, version, tx)
        elif stored.state is not PlanState.PENDING:
            return
        elif self.mode() == "alert":
            self._end(tx, stored.plan, PlanState.EXPIRED, "alert_only")
        elif self.mode() == "approve":
            tx.expect(ACCOUNT_ROW, version)  # nobody is asked about a plan that ended meanwhile
            self._ask(stored.plan, tx)
        else:
            tx.expect(ACCOUNT_ROW, version)
            await self._decide_by_policy(stored.plan, tx)

    async def answer(self, plan_id: str, reply: Reply) -> Outcome:
        """Answer a pending plan; the first answer wins over every channel, and repeating one changes nothing.

        What is refused is journalled too, with who asked over which channel.
        """
        async with self.turn:
            outcome = await self._answer(plan_id, reply)
        if outcome.code not in DONE and not outcome.is_journalled:
            tx = Tx()
            tx.put(_refusal(outcome, reply))
            await self.queue.commit(tx)
        return outcome

    async def _answer(self, plan_id: str, reply: Reply) -> Outcome:
        """Decide and commit under the account's guard; a refusal that ends nothing is not committed here."""
        for _ in range(GUARD_TRIES):
            version = await self.queue.row_version(ACCOUNT_ROW)
            stored = await self.store.plan(plan_id)
            approval = await self.store.approval(plan_id)
            if stored is None or approval is None:
                return Outcome("not_pending", "this plan waits for no answer", plan_id)
            tx = Tx()
            tx.expect(ACCOUNT_ROW, version)
            outcome = await self._answered(stored, approval, reply, tx)
            if not tx.facts:
                return outcome
            if outcome.code not in DONE:
                tx.put(_refusal(outcome, reply))
                outcome = replace(outcome, is_journalled=True)
            try:
                await self.queue.commit(tx)
            except GuardFailedError:
                continue
            return outcome
        return Outcome("busy", "the account changes too fast; try again", plan_id)

    def _ask(self, plan: Plan, tx: Tx) -> None:
        request = make_request(plan, self.scope, now_ms=self.clock.now_ms(), ttl_ms=self.ttl_ms)
        tx.put(
            ApprovalRequested(
                plan_id=plan.plan_id,
                plan_hash=request.plan_hash,
                nonce=request.nonce,
                expires_at_ms=request.expires_at_ms,
            )
        )
        data: dict[str, JsonData] = {"plan_hash": request.plan_hash, "expires_at_ms": request.expires_at_ms}
        tx.put(Journalled(kind="approval_requested", ref=plan.plan_id, data=data))
        job = NewJob(
            Step.APPROVAL_EXPIRY,
            {"plan": plan.plan_id},
            idem_key=plan.plan_id,
            run_at_ms=request.expires_at_ms,
        )
        tx.enqueue(job)

    async def _decide_by_policy(self, plan: Plan, tx: Tx) -> None:
        found = await self.risk.recheck(plan)
        decision, price = found.decision, found.price
        refusal = price_refusal(plan, price.price_e4) if price is not None else None
        at_ms = price.at_ms if price is not None else None
        if is_stale(plan, at_ms, now_ms=self.clock.now_ms(), max_price_age_ms=self.max_price_age_ms):
            self._end(tx, plan, PlanState.REFUSED, "stale_quote")
        elif refusal is not None:
            self._end(tx, plan, PlanState.REFUSED, refusal[0])
        elif not decision.is_approved:
            self._end(tx, plan, PlanState.REFUSED, ", ".join(decision.reasons))
        elif self._is_late_for_auction(plan):
            self._ask_afresh(plan, "auction_missed", tx)
        else:
            self._grant(plan, channel="policy", identity="policy", tx=tx)

    async def _expire(self, stored: StoredPlan, version: int, tx: Tx) -> None:
        """Plan and question end; of a plan that ended while it was asked about only the question is left."""
        plan, is_pending = stored.plan, stored.state is PlanState.PENDING
        approval = await self.store.approval(plan.plan_id)
        is_asked = approval is not None and approval.state == ApprovalState.PENDING
        if is_pending or is_asked:
            tx.expect(ACCOUNT_ROW, version)
        if approval is not None and is_asked:
            tx.put(
                ApprovalAnswered(
                    plan_id=plan.plan_id,
                    plan_hash=approval.plan_hash,
                    state=ApprovalState.EXPIRED.value,
                    channel="clock",
                    identity="",
                )
            )
        if is_pending:
            self._end(tx, plan, PlanState.EXPIRED, "approval_expired")

    async def _answered(self, stored: StoredPlan, approval: StoredApproval, reply: Reply, tx: Tx) -> Outcome:
        plan = stored.plan
        if approval.state != ApprovalState.PENDING:
            answered = RefusedAnswer(
                plan_id=plan.plan_id, reason="already_answered", detail=f"the request is {approval.state}"
            )
            return await self._refused(stored, approval, answered, reply, tx)
        if stored.state is not PlanState.PENDING:
            return _not_pending(stored)
        found = await self.risk.recheck(plan)
        decision, price = found.decision, found.price
        verdict = judge(
            _request(approval, plan),
            ApprovalState(approval.state),
            Answer(
                verdict=reply.verdict,
                channel=reply.channel,
                identity=reply.identity,
                at_ms=self.clock.now_ms(),
                plan_hash=approval.plan_hash if reply.plan_hash is None else reply.plan_hash,
                nonce=approval.nonce if reply.nonce is None else reply.nonce,
            ),
            now_ms=self.clock.now_ms(),
            plan=plan,
            price_e4=price.price_e4 if price is not None else None,
            price_at_ms=price.at_ms if price is not None else None,
            max_price_age_ms=self.max_price_age_ms,
        )
        edit = self._edit(plan, reply)
        if isinstance(edit, NoPlan) and (isinstance(verdict, Accepted) or is_fresh_plan_due(verdict.reason)):
            return Outcome(edit.reason, edit.detail, plan.plan_id)  # a slip of the pen ends no plan
        if isinstance(verdict, RefusedAnswer):
            return await self._refused(stored, approval, verdict, reply, tx)
        if verdict.state is ApprovalState.REJECTED:
            self._close_question(approval, verdict, tx)
            self._end(tx, plan, PlanState.REJECTED, reply.reason or "rejected", by=reply)
            return Outcome("rejected", f"{plan.symbol} rejected", plan.plan_id)
        if self._is_late_for_auction(plan):
            self._close_question(approval, verdict, tx, state=ApprovalState.SUPERSEDED)
            fresh_at_ms = self._ask_afresh(plan, "auction_missed", tx, by=reply)
            return self._afresh(plan, "auction_missed", "too late for the opening auction", fresh_at_ms)
        if isinstance(edit, Plan):
            return await self._revise(plan, edit, approval, verdict, reply, tx)
        if not decision.is_approved:
            reason = ", ".join(decision.reasons)
            self._close_question(approval, verdict, tx, state=ApprovalState.EXPIRED)
            self._end(tx, plan, PlanState.REFUSED, reason, by=reply)
            return Outcome("refused_by_risk", reason, plan.plan_id)
        self._close_question(approval, verdict, tx)
        self._grant(plan, channel=reply.channel, identity=reply.identity, tx=tx)
        return Outcome("approved", f"{plan.symbol} approved", plan.plan_id)

    async def _refused(
        self, stored: StoredPlan, approval: StoredApproval, refusal: RefusedAnswer, reply: Reply, tx: Tx
    ) -> Outcome:
        plan = stored.plan
        if is_fresh_plan_due(refusal.reason):
            self._close_question(approval, None, tx, state=ApprovalState.SUPERSEDED, by=reply)
            fresh_at_ms = self._ask_afresh(plan, refusal.reason, tx, by=reply)
            return self._afresh(plan, refusal.reason, refusal.detail, fresh_at_ms)
        fresh_id = next_version_id(plan, self.scope)
        is_replaced = stored.state is PlanState.SUPERSEDED and await self.store.plan(fresh_id) is not None
        return Outcome(
            refusal.reason,
            _who_answered(approval) or refusal.detail,
            plan.plan_id,
            fresh_id if is_replaced else None,
        )

    def _afresh(self, plan: Plan, reason: str, detail: str, fresh_at_ms: int | None) -> Outcome:
        return Outcome(reason, detail, plan.plan_id, next_version_id(plan, self.scope), fresh_at_ms)

    def _edit(self, plan: Plan, reply: Reply) -> Plan | NoPlan | None:
        """The next version that an answer asks for, why there can be none, None where it takes the plan as it is."""
        if not is_edited(plan, quantity_e4=reply.quantity_e4, stop_e4=reply.stop_e4):
            return None
        return revise(plan, self.scope, quantity_e4=reply.quantity_e4, stop_e4=reply.stop_e4)

    async def _revise(
        self, plan: Plan, fresh: Plan, approval: StoredApproval, verdict: Accepted, reply: Reply, tx: Tx
    ) -> Outcome:
        """A person's smaller quantity or tighter stop: the next version, asked of risk, approved at once."""
        found = await self.risk.recheck(fresh, replaces=plan.plan_id)
        decision, price = found.decision, found.price
        if not decision.is_approved:
            return Outcome("refused_by_risk", ", ".join(decision.reasons), plan.plan_id)
        moved = price_refusal(fresh, price.price_e4) if price is not None else None
        if moved is not None:  # a tighter stop makes R smaller, and with it what the price may have moved
            return Outcome("edit_too_tight", moved[1], plan.plan_id)
        sized = with_size(fresh, min(fresh.quantity_e4, decision.quantity_e4))
        digest = plan_hash(sized)
        self._close_question(approval, verdict, tx, state=ApprovalState.SUPERSEDED)
        self._end(tx, plan, PlanState.SUPERSEDED, f"revised by {reply.channel}", by=reply)
        tx.put(PlanRecorded(plan=sized, state=PlanState.PENDING))
        told: dict[str, JsonData] = {
            "of": plan.plan_id,
            "version": sized.version,
            "quantity_e4": sized.quantity_e4,
            "stop_e4": sized.stop_e4,
        }
        tx.put(Journalled(kind="plan_revised", ref=sized.plan_id, data=told))
        tx.put(PlanSized(plan=sized, plan_hash=digest, decision=decision))
        request = make_request(sized, self.scope, now_ms=self.clock.now_ms(), ttl_ms=self.ttl_ms)
        tx.put(
            ApprovalRequested(
                plan_id=sized.plan_id,
                plan_hash=digest,
                nonce=request.nonce,
                expires_at_ms=request.expires_at_ms,
            )
        )
        tx.put(
            ApprovalAnswered(
                plan_id=sized.plan_id,
                plan_hash=digest,
                state=ApprovalState.APPROVED.value,
                channel=reply.channel,
                identity=reply.identity,
            )
        )
        self._grant(sized, channel=reply.channel, identity=reply.identity, tx=tx)
        return Outcome("approved", f"{plan.symbol} approved as version {sized.version}", sized.plan_id)

    def _close_question(
        self,
        approval: StoredApproval,
        verdict: Accepted | None,
        tx: Tx,
        *,
        state: ApprovalState | None = None,
        by: Reply | None = None,
    ) -> None:
        closing = (
            state if state is not None else (verdict.state if verdict is not None else ApprovalState.EXPIRED)
        )
        who = verdict if verdict is not None else by
        tx.put(
            ApprovalAnswered(
                plan_id=approval.plan_id,
                plan_hash=approval.plan_hash,
                state=closing.value,
                channel=who.channel if who is not None else "",
                identity=who.identity if who is not None else "",
            )
        )

    def _is_late_for_auction(self, plan: Plan) -> bool:
        """An entry for the opening auction leaves a minute before the broker's cut-off, or not at all."""
        return AUCTION_NOTE in plan.notes and self.clock.now_ms() > plan.entry_from_ms - AUCTION_LEAD_MS

    def _ask_afresh(self, plan: Plan, reason: str, tx: Tx, *, by: Reply | None = None) -> int | None:
        """End this version and plan the symbol again at once (None), or, before the open, after its first minute."""
        self._end(tx, plan, PlanState.SUPERSEDED, reason, by=by)
        payload: dict[str, JsonValue] = {
            "session": plan.session,
            "tick": plan.scan_tick,
            "symbols": [plan.symbol],
            "version": plan.version + 1,
        }
        is_early = self.clock.now_ms() < plan.entry_from_ms
        run_at_ms = plan.entry_from_ms + MINUTE_MS if is_early else None
        tx.enqueue(NewJob(Step.PLAN, payload, idem_key=f"{plan.plan_id}/fresh", run_at_ms=run_at_ms))
        return run_at_ms

    def _grant(self, plan: Plan, *, channel: str, identity: str, tx: Tx) -> None:
        is_armed = plan.trigger_e4 is not None
        tx.put(PlanMoved(plan_id=plan.plan_id, from_states=(PlanState.PENDING,), to_state=PlanState.APPROVED))
        if is_armed:
            tx.put(
                PlanMoved(plan_id=plan.plan_id, from_states=(PlanState.APPROVED,), to_state=PlanState.ARMED)
            )
        data = {"channel": channel, "identity": identity, "plan_hash": plan_hash(plan)}
        tx.put(Journalled(kind="approved", ref=plan.plan_id, data=dict(data)))
        payload = {"plan": plan.plan_id}
        if not is_armed:
            is_waiting = AUCTION_NOTE not in plan.notes and plan.entry_from_ms > self.clock.now_ms()
            run_at_ms = plan.entry_from_ms if is_waiting else None
            job = NewJob(Step.EXECUTE, payload, idem_key=plan.plan_id, key=plan.plan_id, run_at_ms=run_at_ms)
            tx.enqueue(job)
        expiry = NewJob(Step.PLAN_EXPIRY, payload, idem_key=plan.plan_id, run_at_ms=plan.entry_until_ms)
        tx.enqueue(expiry)

    def _end(self, tx: Tx, plan: Plan, state: PlanState, reason: str, *, by: Reply | None = None) -> None:
        tx.put(
            PlanMoved(plan_id=plan.plan_id, from_states=(PlanState.PENDING,), to_state=state, reason=reason)
        )
        tx.put(ReservationReleased(plan_id=plan.plan_id))
        who = f"{by.channel}:{by.identity}" if by is not None else ""
        data = {"state": state.value, "reason": reason, "by": who}
        tx.put(Journalled(kind="plan_ended", ref=plan.plan_id, data=dict(data)))


def _not_pending(stored: StoredPlan) -> Outcome:
    seen = f"the plan is {stored.state} {stored.reason}".strip()
    return Outcome("not_pending", seen, stored.plan.plan_id)


def _who_answered(approval: StoredApproval) -> str | None:
    """Who was first, for whoever came later."""
    if approval.state not in (ApprovalState.APPROVED, ApprovalState.REJECTED):
        return None
    return f"{approval.identity or 'somebody'} {approval.state} it over {approval.channel}"


def _refusal(outcome: Outcome, reply: Reply) -> Journalled:
    """What the journal keeps of an answer that was refused; the nonce stays a secret."""
    data: dict[str, JsonData] = {
        "verdict": reply.verdict.value,
        "reason": outcome.code,
        "detail": outcome.detail,
        "channel": reply.channel,
        "identity": reply.identity,
        "quantity_e4": reply.quantity_e4,
        "stop_e4": reply.stop_e4,
        "plan_hash": reply.plan_hash,
    }
    return Journalled(kind="answer_refused", ref=outcome.plan_id, data=data)


def _request(approval: StoredApproval, plan: Plan) -> ApprovalRequest:
    return ApprovalRequest(
        plan_id=approval.plan_id,
        version=plan.version,
        plan_hash=approval.plan_hash,
        nonce=approval.nonce,
        created_at_ms=approval.created_at_ms,
        expires_at_ms=approval.expires_at_ms,
    )
