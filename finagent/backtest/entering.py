"""From a scan to a sent entry: the steps of the agent's morning, over the same rules of the domain."""

from finagent.backtest.agenda import Task, new_task
from finagent.backtest.desk import Desk
from finagent.backtest.ledger import PlanRow
from finagent.backtest.market import LastPrice, instrument_of
from finagent.backtest.scanning import scan_session, score_candidates
from finagent.domain.approvals import is_stale, price_refusal
from finagent.domain.journal import JsonData
from finagent.domain.legs import ENTRY, STOP, entry_intents
from finagent.domain.market import MINUTE_MS, Direction
from finagent.domain.order_check import (
    HALT_LOOK_MS,
    new_circumstances,
    order_check,
    waits_for_halt,
)
from finagent.domain.orders import OrderState
from finagent.domain.plan import AUCTION_LEAD_MS, AUCTION_NOTE, NoPlan, NotYet, Plan, PlanState, with_size
from finagent.domain.planning import make_plan
from finagent.domain.risk import RiskDecision, reserve
from finagent.domain.rows import replace
from finagent.domain.scoring import ScoredCandidate
from finagent.domain.setups import Setup
from finagent.domain.shorts import ShortRules
from finagent.domain.steps import Step

_LONG = Direction.LONG
WAITING = (PlanState.APPROVED, PlanState.ARMED)
ENTRY_LIFE_MS = 60_000
"""An entry that was not sent within this time is not sent any more; here it is always sent at once."""
DAILY_ALONE = "open_assumed_known"


def scan(desk: Desk, task: Task) -> None:
    """Scan as of now and hand the candidates on."""
    ref = f"{desk.session.date}/{task.tick}"
    found = scan_session(
        desk.market,
        desk.now_ms,
        desk.rules.gap,
        symbols=desk.rules.symbols,
        is_second_look=task.kind == "second_look",
    )
    symbols = [candidate.symbol for candidate in found.candidates]
    desk.candidates.update(symbols)
    lines: list[JsonData] = [
        {"symbol": symbol, "gap_e6": c.gap_e6, "indication_e4": c.indication_e4}
        for symbol, c in zip(symbols, found.candidates, strict=True)
    ]
    desk.ledger.tell(
        desk.now_ms,
        "scan",
        ref,
        kind=task.kind,
        universe=found.universe,
        candidates=lines,
        dropped=dict(found.dropped),
        data_issues=[{"symbol": issue.symbol, "kind": issue.kind} for issue in found.issues],
    )
    if found.candidates:
        scored = score_candidates(
            desk.market,
            found.candidates,
            desk.rules.weights,
            as_of_ms=desk.now_ms,
            lookback_days=desk.rules.lookback_days,
            is_explained=False,
        )
        if task.kind == "second_look":
            places = {symbol: place for place, symbol in enumerate(symbols)}
            scored = tuple(sorted(scored, key=lambda item: places[item.candidate.symbol]))
        desk.scored[task.tick] = {item.candidate.symbol: (rank, item) for rank, item in enumerate(scored, 1)}
        desk.agenda.add(replace(task, step=Step.SCORE), ref, now_ms=desk.now_ms)


def choose(desk: Desk, task: Task) -> None:
    """The best tradable candidates go on to planning; a watchlist goes no further."""
    ranked = [(symbol, item) for symbol, (_, item) in desk.scored[task.tick].items()]
    chosen = _chosen(desk, ranked) if task.kind != "watchlist" else ()
    ref = f"{desk.session.date}/{task.tick}"
    ranking: list[JsonData] = [{"symbol": symbol, "score_e6": item.score_e6} for symbol, item in ranked]
    desk.ledger.tell(desk.now_ms, "score", ref, ranking=ranking, chosen=list(chosen))
    if chosen:
        desk.agenda.add(new_task(step=Step.PLAN, tick=task.tick, names=chosen), ref, now_ms=desk.now_ms)


def _chosen(desk: Desk, ranked: list[tuple[str, ScoredCandidate]]) -> tuple[str, ...]:
    allow_shorts = desk.rules.profile.allow_shorts
    tradable = [symbol for symbol, item in ranked if allow_shorts or item.candidate.direction is _LONG]
    return tuple(tradable[: desk.rules.top])


