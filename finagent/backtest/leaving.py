"""From a fill to a booked trade: what the venue tells, exits, moved stops, the day's loss, and the session's end."""

from finagent.backtest.agenda import Task, new_task
from finagent.backtest.desk import Desk
from finagent.backtest.entering import end_plan
from finagent.backtest.ledger import DayRow, OrderRow, PlanRow, new_fill_row
from finagent.backtest.venue import VenueEvent, broker_fill
from finagent.domain.fills import ModelFill
from finagent.domain.legs import ENTRY, EXIT, STOP, exit_intent, stop_intent
from finagent.domain.orders import OrderState, next_generation, trade_id
from finagent.domain.plan import PlanState
from finagent.domain.positions import ExitReason, Position, fold, make_trade, open_position
from finagent.domain.steps import Step

NOT_ENTERED = (PlanState.PLANNED, PlanState.PENDING, PlanState.APPROVED, PlanState.ARMED)
ENDABLE = (*NOT_ENTERED, PlanState.ENTERING)
MOST_EXITS = 20
EXIT_AGAIN_MS = 1_000
BREAKERS = {
    "rejected_orders": "the venue refused entry after entry",
    "losses_in_a_row": "losing trade after losing trade",
}


def broker_event(desk: Desk, task: Task) -> None:
    """A fill is folded into its order and position; an order that ended, ends here as well."""
    event = task.event
    assert event is not None
    order = desk.ledger.orders[event.client_order_id]
    row = desk.ledger.plans[order.intent.plan_id]
    if event.fill is not None:
        _fill(desk, event, event.fill, order, row)
    elif order.is_live:
        _ended(desk, event, order, row)


def _fill(desk: Desk, event: VenueEvent, model: ModelFill, order: OrderRow, row: PlanRow) -> None:
    plan, leg = row.plan, order.intent.leg
    held = desk.ledger.held.get(plan.plan_id)
    before = desk.ledger.position(plan.plan_id) or open_position(plan)
    fill = broker_fill(model, event.execution_id)
    position = fold(before, fill)
    reason = _reason(order, model, plan.stop_e4, is_held=held is not None)
    is_complete = order.filled_e4 + fill.quantity_e4 >= order.intent.quantity_e4
    left_e4 = order.intent.quantity_e4 - order.filled_e4 - fill.quantity_e4
    count = desk.ledger.add_fill(new_fill_row(fill, plan.plan_id, plan.session, leg, reason, model))
    desk.ledger.fill_order(order, fill.quantity_e4, at_ms=fill.at_ms, now_ms=desk.now_ms)
    desk.ledger.put_position(plan, position, held.stop_e4 if held is not None else plan.stop_e4)
    desk.ledger.tell(
        desk.now_ms,
        "fill",
        order.intent.client_order_id,
        leg=leg,
        quantity_e4=fill.quantity_e4,
        price_e4=fill.price_e4,
        at_ms=fill.at_ms,
    )
    if leg == ENTRY:
        if row.state is PlanState.ENTERING:
            desk.ledger.move_plan(row, PlanState.OPEN)
        if is_complete:
            desk.ledger.release(plan.plan_id)
        else:
            worst_e4 = abs(fill.price_e4 - plan.stop_e4) + plan.risk_per_share_e4 // 2
            desk.ledger.reduce(
                plan.plan_id, notional_e8=left_e4 * fill.price_e4, worst_case_e8=left_e4 * worst_e4
            )
    if position.quantity_e4 == 0:
        _closed(desk, order, position, count)


def _reason(order: OrderRow, model: ModelFill, plan_stop_e4: int, *, is_held: bool) -> ExitReason | None:
    leg = order.intent.leg
    if leg == ENTRY:
        return None
    if model.is_forced_close:
        return ExitReason.CLOSE_FORCED
    if leg == EXIT:
        return ExitReason(order.intent.reason)
    if leg == STOP:
        return ExitReason.TRAILING if is_held and order.intent.stop_e4 != plan_stop_e4 else ExitReason.STOP
    return ExitReason.TARGET


