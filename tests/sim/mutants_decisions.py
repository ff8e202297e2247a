"""Bugs of decisions: what became of an order, whose answer counts, what is reserved, whose the shares are."""

from dataclasses import replace
from typing import Any

from finagent.adapters.sqlite.session import WriteSession
from finagent.domain import approvals
from finagent.domain.approvals import ApprovalState
from finagent.domain.facts import ApprovalAnswered, PlanMoved, ReservationReleased
from finagent.domain.orders import OrderState
from finagent.domain.plan import PlanState
from finagent.domain.steps import Step
from finagent.ports import DuplicateClientOrderIdError, NewJob, OrderRejectedError
from finagent.services import risk
from finagent.services.approval import ApprovalService
from finagent.services.flatten import FlattenService
from finagent.services.reconcile import Before, ReconcileService, compare
from finagent.services.sender import SenderService
from tests.sim.garden import Garden


class _Twice(Exception):
    """The broker has this id already."""


def duplicate_is_rejection(garden: Garden) -> None:
    """The answer that an id is there already ends its order as rejected."""

    def submitting(original: Any) -> Any:
        async def submit(*parts: Any) -> Any:
            try:
                return await original(*parts)
            except DuplicateClientOrderIdError as error:
                raise _Twice from error

        return submit

    def sending(original: Any) -> Any:
        async def send(service: SenderService, job: Any, order: Any, tx: Any) -> None:
            try:
                await original(service, job, order, tx)
            except _Twice:
                await _end_rejected(service, order, "duplicate_id", tx)

        return send

    garden.replace(SenderService, "_submit", submitting)
    garden.replace(SenderService, "_send", sending)


def not_found_is_rejection(garden: Garden) -> None:
    """An order that a look does not find is over at once."""

    def sending(original: Any) -> Any:
        async def send(service: SenderService, job: Any, order: Any, tx: Any) -> None:
            is_doubtful = job.attempts > 1 or order.state is OrderState.UNKNOWN
            if is_doubtful and await service.broker.find(order.intent.client_order_id) is None:
                await _end_rejected(service, order, "not_found", tx)
            else:
                await original(service, job, order, tx)

        return send

    garden.replace(SenderService, "_send", sending)


async def _end_rejected(service: SenderService, order: Any, reason: str, tx: Any) -> None:
    await service._rejected(order, await service._legs(order), OrderRejectedError(reason, ""), tx)


def answers_uncompared(garden: Garden) -> None:
    """An answer is written over whatever was answered before."""

    def answering(original: Any) -> Any:
        async def answered(service: ApprovalService, stored: Any, approval: Any, reply: Any, tx: Any) -> Any:
            stored, approval = (
                replace(stored, state=PlanState.PENDING),
                replace(approval, state=ApprovalState.PENDING.value),
            )
            return await original(service, stored, approval, reply, tx)

        return answered

    def writing_answer(original: Any) -> Any:
        def write(fact: ApprovalAnswered, session: WriteSession) -> None:
            session.conn.execute(
                "UPDATE approval SET state = ?, answered_at = ?, channel = ?, identity = ? WHERE plan_id = ?",
                (fact.state, session.now_ms, fact.channel, fact.identity, fact.plan_id),
            )

        return write

    def moving(original: Any) -> Any:
        def move(fact: PlanMoved, session: WriteSession) -> None:
            if fact.from_states != (PlanState.PENDING,):
                original(fact, session)
                return
            session.conn.execute(
                "UPDATE plan SET state = ?, reason = ?, updated_at = ? WHERE plan_id = ?",
                (fact.to_state.value, fact.reason, session.now_ms, fact.plan_id),
            )

        return move

    garden.replace(ApprovalService, "_answered", answering)
    garden.writer(ApprovalAnswered, writing_answer)
    garden.writer(PlanMoved, moving)


def expiry_unchecked(garden: Garden) -> None:
    """An answer is judged as if its question had just been asked."""

    def refusing(original: Any) -> Any:
        def refusal(request: Any, state: Any, answer: Any, *, now_ms: int, plan: Any) -> Any:
            return original(request, state, answer, now_ms=request.created_at_ms, plan=plan)

        return refusal

    garden.replace(approvals, "_formal_refusal", refusing)


def released_twice(garden: Garden) -> None:
    """A release told again gives back what another plan reserves, as a counter would."""

    def releasing(original: Any) -> Any:
        def release(fact: ReservationReleased, session: WriteSession) -> None:
            held = session.conn.execute(
                "SELECT 1 FROM reservation WHERE plan_id = ? AND released_at IS NULL", (fact.plan_id,)
            ).fetchone()
            if held is not None:
                original(fact, session)
                return
            session.conn.execute(
                "UPDATE reservation SET released_at = ? WHERE plan_id ="
                " (SELECT min(plan_id) FROM reservation WHERE released_at IS NULL)",
                (session.now_ms,),
            )

        return release

    garden.writer(ReservationReleased, releasing)


def guard_unchecked(garden: Garden) -> None:
    """A decision is committed whatever has become of the account since it was read."""

    def guarding(original: Any) -> Any:
        def guard(session: WriteSession, expected: Any, touched: Any) -> None:
            original(session, (), [*(row for row, _ in expected), *touched])

        return guard

    garden.replace(WriteSession, "guard", guarding)


def missing_is_flat(garden: Garden) -> None:
    """An empty list of positions is believed at the first look."""

    def believing(original: Any) -> Any:
        def believable(broker: Any, findings: Any, marks_e4: Any) -> Any:
            if not broker.positions:
                return frozenset(each.symbol for each in findings)
            return original(broker, findings, marks_e4)

        return believable

    def judging(original: Any) -> Any:
        async def judge(
            service: Any, own: Any, broker: Any, shares: Any, before: Any, verdict: Any, tx: Any
        ) -> None:
            if not broker.positions:
                before = Before({found.symbol: found.theirs_e4 for found in shares}, before.adopted)
            await original(service, own, broker, shares, before, verdict, tx)

        return judge

    garden.replace(compare, "believable", believing)
    garden.replace(ReconcileService, "_judge_shares", judging)


def external_sold(garden: Garden) -> None:
    """The ladder closes what finagent did not open, too."""

    def flattening(original: Any) -> Any:
        async def handle(service: FlattenService, job: Any, tx: Any) -> None:
            await original(service, job, tx)
            for held in await service.store.external():
                payload = {"symbol": held.symbol, "reason": "flatten"}
                key = f"{held.symbol}/{job.idem_key}"
                tx.enqueue(NewJob(Step.SELL_EXTERNAL, payload, idem_key=key, key=f"external {held.symbol}"))

        return handle

    garden.replace(FlattenService, "handle", flattening)


def reason_ignored(garden: Garden, reason: str) -> None:
    """The last look at an order overlooks one reason not to let it go."""

    def looking(original: Any) -> Any:
        def order_check(*parts: Any) -> tuple[str, ...]:
            return tuple(each for each in original(*parts) if each != reason)

        return order_check

    garden.replace(risk, "order_check", looking)
