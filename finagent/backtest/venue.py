"""The paper venue in memory: takes and refuses orders as the paper broker does, and fills them by the shared model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from finagent.backtest.market import instrument_of
from finagent.backtest.parameters import Parameters
from finagent.domain.costs import CostRules
from finagent.domain.fills import MatchResult, ModelFill, force_close, match_symbol
from finagent.domain.market import Bar, Instrument, Session, Side
from finagent.domain.money import RATIO_SCALE, SHARE_E4, money_text, price_text
from finagent.domain.orders import (
    ENTRY_LEG,
    BrokerFill,
    OrderIntent,
    OrderState,
    OrderType,
    new_broker_fill,
)
from finagent.domain.rows import maker, quick, replace
from finagent.domain.working_orders import WorkingOrder, cancel, expire, new_working_order, settle

Place = tuple[str, str, int]
"""Where an order's events stand among those of a minute: by symbol, leg and sequence."""
_first = itemgetter(0)
MOST_ID = 48
NO_PRICE_E4 = 1 << 62
"""Beyond every price."""
_LIMIT, _STOP, _BUY, _SELL = OrderType.LIMIT, OrderType.STOP, Side.BUY, Side.SELL
_MARKET, _FILLED = OrderType.MARKET, OrderState.FILLED


@dataclass(slots=True, eq=False)
class VenueOrder:
    """An order with what the venue knows beside it; ``asked_e4`` is the quantity it was sent with."""

    order: WorkingOrder
    session: str
    plan_id: str
    leg: str
    reference_e4: int | None
    asked_e4: int
    fills: int = 0


@quick
@dataclass(frozen=True, slots=True)
class VenueEvent:
    """A fill (with its execution id), or an order that ended otherwise than by its fills."""

    client_order_id: str
    fill: ModelFill | None
    execution_id: str
    state: OrderState
    reason: str


_event = maker(VenueEvent)


@dataclass(slots=True, eq=False)
class Holding:
    """A symbol's signed quantity and its newest price."""

    quantity_e4: int
    mark_e4: int
    mark_at_ms: int


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class VenueMinute:
    """What the venue sees when a minute ends."""

    now_ms: int
    session: Session
    bars: Mapping[str, Bar]
    spreads_e4: Mapping[str, int]
    halted: frozenset[str]
    is_last_bar: bool
    costs: CostRules | None = None
    """Other costs than the run's, where only daily bars are known."""
    inside: Mapping[str, Sequence[Bar]] | None = None
    """The minutes inside a daily bar, where they are to tell the order of its events."""


