"""The fill and cost model of a long bracket written a second time, from the design's words and in fractions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

from tests.e2e.independent.market import MINUTE_MS, Minute

SHARE = 10_000
BASIS_POINT = Fraction(1, 10_000)
CENT = 1_000_000
SEC_PER_MILLION = (("2016-02-16", Fraction("21.80")), ("2017-07-04", Fraction("23.10")))
"""Dollars per million of sales, from the SEC's fee rate advisories 2016 and 2017; the next is of 2018-05-22."""
TAF_PER_SHARE, TAF_MOST = Fraction("0.000119"), Fraction("5.95")
"""FINRA's trading activity fee from July 2012 to 2021, dollars per share sold, and its cap."""


@dataclass(frozen=True)
class Costs:
    """The documented defaults: 5 bps, three times that in five minutes, 5 % of a minute, 50 bps at the end."""

    slippage: Fraction = 5 * BASIS_POINT
    opening: int = 3
    opening_minutes: int = 5
    participation: Fraction = Fraction(5, 100)
    close_penalty: Fraction = 50 * BASIS_POINT


@dataclass(frozen=True)
class Bracket:
    """A long entry at the market with its stop and targets, and how it is managed; prices in 1e-4.

    ``stops`` are (from instant, price) in order; ``leave_at``: when a market order takes over from the legs,
    with its reason. Quantities are whole shares.
    """

    quantity: int
    stops: tuple[tuple[int, int], ...]
    targets: tuple[tuple[str, int, int], ...]
    """(leg, price, shares)"""
    accepted: int
    entry_until: int
    leave_at: int
    leave_reason: str
    opened: int
    closed: int


@dataclass(frozen=True)
class Expected:
    """A fill as the bars command it; price in 1e-4, fees in 1e-8, quantity in shares."""

    leg: str
    quantity: int
    price: int
    at: int
    fees: int
    reason: str | None
    is_ambiguous: bool = False


def tick(price: int) -> int:
    """The price increment: a cent from one dollar."""
    return 100 if price >= 10_000 else 1


def slipped(price: int, part: Fraction, *, is_buy: bool) -> int:
    """A price worsened by a part of itself, rounded against the trader to the tick."""
    step = tick(price)
    if is_buy:
        return ceil(price * (1 + part) / step) * step
    return max(floor(price * (1 - part) / step) * step, step)


def sale_fees(quantity: int, price: int, session: str) -> int:
    """SEC and trading activity fee of one sale in 1e-8, each up to the cent."""
    rate = [dollars for since, dollars in SEC_PER_MILLION if since <= session][-1]
    if session >= "2018-05-22":
        raise NotImplementedError(f"the SEC fee of {session} is not in this checker's table")
    sec = Fraction(quantity * price, 10_000) * rate / 1_000_000
    taf = quantity * TAF_PER_SHARE
    return ceil(sec * 100) * CENT + min(ceil(taf * 100) * CENT, int(TAF_MOST * 100) * CENT)


@dataclass
class _Hand:
    """What is held and still wanted while the bars go by."""

    wanted: int
    held: int = 0
    is_triggered: bool = False
    has_left: bool = False
    targets: dict[str, int] = field(default_factory=dict)


def play(order: Bracket, bars: Sequence[Minute], session: str, costs: Costs) -> list[Expected]:
    """Every fill of the bracket, in order, from the symbol's regular bars."""
    hand = _Hand(wanted=order.quantity, targets={leg: shares for leg, _, shares in order.targets})
    fills: list[Expected] = []
    for bar in bars:
        if bar.start >= order.accepted:
            fills += _Bar(order, bar, session, costs, hand).fills()
    last = bars[-1]
    if hand.held and last.end < order.closed:
        # no bar in the last minute: out at the newest price when the session ends
        fills.append(_forced(hand, last.close, order.closed, session, costs))
    return fills


