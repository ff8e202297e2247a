"""By hand: what a person tells of tickets, and the tickets as documents; only where the broker is the manual desk."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from finagent.adapters.brokers.manual import Said, end_ticket, read_plan_tickets, record_fill
from finagent.adapters.sqlite.views_values import instant
from finagent.bootstrap.amounts import amount, usage
from finagent.context import CommandResult, Document, ExitCode, Json, SurfaceError
from finagent.domain.book import StoredPlan
from finagent.domain.broker_event import ended_key, ended_payload, fill_payload
from finagent.domain.facts import Journalled
from finagent.domain.legs import ENTRY
from finagent.domain.money import (
    MONEY_SCALE,
    PRICE_SCALE,
    SHARE_E4,
    price_text,
    quantity_number,
)
from finagent.domain.orders import OrderState
from finagent.domain.plan import PlanState
from finagent.domain.steps import Step
from finagent.domain.tickets import SaidFill, Ticket, TicketRefusal, open_quantity_e4, order_words
from finagent.ports import NewJob, Tx
from finagent.services.schedule import local_ms

if TYPE_CHECKING:
    from finagent.bootstrap.engine import Engine

NOT_PROMISED = "Orders leave this program by hand: it promises nothing of them (G2 to G6 do not apply)"
TAKEN_BACK = ("cancelled", "replaced", "position_closed")
"""Ends that the agent wrote: what was typed before must be taken back at the broker."""
TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?", re.ASCII)
NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
WAITING = (PlanState.PLANNED, PlanState.PENDING)
NOT_SENT = (PlanState.APPROVED, PlanState.ARMED)
WORKING = (PlanState.ENTERING, PlanState.OPEN)


class ByHand:
    """Fills and ends as a person tells them; each is judged and stored in one commit, then told to the day."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    async def add_fill(
        self,
        plan_id: str,
        *,
        leg: str,
        price: str,
        quantity: str,
        identity: str,
        at: str | None = None,
        fees: str | None = None,
        name: str | None = None,
        is_again: bool = False,
        is_average: bool = False,
        is_sure: bool = False,
    ) -> CommandResult:
        """One execution of a ticket; CommandResult with the reason where it cannot be."""
        stored = await self._plan(plan_id)
        if isinstance(stored, CommandResult):
            return await self._journal_refusal(plan_id, stored.code, stored.message, identity, stored)
        if name is not None and not NAME.fullmatch(name):
            raise usage(
                f"--id {name!r} is no name of an execution", "Use 1 to 64 letters, digits, . _ : and -"
            )
        said = SaidFill(
            leg=leg,
            price_e4=amount(price, PRICE_SCALE, "--price"),
            quantity_e4=amount(quantity, SHARE_E4, "--qty"),
            fees_e8=amount(fees, MONEY_SCALE, "--fees", least=0) if fees is not None else 0,
            at_ms=self._instant(at, stored.plan.session),
            reference_e4=stored.plan.reference_e4,
            lot_e4=stored.plan.lot_e4,
            is_again=is_again,
            is_average=is_average,
            is_sure=is_sure,
        )
        record = partial(record_fill, plan_id=plan_id, said=said, name=name, identity=identity)
        result = await self._engine.queue.call(lambda s: record(s.conn, now_ms=s.now_ms))
        if isinstance(result, TicketRefusal):
            return await self._refused(plan_id, result, identity)
        if not result.is_known:
            await self._tell_fill(plan_id, result, identity)
        return await self._told(plan_id, result)

    async def end(self, plan_id: str, *, leg: str, reason: str, identity: str) -> CommandResult:
        """A ticket that will not fill (any more)."""
        stored = await self._plan(plan_id)
        if isinstance(stored, CommandResult):
            return await self._journal_refusal(plan_id, stored.code, stored.message, identity, stored)
        why = reason or "not_done"
        result = await self._engine.queue.call(
            lambda s: end_ticket(s.conn, plan_id, leg, why, now_ms=s.now_ms)
        )
        if isinstance(result, TicketRefusal):
            return await self._refused(plan_id, result, identity)
        tx = Tx()
        for ticket in (result.ticket, *result.closed):
            order_id = ticket.client_order_id
            payload = ended_payload(order_id, OrderState.CANCELLED, why, filled_e4=ticket.filled_e4)
            key = ended_key(order_id, OrderState.CANCELLED)
            tx.enqueue(NewJob(Step.BROKER_EVENT, dict(payload), idem_key=key, key=plan_id))
        data = {"by": identity, "leg": leg, "reason": why}
        tx.put(Journalled(kind="ticket_ended", ref=result.ticket.client_order_id, data=dict(data)))
        await self._engine.queue.commit(tx)
        return await self._told(plan_id, result)

    # ------------------------------------------------------------ inside
    async def _plan(self, plan_id: str) -> StoredPlan | CommandResult:
        """The plan whose tickets are meant, or why it can have none."""
        stored = await self._engine.store.plan(plan_id)
        if stored is None:
            raise SurfaceError(f"there is no plan {plan_id}", hint="finagent plans", code="unknown")
        symbol, state = stored.plan.symbol, stored.state
        if state in WAITING:
            return _refusal(
                "needs_approval",
                f"{symbol} is {state}: nobody has approved it. finagent approve {plan_id[:11]}",
                exit_code=ExitCode.NEEDS_APPROVAL,
            )
        if state in NOT_SENT:
            return _refusal(
                "no_ticket", f"{symbol} is {state}: its ticket is not written yet. finagent plans"
            )
        if state not in WORKING:
            why = f" ({stored.reason})" if stored.reason else ""
            return _refusal("plan_over", f"{symbol} is {state}{why}: its tickets are over. finagent trades")
        return stored

    def _instant(self, at: str | None, session: str) -> int:
        """Now, a time of day of the plan's session in exchange time, or an instant with its zone."""
        if at is None:
            return self._engine.clock.now_ms()
        if TIME.fullmatch(at):
            seconds = int(at[6:]) if len(at) > 5 else 0
            return local_ms(session, at[:5], self._engine.settings.schedule.zone) + seconds * 1000
        try:
            moment = datetime.fromisoformat(at.replace("Z", "+00:00"))
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            hint = "Write 09:34, 09:34:10 (exchange time) or 2026-11-04T14:34:10Z"
            raise usage(f"--at {at} is no time", hint)
        return round(moment.timestamp() * 1000)

    async def _tell_fill(self, plan_id: str, said: Said, identity: str) -> None:
        """The same event as any broker's stream leaves, and who told it."""
        fill = said.fill
        assert fill is not None
        tx = Tx()
        payload = dict(fill_payload(fill))
        tx.enqueue(NewJob(Step.BROKER_EVENT, payload, idem_key=fill.execution_id, key=plan_id))
        data = {"by": identity, "leg": said.ticket.leg, "execution": fill.execution_id}
        tx.put(Journalled(kind="fill_told", ref=fill.client_order_id, data=dict(data)))
        await self._engine.queue.commit(tx)

    async def _refused(self, plan_id: str, refusal: TicketRefusal, identity: str) -> CommandResult:
        words = f"{refusal.detail}. {refusal.mend[:1].upper()}{refusal.mend[1:]}"
        answer = _refusal(refusal.reason, words)
        return await self._journal_refusal(plan_id, refusal.reason, refusal.detail, identity, answer)

    async def _journal_refusal(
        self, plan_id: str, reason: str, detail: str, identity: str, answer: CommandResult
    ) -> CommandResult:
        """The answer, once the journal has it."""
        tx = Tx()
        data = {"by": identity, "reason": reason, "detail": detail}
        tx.put(Journalled(kind="fill_refused", ref=plan_id, data=dict(data)))
        await self._engine.queue.commit(tx)
        return answer

    async def _told(self, plan_id: str, said: Said) -> CommandResult:
        """What was recorded, what is held, what must rest at the broker now and what must be taken back."""
        tickets = await self._engine.database.read_fn(lambda conn: read_plan_tickets(conn, plan_id))
        lines = [_first_line(said)]
        if said.closed:
            words = "; ".join(order_words(each, each.remaining_e4) for each in said.closed)
            lines.append(f"Take back at your broker, where it was typed: {words}.")
        resting = [each for each in tickets if each.is_open and open_quantity_e4(each, tickets) > 0]
        if resting:
            words = "; ".join(
                f"{each.leg} {order_words(each, open_quantity_e4(each, tickets))}" for each in resting
            )
            lines.append(f"At your broker now: {words}.")
        data: dict[str, Json] = {
            "plan_id": plan_id,
            "leg": said.ticket.leg,
            "execution_id": said.fill.execution_id if said.fill is not None else None,
            "held": quantity_number(said.held_e4),
            "open": [each.client_order_id for each in resting],
            "taken_back": [each.client_order_id for each in said.closed],
        }
        code = "known" if said.is_known else "recorded" if said.fill is not None else "ended"
        return CommandResult(code=code, message=" ".join(lines), data=data)


