"""A day as surfaces see it: a database written through the queue's own commit, and its views."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.facts import apply_fact
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.adapters.sqlite.views import (
    SqliteViews,
    ViewFacts,
)
from finagent.context import Document
from finagent.domain.facts import (
    ApprovalAnswered,
    ApprovalRequested,
    FillRecorded,
    IntentRecorded,
    Journalled,
    OrderMoved,
    PlanMoved,
    PlanRecorded,
    PlanSized,
    PositionRecorded,
    ReservationReleased,
    TradeRecorded,
)
from finagent.domain.gap import Candidate, DataIssue, Dropped, GapScan, IndicationSource, Levels
from finagent.domain.legs import STOP, entry_intents
from finagent.domain.market import MINUTE_MS, Direction, Instrument, Session
from finagent.domain.money import MONEY_SCALE
from finagent.domain.orders import BrokerFill, OrderIntent, OrderState, Scope, body_hash
from finagent.domain.plan import ExitLeg, Management, Plan, PlanState, plan_hash, with_size
from finagent.domain.positions import ExitReason, LegFill, Position, fold, make_trade, open_position
from finagent.domain.risk import RiskDecision, standard_profile
from finagent.domain.scoring import Factor, ScoredCandidate
from finagent.domain.setups import Setup
from finagent.queue.job import JobPolicy, JobTypes, NewJob
from finagent.queue.port import Tx
from finagent.runtime.clock import VirtualClock
from tests.contract.queue_world import ManualTicker

OPEN_MS = 1_519_137_000_000
"""2018-02-20 09:30 New York."""
HOUR_MS = 60 * MINUTE_MS
DAY = Session(date="2018-02-20", open_ms=OPEN_MS, close_ms=OPEN_MS + 390 * MINUTE_MS, previous="2018-02-16")
BEFORE = "2018-02-16"
TICK = "open"
TYPES = JobTypes({"scan": JobPolicy(priority=5, max_attempts=1), "send": JobPolicy(priority=1)})


class OneDay:
    """A calendar of one session."""

    def session(self, date: str) -> Session | None:
        return DAY if date == DAY.date else None

    def sessions(self, first: str, last: str) -> Sequence[Session]:
        return [DAY] if first <= DAY.date <= last else []

    def session_at(self, at_ms: int) -> Session:
        return DAY

    def after(self, date: str) -> Session:
        return DAY


@dataclass
class Desk:
    """One database with its writer, and its views; `put` commits facts as a step does."""

    database: Database
    queue: SqliteJobQueue
    clock: VirtualClock
    marks_e4: dict[str, int] = field(default_factory=dict)

    async def put(self, *facts: object, jobs: Sequence[NewJob] = ()) -> None:
        tx = Tx()
        for fact in facts:
            tx.put(fact)
        for job in jobs:
            tx.enqueue(job)
        await self.queue.commit(tx)

    def views(self, **changes: object) -> SqliteViews:
        async def marks(symbols: Sequence[str], session: Session, now_ms: int) -> Mapping[str, int]:
            return {symbol: self.marks_e4[symbol] for symbol in symbols if symbol in self.marks_e4}

        facts = ViewFacts(
            home="var",
            version="0.1.0",
            currency="USD",
            mode="approve",
            broker="paper",
            clock=self.clock,
            calendar=OneDay(),
            profile=standard_profile(),
            start_equity_e8=100_000 * MONEY_SCALE,
            marks=marks,
        )
        return SqliteViews(self.database, replace(facts, **changes))

    async def status(self, **changes: object) -> Document:
        """As of a run that was played; ``run_id=None``: of an agent's own day."""
        return await self.views(**{"run_id": "r1", **changes}).status()


@asynccontextmanager
async def open_desk(folder: Path) -> AsyncIterator[Desk]:
    """A desk on a fresh file, one minute after the open."""
    clock = VirtualClock(OPEN_MS + MINUTE_MS)
    async with await Database.open(folder / "finagent.db", clock=clock, threaded=False) as database:
        queue = SqliteJobQueue(database, TYPES, clock, ManualTicker(), apply_fact=apply_fact)
        await queue.start()
        yield Desk(database, queue, clock)
        await queue.close()


