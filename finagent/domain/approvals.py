"""Approvals: a plan is shown once, answered once, by its hash, in time, and at a price that still holds."""

from dataclasses import dataclass
from enum import StrEnum

from finagent.domain.journal import digest
from finagent.domain.money import RATIO_SCALE, price_text
from finagent.domain.orders import Scope
from finagent.domain.plan import Plan, plan_hash

MAX_MOVE_R_E6 = 250_000
"""How far beyond the entry the price may have moved, in R."""
MAX_PRICE_AGE_MS = 300_000
"""Default age at which a price is stale."""
FRESH_PLAN_REASONS = ("price_moved", "past_stop", "past_target", "stale_quote")


class ApprovalState(StrEnum):
    """Life of a request: it leaves ``pending`` exactly once."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


class Verdict(StrEnum):
    """What a person or policy answers."""

    APPROVE = "approve"
    REJECT = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """The question: may exactly this plan trade? The nonce comes back with the answer."""

    plan_id: str
    version: int
    plan_hash: str
    nonce: str
    created_at_ms: int
    expires_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer, by whom and over which channel, to the plan with this hash."""

    verdict: Verdict
    channel: str
    identity: str
    at_ms: int
    plan_hash: str
    nonce: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The answer counts: move the request from ``pending`` to ``state`` by compare-and-set on what was
    judged.
    """

    plan_id: str
    version: int
    plan_hash: str
    state: ApprovalState
    channel: str
    identity: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedAnswer:
    """The answer changes nothing.

    ``reason``: already_answered, expired, hash_mismatch, nonce_mismatch, stale_quote, past_stop, past_target
    or price_moved. After the last four a fresh plan is due.
    """

    plan_id: str
    reason: str
    detail: str


def approval_nonce(scope: Scope, *, plan_id: str, plan_hash: str) -> str:
    """32 hex digits, single use: one plan body in one database has one nonce."""
    return digest("nonce", scope.generation, scope.account, scope.deployment, plan_id, plan_hash)[:32]


def make_request(plan: Plan, scope: Scope, *, now_ms: int, ttl_ms: int) -> ApprovalRequest:
    """The request for a sized plan: the time to answer, but never beyond the plan's entry cut-off."""
    body = plan_hash(plan)
    return ApprovalRequest(
        plan_id=plan.plan_id,
        version=plan.version,
        plan_hash=body,
        nonce=approval_nonce(scope, plan_id=plan.plan_id, plan_hash=body),
        created_at_ms=now_ms,
        expires_at_ms=min(now_ms + ttl_ms, plan.entry_until_ms),
    )


def judge(
    request: ApprovalRequest,
    state: ApprovalState,
    answer: Answer,
    *,
    now_ms: int,
    plan: Plan,
    price_e4: int | None,
    price_at_ms: int | None,
    max_price_age_ms: int = MAX_PRICE_AGE_MS,
) -> Accepted | RefusedAnswer:
    """Whether an answer counts at ``now_ms``; the price is the newest known, None where there is none.

    The plan is the one that would be sent: its own hash must be the one asked about and the one answered. A
    rejection needs no price.
    """
    refusal = _formal_refusal(request, state, answer, now_ms=now_ms, plan=plan)
    if refusal is None and answer.verdict is Verdict.APPROVE:
        is_old = is_stale(plan, price_at_ms, now_ms=now_ms, max_price_age_ms=max_price_age_ms)
        refusal = (
            ("stale_quote", "the newest price is too old or missing; wait for a fresh one")
            if price_e4 is None or is_old
            else price_refusal(plan, price_e4)
        )
    if refusal is not None:
        return RefusedAnswer(plan_id=request.plan_id, reason=refusal[0], detail=refusal[1])
    return Accepted(
        plan_id=request.plan_id,
        version=request.version,
        plan_hash=request.plan_hash,
        state=ApprovalState.APPROVED if answer.verdict is Verdict.APPROVE else ApprovalState.REJECTED,
        channel=answer.channel,
        identity=answer.identity,
        at_ms=answer.at_ms,
    )


def is_fresh_plan_due(reason: str) -> bool:
    """Whether an answer refused for this reason ends the plan and has the symbol planned again."""
    return reason in FRESH_PLAN_REASONS


def seal_refusal(plan: Plan, sealed_hash: str, answered: tuple[str, str] | None) -> str | None:
    """Why a plan that counts as approved may not enter, None when it may.

    ``sealed_hash`` is what risk sealed; ``answered`` the state and the hash of a person's answer, None where the policy
    said yes. The body must be the one sealed, and the one that was said yes to.
    """
    if plan_hash(plan) != sealed_hash:
        return "plan_changed"
    if answered is not None and answered != (ApprovalState.APPROVED.value, sealed_hash):
        return "not_approved"
    return None


def is_stale(plan: Plan, price_at_ms: int | None, *, now_ms: int, max_price_age_ms: int) -> bool:
    """Whether the newest price is too old to enter at, or missing.

    Before its entry window opens a plan is priced by its indication, which may be older by the time it waits for it.
    """
    is_early = now_ms < plan.entry_from_ms
    waiting_ms = max(0, plan.entry_from_ms - plan.decided_at_ms) if is_early else 0
    return price_at_ms is None or now_ms - price_at_ms > max_price_age_ms + waiting_ms


def price_refusal(plan: Plan, price_e4: int) -> tuple[str, str] | None:
    """(reason, detail) when the price is past stop or first target, or over 0.25 R beyond the entry; else
    None.
    """
    sign = plan.direction.sign
    if sign * (price_e4 - plan.stop_e4) <= 0:
        return "past_stop", f"{_seen(plan, price_e4)}, stop {price_text(plan.stop_e4)}"
    for leg in plan.targets:
        if sign * (price_e4 - leg.price_e4) >= 0:
            return "past_target", f"{_seen(plan, price_e4)}, target {price_text(leg.price_e4)}"
    moved_e10 = sign * (price_e4 - plan.reference_e4) * RATIO_SCALE
    if moved_e10 > plan.risk_per_share_e4 * MAX_MOVE_R_E6:
        return "price_moved", f"{_seen(plan, price_e4)}: more than 0.25 R beyond it"
    return None


def _seen(plan: Plan, price_e4: int) -> str:
    return f"price {price_text(price_e4)}, entry {price_text(plan.reference_e4)}"


def _formal_refusal(
    request: ApprovalRequest, state: ApprovalState, answer: Answer, *, now_ms: int, plan: Plan
) -> tuple[str, str] | None:
    if state is not ApprovalState.PENDING:
        return "already_answered", f"the request is {state}"
    if now_ms >= request.expires_at_ms:
        return "expired", f"the time to answer ended {(now_ms - request.expires_at_ms) // 1000} s ago"
    if not request.plan_hash == answer.plan_hash == plan_hash(plan):
        return "hash_mismatch", f"the answer is to plan {answer.plan_hash[:12]}; look at the plan again"
    if answer.nonce != request.nonce:
        return "nonce_mismatch", "the answer carries another request's nonce; look at the plan again"
    return None