class _Bar:
    """One bar; the order of the design: exits, then entries, at the open and then inside."""

    def __init__(self, order: Bracket, bar: Minute, session: str, costs: Costs, hand: _Hand) -> None:
        self.order, self.bar, self.session, self.costs, self.hand = order, bar, session, costs, hand
        self.room = floor(bar.volume * costs.participation)
        minute = (bar.start - order.opened) // MINUTE_MS
        self.part = costs.slippage * (costs.opening if minute < costs.opening_minutes else 1)
        self.stop = [price for since, price in order.stops if since <= bar.start][-1]
        self.is_leaving = bar.start >= order.leave_at

    def fills(self) -> Iterator[Expected]:
        """The fills of this bar in order."""
        yield from self._exits_at_open()
        yield from self._entry_at_open()
        yield from self._exits_inside()
        if self.hand.held and self.bar.end == self.order.closed:
            yield _forced(self.hand, self.bar.close, self.order.closed, self.session, self.costs)

    def _entry_at_open(self) -> Iterator[Expected]:
        hand, bar = self.hand, self.bar
        if not hand.wanted or hand.has_left or bar.start >= self.order.entry_until or self.is_leaving:
            return
        quantity = min(hand.wanted, self.room)
        if quantity:
            self.room -= quantity
            hand.wanted -= quantity
            hand.held += quantity
            yield Expected("entry", quantity, slipped(bar.open, self.part, is_buy=True), bar.start, 0, None)
            yield from self._exits_at_open()

    def _exits_at_open(self) -> Iterator[Expected]:
        hand, bar = self.hand, self.bar
        if self.is_leaving and hand.held:
            price = slipped(bar.open, self.part, is_buy=False)
            yield self._sold("exit", hand.held, price, bar.start, self.order.leave_reason, is_free=True)
        elif hand.held and (hand.is_triggered or bar.open <= self.stop):
            hand.is_triggered = hand.has_left = True
            price = slipped(bar.open, self.part, is_buy=False)
            yield from self._limited("stop", hand.held, price, bar.start, "stop")
        if not hand.is_triggered:
            for leg, price, _ in self.order.targets:
                if hand.held and hand.targets[leg] and bar.open >= price:
                    yield from self._limited(leg, hand.targets[leg], bar.open, bar.start, "target")

    def _exits_inside(self) -> Iterator[Expected]:
        hand, bar = self.hand, self.bar
        if not hand.held or hand.is_triggered:
            return
        touched = [
            (leg, price) for leg, price, _ in self.order.targets if hand.targets[leg] and bar.high >= price
        ]
        if bar.low <= self.stop:
            hand.is_triggered = hand.has_left = True
            price = slipped(self.stop, self.part, is_buy=False)
            yield from self._limited("stop", hand.held, price, bar.end, "stop", is_ambiguous=bool(touched))
            return
        for leg, price in touched:
            yield from self._limited(leg, hand.targets[leg], price, bar.end, "target")

    def _limited(
        self, leg: str, quantity: int, price: int, at: int, reason: str, *, is_ambiguous: bool = False
    ) -> Iterator[Expected]:
        quantity = min(quantity, self.hand.held, self.room)
        if quantity:
            yield self._sold(leg, quantity, price, at, reason, is_ambiguous=is_ambiguous)

    def _sold(
        self,
        leg: str,
        quantity: int,
        price: int,
        at: int,
        reason: str,
        *,
        is_free: bool = False,
        is_ambiguous: bool = False,
    ) -> Expected:
        hand = self.hand
        hand.held -= quantity
        hand.has_left = True
        if leg in hand.targets:
            hand.targets[leg] -= quantity
        self.room = max(self.room - quantity, 0) if is_free else self.room - quantity
        fees = sale_fees(quantity, price, self.session)
        return Expected(leg, quantity, price, at, fees, reason, is_ambiguous)


def _forced(hand: _Hand, close: int, at: int, session: str, costs: Costs) -> Expected:
    price = slipped(close, costs.close_penalty, is_buy=False)
    quantity, hand.held = hand.held, 0
    return Expected("?", quantity, price, at, sale_fees(quantity, price, session), "close_forced")