def plan(desk: Desk, task: Task) -> None:
    """Plan the named symbols of one scan tick; ask again later where a setup is not there yet."""
    plans: list[Plan] = []
    waits: list[NotYet] = []
    found = desk.scored[task.tick]
    for rank, item in sorted((found[name] for name in task.names), key=lambda pair: pair[0]):
        outcome = _plan_one(desk, task, rank, item)
        if isinstance(outcome, Plan):
            plans.append(outcome)
        elif isinstance(outcome, NotYet):
            waits.append(outcome)
        else:
            ref = f"{desk.session.date}/{task.tick}/{outcome.symbol}"
            desk.ledger.tell(desk.now_ms, "no_plan", ref, reason=outcome.reason, detail=outcome.detail)
    base = f"{desk.session.date}/{task.tick}/{task.version}"
    for each in plans:
        desk.ledger.add_plan(each)
        desk.ledger.tell(desk.now_ms, "plan", each.plan_id, symbol=each.symbol, setup=each.setup.value)
    if plans:
        ids = tuple(each.plan_id for each in plans)
        desk.agenda.add(new_task(step=Step.RISK, names=ids), f"{base}/{ids[0]}", now_ms=desk.now_ms)
    for at_ms in sorted({wait.at_ms for wait in waits}):
        names = tuple(sorted(wait.symbol for wait in waits if wait.at_ms == at_ms))
        again = new_task(step=Step.PLAN, tick=task.tick, names=names, version=task.version)
        desk.agenda.add(again, f"{base}@{at_ms}/{names[0]}", now_ms=desk.now_ms, run_at_ms=at_ms)


def _plan_one(desk: Desk, task: Task, rank: int, item: ScoredCandidate) -> Plan | NoPlan | NotYet:
    candidate = item.candidate
    setup = desk.rules.planning.entry_setup
    if DAILY_ALONE in candidate.flags and setup is not Setup.NEXT_OPEN:
        return NoPlan(candidate.symbol, "no_minutes", f"daily bars alone do not show the setup {setup.value}")
    return make_plan(
        candidate,
        score_e6=item.score_e6,
        rank=rank,
        rules=desk.rules.planning,
        session=desk.session,
        scan_tick=task.tick,
        bars=desk.market.bars(candidate.symbol, desk.now_ms),
        windows=desk.lines.windows,
        now_ms=desk.now_ms,
        scope=desk.rules.scope,
        allow_shorts=desk.rules.profile.allow_shorts,
        version=task.version,
        lot_e4=desk.rules.profile.lot_e4,
        shorts=ShortRules(is_borrow_assumed=True, borrow_fee_e6=desk.rules.profile.borrow_fee_e6),
    )


def risk(desk: Desk, task: Task) -> None:
    """Decide all plans of a tick in rank, each seeing the reservations before it."""
    found = [desk.ledger.plans[plan_id] for plan_id in task.names]
    waiting = [row for row in found if row.state is PlanState.PLANNED]
    account = desk.account()
    for row in sorted(waiting, key=lambda each: (-each.plan.score_e6, each.plan.symbol)):
        decision = desk.decide(row.plan, account, desk.last_price(row.plan.symbol))
        if decision.is_approved:
            account = reserve(account, decision, row.plan)
        _record(desk, row, decision)


def _record(desk: Desk, row: PlanRow, decision: RiskDecision) -> None:
    plan_id = row.plan.plan_id
    row.decision = decision
    desk.ledger.tell(
        desk.now_ms,
        "risk",
        plan_id,
        approved=decision.is_approved,
        quantity_e4=decision.quantity_e4,
        reasons=list(decision.reasons),
        binding_cap=decision.binding_cap,
    )
    if not decision.is_approved:
        desk.ledger.move_plan(row, PlanState.REFUSED, ", ".join(decision.reasons))
        return
    row.plan = with_size(row.plan, decision.quantity_e4)
    desk.ledger.reserve(row.plan, decision)
    desk.ledger.move_plan(row, PlanState.PENDING)
    delay_ms = desk.rules.approval_delay_ms
    run_at_ms = desk.now_ms + delay_ms if delay_ms else None
    desk.agenda.add(new_task(step=Step.APPROVE, of=plan_id), plan_id, now_ms=desk.now_ms, run_at_ms=run_at_ms)