class Venue:
    """Orders, holdings and cash of one run."""

    def __init__(self, rules: Parameters) -> None:
        self._rules = rules
        self.cash_e8 = rules.start_equity_e8
        self.orders: dict[str, VenueOrder] = {}
        self._open: dict[str, dict[str, VenueOrder]] = {}
        self.holdings: dict[str, Holding] = {}
        self._held: set[str] = set()
        self._legs: dict[str, list[VenueOrder]] = {}
        self._quiet: dict[str, tuple[str, int, int]] = {}
        """By symbol ``_quiet_range`` of its open orders, where none has changed since it was reckoned."""
        self._on_order: dict[str, int] = {}
        """By open order that is no exit what it may still cost, and all of them together."""
        self._on_order_e8 = 0
        self._unreported: list[VenueOrder] = []
        self._sequence = 0

    def submit(
        self, intents: Sequence[OrderIntent], *, now_ms: int, session: Session, price_e4: int | None
    ) -> str | None:
        """Take an order with its attached legs, all or none; None, or the reason for the refusal."""
        head = intents[0]
        refusal = self._refuse_forms(intents, now_ms, session) or self._refuse_attachment(intents)
        if refusal is None and head.parent_id is None:
            refusal = self._refuse_exit(head) if head.leg != ENTRY_LEG else self._refuse_entry(head, price_e4)
        refusal = refusal or _refuse_side(intents, price_e4)
        if refusal is not None:
            return refusal
        for intent in intents:
            self._insert(intent, now_ms, session, price_e4)
        return None

    def replace(
        self, old_id: str, new: OrderIntent, *, now_ms: int, session: Session, price_e4: int | None
    ) -> str | None:
        """Put an attached exit in the place of an open one; None, or the reason for the refusal."""
        old = self.orders.get(old_id)
        if old is None or not old.order.is_open:
            return f"not_open: order {old_id} is {'unknown' if old is None else old.order.state}"
        if old.order.is_triggered:
            return f"already_triggered: stop {old_id} is a market order by now"
        refusal = self._refuse_forms([new], now_ms, session) or _refuse_side([new], price_e4)
        if refusal is not None:
            return refusal
        self._store(old, replace(old.order, state=OrderState.CANCELLED, reason="replaced"))
        self._insert(new, now_ms, session, price_e4)
        self._settle(new.symbol, settle)
        return None

    def cancel(self, client_order_id: str) -> bool:
        """Cancel what is open of an order, and what depends on it; False when nothing was."""
        found = self.orders.get(client_order_id)
        if found is None or not found.order.is_open:
            return False
        self._settle(found.order.symbol, lambda orders: cancel(orders, client_order_id, "cancelled"))
        return True

    def match(self, minute: VenueMinute) -> list[VenueEvent]:
        """Play the open orders against the bars that end now; what happened, by symbol and leg.

        In the session's last minute every exit is closed, on the symbol's bar or at its newest price; where it is
        halted or was never priced in the session, its orders expire and the position stays.
        """
        told: list[tuple[VenueOrder, ModelFill]] = []
        watched = self._held | self._open.keys()
        for symbol in sorted(self._open):
            if not minute.is_last_bar and self._is_quiet(symbol, minute):
                continue
            rows = [
                each for each in self._open[symbol].values() if each.order.accepted_at_ms <= minute.now_ms
            ]
            if rows:
                result = self._play(symbol, rows, minute)
                for row, after in zip(rows, result.orders, strict=True):
                    if after is not row.order:
                        self._store(row, after)
                told += [(self.orders[fill.client_order_id], fill) for fill in result.fills]
        for symbol in watched:
            bar = minute.bars.get(symbol)
            if bar is not None:
                holding = self.holdings.get(symbol)
                if holding is None:
                    holding = self.holdings[symbol] = Holding(0, bar.close_e4, bar.end_ms)
                holding.mark_e4, holding.mark_at_ms = bar.close_e4, bar.end_ms
        return self._events(told)

    def _is_quiet(self, symbol: str, minute: VenueMinute) -> bool:
        """Whether playing the minute changes nothing: no order is touched, and none is of an earlier session."""
        quiet = self._quiet.get(symbol)
        if quiet is None:
            quiet = self._quiet[symbol] = _quiet_range(list(self._open[symbol].values()))
        session, low_e4, high_e4 = quiet
        if session < minute.session.date:
            return False
        bar = minute.bars.get(symbol)
        return bar is None or (
            low_e4 < bar.low_e4 and low_e4 < bar.open_e4 and bar.high_e4 < high_e4 and bar.open_e4 < high_e4
        )

    def _play(self, symbol: str, rows: Sequence[VenueOrder], minute: VenueMinute) -> MatchResult:
        orders = [
            each.order
            if each.session >= minute.session.date
            else replace(each.order, state=OrderState.EXPIRED)
            for each in rows
        ]
        instrument = instrument_of(symbol, self._rules.profile.lot_e4)
        bar, costs = minute.bars.get(symbol), minute.costs or self._rules.costs
        if bar is not None:
            return match_symbol(
                orders,
                bar,
                session=minute.session,
                instrument=instrument,
                rules=costs,
                spread_e4=minute.spreads_e4.get(symbol),
                is_last_bar=minute.is_last_bar,
                ambiguity=self._rules.ambiguity,
                inside=minute.inside.get(symbol, ()) if minute.inside else (),
            )
        if not minute.is_last_bar:
            return MatchResult((), tuple(orders))
        return self._close_without_bar(orders, instrument, minute, costs)

    def _close_without_bar(
        self, orders: list[WorkingOrder], instrument: Instrument, minute: VenueMinute, costs: CostRules
    ) -> MatchResult:
        holding = self.holdings.get(instrument.symbol)
        is_priced = holding is not None and holding.mark_at_ms >= minute.session.open_ms
        if holding is None or not is_priced or instrument.symbol in minute.halted:
            return MatchResult((), expire(orders))
        mark = holding.mark_e4
        newest = Bar(minute.session.open_ms, mark, mark, mark, mark, 0)
        return force_close(orders, newest, session=minute.session, instrument=instrument, rules=costs)

    def _events(self, told: list[tuple[VenueOrder, ModelFill]]) -> list[VenueEvent]:
        ended = {each.order.client_order_id: each for each in self._unreported}
        self._unreported = []
        placed = [(_place(row), row, fill) for row, fill in told]
        placed.sort(key=_first)  # stable: the fills of one order keep their order
        events: list[tuple[Place, VenueEvent]] = []
        for place, row, fill in placed:
            order_id = fill.client_order_id
            row.fills += 1
            self._book(fill)
            events.append((place, _event(order_id, fill, f"{order_id}:{row.fills}", _FILLED, "")))
            if row.order.filled_e4 == row.asked_e4:
                ended.pop(order_id, None)
        for order_id, row in ended.items():
            event = _event(order_id, None, "", row.order.state, row.order.reason)
            events.append((_place(row), event))
        events.sort(key=_first)
        return [event for _, event in events]

    def _book(self, fill: ModelFill) -> None:
        signed_e4 = fill.side.sign * fill.quantity_e4
        holding = self.holdings.setdefault(fill.symbol, Holding(0, fill.price_e4, fill.at_ms))
        holding.quantity_e4 += signed_e4
        (self._held.add if holding.quantity_e4 else self._held.discard)(fill.symbol)
        self.cash_e8 -= signed_e4 * fill.price_e4 + fill.fees_e8

    def _store(self, row: VenueOrder, after: WorkingOrder) -> None:
        row.order = after
        self._quiet.pop(after.symbol, None)
        if not after.is_exit:
            self._hold(row)
        if after.state.is_terminal:
            self._open[after.symbol].pop(after.client_order_id, None)
            if not self._open[after.symbol]:
                del self._open[after.symbol]
            self._unreported.append(row)

    def _hold(self, row: VenueOrder) -> None:
        """Keep what an entry may still cost: what is left of it while it is open."""
        order = row.order
        cost_e8 = order.remaining_e4 * (row.reference_e4 or 0) if order.is_open else 0
        self._on_order_e8 += cost_e8 - self._on_order.pop(order.client_order_id, 0)
        if cost_e8:
            self._on_order[order.client_order_id] = cost_e8

    def _settle(
        self, symbol: str, change: Callable[[Sequence[WorkingOrder]], tuple[WorkingOrder, ...]]
    ) -> None:
        rows = list(self._open.get(symbol, {}).values())
        for row, after in zip(rows, change([row.order for row in rows]), strict=True):
            if after is not row.order:
                self._store(row, after)

    def _insert(self, intent: OrderIntent, now_ms: int, session: Session, price_e4: int | None) -> None:
        self._sequence += 1
        order = new_working_order(
            client_order_id=intent.client_order_id,
            symbol=intent.symbol,
            side=intent.side,
            type=intent.type,
            quantity_e4=intent.quantity_e4,
            accepted_at_ms=now_ms,
            sequence=self._sequence,
            limit_e4=intent.limit_e4,
            stop_e4=intent.stop_e4,
            parent_id=intent.parent_id,
            armed_e4=self._armed_e4(intent.parent_id),
            is_exit=intent.leg != ENTRY_LEG,
            ignores_participation=intent.ignores_participation,
        )
        reference_e4 = _reference_e4(intent, price_e4)
        row = VenueOrder(order, session.date, intent.plan_id, intent.leg, reference_e4, intent.quantity_e4)
        self.orders[intent.client_order_id] = row
        self._quiet.pop(intent.symbol, None)
        self._open.setdefault(intent.symbol, {})[intent.client_order_id] = row
        if not order.is_exit:
            self._hold(row)
        if intent.parent_id is not None:
            self._legs.setdefault(intent.parent_id, []).append(row)

    def _armed_e4(self, parent_id: str | None) -> int:
        parent = None if parent_id is None else self.orders.get(parent_id)
        if parent is None or not parent.order.filled_e4:
            return 0
        legs = self._legs.get(parent.order.client_order_id, ())
        return parent.order.filled_e4 - sum(leg.order.filled_e4 for leg in legs)

    def _refuse_forms(self, intents: Sequence[OrderIntent], now_ms: int, session: Session) -> str | None:
        if now_ms >= session.close_ms:
            return f"market_closed: the session {session.date} is over"
        for intent in intents:
            if not 0 < len(intent.client_order_id) <= MOST_ID:
                return "bad_id"
            if intent.quantity_e4 <= 0:
                return "bad_quantity"
            if intent.quantity_e4 % min(self._rules.profile.lot_e4, SHARE_E4):
                return "fraction_not_allowed"
            refusal = _refuse_price(intent)
            if refusal is not None:
                return refusal
        return None

    def _refuse_attachment(self, intents: Sequence[OrderIntent]) -> str | None:
        attached: dict[OrderType, int] = {}
        for leg in intents[1:]:
            attached[leg.type] = attached.get(leg.type, 0) + leg.quantity_e4
        return "bad_attachment" if max(attached.values(), default=0) > intents[0].quantity_e4 else None

    def _refuse_exit(self, head: OrderIntent) -> str | None:
        """An exit of its own needs shares that no other open exit holds."""
        holding = self.holdings.get(head.symbol)
        free_e4 = -head.side.sign * (holding.quantity_e4 if holding is not None else 0)
        groups: dict[str, int] = {}
        for each in self._open.get(head.symbol, {}).values():
            order = each.order
            if not order.is_exit or order.side is not head.side:
                continue
            if order.parent_id is None:
                free_e4 -= order.remaining_e4
            else:
                groups[order.parent_id] = order.armed_e4
        free_e4 -= sum(groups.values())
        if head.quantity_e4 <= free_e4:
            return None
        return f"insufficient_quantity: {head.quantity_e4} asked, {max(free_e4, 0)} free in 1e-4 shares"

    def _refuse_entry(self, head: OrderIntent, price_e4: int | None) -> str | None:
        if head.side is _SELL:
            if not self._rules.profile.allow_shorts:
                return f"short_not_allowed: {head.symbol} is not held and the account takes no shorts"
            if head.quantity_e4 % SHARE_E4:
                return "fraction_not_allowed: shorts are whole shares"
        reference_e4 = _reference_e4(head, price_e4)
        if reference_e4 is None:
            return f"no_price: no price of {head.symbol} is known"
        asked_e8, power_e8 = head.quantity_e4 * reference_e4, self.buying_power_e8()
        if asked_e8 <= power_e8:
            return None
        return f"insufficient_buying_power: {money_text(asked_e8)} asked, {money_text(power_e8)} free"

    def buying_power_e8(self) -> int:
        """What new entries may cost: equity times the multiple, less what is held and what is on order."""
        holdings = [self.holdings[symbol] for symbol in self._held]
        held = [(each.quantity_e4, each.mark_e4) for each in holdings]
        equity_e8 = self.cash_e8 + sum(quantity * mark for quantity, mark in held)
        gross_e8 = sum(abs(quantity) * mark for quantity, mark in held)
        return equity_e8 * self._rules.buying_power_e6 // RATIO_SCALE - gross_e8 - self._on_order_e8


