"""Risk: decides in rank under the account's guard, reserves what it approves, and watches the day's loss."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from finagent.domain.approvals import is_stale
from finagent.domain.book import Book, Control, StoredPlan, account_state, settlement_days
from finagent.domain.facts import ACCOUNT_ROW, ControlChanged, Journalled, PlanMoved, PlanSized
from finagent.domain.journal import JsonData
from finagent.domain.market import Direction, Session
from finagent.domain.orders import OrderIntent
from finagent.domain.plan import Plan, PlanState, plan_hash, with_size
from finagent.domain.risk import (
    AccountState,
    Circumstances,
    RiskDecision,
    RiskProfile,
    decide,
    order_check,
    reserve,
)
from finagent.domain.shorts import UNKNOWN, ShortNow, is_restricted_now
from finagent.domain.steps import Step
from finagent.ports import (
    CalendarPort,
    Clock,
    GiveUpError,
    Job,
    JobQueue,
    LastPrice,
    MarketDataPort,
    NewJob,
    Recheck,
    Store,
    Tx,
)
from finagent.runtime.service import ServiceContract

BREAKERS = {
    "orders_out": "an order without its intent was stopped at the broker's door",
    "rejected_orders": "the broker refused entry after entry",
    "losses_in_a_row": "losing trade after losing trade",
}
"""Limits that only a person opens again, each with what a person is told."""
BID_AGE_MS = 60_000
"""An older bid says nothing of where a restricted short may be priced."""
CONTRACT = ServiceContract(name="risk", consumes=(Step.RISK, Step.LIMIT), needs=("queue", "market_data"))


@dataclass(frozen=True, slots=True)
class RiskDesk:
    """One place that reads the account and asks the domain: risk, approval and execution decide alike."""

    store: Store
    market: MarketDataPort
    calendar: CalendarPort
    clock: Clock
    profile: RiskProfile
    slippage_bound_e6: int
    is_no_trade: Callable[[Session, int], bool]
    excluded: tuple[str, ...]
    borrow: Callable[[str], Awaitable[bool | None]]
    """Whether a stock is easy to borrow now; None where nobody says."""
    max_price_age_ms: int
    """An older price says nothing of where an entry would be filled."""

    async def account(
        self, session: Session, symbols: tuple[str, ...] = (), *, without: str = ""
    ) -> tuple[AccountState, dict[str, LastPrice], Book]:
        """The account marked at last prices, these prices (of ``symbols`` too), and the book behind it."""
        now_ms = self.clock.now_ms()
        book = await self.store.book(
            session.date, now_ms=now_ms, unsettled_from=self._unsettled_from(session)
        )
        asked = sorted({held.plan.symbol for held in book.positions} | set(symbols))
        prices = dict(await self.market.last_prices(asked, session, now_ms))
        marks = {symbol: price.price_e4 for symbol, price in prices.items()}
        account = replace(
            account_state(book, marks, self.profile, without=without),
            excluded_symbols=self.excluded,
            is_no_trade_time=self.is_no_trade(session, now_ms),
        )
        return account, prices, book

    def _unsettled_from(self, session: Session) -> str:
        """The first session whose sales are not settled on the morning of this one."""
        first = session
        for _ in range(settlement_days(session.date) - 1):
            first = self.calendar.session(first.previous) or first
        return first.date

    async def short_now(self, plan: Plan, session: Session, price: LastPrice | None) -> ShortNow:
        """What is known of a short sale at this instant: the borrow, the restriction, a fresh bid."""
        if plan.direction is Direction.LONG:
            return UNKNOWN
        now_ms = self.clock.now_ms()
        bars = await self.market.minutes(plan.symbol, session, now_ms)
        lows = [bar.low_e4 for bar in bars if bar.start_ms >= session.open_ms]
        quote = price.quote if price is not None else None
        is_fresh = quote is not None and quote.bid_e4 > 0 and now_ms - quote.at_ms <= BID_AGE_MS
        return ShortNow(
            is_easy_to_borrow=await self.borrow(plan.symbol),
            is_restricted=is_restricted_now(plan.short, min(lows, default=None)),
            bid_e4=quote.bid_e4 if quote is not None and is_fresh else None,
        )

    def decide(
        self, plan: Plan, account: AccountState, price: LastPrice | None, short: ShortNow = UNKNOWN
    ) -> RiskDecision:
        """The decision at the worse of the plan's reference and the last price.

        One at or behind the stop stands as it is: the plan is refused, however good its reference was.
        """
        sign = plan.direction.sign
        price_e4 = seen_e4 = price.price_e4 if price is not None else plan.reference_e4
        if sign * (seen_e4 - plan.stop_e4) > 0:
            price_e4 = max(sign * plan.reference_e4, sign * seen_e4) * sign
        return decide(
            plan,
            account,
            self.profile,
            price_e4=price_e4,
            slippage_bound_e6=self.slippage_bound_e6,
            now_ms=self.clock.now_ms(),
            short=short,
        )

    async def recheck(self, plan: Plan, *, replaces: str | None = None) -> Recheck:
        """Risk again for one sized plan, its own reservation left out; the quantity can only shrink."""
        session = self.calendar.session(plan.session)
        if session is None:
            raise GiveUpError(f"plan {plan.plan_id} is of {plan.session}, which is no session")
        account, prices, book = await self.account(session, (plan.symbol,), without=replaces or plan.plan_id)
        price = prices.get(plan.symbol)
        short = await self.short_now(plan, session, price)
        return Recheck(
            decision=self.decide(plan, account, price, short),
            price=price,
            equity_e8=book.day_start_equity_e8,
            orders_last_minute=book.orders_last_minute,
            short=short,
        )

    def check_order(self, intent: OrderIntent, plan: Plan, found: Recheck) -> tuple[str, ...]:
        """The domain's order check against the account as risk has just read it, under the same guard."""
        now_ms, price = self.clock.now_ms(), found.price
        session = self.calendar.session_at(now_ms)
        at_ms = price.at_ms if price is not None else None
        is_old = is_stale(plan, at_ms, now_ms=now_ms, max_price_age_ms=self.max_price_age_ms)
        seen = Circumstances(
            now_ms=now_ms,
            session=session,
            instrument=self.market.instrument(plan.symbol),
            last_price_e4=price.price_e4 if price is not None else None,
            equity_e8=found.equity_e8,
            orders_last_minute=found.orders_last_minute,
            is_halted=self.market.is_halted(session, plan.symbol, now_ms),
            is_price_stale=price is not None and is_old,
            short=found.short,
        )
        return order_check(intent, plan, self.profile, seen)


