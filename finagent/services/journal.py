"""Journal: books closed trades and closes the day with a report of what happened and what did not."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from finagent.domain.approvals import ApprovalState
from finagent.domain.book import StoredOrder, StoredPlan
from finagent.domain.facts import (
    ApprovalAnswered,
    ControlChanged,
    DayClosed,
    Journalled,
    PlanMoved,
    ReservationReleased,
    TradeRecorded,
)
from finagent.domain.journal import JsonData
from finagent.domain.legs import ENTRY
from finagent.domain.market import MINUTE_MS
from finagent.domain.orders import TERMINAL_ORDER_STATES, Scope, trade_id
from finagent.domain.plan import TERMINAL_PLAN_STATES, PlanState
from finagent.domain.positions import LegFill, Trade, make_trade
from finagent.domain.reconcile import UNDER_WAY
from finagent.domain.steps import Step
from finagent.ports import CalendarPort, Clock, GiveUpError, Job, JsonValue, MarketDataPort, NewJob, Store, Tx
from finagent.runtime.service import ServiceContract

CONTRACT = ServiceContract(
    name="journal", consumes=(Step.RECORD_TRADE, Step.DAY_CLOSE), needs=("queue", "market_data")
)
EVIDENCE_AFTER_MS = 15 * MINUTE_MS
"""How long after the close a DAY order could still turn up."""
ENDABLE = (PlanState.PLANNED, PlanState.PENDING, PlanState.APPROVED, PlanState.ARMED, PlanState.ENTERING)


@dataclass(frozen=True, slots=True)
class JournalService:
    """Takes ``record_trade {plan}`` and ``day_close {session}`` jobs.

    ``is_simulated``: nobody is there to rearm after a loss limit, so the next simulated day starts armed.
    """

    store: Store
    market: MarketDataPort
    calendar: CalendarPort
    clock: Clock
    scope: Scope
    is_simulated: bool

    async def handle(self, job: Job, tx: Tx) -> None:
        """Book one trade, or close one day."""
        if job.type == Step.RECORD_TRADE:
            await self._book(str(job.payload["plan"]), tx)
        else:
            await self._close_day(str(job.payload["session"]), tx)

    async def _book(self, plan_id: str, tx: Tx) -> None:
        stored = await self.store.plan(plan_id)
        held = await self.store.position(plan_id)
        if stored is None or held is None:
            raise GiveUpError(f"record_trade: plan {plan_id} has no position")
        if stored.state is PlanState.CLOSED or held.position.quantity_e4 != 0:
            return
        live = [o for o in await self.store.orders_of(plan_id) if o.state not in TERMINAL_ORDER_STATES]
        if any(order.intent.leg == ENTRY for order in live):
            return  # the end of the entry leaves this job again
        plan = stored.plan
        session = self.calendar.session(plan.session)
        if session is None:
            raise GiveUpError(f"plan {plan_id} is of {plan.session}, which is no session")
        fills = [LegFill(leg=f.leg, fill=f.fill, reason=f.reason) for f in await self.store.fills_of(plan_id)]
        bars = await self.market.minutes(plan.symbol, session, self.clock.now_ms())
        identity = trade_id(self.scope, session=plan.session, scan_tick=plan.scan_tick, symbol=plan.symbol)
        trade = make_trade(plan, fills, bars, trade_id=identity)
        exit_session = self.calendar.session_at(trade.exit_at_ms).date
        tx.put(TradeRecorded(trade=trade, exit_session=exit_session))
        tx.put(
            PlanMoved(
                plan_id=plan_id,
                from_states=(PlanState.OPEN, PlanState.ENTERING),
                to_state=PlanState.CLOSED,
                reason=trade.exit_reason.value,
            )
        )
        tx.put(ReservationReleased(plan_id=plan_id))
        tx.put(Journalled(kind="trade", ref=trade.trade_id, data=trade_data(trade)))

    async def _close_day(self, date: str, tx: Tx) -> None:
        open_positions = list(await self.store.open_positions())
        plans = await self.store.plans(date)
        live = await self.store.live_orders()
        under_way = [o for o in live if o.state in UNDER_WAY]
        ids = {o.intent.client_order_id for o in under_way}
        for order in under_way:
            # An attached leg was sent with its entry: what becomes of that becomes of it.
            if order.intent.parent_id not in ids:
                self._resolve_later(order, date, tx)
        doubtful = {
            o.intent.plan_id for o in live
        }  # an entry's end, or the fill before it, is still to be told
        for stored in plans:
            if stored.plan.plan_id not in doubtful and stored.state in ENDABLE:
                await self._expire(stored, tx)
        self._book_again(plans, {held.plan.plan_id for held in open_positions}, tx)
        trades = await self.store.trades(date)
        held_over = tuple(sorted(held.plan.symbol for held in open_positions))
        pnl_e8, fees_e8 = sum(t.pnl_e8 for t in trades), sum(t.fees_e8 for t in trades)
        tx.put(
            DayClosed(
                session=date,
                is_flat=not open_positions,
                held_over=held_over,
                pnl_e8=pnl_e8,
                fees_e8=fees_e8,
                trades=len(trades),
            )
        )
        data: dict[str, JsonData] = {
            "flat": not open_positions,
            "held_over": list(held_over),
            "pnl_e8": pnl_e8,
            "fees_e8": fees_e8,
            "trades": len(trades),
            "plans": _outcomes(plans),
        }
        tx.put(Journalled(kind="day_report", ref=date, data=data))
        tx.enqueue(NewJob(Step.TIE_OUT, {"session": date}, idem_key=date))
        await self._reset_limits(tx)

    def _book_again(self, plans: Sequence[StoredPlan], held: Collection[str], tx: Tx) -> None:
        """A position that is closed and not booked: its job died, or a person cancelled it."""
        for stored in plans:
            plan_id = stored.plan.plan_id
            if stored.state is PlanState.OPEN and plan_id not in held:
                booking = {"plan": plan_id}
                tx.enqueue(NewJob(Step.RECORD_TRADE, booking, idem_key=f"{plan_id}/evening", key=plan_id))

    def _resolve_later(self, order: StoredOrder, date: str, tx: Tx) -> None:
        """A DAY order that is missing from two listings after the close never arrived; till then its plan waits.

        So does one whose intent alone is known (the agent died before it was sent, and was down over the close).
        """
        session = self.calendar.session(date)
        assert session is not None
        payload: dict[str, JsonValue] = {
            "session": date,
            "reason": "unknown",
            "order": order.intent.client_order_id,
        }
        due_ms = session.close_ms + EVIDENCE_AFTER_MS
        key = f"{order.intent.client_order_id}/1"
        tx.enqueue(NewJob(Step.RECONCILE, {**payload, "look": 1}, idem_key=key, run_at_ms=due_ms))

    async def _expire(self, stored: StoredPlan, tx: Tx) -> None:
        plan_id = stored.plan.plan_id
        tx.put(PlanMoved(plan_id=plan_id, from_states=ENDABLE, to_state=PlanState.EXPIRED, reason="day_over"))
        tx.put(ReservationReleased(plan_id=plan_id))
        tx.put(Journalled(kind="plan_ended", ref=plan_id, data={"state": "expired", "reason": "day_over"}))
        approval = await self.store.approval(plan_id)
        if approval is not None and approval.state == ApprovalState.PENDING:
            tx.put(
                ApprovalAnswered(
                    plan_id=plan_id,
                    plan_hash=approval.plan_hash,
                    state=ApprovalState.EXPIRED.value,
                    channel="clock",
                    identity="",
                )
            )

    async def _reset_limits(self, tx: Tx) -> None:
        control = await self.store.control()
        if control.paused_by == "risk":
            tx.put(ControlChanged(is_paused=False))
        elif control.paused_by == "person and risk":
            reason = (control.pause_reason or "").removesuffix("; daily loss pause")
            tx.put(ControlChanged(is_paused=True, pause_reason=reason, paused_by="person"))
        if control.needs_rearm and self.is_simulated and not control.is_killed:
            tx.put(ControlChanged(needs_rearm=False))


def _outcomes(plans: Sequence[StoredPlan]) -> dict[str, JsonData]:
    counts: dict[str, int] = {}
    for stored in plans:
        state = stored.state if stored.state in TERMINAL_PLAN_STATES else PlanState.EXPIRED
        counts[state.value] = counts.get(state.value, 0) + 1
    return dict(sorted(counts.items()))


def trade_data(trade: Trade) -> dict[str, JsonData]:
    """What the journal keeps of a trade."""
    return {
        "plan": trade.plan_id,
        "symbol": trade.symbol,
        "quantity_e4": trade.quantity_e4,
        "entry_at_ms": trade.entry_at_ms,
        "entry_e8": trade.entry_e8,
        "exit_at_ms": trade.exit_at_ms,
        "exit_e8": trade.exit_e8,
        "exit_reason": trade.exit_reason.value,
        "fees_e8": trade.fees_e8,
        "pnl_e8": trade.pnl_e8,
        "r_multiple_e6": trade.r_multiple_e6,
        "ambiguous": trade.is_ambiguous,
    }