def approve(desk: Desk, task: Task) -> None:
    """The policy's answer: yes, unless the price or the account has moved since."""
    row = desk.ledger.plans[task.of]
    if row.state is not PlanState.PENDING:
        return
    decision, price = desk.recheck(row.plan)
    refusal = price_refusal(row.plan, price.price_e4) if price is not None else None
    if _is_stale(desk, row.plan, price):
        end_plan(desk, row, PlanState.REFUSED, "stale_quote")
    elif refusal is not None:
        end_plan(desk, row, PlanState.REFUSED, refusal[0])
    elif not decision.is_approved:
        end_plan(desk, row, PlanState.REFUSED, ", ".join(decision.reasons))
    elif AUCTION_NOTE in row.plan.notes and desk.now_ms > row.plan.entry_from_ms - AUCTION_LEAD_MS:
        _plan_afresh(desk, row)
    else:
        _grant(desk, row)


def _plan_afresh(desk: Desk, row: PlanRow) -> None:
    """Too late for the opening auction: plan the symbol again once its first minute has ended."""
    end_plan(desk, row, PlanState.SUPERSEDED, "auction_missed")
    made = row.plan
    again = new_task(step=Step.PLAN, tick=made.scan_tick, names=(made.symbol,), version=made.version + 1)
    is_early = desk.now_ms < made.entry_from_ms
    run_at_ms = made.entry_from_ms + MINUTE_MS if is_early else None
    desk.agenda.add(again, f"{made.plan_id}/fresh", now_ms=desk.now_ms, run_at_ms=run_at_ms)


def _grant(desk: Desk, row: PlanRow) -> None:
    made, now_ms = row.plan, desk.now_ms
    row.approved = True
    desk.ledger.move_plan(row, PlanState.APPROVED)
    desk.ledger.tell(now_ms, "approved", made.plan_id, channel="policy")
    if made.trigger_e4 is not None:
        desk.ledger.move_plan(row, PlanState.ARMED)
    else:
        is_waiting = AUCTION_NOTE not in made.notes and made.entry_from_ms > now_ms
        run_at_ms = made.entry_from_ms if is_waiting else None
        execute_it = new_task(step=Step.EXECUTE, of=made.plan_id)
        desk.agenda.add(execute_it, made.plan_id, now_ms=now_ms, run_at_ms=run_at_ms)
    if desk.market.has_minutes:  # a day that is one bar has no timers
        expiry = new_task(step=Step.PLAN_EXPIRY, of=made.plan_id)
        desk.agenda.add(expiry, made.plan_id, now_ms=now_ms, run_at_ms=made.entry_until_ms)


def execute(desk: Desk, task: Task) -> None:
    """Commit the orders of an approved plan, or end it with the reason."""
    row = desk.ledger.plans[task.of]
    if row.state not in WAITING:
        return
    if task.step is Step.PLAN_EXPIRY or desk.now_ms >= row.plan.entry_until_ms:
        end_plan(desk, row, PlanState.EXPIRED, task.reason or "entry_window_over")
        return
    decision, price = desk.recheck(row.plan)
    missed = _missed(desk, row.plan, price)
    if missed is not None or not decision.is_approved:
        end_plan(desk, row, PlanState.REFUSED, missed or ", ".join(decision.reasons))
        return
    intents = entry_intents(
        row.plan,
        min(row.plan.quantity_e4, decision.quantity_e4),
        scope=desk.rules.scope,
        now_ms=desk.now_ms,
        time_to_live_ms=ENTRY_LIFE_MS,
        limit_e4=decision.entry_limit_e4,
    )
    seen = new_circumstances(
        now_ms=desk.now_ms,
        session=desk.session,
        instrument=instrument_of(row.plan.symbol),
        last_price_e4=price.price_e4 if price is not None else None,
        equity_e8=desk.ledger.day_start_e8(desk.session.date),
        orders_last_minute=desk.ledger.orders_last_minute(desk.session.date, now_ms=desk.now_ms),
        is_halted=_is_halted(desk, row.plan.symbol),
        is_price_stale=price is not None and _is_stale(desk, row.plan, price),
        short=desk.short_now(row.plan, price),
    )
    reasons = order_check(intents[0], row.plan, desk.rules.profile, seen)
    if _waits(desk, task, row.plan, price, reasons):
        return
    if reasons:
        end_plan(desk, row, PlanState.REFUSED, ", ".join(reasons))
        return
    for intent in intents:
        desk.ledger.add_order(intent, row.plan.session, now_ms=desk.now_ms)
    desk.ledger.reduce(
        row.plan.plan_id, notional_e8=decision.notional_e8, worst_case_e8=decision.worst_case_e8
    )
    desk.ledger.move_plan(row, PlanState.ENTERING)
    desk.ledger.tell(
        desk.now_ms, "intent", row.plan.plan_id, orders=[intent.client_order_id for intent in intents]
    )
    entry_id = intents[0].client_order_id
    desk.agenda.add(new_task(step=Step.SEND, of=entry_id), entry_id, now_ms=desk.now_ms)


