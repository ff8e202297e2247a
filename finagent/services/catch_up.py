"""Catch-up: what the broker's listings show and the journal does not know yet, as the jobs its stream would leave."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from finagent.domain.book import StoredOrder
from finagent.domain.broker_event import ended_key, ended_payload, fill_payload
from finagent.domain.legs import ENTRY
from finagent.domain.orders import (
    TERMINAL_ORDER_STATES,
    BrokerFill,
    BrokerOrder,
    BrokerUpdate,
    OrderState,
    is_ours,
)
from finagent.domain.steps import Step
from finagent.ports import CalendarPort, Clock, Job, JsonValue, NewJob, OrderExecutionPort, Store, Tx
from finagent.runtime.service import ServiceContract

LOG = logging.getLogger(__name__)
CONTRACT = ServiceContract(name="catch_up", consumes=(Step.CATCH_UP,), needs=("queue", "broker"))


@dataclass(frozen=True, slots=True)
class CatchUpService:
    """Takes ``catch_up`` jobs; ``missing`` and ``told`` are asked by whoever listens to the broker, too.

    Orders that are not ours, or that this database never wrote, are left to the comparison with the broker.
    """

    store: Store
    broker: OrderExecutionPort
    calendar: CalendarPort
    clock: Clock

    async def handle(self, job: Job, tx: Tx) -> None:
        """Leave a job for everything that is missing."""
        for missing in await self.missing():
            tx.enqueue(missing)

    async def missing(self) -> Sequence[NewJob]:
        """Fills that are not recorded, ends that are not known, and orders that live on one side only.

        RetryError, or the broker's own error, when it cannot be listed.
        """
        jobs: list[NewJob] = []
        for date in await self._sessions():
            listed = await self.broker.orders(session=date)
            for fill in await self.broker.fills(session=date):
                jobs += await self._fill(fill)
            for found in listed:
                stored = await self._own(found.client_order_id)
                if stored is not None:
                    jobs += self._state(found, stored)
        return jobs

    async def told(self, update: BrokerUpdate) -> Sequence[NewJob]:
        """What an update of the broker's stream leaves: the same jobs under the same keys as a listing."""
        stored = await self._own(update.client_order_id)
        if stored is None:
            LOG.info("stream.not_ours", extra={"order": update.client_order_id, "state": update.state.value})
            return ()
        jobs = [] if update.fill is None else [_fill_job(update.fill, stored)]
        if _is_end(update.state):
            jobs.append(_end_job(stored, update.state, update.reason, update.filled_e4, update.replaced_by))
        elif stored.state is OrderState.UNKNOWN:
            jobs.append(self._adoption(stored))
        return jobs

    async def _sessions(self) -> list[str]:
        """Today's, and those of what is still open here."""
        dates = {self.calendar.session_at(self.clock.now_ms()).date}
        dates |= {order.session for order in await self.store.live_orders()}
        dates |= {held.plan.session for held in await self.store.open_positions()}
        return sorted(dates)

    async def _own(self, client_order_id: str) -> StoredOrder | None:
        return await self.store.order(client_order_id) if is_ours(client_order_id) else None

    async def _fill(self, fill: BrokerFill) -> list[NewJob]:
        stored = await self._own(fill.client_order_id)
        if stored is None:
            return []
        known = await self.store.fills_of(stored.intent.plan_id)
        is_known = any(each.fill.execution_id == fill.execution_id for each in known)
        return [] if is_known else [_fill_job(fill, stored)]

    def _state(self, found: BrokerOrder, stored: StoredOrder) -> list[NewJob]:
        is_over_here = stored.state in TERMINAL_ORDER_STATES
        if found.state in TERMINAL_ORDER_STATES:
            is_new = not is_over_here and _is_end(found.state)
            end = _end_job(stored, found.state, found.reason, found.filled_e4, found.replaced_by)
            return [end] if is_new else []
        if is_over_here:
            return [self._stray(stored)]
        return [self._adoption(stored)] if stored.state is OrderState.UNKNOWN else []

    def _adoption(self, stored: StoredOrder) -> NewJob:
        """The broker has what nobody knew of: the sender looks it up and takes it over."""
        order_id = stored.intent.client_order_id
        step = Step.SEND if stored.intent.leg == ENTRY else Step.SEND_EXIT
        key = f"{order_id}/found@{self.clock.now_ms()}"
        return NewJob(step, {"order": order_id}, idem_key=key, key=stored.intent.plan_id)

    def _stray(self, stored: StoredOrder) -> NewJob:
        """An order that is over here works on at the broker: nobody wants it there."""
        order_id = stored.intent.client_order_id
        payload: dict[str, JsonValue] = {"order": order_id, "is_stray": True}
        key = f"{order_id}/stray@{self.clock.now_ms()}"
        return NewJob(Step.CANCEL_ENTRY, payload, idem_key=key, key=stored.intent.plan_id, priority=1)


def _is_end(state: OrderState) -> bool:
    """Whether a state is an end that its fills do not tell."""
    return state in TERMINAL_ORDER_STATES and state is not OrderState.FILLED


def _fill_job(fill: BrokerFill, stored: StoredOrder) -> NewJob:
    return NewJob(
        Step.BROKER_EVENT,
        dict(fill_payload(fill)),
        idem_key=fill.execution_id,
        key=stored.intent.plan_id,
    )


def _end_job(
    stored: StoredOrder, state: OrderState, reason: str, filled_e4: int | None, replaced_by: str | None
) -> NewJob:
    order_id = stored.intent.client_order_id
    why = reason or ("replaced" if replaced_by is not None else "")
    payload = ended_payload(order_id, state, why, filled_e4=filled_e4)
    key = ended_key(order_id, state)
    return NewJob(Step.BROKER_EVENT, dict(payload), idem_key=key, key=stored.intent.plan_id)