# ---------------------------------------------------------------- what is written
def gapper(symbol: str, **changes: object) -> Candidate:
    base = Candidate(
        instrument=Instrument(symbol=symbol, sector="Retail", float_shares=None, shortable=True),
        session=DAY.date,
        as_of_ms=OPEN_MS + MINUTE_MS,
        gap_e6=42_000,
        indication_e4=100_0000,
        indication_source=IndicationSource.OPEN,
        prev_close_e4=95_9693,
        prev_close_adjusted_e8=95_96930000,
        direction=Direction.LONG,
        last_price_e4=100_0000,
        volume=1_200_000,
        adv_usd=80_000_000,
        rvol_e6=3_250_000,
        atr_e4=2_0000,
        atr_pct_e6=20_000,
        spread_e6=500,
        feed="test",
        levels=Levels(prev_high_e4=97_0000, half_gap_e4=97_9846, gap_fill_e4=95_9693, vwap_e4=99_8765),
        flags=("unknown_premarket_volume",),
    )
    return replace(base, **changes)


def score_of(candidate: Candidate, score_e6: int) -> ScoredCandidate:
    factors = (
        Factor(name="volatility", value_e6=800_000, weight_e6=400_000, explanation="ATR 2.00 %"),
        Factor(name="catalyst", value_e6=0, weight_e6=300_000, explanation="no news", has_data=False),
    )
    return ScoredCandidate(candidate=candidate, score_e6=score_e6, factors=factors)


SCAN = GapScan(
    session=DAY.date,
    as_of_ms=OPEN_MS + MINUTE_MS,
    universe=5,
    candidates=(gapper("AMD", gap_e6=51_000), gapper("WMT")),
    dropped=(
        Dropped("IBM", "gap_too_small", "1.20 % is below 4.00 %"),
        Dropped("F", "price", "1.90 below 2.00"),
    ),
    data_issues=(DataIssue("JCI", "split_mismatch", "close falls to a third"),),
    market={"spy_gap_e6": -3_100, "breadth_e6": None},
)
SCORED = (score_of(SCAN.candidates[1], 812_000), score_of(SCAN.candidates[0], 500_000))


def a_plan(symbol: str = "WMT", *, rank: int = 1, number: int = 1, **changes: object) -> Plan:
    base = Plan(
        plan_id=f"pl_{symbol.lower()}{number:03d}",
        version=1,
        session=DAY.date,
        scan_tick=TICK,
        symbol=symbol,
        rank=rank,
        preset="classic",
        setup=Setup.NEXT_OPEN,
        direction=Direction.LONG,
        score_e6=812_000,
        reference_e4=100_0000,
        stop_e4=97_0000,
        targets=(ExitLeg(leg="target-1", share_e6=1_000_000, price_e4=109_0000),),
        management=Management(),
        decided_at_ms=OPEN_MS + MINUTE_MS,
        entry_from_ms=OPEN_MS + MINUTE_MS,
        entry_until_ms=OPEN_MS + 90 * MINUTE_MS,
    )
    return replace(base, **changes)


def approved(plan: Plan, shares: int = 100) -> tuple[Plan, RiskDecision]:
    sized = with_size(plan, shares * 10_000)
    decision = RiskDecision(
        plan_id=plan.plan_id,
        version=1,
        is_approved=True,
        quantity_e4=shares * 10_000,
        notional_e8=sized.quantity_e4 * plan.reference_e4,
        worst_case_e8=sized.quantity_e4 * 4_5000,
        caps=(("risk_per_trade", 166_0000), ("position_notional", shares * 10_000)),
        binding_cap="position_notional",
    )
    return sized, decision


async def asked(desk: Desk, plan: Plan, *, ttl_ms: int = 10 * MINUTE_MS) -> Plan:
    """A plan that risk has sized and a person is asked about."""
    sized, decision = approved(plan)
    digest = plan_hash(sized)
    await desk.put(
        PlanRecorded(plan=plan, state=PlanState.PLANNED),
        PlanSized(plan=sized, plan_hash=digest, decision=decision),
        PlanMoved(plan_id=plan.plan_id, from_states=(PlanState.PLANNED,), to_state=PlanState.PENDING),
        ApprovalRequested(
            plan_id=plan.plan_id, plan_hash=digest, nonce="n" * 32, expires_at_ms=desk.clock.now_ms() + ttl_ms
        ),
        Journalled(kind="plan", ref=plan.plan_id, data={"symbol": plan.symbol}),
    )
    return sized