def _is_halted(desk: Desk, symbol: str) -> bool:
    """Whether nobody trades it now; the day as one bar knows of no halt."""
    return symbol not in desk.day_bars and desk.dataset.is_halted(symbol, desk.now_ms)


def _is_stale(desk: Desk, made: Plan, price: LastPrice | None) -> bool:
    at_ms = price.at_ms if price is not None else None
    return is_stale(made, at_ms, now_ms=desk.now_ms, max_price_age_ms=desk.rules.max_price_age_ms)


def _waits(desk: Desk, task: Task, made: Plan, price: LastPrice | None, reasons: tuple[str, ...]) -> bool:
    """Whether a halt keeps the entry, which is looked at again then; ``as_of_ms`` is when it was last seen."""
    is_waiting = waits_for_halt(
        reasons,
        made,
        halted_ms=task.as_of_ms or None,
        price_e4=price.price_e4 if price is not None else None,
        price_at_ms=price.at_ms if price is not None else None,
    )
    if is_waiting:
        seen_ms, due_ms = desk.now_ms if "halted" in reasons else task.as_of_ms, desk.now_ms + HALT_LOOK_MS
        again = new_task(step=Step.EXECUTE, of=made.plan_id, as_of_ms=seen_ms)
        desk.agenda.add(again, f"{made.plan_id}/halted@{due_ms}", now_ms=desk.now_ms, run_at_ms=due_ms)
    return is_waiting


def _missed(desk: Desk, made: Plan, price: LastPrice | None) -> str | None:
    """Why a market entry that waited leaves no more; a trigger's limit guards itself."""
    if AUCTION_NOTE in made.notes and desk.now_ms >= made.entry_from_ms:
        return "auction_missed"
    refusal = price_refusal(made, price.price_e4) if price is not None and made.limit_e4 is None else None
    return None if refusal is None else refusal[0]


def send(desk: Desk, task: Task) -> None:
    """Bring an entry with its attached legs to the venue."""
    order = desk.ledger.orders[task.of]
    if order.state is not OrderState.INTENT:
        return
    attached = [
        each
        for each in desk.ledger.orders_of(order.intent.plan_id)
        if each.intent.parent_id == task.of and each.is_live
    ]
    attached.sort(key=lambda each: (each.intent.leg != STOP, each.intent.leg))
    body = [order, *(attached if order.intent.leg == ENTRY else ())]
    price = desk.last_price(order.intent.symbol)
    refusal = desk.venue.submit(
        [each.intent for each in body],
        now_ms=desk.now_ms,
        session=desk.session,
        price_e4=None if price is None else price.price_e4,
    )
    row = desk.ledger.plans[order.intent.plan_id]
    if refusal is not None:
        for each in body:
            desk.ledger.move_order(each, OrderState.REJECTED, now_ms=desk.now_ms, reason=refusal)
        desk.ledger.tell(desk.now_ms, "rejected", task.of, reason=refusal)
        desk.ledger.move_plan(row, PlanState.CANCELLED, f"rejected: {refusal}")
        desk.ledger.release(row.plan.plan_id)
        return
    for each in body:
        desk.ledger.move_order(each, OrderState.ACCEPTED, now_ms=desk.now_ms, accepted=True)
    desk.ledger.tell(desk.now_ms, "accepted", task.of)
    if desk.market.has_minutes:
        due_ms = max(desk.now_ms, row.plan.entry_from_ms) + desk.rules.entry_ttl_ms
        timer = new_task(step=Step.CANCEL_ENTRY, of=task.of)
        desk.agenda.add(timer, task.of, now_ms=desk.now_ms, run_at_ms=due_ms)


def end_plan(desk: Desk, row: PlanRow, state: PlanState, reason: str) -> None:
    """A plan that ends before its entry left."""
    desk.ledger.move_plan(row, state, reason)
    desk.ledger.release(row.plan.plan_id)
    desk.ledger.tell(desk.now_ms, "plan_ended", row.plan.plan_id, state=state.value, reason=reason)
