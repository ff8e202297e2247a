"""Planner: entry, stop, target and exits for each chosen candidate, or the reason why there is no plan."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from finagent.domain.facts import CandidateRefused, Journalled, PlanRecorded
from finagent.domain.journal import JsonData
from finagent.domain.market import Session
from finagent.domain.orders import Scope
from finagent.domain.plan import NoPlan, NotYet, Plan, PlanState
from finagent.domain.planning import make_plan
from finagent.domain.planning_rules import PlanningRules
from finagent.domain.shorts import ShortRules, ShortTerms
from finagent.domain.steps import Step
from finagent.ports import CalendarPort, Clock, GiveUpError, Job, JsonValue, MarketDataPort, NewJob, Store, Tx
from finagent.runtime.service import ServiceContract

CONTRACT = ServiceContract(name="planner", consumes=(Step.PLAN,), needs=("queue", "market_data"))
DAILY_ALONE = "open_assumed_known"
EntryWindows = Callable[[Session], Sequence[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class PlannerService:
    """Takes ``plan`` jobs ``{session, tick, symbols, version}``; asks again later where a setup is not there yet."""

    store: Store
    market: MarketDataPort
    calendar: CalendarPort
    clock: Clock
    rules: PlanningRules
    windows: EntryWindows
    scope: Scope
    allow_shorts: bool
    lot_e4: int
    shorts: ShortRules

    async def handle(self, job: Job, tx: Tx) -> None:
        """Plan the named symbols of one scan tick; the plans go to risk together, in rank."""
        date, tick = str(job.payload["session"]), str(job.payload["tick"])
        symbols, version = job.payload["symbols"], job.payload["version"]
        session = self.calendar.session(date)
        if session is None or not isinstance(symbols, list) or not isinstance(version, int):
            raise GiveUpError(f"plan job {job.idem_key} is malformed: {dict(job.payload)}")
        plans: list[Plan] = []
        waits: list[NotYet] = []
        for rank, scored in await self.store.scored(date, tick):
            candidate = scored.candidate
            if candidate.symbol not in symbols:
                continue
            if DAILY_ALONE in candidate.flags:
                _refuse(
                    tx, date, tick, NoPlan(candidate.symbol, "no_minutes", "daily bars alone fill no order")
                )
                continue
            outcome = make_plan(
                candidate,
                score_e6=scored.score_e6,
                rank=rank,
                rules=self.rules,
                session=session,
                scan_tick=tick,
                bars=await self.market.minutes(candidate.symbol, session, self.clock.now_ms()),
                windows=self.windows(session),
                now_ms=self.clock.now_ms(),
                scope=self.scope,
                allow_shorts=self.allow_shorts,
                version=version,
                lot_e4=self.lot_e4,
                shorts=self.shorts,
            )
            if isinstance(outcome, Plan):
                plans.append(outcome)
            elif isinstance(outcome, NotYet):
                waits.append(outcome)
            else:
                _refuse(tx, date, tick, outcome)
        self._hand_on(tx, date, tick, plans, version)
        self._ask_again(tx, date, tick, waits, version)

    def _hand_on(self, tx: Tx, date: str, tick: str, plans: Sequence[Plan], version: int) -> None:
        for plan in plans:
            tx.put(PlanRecorded(plan=plan, state=PlanState.PLANNED))
            tx.put(Journalled(kind="plan", ref=plan.plan_id, data=plan_data(plan)))
        if plans:
            ids = [plan.plan_id for plan in plans]
            payload: dict[str, JsonValue] = {"session": date, "tick": tick, "plans": list(ids)}
            tx.enqueue(NewJob(Step.RISK, payload, idem_key=f"{date}/{tick}/{version}/{ids[0]}"))

    def _ask_again(self, tx: Tx, date: str, tick: str, waits: Sequence[NotYet], version: int) -> None:
        for at_ms in sorted({wait.at_ms for wait in waits}):
            symbols = sorted(wait.symbol for wait in waits if wait.at_ms == at_ms)
            payload: dict[str, JsonValue] = {
                "session": date,
                "tick": tick,
                "symbols": list(symbols),
                "version": version,
            }
            # Symbols planned afresh at different instants may wait for the same minute: each keeps its own job.
            key = f"{date}/{tick}/{version}@{at_ms}/{symbols[0]}"
            tx.enqueue(NewJob(Step.PLAN, payload, idem_key=key, run_at_ms=at_ms))


def _refuse(tx: Tx, date: str, tick: str, outcome: NoPlan) -> None:
    tx.put(
        CandidateRefused(
            session=date, tick=tick, symbol=outcome.symbol, reason=outcome.reason, detail=outcome.detail
        )
    )
    data: dict[str, JsonData] = {"reason": outcome.reason, "detail": outcome.detail}
    tx.put(Journalled(kind="no_plan", ref=f"{date}/{tick}/{outcome.symbol}", data=data))


def _short_data(short: ShortTerms) -> dict[str, JsonData]:
    return {
        "restricted": short.is_restricted,
        "restricted_at_e4": short.restricted_at_e4,
        "borrow_assumed": short.is_borrow_assumed,
        "borrow_fee_e6": short.borrow_fee_e6,
    }


def plan_data(plan: Plan) -> dict[str, JsonData]:
    """What the journal keeps of a plan."""
    return {
        "symbol": plan.symbol,
        "setup": plan.setup.value,
        "direction": plan.direction.value,
        "rank": plan.rank,
        "score_e6": plan.score_e6,
        "version": plan.version,
        "reference_e4": plan.reference_e4,
        "trigger_e4": plan.trigger_e4,
        "stop_e4": plan.stop_e4,
        "targets": [{"leg": t.leg, "share_e6": t.share_e6, "price_e4": t.price_e4} for t in plan.targets],
        "entry_from_ms": plan.entry_from_ms,
        "entry_until_ms": plan.entry_until_ms,
        "short": None if plan.short is None else _short_data(plan.short),
    }