@dataclass(frozen=True, slots=True)
class RiskService:
    """Takes ``risk`` jobs ``{session, tick, plans}`` and ``limit`` jobs ``{session, tier}``; a tier is
    ``pause``, ``flatten`` or a breaker.
    """

    queue: JobQueue
    desk: RiskDesk
    approval_delay_ms: int

    async def handle(self, job: Job, tx: Tx) -> None:
        """Decide all plans of a tick in one commit, each seeing the reservations before it."""
        session = self.desk.calendar.session(str(job.payload["session"]))
        if session is None:
            raise GiveUpError(f"{job.type} job {job.idem_key} names no session: {dict(job.payload)}")
        if job.type == Step.LIMIT:
            await self._limit(job, session, tx)
            return
        version = await self.queue.row_version(ACCOUNT_ROW)
        tx.expect(ACCOUNT_ROW, version)
        found = await self._waiting(job)
        symbols = tuple(sorted(stored.plan.symbol for stored in found))
        account, prices, _ = await self.desk.account(session, symbols)
        for stored in sorted(found, key=lambda s: (-s.plan.score_e6, s.plan.symbol)):
            price = prices.get(stored.plan.symbol)
            short = await self.desk.short_now(stored.plan, session, price)
            decision = self.desk.decide(stored.plan, account, price, short)
            if decision.is_approved:
                account = reserve(account, decision, stored.plan)
            self._record(stored.plan, decision, tx)

    async def _waiting(self, job: Job) -> list[StoredPlan]:
        ids = job.payload["plans"]
        if not isinstance(ids, list):
            raise GiveUpError(f"risk job {job.idem_key} names no plans: {dict(job.payload)}")
        found = [await self.desk.store.plan(str(plan_id)) for plan_id in ids]
        return [stored for stored in found if stored is not None and stored.state is PlanState.PLANNED]

    def _record(self, plan: Plan, decision: RiskDecision, tx: Tx) -> None:
        sized = with_size(plan, decision.quantity_e4) if decision.is_approved else plan
        digest = plan_hash(sized) if decision.is_approved else ""
        tx.put(PlanSized(plan=sized, plan_hash=digest, decision=decision))
        tx.put(Journalled(kind="risk", ref=plan.plan_id, data=decision_data(decision)))
        to_state = PlanState.PENDING if decision.is_approved else PlanState.REFUSED
        reason = "" if decision.is_approved else ", ".join(decision.reasons)
        tx.put(
            PlanMoved(
                plan_id=plan.plan_id, from_states=(PlanState.PLANNED,), to_state=to_state, reason=reason
            )
        )
        if decision.is_approved:
            run_at = self.desk.clock.now_ms() + self.approval_delay_ms if self.approval_delay_ms else None
            tx.enqueue(NewJob(Step.APPROVE, {"plan": plan.plan_id}, idem_key=plan.plan_id, run_at_ms=run_at))

    async def _limit(self, job: Job, session: Session, tx: Tx) -> None:
        tier = str(job.payload["tier"])
        control = await self.desk.store.control()
        ref = f"{session.date}/limit"
        if tier == "flatten" or tier in BREAKERS:
            tx.put(_shut(control, BREAKERS.get(tier, "daily loss limit")))
            tx.put(Journalled(kind="limit", ref=ref, data={"tier": tier}))
        if tier == "flatten":  # also where entries wait for a rearm already: that closes no position
            payload: dict[str, str | None] = {"session": session.date, "symbol": None, "reason": "flatten"}
            tx.enqueue(NewJob(Step.FLATTEN, payload, idem_key=f"{session.date}/limit"))
        elif tier == "pause" and not control.is_paused:
            tx.put(ControlChanged(is_paused=True, pause_reason="daily loss pause", paused_by="risk"))
            tx.put(Journalled(kind="limit", ref=ref, data={"tier": tier}))
        elif tier == "pause" and control.paused_by == "person":
            reason = f"{control.pause_reason}; daily loss pause"
            tx.put(ControlChanged(is_paused=True, pause_reason=reason, paused_by="person and risk"))
            tx.put(Journalled(kind="limit", ref=ref, data={"tier": tier}))
        tx.touch(ACCOUNT_ROW)


def _shut(control: Control, reason: str) -> ControlChanged:
    """Entries are shut until a person rearms; a person's own pause outlives the day, risk's does not."""
    if control.is_paused and (control.needs_rearm or control.paused_by in ("person", "person and risk")):
        return ControlChanged(needs_rearm=True)
    return ControlChanged(is_paused=True, pause_reason=reason, paused_by="risk", needs_rearm=True)


def decision_data(decision: RiskDecision) -> dict[str, JsonData]:
    """What the journal keeps of a decision."""
    return {
        "approved": decision.is_approved,
        "quantity_e4": decision.quantity_e4,
        "notional_e8": decision.notional_e8,
        "worst_case_e8": decision.worst_case_e8,
        "reasons": list(decision.reasons),
        "caps": [[name, quantity] for name, quantity in decision.caps],
        "binding_cap": decision.binding_cap,
        "entry_limit_e4": decision.entry_limit_e4,
    }