def tickets_document(
    tickets: Sequence[Ticket], of_plans: Mapping[str, Sequence[Ticket]], *, broker: str, every: bool = False
) -> Document:
    """``{broker, note, tickets: [...]}``: what to type and what to take back, with ``every`` the others too.

    ``of_plans`` has all tickets of each plan.
    """
    documents = [_document(ticket, of_plans[ticket.plan_id]) for ticket in tickets]
    rows: list[Json] = [row for row in documents if every or row["todo"] is not None]
    return {"broker": broker, "note": NOT_PROMISED, "tickets": rows}


def _document(ticket: Ticket, of_plan: Sequence[Ticket]) -> Document:
    open_e4 = open_quantity_e4(ticket, of_plan) if ticket.is_open else 0
    is_taken_back = not ticket.is_open and ticket.reason in TAKEN_BACK and ticket.remaining_e4 > 0
    has_entered = any(each.leg == ENTRY and each.filled_e4 > 0 for each in of_plan)
    is_with_entry = ticket.parent_id is not None and not has_entered
    todo = "take back" if is_taken_back else ""
    if open_e4 > 0:
        todo = "attach" if is_with_entry else "place"
    return {
        "client_order_id": ticket.client_order_id,
        "plan_id": ticket.plan_id,
        "session": ticket.session,
        "symbol": ticket.symbol,
        "leg": ticket.leg,
        "generation": ticket.generation,
        "side": ticket.side.value,
        "type": ticket.type.value,
        "quantity": quantity_number(ticket.quantity_e4),
        "filled": quantity_number(ticket.filled_e4),
        "open": quantity_number(open_e4),
        "limit_price": None if ticket.limit_e4 is None else price_text(ticket.limit_e4),
        "stop_price": None if ticket.stop_e4 is None else price_text(ticket.stop_e4),
        "parent_id": ticket.parent_id,
        "state": ticket.state.value,
        "reason": ticket.reason or None,
        "created_at": instant(ticket.accepted_at_ms),
        "todo": todo or None,
        "words": order_words(ticket, open_e4 or ticket.remaining_e4 or ticket.quantity_e4),
    }


def _first_line(said: Said) -> str:
    ticket, held = said.ticket, quantity_number(abs(said.held_e4))
    side = "long" if said.held_e4 > 0 else "short"
    holds = f"the plan holds {held} {side}" if said.held_e4 else "the plan is flat"
    if said.fill is None:
        return f"Ended: {ticket.leg} of {ticket.symbol} ({ticket.reason}); {holds}."
    shares, price = quantity_number(said.fill.quantity_e4), price_text(said.fill.price_e4)
    word = "Known already" if said.is_known else "Recorded"
    verb = "bought" if ticket.side.sign > 0 else "sold"
    return f"{word}: {verb} {shares} {ticket.symbol} at {price} ({ticket.leg}); {holds}."


def _refusal(code: str, message: str, *, exit_code: ExitCode = ExitCode.REFUSED) -> CommandResult:
    return CommandResult(code=code, message=f"Not recorded ({code}): {message}", exit_code=exit_code)
