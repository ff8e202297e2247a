"""Reconcile: what broker and journal say of the same orders, fills and shares, and what follows from it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations

from finagent.domain.book import OpenPosition, StoredOrder
from finagent.domain.external import ExternalHolding, attribute_in_turn
from finagent.domain.legs import ENTRY
from finagent.domain.manual import PART
from finagent.domain.orders import (
    TERMINAL_ORDER_STATES,
    BrokerAccount,
    BrokerFill,
    BrokerOrder,
    BrokerPosition,
    OrderState,
    is_ours,
)

UNDER_WAY = (OrderState.INTENT, OrderState.UNKNOWN)
"""Nobody knows yet what the broker has of such an order."""
MOST_APART = 10
"""So many symbols in dispute are judged one by one; each more doubles the ways to look at."""


class DifferenceKind(StrEnum):
    """On what broker and journal can disagree."""

    UNKNOWN_ORDER = "unknown_order"
    LOST_ORDER = "lost_order"
    ENDED_ORDER = "ended_order"
    MISSING_FILL = "missing_fill"
    STRANDED = "stranded"
    POSITION = "position"
    EXTERNAL = "external"
    ORPHAN_ORDER = "orphan_order"
    UNREACHABLE = "unreachable"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing on which broker and journal disagree; entries stay shut until it is gone."""

    kind: str
    ref: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerLook:
    """One look at the broker: orders of ours by id (None: asked for and not there), executions, positions, money."""

    orders: Mapping[str, BrokerOrder | None]
    fills: Sequence[BrokerFill]
    positions: Sequence[BrokerPosition]
    account: BrokerAccount

    @property
    def held_e4(self) -> dict[str, int]:
        """Signed shares by symbol."""
        return {each.symbol: each.quantity_e4 for each in self.positions if each.quantity_e4}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLook:
    """The journal's side: orders of ours that are live or listed by the broker, by id; executions already recorded."""

    orders: Mapping[str, StoredOrder]
    executions: Collection[str]
    positions: Sequence[OpenPosition]
    external: Sequence[ExternalHolding]
    recovered: Collection[str] = ()
    """Orders of a restore's lost time that were taken over."""
    recovered_e4: Mapping[str, int] = field(default_factory=dict)
    """Signed shares by symbol that their executions add up to."""

    def ours_e4(self, symbol: str) -> int:
        """Signed shares of a symbol that our fills add up to."""
        return sum(each.position.quantity_e4 for each in self.positions if each.plan.symbol == symbol)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFindings:
    """What the orders say: executions to record, ends to record (order and what the broker has), disagreements.

    ``orphans`` still work at the broker while the journal has ended them: they could open what nobody watches.
    ``doubtful`` are symbols of which nothing can be told yet: an order's fate or its executions are under way. An exit
    under way that the broker does not have has sold nothing, nor has an unknown order that has filled nothing moved a
    share; the second look sees one that came in between.
    """

    fills: tuple[BrokerFill, ...]
    ended: tuple[tuple[StoredOrder, BrokerOrder], ...]
    orphans: tuple[BrokerOrder, ...]
    differences: tuple[Difference, ...]
    doubtful: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareFinding:
    """The broker's shares of a symbol, and whose they are when nothing but a person's hand explains the change."""

    symbol: str
    expected_e4: int
    theirs_e4: int
    ours_before_e4: int
    ours_e4: int
    external_before_e4: int
    external_e4: int
    is_doubtful: bool

    @property
    def is_harmless(self) -> bool:
        """Whether only what is not ours has become less."""
        has_less = abs(self.external_e4) < abs(self.external_before_e4)
        has_no_other_side = self.external_e4 * self.external_before_e4 >= 0
        return self.reduction_e4 == 0 and has_less and has_no_other_side

    @property
    def reduction_e4(self) -> int:
        """How many of our shares are gone without an order of ours; never negative."""
        return abs(self.ours_before_e4) - abs(self.ours_e4)

    @property
    def difference(self) -> Difference:
        """The finding in words."""
        detail = f"journal {self.expected_e4}, broker {self.theirs_e4} (1e-4 shares)"
        return Difference(DifferenceKind.POSITION, self.symbol, detail)