async def sent(desk: Desk, plan: Plan) -> tuple[OrderIntent, ...]:
    """A plan whose orders the broker has accepted."""
    sized = await asked(desk, plan)
    intents = entry_intents(
        sized, sized.quantity_e4, scope=Scope(), now_ms=desk.clock.now_ms(), time_to_live_ms=60_000
    )
    await desk.put(
        ApprovalAnswered(
            plan_id=plan.plan_id,
            plan_hash=plan_hash(sized),
            state="approved",
            channel="cli",
            identity="cli:ada",
        ),
        PlanMoved(plan_id=plan.plan_id, from_states=(PlanState.PENDING,), to_state=PlanState.APPROVED),
        PlanMoved(plan_id=plan.plan_id, from_states=(PlanState.APPROVED,), to_state=PlanState.ENTERING),
        *(IntentRecorded(intent=i, session=plan.session, body_hash=body_hash(i)) for i in intents),
        *(
            OrderMoved(
                client_order_id=i.client_order_id,
                to_state=OrderState.ACCEPTED,
                accepted_at_ms=desk.clock.now_ms(),
            )
            for i in intents
        ),
    )
    return intents


def fill_of(intent: OrderIntent, price_e4: int, at_ms: int, **changes: object) -> BrokerFill:
    base = BrokerFill(
        execution_id=f"{intent.client_order_id}/1",
        client_order_id=intent.client_order_id,
        symbol=intent.symbol,
        side=intent.side,
        quantity_e4=intent.quantity_e4,
        price_e4=price_e4,
        at_ms=at_ms,
        fees_e8=30_000_000,
        reference_e4=price_e4,
    )
    return replace(base, **changes)


async def opened(desk: Desk, plan: Plan) -> tuple[tuple[OrderIntent, ...], Position]:
    """A plan with 100 shares at 100.10, its stop and target resting."""
    intents = await sent(desk, plan)
    fill = fill_of(intents[0], 100_1000, desk.clock.now_ms())
    position = fold(open_position(plan), fill)
    await desk.put(
        FillRecorded(fill=fill, plan_id=plan.plan_id, leg="entry", session=plan.session, reason=None),
        PositionRecorded(position=position, stop_e4=plan.stop_e4),
        PlanMoved(plan_id=plan.plan_id, from_states=(PlanState.ENTERING,), to_state=PlanState.OPEN),
        ReservationReleased(plan_id=plan.plan_id),
    )
    return intents, position


async def closed(desk: Desk, plan: Plan, *, price_e4: int = 97_0000) -> str:
    """A round trip that ended at its stop."""
    intents, position = await opened(desk, plan)
    desk.clock.advance(desk.clock.now_ms() + HOUR_MS)
    stop = next(i for i in intents if i.leg == STOP)
    out = fill_of(stop, price_e4, desk.clock.now_ms())
    first = fill_of(intents[0], 100_1000, desk.clock.now_ms() - HOUR_MS)
    sized = with_size(plan, 1_000_000)
    trade = make_trade(
        sized,
        [LegFill(leg="entry", fill=first), LegFill(leg=STOP, fill=out, reason=ExitReason.STOP)],
        [],
        trade_id=f"tr_{plan.plan_id[3:]}",
    )
    await desk.put(
        FillRecorded(fill=out, plan_id=plan.plan_id, leg=STOP, session=plan.session, reason=ExitReason.STOP),
        PositionRecorded(position=fold(position, out), stop_e4=plan.stop_e4),
        *(
            OrderMoved(
                client_order_id=i.client_order_id, to_state=OrderState.CANCELLED, reason="position_closed"
            )
            for i in intents[2:]
        ),
        TradeRecorded(trade=trade, exit_session=trade.session),
        PlanMoved(
            plan_id=plan.plan_id, from_states=(PlanState.OPEN,), to_state=PlanState.CLOSED, reason="stop"
        ),
        Journalled(kind="trade", ref=trade.trade_id, data={"pnl_e8": trade.pnl_e8}),
    )
    return trade.trade_id


def part(document: Document, *keys: str | int) -> object:
    """What stands under a path of keys."""
    found: object = document
    for key in keys:
        found = found[key]  # type: ignore[index]
    return found


def codes(status: Document) -> list[tuple[str, str]]:
    return [(row["severity"], row["code"]) for row in status["problems"]]  # type: ignore[index,call-overload]
