"""The judge: what the broker accepted and filled against what the agent's file says; shares no code with either."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

PREFIX = "fa-"
ENDED_PLANS = ("closed", "refused", "rejected", "expired", "cancelled", "not_filled", "superseded")
ENDED_ORDERS = ("filled", "cancelled", "rejected", "expired", "never_arrived")
NOT_SENT = ("cancelled", "rejected", "never_arrived")
ORDERS = "SELECT client_order_id, plan_id, leg, generation, state, filled FROM broker_order"
PLANS = "SELECT plan_id, state, symbol, session FROM plan"
FILLS = "SELECT count(*) FROM fill"
HELD = "SELECT symbol, sum(quantity) FROM position GROUP BY symbol HAVING sum(quantity) <> 0"
SCALE = 10_000
Row = Sequence[object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An order that the broker accepted, as its own witness wrote it down."""

    client_order_id: str
    symbol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """A fill at the broker, in the order in which they happened."""

    client_order_id: str
    symbol: str
    side: str
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the outside saw; ``acknowledged`` are the plans to which a yes was acknowledged."""

    accepted: Sequence[Accepted]
    executions: Sequence[Execution]
    open_ids: Sequence[str]
    positions: Mapping[str, Decimal]
    acknowledged: Sequence[str]


@dataclass(slots=True)
class Verdict:
    """What is wrong, each with its subject; empty lists are the promise kept."""

    lost: list[str] = field(default_factory=list)
    duplicate: list[str] = field(default_factory=list)
    orphan: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    plans: Mapping[str, int] = field(default_factory=dict)
    orders: int = 0
    fills: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not (self.lost or self.duplicate or self.orphan or self.other)


def judge(database: Path, evidence: Evidence, *, is_over: bool) -> Verdict:
    """Compare both sides. ``is_over``: all days are closed, so that nothing may be open or on its way any more."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        orders = {str(row[0]): row for row in connection.execute(ORDERS)}
        plans = {str(row[0]): row for row in connection.execute(PLANS)}
        held = {str(symbol): Decimal(int(total)) / SCALE for symbol, total in connection.execute(HELD)}
        fills = int(connection.execute(FILLS).fetchone()[0])
    states = Counter(str(row[1]) for row in plans.values())
    verdict = Verdict(plans=states, orders=len(evidence.accepted), fills=fills)
    _judge_duplicates(evidence, orders, verdict)
    _judge_orphans(evidence, orders, verdict)
    _judge_sides(evidence.executions, verdict)
    _judge_acknowledged(evidence, plans, verdict)
    if is_over:
        _judge_end(evidence, orders, plans, verdict)
        _judge_flat(evidence, held, verdict)
    return verdict


def _judge_duplicates(evidence: Evidence, orders: Mapping[str, Row], verdict: Verdict) -> None:
    """One id once; one entry a symbol and day; one order a leg generation, whatever the ids say."""
    ids = Counter(each.client_order_id for each in evidence.accepted)
    entries: Counter[str] = Counter()
    legs: Counter[tuple[object, ...]] = Counter()
    for each in evidence.accepted:
        if each.client_order_id.startswith(PREFIX) and "-entry-" in each.client_order_id:
            entries[f"{each.client_order_id.split('-')[1]} {each.symbol}"] += 1
        row = orders.get(each.client_order_id)
        if row is not None:
            legs[tuple(row[1:4])] += 1
    verdict.duplicate += [
        f"{order_id}: accepted {count} times" for order_id, count in ids.items() if count > 1
    ]
    verdict.duplicate += [f"{day}: {count} entries" for day, count in entries.items() if count > 1]
    verdict.duplicate += [f"{leg}: {count} orders" for leg, count in legs.items() if count > 1]


def _judge_orphans(evidence: Evidence, orders: Mapping[str, Row], verdict: Verdict) -> None:
    """Every order of ours at the broker has an intent that was committed before it."""
    ours = [each.client_order_id for each in evidence.accepted if each.client_order_id.startswith(PREFIX)]
    verdict.orphan += [order_id for order_id in ours if order_id not in orders]


def _judge_sides(executions: Iterable[Execution], verdict: Verdict) -> None:
    """The drill only buys first: at no instant may more have been sold than was bought."""
    position: dict[str, Decimal] = {}
    for each in executions:
        change = each.quantity if each.side == "buy" else -each.quantity
        position[each.symbol] = position.get(each.symbol, Decimal(0)) + change
        if position[each.symbol] < 0:
            verdict.other.append(f"{each.symbol}: {-position[each.symbol]} sold that were not held")


def _judge_acknowledged(evidence: Evidence, plans: Mapping[str, Row], verdict: Verdict) -> None:
    """A yes that was acknowledged is in the file for ever."""
    for plan_id in evidence.acknowledged:
        row = plans.get(plan_id)
        if row is None or row[1] in ("planned", "pending"):
            verdict.lost.append(f"{plan_id}: acknowledged, now {'gone' if row is None else row[1]}")


def _judge_end(
    evidence: Evidence, orders: Mapping[str, Row], plans: Mapping[str, Row], verdict: Verdict
) -> None:
    """At the end every plan and order is over, and both sides know the same orders and the same fills."""
    filled: dict[str, Decimal] = {}
    for each in evidence.executions:
        filled[each.client_order_id] = filled.get(each.client_order_id, Decimal(0)) + each.quantity
    known = {each.client_order_id for each in evidence.accepted}
    for order_id, row in orders.items():
        state, here = str(row[4]), Decimal(int(str(row[5]))) / SCALE
        there = filled.get(order_id, Decimal(0))
        if state not in ENDED_ORDERS:
            verdict.other.append(f"{order_id}: {state} at the end")
        if order_id not in known and state not in NOT_SENT:
            verdict.lost.append(f"{order_id}: {state} here, unknown at the broker")
        if here != there:
            verdict.lost.append(f"{order_id}: {there} filled at the broker, {here} here")
    verdict.lost += [f"{key}: {row[1]} at the end" for key, row in plans.items() if row[1] not in ENDED_PLANS]


def _judge_flat(evidence: Evidence, held: Mapping[str, Decimal], verdict: Verdict) -> None:
    """Nothing is held and nothing rests, there and here."""
    verdict.other += [f"{order_id}: rests at the broker at the end" for order_id in evidence.open_ids]
    verdict.other += [
        f"{key}: {left} held at the broker at the end" for key, left in evidence.positions.items()
    ]
    verdict.other += [f"{key}: {left} held in the file at the end" for key, left in held.items()]
