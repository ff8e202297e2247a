"""The fill model shared by backtest, replay and the paper venue: one symbol's orders against one bar.

The rules, in the order in which a bar is played:

1. An order accepted at t takes part from the first bar with start >= t. A fill at the bar's open carries
   the bar's start, every other fill its end.
2. At the open, exits before entries (stops, market exits, limits, each in sequence): market orders and
   triggered stops fill at the open with slippage, so does a stop that the open has gapped through; a limit
   that the open has reached fills at the open exactly. Legs armed by an entry at the open are checked at
   that open too.
3. Inside the bar, exits before entries: a touched stop fills at its price with slippage, a touched limit at
   its price. Where a group's stop and target are both touched, ``Ambiguity`` decides, and every fill is
   marked with the best and worst exit price that the bar allows. Where the minutes inside the bar are given
   and hold every level that it touched, they decide: the legs fill minute by minute, at the minute's open
   where that is beyond the level, and only what one minute touches on both sides is doubtful (stop first).
   Slippage and volume stay the bar's own.
4. Legs armed by an entry inside the bar: a level that was surely reached after the entry fills; a stop that
   may have been reached fills too; a target that only may have been reached does not (with ``TARGET_FIRST``
   it does). What is sure follows from the way the entry was reached: behind a limit entry its stop, behind
   a stop entry its target; else only the close is proof.
5. All fills of a symbol in a bar share ``participation_e6`` of its volume in whole lots, in the order above;
   orders that ignore participation fill whole and use it up. A triggered stop left over is a market order.
   Where slippage goes by range and size too, each fill concedes by its own share of the bar's volume.
6. Exit legs of one entry share its open position: a fill of one shrinks the others, and the first exit fill
   or trigger cancels what is left of the entry.
7. Each fill is charged what it adds to the commission of its order, and the regulatory fees of its own sale.
8. In the session's last bar every exit still open fills at its close less the close penalty
   (``is_forced_close``); all other orders expire.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from finagent.domain.costs import CostRules, conceded_e16, fees_e8, penalised_price_e4, slipped_price_e4
from finagent.domain.market import MINUTE_MS, Bar, Instrument, Session, Side
from finagent.domain.money import RATIO_SCALE, SHARE_E4
from finagent.domain.orders import OrderState, OrderType
from finagent.domain.rows import maker, quick, replace
from finagent.domain.working_orders import WorkingOrder, expire, fillable_e4, groups, priority, settle, shrink

_MARKET, _LIMIT, _STOP = OrderType.MARKET, OrderType.LIMIT, OrderType.STOP
_BUY, _FILLED = Side.BUY, OrderState.FILLED
"""Asked for many times a bar: a member looked up in its class costs as much as ten comparisons (Python 3.11)."""


class Ambiguity(StrEnum):
    """Which comes first when a bar reaches stop and target; ``PATH`` plays open, high, low, close.

    ``MINUTES`` asks the minutes inside a longer bar; without them it is the stop.
    """

    STOP_FIRST = "stop_first"
    TARGET_FIRST = "target_first"
    PATH = "path"
    MINUTES = "minutes"


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFill:
    """One fill of the model; ``reference_e4`` is the price before slippage, fees are in 1e-8.

    Where the bar does not tell the order of events, ``best_e4`` and ``worst_e4`` bound the exit price (the
    close stands for "still open"); an entry is marked when its target may have been reached without a fill.
    ``drilled_ms`` is the start of the minute inside the bar that told the order instead.
    """

    client_order_id: str
    symbol: str
    side: Side
    quantity_e4: int
    price_e4: int
    reference_e4: int
    at_ms: int
    fees_e8: int
    is_ambiguous: bool = False
    best_e4: int | None = None
    worst_e4: int | None = None
    is_forced_close: bool = False
    drilled_ms: int | None = None


_model_fill = maker(ModelFill)


@quick
@dataclass(frozen=True, slots=True)
class MatchResult:
    """The fills in the order they happened, and all orders given, updated, in the order given."""

    fills: tuple[ModelFill, ...]
    orders: tuple[WorkingOrder, ...]


_match_result = maker(MatchResult)


@quick
@dataclass(frozen=True, slots=True)
class _Bounds:
    """Exit prices a bar allows where the order of its events is unknown."""

    best_e4: int
    worst_e4: int


def match_symbol(
    orders: Sequence[WorkingOrder],
    bar: Bar,
    *,
    session: Session,
    instrument: Instrument,
    rules: CostRules,
    spread_e4: int | None = None,
    is_last_bar: bool = False,
    ambiguity: Ambiguity = Ambiguity.STOP_FIRST,
    inside: Sequence[Bar] = (),
) -> MatchResult:
    """Play one symbol's orders against one bar by the rules at the top of this file; a pure function.

    ``inside`` are the minutes of a longer bar in order, at least each that made a new high or low; none where they
    are not known, or not those of the bar.
    """
    book = _Book(orders, bar, session, instrument, rules, spread_e4, ambiguity, inside)
    book.play_open()
    book.play_inside()
    if is_last_bar:
        book.play_close()
    return _match_result(tuple(book.fills), tuple(book.orders))


def force_close(
    orders: Sequence[WorkingOrder], bar: Bar, *, session: Session, instrument: Instrument, rules: CostRules
) -> MatchResult:
    """End a session in which the symbol has no last bar; the fills carry the session's close.

    Exits fill at the newest bar's close less the penalty, all other orders expire.
    """
    at_close = replace(bar, start_ms=session.close_ms - MINUTE_MS)
    book = _Book(orders, at_close, session, instrument, rules, None, Ambiguity.STOP_FIRST)
    book.play_close()
    return _match_result(tuple(book.fills), tuple(book.orders))


class _Book:
    """The orders of one symbol while one bar is played; lives for one call."""

    def __init__(
        self,
        orders: Sequence[WorkingOrder],
        bar: Bar,
        session: Session,
        instrument: Instrument,
        rules: CostRules,
        spread_e4: int | None,
        ambiguity: Ambiguity,
        inside: Sequence[Bar] = (),
    ) -> None:
        self.orders = list(orders)
        self.fills: list[ModelFill] = []
        self._index = {order.client_order_id: index for index, order in enumerate(orders)}
        self._turns: dict[bool, list[str]] = {True: [], False: []}
        for order in sorted(orders, key=priority) if len(orders) > 1 else orders:
            self._turns[order.is_exit].append(order.client_order_id)
        self._bar = bar
        self._session = session
        self._instrument = instrument
        self._rules = rules
        self._spread_e4 = spread_e4
        self._ambiguity = ambiguity
        self._inside = inside
        cap_e4 = bar.volume * SHARE_E4 * rules.participation_e6 // RATIO_SCALE
        self._budget_e4 = cap_e4 // instrument.lot_e4 * instrument.lot_e4

    def play_open(self) -> None:
        self._play_turn(is_exit=True)
        before = len(self.fills)
        self._play_turn(is_exit=False)
        if len(self.fills) > before:
            # Entries at the open arm legs that the same open may have passed: look at the exits once more.
            self._play_turn(is_exit=True)

    def _play_turn(self, *, is_exit: bool) -> None:
        """The orders that the open fills, in priority, each judged anew at its turn."""
        for order_id in self._turns[is_exit]:
            order = self.orders[self._index[order_id]]
            if self._is_due(order) and self._takes_part(order):
                self._fill_at_open(order)

    def play_inside(self) -> None:
        if not any(map(self._is_reached, self.orders)):
            return
        for parent_id in groups(self.orders):
            self._play_group(parent_id, entry=None)
        for order_id in self._turns[True]:
            order = self._order(order_id)
            if order.parent_id is None and self._is_reached(order):
                self._fill_at_level(order_id, None)
        for order_id in self._turns[False]:
            order = self._order(order_id)
            if self._is_reached(order) and self._fill_at_level(order_id, None):
                self._play_group(order_id, entry=order)

    def play_close(self) -> None:
        self.orders = list(
            settle(
                order if order.is_exit or not order.is_open else replace(order, state=OrderState.EXPIRED)
                for order in self.orders
            )
        )
        for order in sorted(self.orders, key=priority):
            if order.is_open and order.accepted_at_ms <= self._bar.end_ms:
                self._force(order.client_order_id)
        self.orders = list(expire(self.orders))

    def _order(self, order_id: str) -> WorkingOrder:
        return self.orders[self._index[order_id]]

    def _takes_part(self, order: WorkingOrder) -> bool:
        return (
            order.accepted_at_ms <= self._bar.start_ms
            and order.is_open
            and fillable_e4(self.orders, order) > 0
        )

    def _is_due(self, order: WorkingOrder) -> bool:
        """Whether the open fills an order that takes part."""
        if order.type is _MARKET or order.is_triggered:
            return True
        return _is_at_or_beyond(order, self._bar.open_e4)

    def _fill_at_open(self, order: WorkingOrder) -> None:
        order_id, open_e4 = order.client_order_id, self._bar.open_e4
        if order.type is not _LIMIT:
            self._trigger(order_id)
        self._fill(order_id, open_e4, self._bar.start_ms, None)

    def _is_reached(self, order: WorkingOrder) -> bool:
        """Whether the bar's range touches an order's level; what was triggered before has had its turn."""
        if order.type is _MARKET or order.is_triggered:
            return False
        return _is_within(order, self._bar.low_e4, self._bar.high_e4)

    def _play_group(self, parent_id: str, *, entry: WorkingOrder | None) -> None:
        """Exits of one group inside the bar; ``entry`` is given when it was filled inside this bar."""
        exits = [self._order(order_id) for order_id in self._turns[True]]
        legs = [
            order
            for order in exits
            if order.parent_id == parent_id and self._is_reached(order) and self._takes_part(order)
        ]
        if not legs:
            return
        bounds = self._bounds(legs, entry)
        if bounds is not None and entry is None and self._holds_all(legs):
            self._play_minutes(legs)
            return
        before = len(self.fills)
        for leg in self._in_order(legs, entry):
            self._fill_at_level(leg.client_order_id, bounds)
        if len(self.fills) == before and bounds is not None and entry is not None:
            self.fills[-1] = replace(
                self.fills[-1], is_ambiguous=True, best_e4=bounds.best_e4, worst_e4=bounds.worst_e4
            )

    def _holds_all(self, legs: list[WorkingOrder]) -> bool:
        """Whether the minutes inside the bar reach every level that it reached: else nobody knows when that was."""
        return all(any(_is_touched(leg, minute) for minute in self._inside) for leg in legs)

    def _play_minutes(self, legs: list[WorkingOrder]) -> None:
        """The touched legs of a group as the minutes inside the bar reach them."""
        for minute in self._inside:
            touched = [leg for leg in legs if _is_touched(leg, minute)]
            for leg in touched:
                if _is_at_or_beyond(leg, minute.open_e4):
                    self._fill_drilled(leg.client_order_id, minute.open_e4, minute, None)
            left = [leg for leg in touched if self._takes_part(self._order(leg.client_order_id))]
            bounds = self._bounds(left, None)
            for leg in self._in_order(left, None):
                self._fill_drilled(leg.client_order_id, _level_e4(leg), minute, bounds)

    def _fill_drilled(self, order_id: str, reference_e4: int, minute: Bar, bounds: _Bounds | None) -> None:
        """Fill a leg where a minute inside the bar reached it; marked with it, or as doubtful."""
        if not self._takes_part(self._order(order_id)):
            return
        self._trigger(order_id)
        if self._fill(order_id, reference_e4, self._bar.end_ms, bounds) and bounds is None:
            self.fills[-1] = replace(self.fills[-1], drilled_ms=minute.start_ms)

    def _is_sure(self, leg: WorkingOrder, entry: WorkingOrder | None) -> bool:
        """Whether a touched level was surely touched while its leg was armed."""
        if entry is None or _is_at_or_beyond(leg, self._bar.close_e4):
            return True
        # A limit entry is reached from the target's side, a stop entry from the stop's side.
        return (leg.type is _STOP) is (entry.type is _LIMIT)

    def _in_order(self, legs: list[WorkingOrder], entry: WorkingOrder | None) -> list[WorkingOrder]:
        """The legs that fill, in the order in which the ambiguity rule plays them."""
        if len(legs) == 1 and entry is None:
            return legs
        stops = [leg for leg in legs if leg.type is _STOP]
        targets = [leg for leg in legs if leg.type is _LIMIT]
        if self._ambiguity is Ambiguity.TARGET_FIRST:
            return targets + stops
        if self._ambiguity is not Ambiguity.PATH:
            return stops + [leg for leg in targets if self._is_sure(leg, entry)]
        return self._along_path(legs, entry)

    def _along_path(self, legs: list[WorkingOrder], entry: WorkingOrder | None) -> list[WorkingOrder]:
        points = [self._bar.high_e4, self._bar.low_e4, self._bar.close_e4]
        if entry is not None and (entry.side is _BUY) is (entry.type is _LIMIT):
            points = points[1:]  # a level below the open is reached on the way from the high to the low
        played: list[WorkingOrder] = []
        for point in points:
            played += [leg for leg in legs if leg not in played and _is_at_or_beyond(leg, point)]
        return played

    def _bounds(self, legs: list[WorkingOrder], entry: WorkingOrder | None) -> _Bounds | None:
        """None when the bar leaves no doubt about what happened to these touched legs."""
        if len(legs) == 1 and entry is None:
            return None
        stops = [leg for leg in legs if leg.type is _STOP]
        is_sure = [self._is_sure(leg, entry) for leg in legs]
        if all(is_sure) and len(stops) in (0, len(legs)):
            return None
        prices = [self._price(leg, _level_e4(leg), self._allowed_e4(leg)) for leg in legs]
        if not any(is_sure):
            prices.append(self._bar.close_e4)
        best, worst = (max(prices), min(prices)) if legs[0].side is Side.SELL else (min(prices), max(prices))
        return _Bounds(best, worst)

    def _fill_at_level(self, order_id: str, bounds: _Bounds | None) -> bool:
        order = self._order(order_id)
        if not self._takes_part(order):
            return False
        if order.type is _STOP:
            self._trigger(order_id)
        return self._fill(order_id, _level_e4(order), self._bar.end_ms, bounds)

    def _trigger(self, order_id: str) -> None:
        order = self._order(order_id)
        if order.type is _STOP and not order.is_triggered:
            self.orders[self._index[order_id]] = replace(order, is_triggered=True)
            self._end_entry(order)

    def _force(self, order_id: str) -> None:
        order = self._order(order_id)
        quantity_e4 = fillable_e4(self.orders, order) if order.is_open else 0
        if quantity_e4 > 0:
            close_e4 = self._bar.close_e4
            tick_e4 = self._instrument.tick_e4(close_e4)
            price_e4 = penalised_price_e4(self._rules, side=order.side, close_e4=close_e4, tick_e4=tick_e4)
            self._book_fill(order, quantity_e4, close_e4, price_e4, self._bar.end_ms, None, is_forced=True)

    def _allowed_e4(self, order: WorkingOrder) -> int:
        """What the minute's volume still allows an order."""
        quantity_e4 = fillable_e4(self.orders, order)
        return quantity_e4 if order.ignores_participation else min(quantity_e4, self._budget_e4)

    def _fill(self, order_id: str, reference_e4: int, at_ms: int, bounds: _Bounds | None) -> bool:
        """Fill what the minute's volume allows; False when that is nothing."""
        order = self._order(order_id)
        quantity_e4 = self._allowed_e4(order)
        if quantity_e4 <= 0:
            return False
        price_e4 = self._price(order, reference_e4, quantity_e4)
        self._budget_e4 = max(self._budget_e4 - quantity_e4, 0)
        self._book_fill(order, quantity_e4, reference_e4, price_e4, at_ms, bounds)
        return True

    def _book_fill(
        self,
        order: WorkingOrder,
        quantity_e4: int,
        reference_e4: int,
        price_e4: int,
        at_ms: int,
        bounds: _Bounds | None,
        *,
        is_forced: bool = False,
    ) -> None:
        self.fills.append(
            _model_fill(
                client_order_id=order.client_order_id,
                symbol=order.symbol,
                side=order.side,
                quantity_e4=quantity_e4,
                price_e4=price_e4,
                reference_e4=reference_e4,
                at_ms=at_ms,
                fees_e8=fees_e8(
                    self._rules,
                    side=order.side,
                    quantity_e4=quantity_e4,
                    price_e4=price_e4,
                    session=self._session.date,
                    filled_e4=order.filled_e4,
                    filled_e8=order.filled_e8,
                ),
                is_ambiguous=bounds is not None,
                best_e4=None if bounds is None else bounds.best_e4,
                worst_e4=None if bounds is None else bounds.worst_e4,
                is_forced_close=is_forced,
            )
        )
        filled_e4 = order.filled_e4 + quantity_e4
        state = _FILLED if filled_e4 == order.quantity_e4 else OrderState.PARTIALLY_FILLED
        index = self._index[order.client_order_id]
        filled_e8 = order.filled_e8 + quantity_e4 * price_e4
        self.orders[index] = replace(
            self.orders[index], filled_e4=filled_e4, filled_e8=filled_e8, state=state
        )
        if order.parent_id is not None:
            self._arm(order.parent_id, -quantity_e4)
            self._end_entry(order)
            shrink(self.orders, order.parent_id, "oco")
        elif not order.is_exit:
            self._arm(order.client_order_id, quantity_e4)

    def _arm(self, parent_id: str, change_e4: int) -> None:
        for index, order in enumerate(self.orders):
            if order.parent_id == parent_id:
                self.orders[index] = replace(order, armed_e4=order.armed_e4 + change_e4)

    def _end_entry(self, leg: WorkingOrder) -> None:
        """The exit has begun: what is left of the group's entry is not bought any more."""
        if leg.parent_id in self._index and self._order(leg.parent_id).is_open:
            entry = replace(self._order(leg.parent_id), state=OrderState.CANCELLED, reason="exit_began")
            self.orders[self._index[leg.parent_id]] = entry
            shrink(self.orders, leg.parent_id, "oco")

    def _price(self, order: WorkingOrder, reference_e4: int, quantity_e4: int) -> int:
        """What a fill of so much pays at a reference price: a limit that price, all else slippage too."""
        if order.type is _LIMIT:
            return reference_e4
        bar, rules, conceded = self._bar, self._rules, 0
        if rules.slippage_range_e6 or rules.slippage_impact_e6:
            conceded = conceded_e16(
                rules,
                reference_e4=reference_e4,
                range_e4=bar.high_e4 - bar.low_e4,
                quantity_e4=quantity_e4,
                volume=bar.volume,
            )
        return slipped_price_e4(
            rules,
            side=order.side,
            reference_e4=reference_e4,
            minutes_since_open=(bar.start_ms - self._session.open_ms) // MINUTE_MS,
            spread_e4=self._spread_e4,
            tick_e4=self._instrument.tick_e4(reference_e4),
            conceded_e16=conceded,
        )


def _level_e4(order: WorkingOrder) -> int:
    level_e4 = order.limit_e4 if order.type is _LIMIT else order.stop_e4
    if level_e4 is None:
        raise ValueError(f"order {order.client_order_id} is a {order.type} order without its price")
    return level_e4


def _is_touched(order: WorkingOrder, bar: Bar) -> bool:
    """Whether a bar's range touches an order's level."""
    return _is_within(order, bar.low_e4, bar.high_e4)


def _is_at_or_beyond(order: WorkingOrder, price_e4: int) -> bool:
    """Whether a price touches an order's level."""
    return _is_within(order, price_e4, price_e4)


def _is_within(order: WorkingOrder, low_e4: int, high_e4: int) -> bool:
    """Whether prices from low to high do: buy limits and sell stops from above, others from below."""
    is_limit = order.type is _LIMIT
    level_e4 = order.limit_e4 if is_limit else order.stop_e4
    if level_e4 is None:
        level_e4 = _level_e4(order)
    return low_e4 <= level_e4 if is_limit is (order.side is _BUY) else high_e4 >= level_e4
