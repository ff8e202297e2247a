"""What a session decided and did, as rows that two ways to play it can be compared by.

A row is known by its stage, the scan, the symbol, the version of the plan, the leg and a number; never by an id, which
hashes the account that made it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby

from finagent.backtest.ledger import Ledger
from finagent.domain.gap import Candidate
from finagent.domain.orders import BrokerFill, OrderIntent
from finagent.domain.plan import Plan
from finagent.domain.positions import Trade
from finagent.domain.risk import RiskDecision
from finagent.domain.scoring import ScoredCandidate

ENTRY_EVENTS = ("limit", "move_stop", "exit")
"""Journalled decisions about positions and the day, beside those that have rows of their own."""


RESIZED = "resize"
"""A stop of its own that is made to fit what is held; one that is attached fits by itself."""


class Stage(StrEnum):
    """In the order of the day."""

    SCAN = "scan"
    CANDIDATE = "candidate"
    SCORE = "score"
    PLAN = "plan"
    RISK = "risk"
    APPROVAL = "approval"
    PLAN_END = "plan_end"
    ORDER = "order"
    FILL = "fill"
    EVENT = "event"
    TRADE = "trade"
    DAY = "day"


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What a row is about; empty where it is not about such a thing."""

    stage: str
    tick: str = ""
    symbol: str = ""
    version: int = 0
    leg: str = ""
    number: int = 0

    @property
    def plan(self) -> tuple[str, str, int]:
        """The plan it belongs to."""
        return self.tick, self.symbol, self.version


@dataclass(frozen=True, slots=True)
class Row:
    """When, and what; names carry their unit."""

    at_ms: int
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class PlanFact:
    """A plan, what risk said, when it was approved, and how it ended."""

    plan: Plan
    state: str
    reason: str
    decision: RiskDecision | None
    approved_at_ms: int | None


@dataclass(frozen=True, slots=True)
class OrderFact:
    """An order and what became of it."""

    intent: OrderIntent
    state: str
    filled_e4: int
    reason: str


@dataclass(frozen=True, slots=True)
class FillFact:
    """An execution with its leg and why the order was sent."""

    fill: BrokerFill
    plan_id: str
    leg: str
    reason: str


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the journal."""

    at_ms: int
    kind: str
    ref: str
    data: Mapping[str, object]


@dataclass(slots=True)
class DayFacts:
    """One session as it was decided, by either side."""

    events: list[Event] = field(default_factory=list)
    scored: dict[str, list[tuple[int, ScoredCandidate]]] = field(default_factory=dict)
    """By scan the candidates in rank."""
    plans: list[PlanFact] = field(default_factory=list)
    orders: list[OrderFact] = field(default_factory=list)
    fills: list[FillFact] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)


def facts_of(ledger: Ledger, session: str, scored: dict[str, list[tuple[int, ScoredCandidate]]]) -> DayFacts:
    """A backtest's session; ``scored`` are its candidates, which the ledger does not keep."""
    approved = {each.ref: each.at_ms for each in ledger.journal if each.kind == "approved"}
    return DayFacts(
        events=[Event(each.at_ms, each.kind, each.ref, each.data) for each in ledger.journal],
        scored=scored,
        plans=[
            PlanFact(row.plan, row.state.value, row.reason, row.decision, approved.get(row.plan.plan_id))
            for row in ledger.plans_of(session)
        ],
        orders=[
            OrderFact(row.intent, row.state.value, row.filled_e4, row.reason)
            for row in ledger.orders.values()
            if row.session == session
        ],
        fills=[
            FillFact(row.fill, row.plan_id, row.leg, "" if row.reason is None else row.reason.value)
            for row in ledger.fills
            if row.session == session
        ],
        trades=[trade for trade in ledger.trades if trade.session == session],
    )


def rows_of(facts: DayFacts, *, with_exits: bool = True) -> dict[Key, Row]:
    """All rows of a session; ``with_exits`` False leaves out exit orders, where both sides place them otherwise."""
    named = {
        fact.plan.plan_id: (fact.plan.scan_tick, fact.plan.symbol, fact.plan.version) for fact in facts.plans
    }
    found: dict[Key, Row] = {}
    for part in (
        _scans(facts),
        _candidates(facts),
        _plans(facts),
        _orders(facts, named, with_exits=with_exits),
        _fills(facts, named),
        _events(facts, named, with_exits=with_exits),
        _trades(facts, named),
    ):
        found.update(part)
    return found


Named = Mapping[str, tuple[str, str, int]]
Found = Iterator[tuple[Key, Row]]


def _scans(facts: DayFacts) -> Found:
    for event in facts.events:
        tick = event.ref.partition("/")[2]
        if event.kind == "scan":
            kept = ("kind", "universe", "dropped")
            yield Key(Stage.SCAN, tick), Row(event.at_ms, {name: event.data[name] for name in kept})
            issues = event.data["data_issues"]
            for issue in issues if isinstance(issues, list) else ():
                yield Key(Stage.CANDIDATE, tick, issue["symbol"]), Row(event.at_ms, {"issue": issue["kind"]})
        elif event.kind == "score":
            yield Key(Stage.SCORE, tick), Row(event.at_ms, {"chosen": _listed(event.data["chosen"])})
        elif event.kind == "no_plan":
            scan, _, symbol = tick.partition("/")
            yield Key(Stage.PLAN, scan, symbol), Row(event.at_ms, {"no_plan": event.data["reason"]})