def broker_fill(model: ModelFill, execution_id: str) -> BrokerFill:
    """A fill of the model as a broker would report it."""
    return new_broker_fill(
        execution_id=execution_id,
        client_order_id=model.client_order_id,
        symbol=model.symbol,
        side=model.side,
        quantity_e4=model.quantity_e4,
        price_e4=model.price_e4,
        at_ms=model.at_ms,
        fees_e8=model.fees_e8,
        reference_e4=model.reference_e4,
        is_ambiguous=model.is_ambiguous,
        is_forced_close=model.is_forced_close,
    )


def _quiet_range(rows: Sequence[VenueOrder]) -> tuple[str, int, int]:
    """The earliest session of some orders, and the prices between which a bar touches none of them."""
    low_e4, high_e4 = -NO_PRICE_E4, NO_PRICE_E4
    for row in rows:
        order = row.order
        is_limit = order.type is _LIMIT
        level_e4 = order.limit_e4 if is_limit else order.stop_e4
        if level_e4 is None or order.is_triggered or order.type is _MARKET:
            low_e4 = NO_PRICE_E4
        elif is_limit is (order.side is _BUY):
            low_e4 = max(low_e4, level_e4)
        else:
            high_e4 = min(high_e4, level_e4)
    return min([row.session for row in rows]), low_e4, high_e4