def compare_orders(own: OwnLook, broker: BrokerLook) -> OrderFindings:
    """Orders and executions of ours, one by one; an end is only told once every fill of it is known."""
    missing = tuple(
        fill
        for fill in broker.fills
        if fill.client_order_id in own.orders and fill.execution_id not in own.executions
    )
    coming_e4: dict[str, int] = {}
    for fill in missing:
        coming_e4[fill.client_order_id] = coming_e4.get(fill.client_order_id, 0) + fill.quantity_e4
    ended: list[tuple[StoredOrder, BrokerOrder]] = []
    orphans: list[BrokerOrder] = []
    differences: list[Difference] = []
    doubtful = {
        each.intent.symbol
        for order_id, each in own.orders.items()
        if each.state in UNDER_WAY and (each.intent.leg == ENTRY or broker.orders.get(order_id) is not None)
    }
    for order_id, seen in sorted(broker.orders.items()):
        stored = own.orders.get(order_id)
        if stored is None:
            if order_id in own.recovered:
                continue
            if seen is not None and is_ours(order_id):
                words = f"broker says {seen.state}"
                differences.append(Difference(DifferenceKind.UNKNOWN_ORDER, order_id, words))
                doubtful |= {seen.symbol} if seen.filled_e4 else set()
            continue
        if stored.state in UNDER_WAY:
            continue  # whoever sends it finds out
        verdict = _judge(stored, seen, known_e4=stored.filled_e4 + coming_e4.get(order_id, 0))
        if isinstance(verdict, Difference):
            differences.append(verdict)
            doubtful.add(stored.intent.symbol)
        elif verdict is not None and verdict.state in TERMINAL_ORDER_STATES:
            ended.append((stored, verdict))
        elif verdict is not None:
            orphans.append(verdict)
    return OrderFindings(
        fills=missing,
        ended=tuple(ended),
        orphans=tuple(orphans),
        differences=tuple(differences),
        doubtful=frozenset(doubtful),
    )


def _judge(
    stored: StoredOrder, seen: BrokerOrder | None, *, known_e4: int
) -> Difference | BrokerOrder | None:
    """What the broker says of an order it once had: nothing new, an end or a life unknown to us, a contradiction."""
    order_id, is_over = stored.intent.client_order_id, stored.state in TERMINAL_ORDER_STATES
    if seen is None:
        words = f"journal says {stored.state}"
        return None if is_over else Difference(DifferenceKind.LOST_ORDER, order_id, words)
    if seen.filled_e4 > known_e4:
        words = f"broker says {seen.filled_e4} filled and lists {known_e4} (1e-4 shares)"
        return Difference(DifferenceKind.MISSING_FILL, order_id, words)
    return seen if (seen.state in TERMINAL_ORDER_STATES) is not is_over else None


def compare_shares(own: OwnLook, broker: BrokerLook, orders: OrderFindings) -> tuple[ShareFinding, ...]:
    """Symbols whose shares at the broker are not ours plus what is known to be external, by symbol."""
    theirs = broker.held_e4
    external = {each.symbol: each.quantity_e4 for each in own.external}
    coming: dict[str, int] = {}
    for fill in orders.fills:
        coming[fill.symbol] = coming.get(fill.symbol, 0) + fill.side.sign * fill.quantity_e4
    held = {each.plan.symbol for each in own.positions}
    found: list[ShareFinding] = []
    known = held | external.keys() | coming.keys() | own.recovered_e4.keys()
    for symbol in sorted(known | theirs.keys()):
        ours_e4 = own.ours_e4(symbol) + coming.get(symbol, 0) + own.recovered_e4.get(symbol, 0)
        outside_e4, theirs_e4 = external.get(symbol, 0), theirs.get(symbol, 0)
        if ours_e4 + outside_e4 == theirs_e4:
            continue
        changes_e4 = _by_hand(own, broker, symbol, theirs_e4 - ours_e4 - outside_e4)
        left_e4, rest_e4 = attribute_in_turn(ours_e4, outside_e4, changes_e4)
        found.append(
            ShareFinding(
                symbol=symbol,
                expected_e4=ours_e4 + outside_e4,
                theirs_e4=theirs_e4,
                ours_before_e4=ours_e4,
                ours_e4=left_e4,
                external_before_e4=outside_e4,
                external_e4=rest_e4,
                is_doubtful=symbol in orders.doubtful,
            )
        )
    return tuple(found)