def _closed(desk: Desk, order: OrderRow, position: Position, fills: int) -> None:
    """Flat: what still rests of the plan is over; the trade is booked once the entry is over."""
    plan_id = position.plan_id
    for other in desk.ledger.orders_of(plan_id):
        other_id = other.intent.client_order_id
        if other_id == order.intent.client_order_id or not other.is_live:
            continue
        if other.intent.leg == ENTRY:
            task = new_task(step=Step.CANCEL_ENTRY, of=other_id, reason="position_closed")
            desk.agenda.add(task, f"{other_id}/closed", now_ms=desk.now_ms, priority=2)
        else:
            desk.ledger.move_order(other, OrderState.CANCELLED, now_ms=desk.now_ms, reason="position_closed")
    desk.agenda.add(new_task(step=Step.RECORD_TRADE, of=plan_id), f"{plan_id}/{fills}", now_ms=desk.now_ms)


def _ended(desk: Desk, event: VenueEvent, order: OrderRow, row: PlanRow) -> None:
    order_id, plan_id = order.intent.client_order_id, row.plan.plan_id
    desk.ledger.move_order(order, event.state, now_ms=desk.now_ms, reason=event.reason)
    desk.ledger.tell(desk.now_ms, "order_ended", order_id, state=event.state.value, reason=event.reason)
    if order.intent.leg != ENTRY:
        return
    desk.ledger.release(plan_id)
    if order.filled_e4 > 0:
        desk.agenda.add(
            new_task(step=Step.RECORD_TRADE, of=plan_id), f"{plan_id}/entry_over", now_ms=desk.now_ms
        )
    elif row.state is PlanState.ENTERING:
        desk.ledger.move_plan(row, PlanState.NOT_FILLED, event.reason or event.state.value)


def cancel_entry(desk: Desk, task: Task) -> None:
    """Cancel what an entry did not get in time; with no fill its legs and its plan end with it."""
    order = desk.ledger.orders[task.of]
    if not order.is_live:
        return
    desk.venue.cancel(task.of)
    now_ms, plan_id, reason = desk.now_ms, order.intent.plan_id, task.reason or "entry_ttl"
    desk.ledger.move_order(order, OrderState.CANCELLED, now_ms=now_ms, reason=reason)
    desk.ledger.tell(now_ms, "cancelled", task.of, reason=reason, filled_e4=order.filled_e4)
    desk.ledger.release(plan_id)
    if order.filled_e4 > 0:
        booking = new_task(step=Step.RECORD_TRADE, of=plan_id)
        desk.agenda.add(booking, f"{plan_id}/entry_over", now_ms=now_ms)
        return
    for leg in desk.ledger.orders_of(plan_id):
        if leg.intent.parent_id == task.of and leg.is_live:
            desk.ledger.move_order(leg, OrderState.CANCELLED, now_ms=now_ms, reason=reason)
    row = desk.ledger.plans[plan_id]
    if row.state is PlanState.ENTERING:
        desk.ledger.move_plan(row, PlanState.NOT_FILLED, reason)


def flatten(desk: Desk, task: Task) -> None:
    """End plans that have not entered; an exit for every open position and working entry.

    ``kind`` "earlier" closes only what earlier sessions left.
    """
    key = task.tick
    if task.kind == "earlier":
        for held in desk.ledger.open_positions():
            if held.plan.session < task.of:
                plan_id = held.plan.plan_id
                leave = new_task(step=Step.EXIT, of=plan_id, reason=task.reason)
                desk.agenda.add(leave, f"{plan_id}/{key}", now_ms=desk.now_ms)
        return
    for row in desk.ledger.plans_of(task.of, NOT_ENTERED):
        end_plan(desk, row, PlanState.CANCELLED, task.reason)
    for order in desk.ledger.live_orders():
        if order.intent.leg == ENTRY:
            entry_id = order.intent.client_order_id
            cancel = new_task(step=Step.CANCEL_ENTRY, of=entry_id, reason=task.reason)
            desk.agenda.add(cancel, f"{entry_id}/{key}", now_ms=desk.now_ms, priority=1)
    for held in desk.ledger.open_positions():
        plan_id = held.plan.plan_id
        leave = new_task(step=Step.EXIT, of=plan_id, reason=task.reason)
        desk.agenda.add(leave, f"{plan_id}/{key}", now_ms=desk.now_ms)