def _place(row: VenueOrder) -> Place:
    return row.order.symbol, row.leg, row.order.sequence


def _refuse_price(intent: OrderIntent) -> str | None:
    limit_e4, stop_e4 = intent.limit_e4, intent.stop_e4
    if (limit_e4 is not None) is not (intent.type is _LIMIT):
        return "bad_price"
    if (stop_e4 is not None) is not (intent.type is _STOP):
        return "bad_price"
    price_e4 = limit_e4 if limit_e4 is not None else stop_e4
    if price_e4 is None:
        return None
    if price_e4 <= 0:
        return "bad_price"
    return "off_tick" if price_e4 % instrument_of(intent.symbol).tick_e4(price_e4) else None


def _refuse_side(intents: Sequence[OrderIntent], price_e4: int | None) -> str | None:
    """A stop must lie beyond the market, an attached leg beyond its entry; without a price none is judged."""
    head = intents[0]
    if head.type is _STOP and _is_wrong_side(head, price_e4):
        return f"stop_wrong_side: {_against(head, price_e4)}"
    base_e4 = _reference_e4(head, price_e4)
    wrong = next((leg for leg in intents[1:] if _is_wrong_side(leg, base_e4)), None)
    return None if wrong is None else f"{wrong.type}_wrong_side: {_against(wrong, base_e4)}"


def _against(intent: OrderIntent, base_e4: int | None) -> str:
    prices = [price_text(price) for price in (_own_price_e4(intent), base_e4) if price is not None]
    return f"{intent.side} {intent.type} at {' against '.join(prices)}"


def _is_wrong_side(intent: OrderIntent, base_e4: int | None) -> bool:
    price_e4 = _own_price_e4(intent)
    if base_e4 is None or price_e4 is None:
        return False
    is_above = (intent.side is _SELL) is (intent.type is _LIMIT)
    return price_e4 <= base_e4 if is_above else price_e4 >= base_e4


def _own_price_e4(intent: OrderIntent) -> int | None:
    return intent.limit_e4 if intent.limit_e4 is not None else intent.stop_e4


def _reference_e4(intent: OrderIntent, price_e4: int | None) -> int | None:
    own_e4 = _own_price_e4(intent)
    return price_e4 if own_e4 is None else own_e4
