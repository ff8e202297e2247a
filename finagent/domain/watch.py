"""What the clock and the market make due: each watch holds all that it decides with, and decides the same again.

The tick leaves a job for each thing that is due, and one journal row that says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from finagent.domain.book import Book, OpenPosition, account_state
from finagent.domain.errors import PlainDataError
from finagent.domain.evidence import Evidence, EvidenceWriter
from finagent.domain.journal import JsonData
from finagent.domain.limits import breakers, loss_tier
from finagent.domain.manage import ArmedAction, OpenState, TimeStop, advance, armed_action, evaluate
from finagent.domain.market import MINUTE_MS, Bar
from finagent.domain.orders import BrokerFill, OwnOrder
from finagent.domain.plain import typed
from finagent.domain.plan import Plan
from finagent.domain.positions import ExitReason, entry_price_e4, fold, has_entry, open_position
from finagent.domain.protection import is_attached, is_bare, touched_targets
from finagent.domain.risk_profile import RiskProfile
from finagent.domain.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class DueJob:
    """A job to leave; ``serial`` is the plan whose jobs never run at the same time."""

    step: Step
    payload: Mapping[str, JsonData]
    key: str
    serial: str | None = None

    def told(self) -> JsonData:
        """As it stands in the journal's evidence."""
        named: dict[str, JsonData] = {"type": self.step.value, "payload": dict(self.payload), "key": self.key}
        return named if self.serial is None else {**named, "serial": self.serial}


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a watch decided: its journal row, and the jobs that follow."""

    kind: str
    ref: str
    data: dict[str, JsonData]
    jobs: tuple[DueJob, ...] = ()


class Watch(Protocol):
    """Frozen inputs with one rule over them."""

    def decide(self) -> Due | None:
        """What is due; None when nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmedWatch:
    """An armed plan at the end of a minute; ``bar`` is None where the symbol did not trade in it.

    ``now_ms`` is when it is looked at: a minute that is past already triggers nothing.
    """

    plan: Plan
    bar: Bar | None
    at_ms: int
    now_ms: int

    def decide(self) -> Due | None:
        """Execution, or the plan's end where the trigger passed unseen: it is never chased."""
        plan_id = self.plan.plan_id
        if armed_action(self.plan, self.bar, self.at_ms) is not ArmedAction.TRIGGER:
            return None
        payload: dict[str, JsonData] = {"plan": plan_id}
        data: dict[str, JsonData] = {"at_ms": self.at_ms, "is_seen_late": False}
        job = DueJob(step=Step.EXECUTE, payload=payload, key=plan_id, serial=plan_id)
        if self.now_ms - self.at_ms > MINUTE_MS:
            payload = {"plan": plan_id, "reason": "trigger_passed_unseen"}
            data["is_seen_late"] = True
            job = DueJob(step=Step.PLAN_EXPIRY, payload=payload, key=f"{plan_id}/unseen", serial=plan_id)
        return Due(kind="trigger", ref=plan_id, data=data, jobs=(job,))


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionWatch:
    """An open position at the end of a minute, with the bars since its entry.

    ``orders`` are the plan's where targets and protection are watched here, None where its exits rest at the broker.
    """

    held: OpenPosition
    bar: Bar | None
    bars: tuple[Bar, ...]
    at_ms: int
    orders: tuple[OwnOrder, ...] | None = None
    has_timed_keys: bool = False
    """A time exit is asked for again each minute until the position is gone."""
    is_halt: bool = False
    """Trading in the symbol is halted, or was a minute ago, and no order of the broker's own minds the position."""

    def decide(self) -> Due | None:
        """Targets that were reached, a stop that is missing, a time exit, a stop to move."""
        jobs = [*self._exits(), *self._managed(), *self._halted()]
        if not jobs:
            return None
        told: list[JsonData] = [[job.step.value, *_reason(job)] for job in jobs]
        data: dict[str, JsonData] = {"at_ms": self.at_ms, "due": told}
        return Due(kind="position_due", ref=self.held.plan.plan_id, data=data, jobs=tuple(jobs))

    def _exits(self) -> list[DueJob]:
        """What no order at the broker does by itself."""
        if self.orders is None or is_attached(self.orders):
            return []
        plan, plan_id = self.held.plan, self.held.plan.plan_id
        opened_at_ms = self.held.position.opened_at_ms or 0
        legs = (
            touched_targets(plan, self.orders, self.bar, opened_at_ms=opened_at_ms)
            if self.bar is not None
            else ()
        )
        if legs:
            take: dict[str, JsonData] = {
                "plan": plan_id,
                "reason": ExitReason.TARGET.value,
                "legs": list(legs),
            }
            return [
                DueJob(step=Step.EXIT, payload=take, key=f"{plan_id}/{legs[-1]}@{self.at_ms}", serial=plan_id)
            ]
        if not is_bare(self.orders):
            return []
        key = f"{plan_id}/bare@{self.at_ms}"
        return [DueJob(step=Step.PROTECT, payload={"plan": plan_id}, key=key, serial=plan_id)]

    def _managed(self) -> list[DueJob]:
        """What the plan's management asks for."""
        if self.bar is None or not has_entry(self.held.position):
            return []
        plan_id, jobs = self.held.plan.plan_id, []
        for action in evaluate(self.held.plan, self._state(), self.bar, self.at_ms):
            if isinstance(action, TimeStop):
                payload: dict[str, JsonData] = {"plan": plan_id, "reason": action.reason.value}
                key = f"{plan_id}/time@{self.at_ms}" if self.has_timed_keys else f"{plan_id}/time"
                jobs.append(DueJob(step=Step.EXIT, payload=payload, key=key, serial=plan_id))
            else:
                stop_e4 = action.new_stop_e4
                payload = {"plan": plan_id, "stop_e4": stop_e4, "reason": action.reason.value}
                key = f"{plan_id}/{stop_e4}@{self.at_ms}"
                jobs.append(DueJob(step=Step.MOVE_STOP, payload=payload, key=key, serial=plan_id))
        return jobs

    def _halted(self) -> list[DueJob]:
        """A look at the stop as soon as the symbol trades again."""
        if not self.is_halt:
            return []
        plan_id = self.held.plan.plan_id
        payload: dict[str, JsonData] = {"plan": plan_id, "since_ms": self.at_ms}
        key = f"{plan_id}/halt@{self.at_ms}"
        return [DueJob(step=Step.HALT_CHECK, payload=payload, key=key, serial=plan_id)]

    def _state(self) -> OpenState:
        """Best price since the entry, folded anew from the bars: nothing is remembered between ticks."""
        position = self.held.position
        entry_e4 = entry_price_e4(position)
        state = OpenState(
            entry_e4=entry_e4,
            best_e4=entry_e4,
            stop_e4=self.held.stop_e4,
            opened_at_ms=position.opened_at_ms or 0,
        )
        for bar in self.bars:
            state = advance(self.held.plan, state, bar)
        return state


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitWatch:
    """The day's account at the end of a minute, with fills (and their plans) that no job has folded yet."""

    book: Book
    fills: tuple[tuple[Plan, BrokerFill], ...]
    marks_e4: Mapping[str, int]
    profile: RiskProfile

    def decide(self) -> Due | None:
        """The tier that the day's loss has reached, and the breakers that stand open."""
        session = self.book.session
        account = account_state(self._with_fills(), self.marks_e4, self.profile)
        tier = loss_tier(account, self.profile)
        jobs = [] if tier is None else [_limit(session, tier, f"{session}/{tier}")]
        for breaker in breakers(account, self.profile):
            jobs.append(_limit(session, breaker, f"{session}/{breaker}/{self.book.rearmed_at_ms}"))
        if not jobs:
            return None
        tiers: list[JsonData] = [job.payload["tier"] for job in jobs]
        data: dict[str, JsonData] = {"tiers": tiers, "day_pnl_e8": account.day_pnl_e8}
        return Due(kind="limit_due", ref=f"{session}/limit", data=data, jobs=tuple(jobs))

    def _with_fills(self) -> Book:
        held = {each.plan.plan_id: each for each in self.book.positions}
        for plan, fill in self.fills:
            known = held.get(plan.plan_id)
            before = known.position if known is not None else open_position(plan)
            stop_e4 = known.stop_e4 if known is not None else plan.stop_e4
            held[plan.plan_id] = OpenPosition(position=fold(before, fill), plan=plan, stop_e4=stop_e4)
        return self.book.with_positions(tuple(held[plan_id] for plan_id in sorted(held)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanWatch:
    """A scan whose line has come due, and whether it may still run."""

    session: str
    tick: str
    late_ms: int
    misfire_ms: int
    to_flatten_ms: int
    min_before_flatten_ms: int
    is_no_trade_day: bool

    def skipped(self) -> str | None:
        """Why it does not run; None when it does."""
        if self.late_ms > self.misfire_ms:
            return f"missed by {self.late_ms // 60_000} min"
        if self.is_no_trade_day:
            return "no-trade day"
        if self.to_flatten_ms < self.min_before_flatten_ms:
            return "too close to the flatten ladder"
        return None

    def decide(self) -> Due | None:
        """The row of a skipped scan; one that runs says for itself what it found."""
        reason = self.skipped()
        if reason is None:
            return None
        return Due(kind="scan_skipped", ref=f"{self.session}/{self.tick}", data={"reason": reason})


WATCHES: Mapping[str, type[ArmedWatch] | type[PositionWatch] | type[LimitWatch] | type[ScanWatch]] = {
    kind.__name__: kind for kind in (ArmedWatch, PositionWatch, LimitWatch, ScanWatch)
}


def watch_evidence(watch: Watch, due: Due, *, code: str) -> Evidence:
    """All that a watch decided with, and what it decided; ``code`` names the program."""
    writer = EvidenceWriter()
    head: dict[str, JsonData] = {
        "code": code,
        "watch": type(watch).__name__,
        "inputs": writer.plain(watch),
        "facts": [],
        "jobs": [job.told() for job in due.jobs],
    }
    return writer.finish(head)


def watch_again(name: str, inputs: JsonData) -> Due | None:
    """The decision of a recorded watch by the program as it is now; PlainDataError when it reads no such inputs."""
    kind = WATCHES.get(name)
    if kind is None:
        raise PlainDataError(f"this program has no {name}")
    watch: Watch = typed(kind, inputs)
    return watch.decide()


def _limit(session: str, tier: str, key: str) -> DueJob:
    return DueJob(step=Step.LIMIT, payload={"session": session, "tier": tier}, key=key)


def _reason(job: DueJob) -> list[JsonData]:
    return [job.payload["reason"]] if "reason" in job.payload else []