def _by_hand(own: OwnLook, broker: BrokerLook, symbol: str, change_e4: int) -> tuple[int, ...]:
    """The last executions of a person that add up to a change, signed, oldest first; else the change as one.

    Taken are those since ours was opened that no fill of ours has recorded: what a person sold of ours and then bought
    is not ours, which the sum alone cannot tell.
    """
    since_ms = min(
        (each.position.opened_at_ms or 0 for each in own.positions if each.plan.symbol == symbol), default=0
    )
    found: tuple[int, ...] = ()
    listed = {fill.execution_id: fill for fill in broker.fills}
    for fill in sorted(listed.values(), key=lambda each: (each.at_ms, each.execution_id), reverse=True):
        is_known = fill.execution_id in own.executions or fill.execution_id + PART in own.executions
        if fill.symbol != symbol or fill.at_ms < since_ms or is_known or is_ours(fill.client_order_id):
            continue
        found = (fill.side.sign * fill.quantity_e4, *found)
        if sum(found) == change_e4:
            return found
    return (change_e4,)


def believable(
    broker: BrokerLook, findings: Sequence[ShareFinding], marks_e4: Mapping[str, int]
) -> frozenset[str]:
    """Symbols in dispute that the account's money shows to be as listed.

    Equity less cash is what the broker itself thinks the shares are worth; an empty or cut list with status 200 does
    not change it. Of all ways to believe some symbols and not the others the one that fits that worth best counts, and
    a symbol only where the ways that fit as well, within 2 % of what is in dispute, agree on it: a true sale beside a
    missing line takes nothing else along. Where even the best misses by more than 2 % of all that is listed and in
    dispute, a price is wrong, and nothing is believed. What is listed and has no price (it is not ours) is worth what
    is left over, and cannot owe anything. Prices in 1e-4 per symbol; a symbol in dispute without one says nothing and
    is believed.
    """
    implied_e8 = broker.account.equity_e8 - broker.account.cash_e8
    listed_e8 = sum(
        each.quantity_e4 * marks_e4[each.symbol] for each in broker.positions if each.symbol in marks_e4
    )
    missing_e8 = {
        each.symbol: (each.expected_e4 - each.theirs_e4) * marks_e4[each.symbol]
        for each in findings
        if each.symbol in marks_e4
    }
    silent = frozenset(each.symbol for each in findings) - missing_e8.keys()
    disputed_e8 = sum(abs(worth_e8) for worth_e8 in missing_e8.values())
    rests = {
        way: implied_e8 - listed_e8 - sum(missing_e8[symbol] for symbol in missing_e8.keys() - way)
        for way in _ways(tuple(missing_e8))
    }
    room_e8 = (disputed_e8 + abs(listed_e8)) // 50
    signs = {1 if each.quantity_e4 > 0 else -1 for each in broker.positions if each.symbol not in marks_e4}
    sign = signs.pop() if len(signs) == 1 else 0
    misfits = {
        way: abs(rest_e8) for way, rest_e8 in rests.items() if abs(rest_e8) <= room_e8 or rest_e8 * sign > 0
    }
    if not misfits:
        return silent
    best_e8 = min(misfits.values())
    fitting = [way for way, misfit_e8 in misfits.items() if misfit_e8 <= best_e8 + disputed_e8 // 50]
    return silent | frozenset.intersection(*fitting)


def _ways(symbols: Sequence[str]) -> list[frozenset[str]]:
    """Every set of symbols that may be believed; of very many only all or none."""
    if len(symbols) > MOST_APART:
        return [frozenset(), frozenset(symbols)]
    return [frozenset(chosen) for count in range(len(symbols) + 1) for chosen in combinations(symbols, count)]


def stranded(positions: Sequence[OpenPosition], session: str) -> tuple[Difference, ...]:
    """Positions of an earlier session: nobody meant to hold them over night."""
    return tuple(
        Difference(DifferenceKind.STRANDED, held.plan.symbol, f"open since {held.plan.session}")
        for held in positions
        if held.plan.session < session
    )