def exit_position(desk: Desk, task: Task) -> None:
    """Free the quantity at the venue, then commit the next exit generation."""
    held = desk.ledger.held.get(task.of)
    if held is None:
        return
    plan, now_ms = held.plan, desk.now_ms
    orders = desk.ledger.orders_of(plan.plan_id)
    live = [order for order in orders if order.is_live]
    if any(order.intent.leg == EXIT for order in live):
        return
    for order in live:
        if order.state is not OrderState.INTENT:
            desk.venue.cancel(order.intent.client_order_id)
        desk.ledger.move_order(order, OrderState.CANCELLED, now_ms=now_ms, reason="exit")
    generation = next_generation([each.own for each in orders], plan_id=plan.plan_id, leg=EXIT)
    assert isinstance(generation, int)
    intent = exit_intent(
        plan,
        abs(held.position.quantity_e4),
        generation=generation,
        reason=task.reason,
        scope=desk.rules.scope,
        now_ms=now_ms,
    )
    desk.ledger.add_order(intent, plan.session, now_ms=now_ms)
    desk.ledger.release(plan.plan_id)
    desk.ledger.tell(now_ms, "exit", plan.plan_id, order=intent.client_order_id, reason=task.reason)
    order_id = intent.client_order_id
    desk.agenda.add(new_task(step=Step.SEND_EXIT, of=order_id), order_id, now_ms=now_ms)


def send_exit(desk: Desk, task: Task) -> None:
    """Bring an exit to the venue; a refused one is followed by its next generation, a bounded number of times."""
    order = desk.ledger.orders[task.of]
    if order.state is not OrderState.INTENT:
        return
    price = desk.last_price(order.intent.symbol)
    refusal = desk.venue.submit(
        [order.intent],
        now_ms=desk.now_ms,
        session=desk.session,
        price_e4=None if price is None else price.price_e4,
    )
    if refusal is None:
        desk.ledger.move_order(order, OrderState.ACCEPTED, now_ms=desk.now_ms, accepted=True)
        desk.ledger.tell(desk.now_ms, "accepted", task.of)
        return
    desk.ledger.move_order(order, OrderState.REJECTED, now_ms=desk.now_ms, reason=refusal)
    desk.ledger.tell(desk.now_ms, "rejected", task.of, reason=refusal)
    if order.intent.generation < MOST_EXITS:
        again = new_task(step=Step.EXIT, of=order.intent.plan_id, reason=order.intent.reason)
        due_ms = desk.now_ms + EXIT_AGAIN_MS
        desk.agenda.add(again, f"{task.of}/again", now_ms=desk.now_ms, run_at_ms=due_ms)


def move_stop(desk: Desk, task: Task) -> None:
    """Commit the stop's next generation, which replaces the resting one."""
    held = desk.ledger.held.get(task.of)
    if held is None:
        return
    plan, now_ms = held.plan, desk.now_ms
    orders = desk.ledger.orders_of(plan.plan_id)
    stops = [order for order in orders if order.intent.leg == STOP and order.is_live]
    is_exiting = any(order.intent.leg == EXIT and order.is_live for order in orders)
    if is_exiting or not stops or plan.direction.sign * (task.stop_e4 - held.stop_e4) <= 0:
        return
    generation = next_generation(
        [each.own for each in orders], plan_id=plan.plan_id, leg=STOP, is_replacement=True
    )
    assert isinstance(generation, int)
    old = stops[-1]
    is_entering = any(order.intent.leg == ENTRY and order.is_live for order in orders)
    intent = stop_intent(
        plan,
        old.intent.quantity_e4 if is_entering else abs(held.position.quantity_e4),
        task.stop_e4,
        generation=generation,
        parent_id=old.intent.parent_id,
        scope=desk.rules.scope,
        now_ms=now_ms,
    )
    desk.ledger.add_order(intent, plan.session, now_ms=now_ms)
    order_id = intent.client_order_id
    desk.ledger.tell(
        now_ms, "move_stop", plan.plan_id, order=order_id, stop_e4=task.stop_e4, reason=task.reason
    )
    replacing = new_task(step=Step.REPLACE, of=order_id, old=old.intent.client_order_id)
    desk.agenda.add(replacing, order_id, now_ms=now_ms)


def replace_stop(desk: Desk, task: Task) -> None:
    """Put a moved stop in the place of the resting one at the venue."""
    order = desk.ledger.orders[task.of]
    if order.state is not OrderState.INTENT or order.intent.stop_e4 is None:
        return
    price = desk.last_price(order.intent.symbol)
    refusal = desk.venue.replace(
        task.old,
        order.intent,
        now_ms=desk.now_ms,
        session=desk.session,
        price_e4=None if price is None else price.price_e4,
    )
    if refusal is not None:
        desk.ledger.move_order(order, OrderState.REJECTED, now_ms=desk.now_ms, reason=refusal)
        desk.ledger.tell(desk.now_ms, "rejected", task.of, reason=refusal)
        return
    desk.ledger.move_order(order, OrderState.ACCEPTED, now_ms=desk.now_ms, accepted=True)
    old = desk.ledger.orders[task.old]
    desk.ledger.move_order(old, OrderState.CANCELLED, now_ms=desk.now_ms, reason="replaced")
    desk.ledger.tell(desk.now_ms, "accepted", task.of)
    desk.ledger.move_stop(order.intent.plan_id, order.intent.stop_e4)