def _candidates(facts: DayFacts) -> Found:
    for tick, rows in facts.scored.items():
        for rank, item in rows:
            at_ms = item.candidate.as_of_ms
            yield Key(Stage.CANDIDATE, tick, item.candidate.symbol), Row(at_ms, _candidate(item.candidate))
            factors = {f"{factor.name}_e6": factor.value_e6 for factor in item.factors}
            values = {"rank": rank, "score_e6": item.score_e6, **factors}
            yield Key(Stage.SCORE, tick, item.candidate.symbol), Row(at_ms, values)


CANDIDATE_FIELDS = (
    "gap_e6", "indication_e4", "indication_source", "prev_close_e4", "direction", "last_price_e4", "volume",
    "premarket_volume", "adv_usd", "rvol_e6", "atr_e4", "spread_e6", "is_short_restricted",
)  # fmt: skip


def _candidate(candidate: Candidate) -> dict[str, object]:
    return {name: _plain(getattr(candidate, name)) for name in CANDIDATE_FIELDS}


PLAN_FIELDS = (
    "rank", "preset", "setup", "direction", "score_e6", "reference_e4", "stop_e4", "trigger_e4", "limit_e4",
    "entry_from_ms", "entry_until_ms",
)  # fmt: skip


def _plans(facts: DayFacts) -> Found:
    for fact in facts.plans:
        plan = fact.plan
        key = (plan.scan_tick, plan.symbol, plan.version)
        at_ms = plan.decided_at_ms
        targets = {f"{leg.leg}_e4": leg.price_e4 for leg in plan.targets}
        values = {name: _plain(getattr(plan, name)) for name in PLAN_FIELDS}
        yield Key(Stage.PLAN, *key), Row(at_ms, {**values, **targets})
        decision = fact.decision
        if decision is not None:
            yield Key(Stage.RISK, *key), Row(at_ms, {
                "is_approved": decision.is_approved,
                "shares_e4": decision.quantity_e4,
                "reasons": _listed(decision.reasons),
                "binding_cap": decision.binding_cap,
            })  # fmt: skip
        if fact.approved_at_ms is not None:
            yield Key(Stage.APPROVAL, *key), Row(fact.approved_at_ms, {"approved_at_ms": fact.approved_at_ms})
        ended = {"state": fact.state, "reason": fact.reason, "shares_e4": plan.quantity_e4}
        yield Key(Stage.PLAN_END, *key), Row(fact.approved_at_ms or at_ms, ended)


def _orders(facts: DayFacts, named: Named, *, with_exits: bool) -> Found:
    for fact in facts.orders:
        intent = fact.intent
        if intent.plan_id not in named or not (with_exits or intent.leg == "entry"):
            continue
        key = Key(Stage.ORDER, *named[intent.plan_id], intent.leg, intent.generation)
        yield key, Row(intent.created_at_ms, {
            "side": intent.side.value,
            "type": intent.type.value,
            "shares_e4": intent.quantity_e4,
            "limit_e4": intent.limit_e4,
            "stop_e4": intent.stop_e4,
            "created_at_ms": intent.created_at_ms,
            "state": fact.state,
            "filled_shares_e4": fact.filled_e4,
            "reason": fact.reason,
        })  # fmt: skip


def _fills(facts: DayFacts, named: Named) -> Found:
    def by_leg(fact: FillFact) -> tuple[tuple[str, str, int], str]:
        return named[fact.plan_id], fact.leg

    known = [fact for fact in facts.fills if fact.plan_id in named]
    for (plan, leg), found in groupby(sorted(known, key=by_leg), key=by_leg):
        for number, fact in enumerate(sorted(found, key=lambda each: each.fill.at_ms), 1):
            fill = fact.fill
            yield Key(Stage.FILL, *plan, leg, number), Row(fill.at_ms, {
                "side": fill.side.value,
                "shares_e4": fill.quantity_e4,
                "price_e4": fill.price_e4,
                "at_ms": fill.at_ms,
                "fees_e8": fill.fees_e8,
                "reason": fact.reason,
            })  # fmt: skip


def _events(facts: DayFacts, named: Named, *, with_exits: bool) -> Found:
    counted: dict[Key, int] = {}
    for event in facts.events:
        if event.kind not in ENTRY_EVENTS or (not with_exits and event.data.get("reason") == RESIZED):
            continue
        plan = named.get(event.ref, ("", "", 0))
        bare = Key(Stage.EVENT, *plan, event.kind)
        counted[bare] = counted.get(bare, 0) + 1
        values = {"at_ms": event.at_ms, "reason": event.data.get("reason", event.data.get("tier"))}
        yield Key(Stage.EVENT, *plan, event.kind, counted[bare]), Row(event.at_ms, values)


TRADE_FIELDS = (
    "direction", "entry_at_ms", "entry_price_e4", "exit_at_ms", "exit_price_e4", "exit_reason", "r_multiple_e6",
    "mae_r_e6", "mfe_r_e6", "fees_e8", "pnl_e8", "is_ambiguous",
)  # fmt: skip


def _trades(facts: DayFacts, named: Named) -> Found:
    known = [trade for trade in facts.trades if trade.plan_id in named]
    for trade in known:
        values = {name: _plain(getattr(trade, name)) for name in TRADE_FIELDS}
        key = Key(Stage.TRADE, *named[trade.plan_id])
        yield key, Row(trade.exit_at_ms, {**values, "shares_e4": trade.quantity_e4})
    last_ms = max((trade.exit_at_ms for trade in known), default=0)
    pnl_e8 = sum(trade.pnl_e8 for trade in known)
    yield Key(Stage.DAY), Row(last_ms, {"trades": len(known), "pnl_e8": pnl_e8})


def _plain(value: object) -> object:
    return value.value if isinstance(value, StrEnum) else value


def _listed(value: object) -> list[object]:
    return [*value] if isinstance(value, Sequence) and not isinstance(value, str) else []