def record_trade(desk: Desk, task: Task) -> None:
    """Book the closed round trip of a plan, once its entry is over."""
    row = desk.ledger.plans[task.of]
    position = desk.ledger.position(task.of)
    if row.state is PlanState.CLOSED or position is None or position.quantity_e4 != 0:
        return
    if desk.ledger.is_entering(task.of):
        return  # the end of the entry leaves this task again
    plan = row.plan
    identity = trade_id(desk.rules.scope, session=plan.session, scan_tick=plan.scan_tick, symbol=plan.symbol)
    bars = desk.bars_of(plan)
    trade = make_trade(plan, desk.ledger.leg_fills(task.of), bars, trade_id=identity)
    desk.ledger.add_trade(trade, desk.session.date)
    desk.ledger.move_plan(row, PlanState.CLOSED, trade.exit_reason.value)
    desk.ledger.release(task.of)
    desk.ledger.tell(desk.now_ms, "trade", trade.trade_id, plan=task.of, pnl_e8=trade.pnl_e8)


def limit(desk: Desk, task: Task) -> None:
    """The day's loss has reached a tier, or a breaker has opened: no more entries, or flat as well."""
    control, date, tier = desk.ledger.control, desk.session.date, task.reason
    ref = f"{date}/limit"
    if tier != "pause":
        if not (control.is_paused and control.needs_rearm):
            reason = BREAKERS.get(tier, "daily loss limit")
            desk.ledger.switch(is_paused=True, pause_reason=reason, paused_by="risk")
        desk.ledger.switch(needs_rearm=True)
        desk.ledger.tell(desk.now_ms, "limit", ref, tier=tier)
    if tier == "flatten":
        flat = new_task(step=Step.FLATTEN, of=date, reason="flatten", tick=ref)
        desk.agenda.add(flat, ref, now_ms=desk.now_ms)
    elif tier == "pause" and not control.is_paused:
        desk.ledger.switch(is_paused=True, pause_reason="daily loss pause", paused_by="risk")
        desk.ledger.tell(desk.now_ms, "limit", ref, tier=tier)


def reconcile(desk: Desk, task: Task) -> None:
    """What an earlier session left shuts entries, and is closed from the open on."""
    date = desk.session.date
    stranded = [held for held in desk.ledger.open_positions() if held.plan.session < date]
    is_shut = desk.ledger.control.gate_reason == "reconcile"
    if stranded and not is_shut:
        desk.ledger.switch(gate_reason="reconcile")
        desk.ledger.tell(desk.now_ms, "reconcile", date, stranded=[held.plan.symbol for held in stranded])
    elif not stranded and is_shut:
        desk.ledger.switch(gate_reason=None)
    if stranded and desk.now_ms < desk.session.close_ms:
        key = f"{date}/stranded"
        closing = new_task(step=Step.FLATTEN, of=date, reason="flatten", kind="earlier", tick=key)
        desk.agenda.add(closing, key, now_ms=desk.now_ms, run_at_ms=max(desk.now_ms, desk.session.open_ms))


def close_day(desk: Desk, task: Task) -> None:
    """Plans that wait end with the day; risk's pause ends with it too."""
    date = desk.session.date
    for row in desk.ledger.plans_of(date, ENDABLE):
        end_plan(desk, row, PlanState.EXPIRED, "day_over")
    held_over = tuple(held.plan.symbol for held in desk.ledger.open_positions())
    desk.ledger.days.append(
        DayRow(
            date,
            not held_over,
            held_over,
            len(desk.candidates),
            tuple(sorted(set(desk.skipped))),
            desk.market.has_minutes,
        )
    )
    desk.ledger.tell(desk.now_ms, "day_report", date, flat=not held_over, held_over=list(held_over))
    if desk.ledger.control.paused_by == "risk":
        desk.ledger.switch(is_paused=False, pause_reason=None, paused_by=None)
    desk.ledger.switch(needs_rearm=False)
