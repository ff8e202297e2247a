"""What the venue takes and what it refuses, decided and stored in one step on a given connection."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from finagent.adapters.brokers.paper import tables
from finagent.adapters.brokers.paper.rules import Duplicate, Refusal, VenueRules
from finagent.adapters.brokers.paper.tables import VenueOrder
from finagent.domain.market import Instrument, Session, Side
from finagent.domain.money import RATIO_SCALE, SHARE_E4, money_text, price_text
from finagent.domain.orders import ENTRY_LEG, OrderIntent, OrderState, OrderType
from finagent.domain.working_orders import WorkingOrder, cancel, settle


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the venue knows of the world when an order arrives; the price in 1e-4 is None where unknown."""

    now_ms: int
    session: Session
    instrument: Instrument | None
    price_e4: int | None
    rules: VenueRules


def accept(
    conn: sqlite3.Connection, intents: Sequence[OrderIntent], terms: Terms
) -> VenueOrder | Refusal | Duplicate:
    """Take an order with its attached legs, all or none; the first intent's order is returned."""
    head = intents[0]
    tables.open_account(conn, terms.rules)
    ids = [intent.client_order_id for intent in intents]
    for order_id in ids:
        if ids.count(order_id) > 1 or tables.order_by_id(conn, order_id) is not None:
            return Duplicate(order_id)
    refusal = (
        _refuse_forms(intents, terms)
        or _refuse_attachment(conn, intents, terms)
        or _refuse_opposite(conn, head, terms)
    )
    if refusal is None and head.parent_id is None:
        refusal = (
            _refuse_exit(conn, head) if head.leg != ENTRY_LEG else _refuse_entry(conn, head, terms)
        ) or _refuse_side(intents, terms)
    elif refusal is None:
        refusal = _refuse_side(intents, terms)
    if refusal is not None:
        return refusal
    for intent in intents:
        _insert(conn, intent, terms)
    return _stored(conn, head.client_order_id)


def change(
    conn: sqlite3.Connection, client_order_id: str, new: OrderIntent, terms: Terms
) -> VenueOrder | Refusal | Duplicate:
    """Put a new order in the place of an open one in one step; it inherits the position it protects."""
    old = tables.order_by_id(conn, client_order_id)
    if old is None or not old.order.is_open:
        state = "unknown" if old is None else old.order.state
        return Refusal("not_open", f"order {client_order_id} is {state}")
    if tables.order_by_id(conn, new.client_order_id) is not None:
        return Duplicate(new.client_order_id)
    same = (new.symbol, new.side, new.parent_id) == (old.order.symbol, old.order.side, old.order.parent_id)
    if not same or (new.leg != ENTRY_LEG) is not old.order.is_exit:
        return Refusal("bad_replacement", "symbol, side, parent and leg stay those of the order replaced")
    if terms.rules.strict_alpaca and (new.quantity_e4 % SHARE_E4 or old.order.quantity_e4 % SHARE_E4):
        return Refusal("no_fractions", f"order {client_order_id} is of a fraction: cancel it and send anew")
    if old.order.is_triggered:
        return Refusal("already_triggered", f"stop {client_order_id} is a market order by now")
    refusal = _refuse_forms([new], terms) or _refuse_side([new], terms)
    if refusal is None and new.parent_id is None:
        refusal = (
            _refuse_exit(conn, new, without=client_order_id)
            if old.order.is_exit
            else _refuse_entry(conn, new, terms, without=client_order_id)
        )
    if refusal is not None:
        return refusal
    # The legs of a replaced entry belong to the old id: they would be left without one.
    if any(each.order.parent_id == client_order_id for each in tables.open_orders(conn, new.symbol)):
        return Refusal(
            "has_attached_exits", f"order {client_order_id} carries exits: cancel it and send anew"
        )
    ended = replace(old.order, state=OrderState.CANCELLED, reason="replaced")
    tables.save_orders(conn, [ended], now_ms=terms.now_ms)
    _insert(conn, new, terms)
    _settle(conn, new.symbol, terms.now_ms)
    return _stored(conn, new.client_order_id)


def end(conn: sqlite3.Connection, client_order_id: str, *, now_ms: int) -> bool:
    """Cancel an order with what depends on it; False when it is unknown or over."""
    found = tables.order_by_id(conn, client_order_id)
    if found is None or not found.order.is_open:
        return False
    before = _working(conn, found.order.symbol)
    _save_changes(conn, before, cancel(before, client_order_id, "cancelled"), now_ms)
    return True


def buying_power_e8(conn: sqlite3.Connection, rules: VenueRules, *, without: str | None = None) -> int:
    """What new entries may cost: equity times the multiple, less what is held and what is on order."""
    held = tables.holdings(conn)
    equity_e8 = equity_of(tables.cash_e8(conn, rules), held)
    gross_e8 = sum(abs(each.quantity_e4) * each.mark_e4 for each in held)
    on_order_e8 = sum(
        each.order.remaining_e4 * (each.reference_e4 or 0)
        for each in tables.open_orders(conn)
        if not each.order.is_exit and each.order.client_order_id != without
    )
    return equity_e8 * rules.buying_power_e6 // RATIO_SCALE - gross_e8 - on_order_e8


def equity_of(cash_e8: int, held: Sequence[tables.Holding]) -> int:
    """Cash and positions at their marks, in 1e-8."""
    return cash_e8 + sum(each.quantity_e4 * each.mark_e4 for each in held)


def _refuse_forms(intents: Sequence[OrderIntent], terms: Terms) -> Refusal | None:
    if terms.now_ms >= terms.session.close_ms:
        return Refusal("market_closed", f"the session {terms.session.date} is over")
    if terms.instrument is None:
        return Refusal("unknown_symbol", f"{intents[0].symbol} is not traded here")
    most = terms.rules.capabilities.max_client_order_id
    for intent in intents:
        if not 0 < len(intent.client_order_id) <= most:
            return Refusal("bad_id", f"{intent.client_order_id!r} must have 1 to {most} characters")
        refusal = _refuse_quantity(intent, terms) or _refuse_price(intent, terms.instrument)
        if refusal is not None:
            return refusal
    return None


def _refuse_quantity(intent: OrderIntent, terms: Terms) -> Refusal | None:
    if intent.quantity_e4 <= 0:
        return Refusal("bad_quantity", f"{intent.quantity_e4} in 1e-4 shares must be more than 0")
    if intent.quantity_e4 % terms.rules.lot_e4:
        return Refusal(
            "fraction_not_allowed",
            f"{intent.quantity_e4} in 1e-4 shares is no multiple of {terms.rules.lot_e4}",
        )
    return None


def _refuse_price(intent: OrderIntent, instrument: Instrument) -> Refusal | None:
    wanted = {OrderType.LIMIT: (True, False), OrderType.STOP: (False, True)}.get(intent.type, (False, False))
    if (intent.limit_e4 is not None, intent.stop_e4 is not None) != wanted:
        return Refusal("bad_price", f"a {intent.type} order takes exactly its own price")
    price_e4 = _own_price_e4(intent)
    if price_e4 is None:
        return None
    if price_e4 <= 0:
        return Refusal("bad_price", f"{price_e4} in 1e-4 must be more than 0")
    tick_e4 = instrument.tick_e4(price_e4)
    if price_e4 % tick_e4:
        return Refusal("off_tick", f"{price_text(price_e4)} is no multiple of {price_text(tick_e4)}")
    return None


def _refuse_attachment(
    conn: sqlite3.Connection, intents: Sequence[OrderIntent], terms: Terms
) -> Refusal | None:
    head, legs = intents[0], intents[1:]
    if not terms.rules.has_attached_exits and (legs or head.parent_id is not None):
        return Refusal("attached_exits_not_supported", "send each leg as an order of its own")
    for leg in legs:
        fits = (leg.parent_id, leg.symbol) == (head.client_order_id, head.symbol)
        if not fits or leg.side is head.side or leg.leg == ENTRY_LEG or head.leg != ENTRY_LEG:
            return Refusal("bad_attachment", f"{leg.client_order_id} is no exit of {head.client_order_id}")
    for kind in OrderType:
        total_e4 = sum(leg.quantity_e4 for leg in legs if leg.type is kind)
        if total_e4 > head.quantity_e4:
            return Refusal("bad_attachment", f"{kind} legs of {total_e4} exceed {head.quantity_e4}")
    return None if head.parent_id is None else _refuse_orphan(conn, head)


def _refuse_orphan(conn: sqlite3.Connection, head: OrderIntent) -> Refusal | None:
    parent = tables.order_by_id(conn, head.parent_id or "")
    if parent is None or parent.order.symbol != head.symbol or parent.order.side is head.side:
        return Refusal("unknown_parent", f"{head.parent_id} is no entry of {head.symbol} on the other side")
    if not parent.order.is_open and _armed_e4(conn, parent) <= 0:
        return Refusal("no_position", f"{head.parent_id} has nothing left to protect")
    return None


def _refuse_opposite(conn: sqlite3.Connection, head: OrderIntent, terms: Terms) -> Refusal | None:
    """Orders of both sides that could meet are a potential wash trade to Alpaca; two limits apart are not."""
    if not terms.rules.strict_alpaca:
        return None
    for each in tables.open_orders(conn, head.symbol):
        order = each.order
        if order.side is not head.side and OrderType.LIMIT not in (order.type, head.type):
            return Refusal("wash_trade", f"{order.side} {order.type} {order.client_order_id} still works")
        if order.side is not head.side and not order.is_exit:
            return Refusal("wash_trade", f"entry {order.client_order_id} still works")
    return None


def _refuse_exit(
    conn: sqlite3.Connection, head: OrderIntent, *, without: str | None = None
) -> Refusal | None:
    """An exit of its own needs shares that no other open exit holds; the legs of a group hold them once."""
    held_e4 = sum(each.quantity_e4 for each in tables.positions(conn) if each.symbol == head.symbol)
    free_e4 = -head.side.sign * held_e4
    groups: dict[str, int] = {}
    for each in tables.open_orders(conn, head.symbol):
        order = each.order
        if not order.is_exit or order.side is not head.side or order.client_order_id == without:
            continue
        if order.parent_id is None:
            free_e4 -= order.remaining_e4
        else:
            groups[order.parent_id] = order.armed_e4
    free_e4 -= sum(groups.values())
    if head.quantity_e4 > free_e4:
        return Refusal(
            "insufficient_quantity", f"{head.quantity_e4} asked, {max(free_e4, 0)} free in 1e-4 shares"
        )
    return None


def _refuse_entry(
    conn: sqlite3.Connection, head: OrderIntent, terms: Terms, *, without: str | None = None
) -> Refusal | None:
    if head.side is Side.SELL:
        if not terms.rules.allow_shorts:
            return Refusal("short_not_allowed", f"{head.symbol} is not held and the account takes no shorts")
        if terms.instrument is not None and terms.instrument.shortable is False:
            return Refusal("not_shortable", f"{head.symbol} cannot be borrowed")
        if head.quantity_e4 % SHARE_E4:
            return Refusal("fraction_not_allowed", "shorts are whole shares")
    price_e4 = _reference_e4(head, terms)
    if price_e4 is None:
        return Refusal("no_price", f"no price of {head.symbol} is known")
    power_e8 = buying_power_e8(conn, terms.rules, without=without)
    if head.quantity_e4 * price_e4 > power_e8:
        return Refusal(
            "insufficient_buying_power",
            f"{money_text(head.quantity_e4 * price_e4)} asked, {money_text(power_e8)} free",
        )
    return None


def _refuse_side(intents: Sequence[OrderIntent], terms: Terms) -> Refusal | None:
    """A stop must lie beyond the market, an attached leg beyond its entry; without a price none is judged."""
    head = intents[0]
    if head.type is OrderType.STOP and _is_wrong_side(head, terms.price_e4):
        return Refusal("stop_wrong_side", _against(head, terms.price_e4))
    for leg in intents[1:]:
        base_e4 = _reference_e4(head, terms)
        if _is_wrong_side(leg, base_e4):
            return Refusal(f"{leg.type}_wrong_side", _against(leg, base_e4))
    return None


def _is_wrong_side(intent: OrderIntent, base_e4: int | None) -> bool:
    price_e4 = _own_price_e4(intent)
    if base_e4 is None or price_e4 is None:
        return False
    # Sell limits and buy stops lie above the market, sell stops and buy limits below.
    above = (intent.side is Side.SELL) is (intent.type is OrderType.LIMIT)
    return price_e4 <= base_e4 if above else price_e4 >= base_e4


def _against(intent: OrderIntent, base_e4: int | None) -> str:
    prices = [price_text(price) for price in (_own_price_e4(intent), base_e4) if price is not None]
    return f"{intent.side} {intent.type} at {' against '.join(prices)}"


def _own_price_e4(intent: OrderIntent) -> int | None:
    return intent.limit_e4 if intent.limit_e4 is not None else intent.stop_e4


def _reference_e4(intent: OrderIntent, terms: Terms) -> int | None:
    own_e4 = _own_price_e4(intent)
    return terms.price_e4 if own_e4 is None else own_e4


def _armed_e4(conn: sqlite3.Connection, parent: VenueOrder) -> int:
    return parent.order.filled_e4 - tables.exited_e4(conn, parent.order.client_order_id)


def _insert(conn: sqlite3.Connection, intent: OrderIntent, terms: Terms) -> None:
    parent = None if intent.parent_id is None else tables.order_by_id(conn, intent.parent_id)
    tables.insert_order(
        conn,
        intent,
        session=terms.session.date,
        now_ms=terms.now_ms,
        is_exit=intent.leg != ENTRY_LEG,
        armed_e4=0 if parent is None else _armed_e4(conn, parent),
        reference_e4=_reference_e4(intent, terms),
    )


def _working(conn: sqlite3.Connection, symbol: str) -> list[WorkingOrder]:
    return [each.order for each in tables.open_orders(conn, symbol)]


def _settle(conn: sqlite3.Connection, symbol: str, now_ms: int) -> None:
    before = _working(conn, symbol)
    _save_changes(conn, before, settle(before), now_ms)


def _save_changes(
    conn: sqlite3.Connection, before: Sequence[WorkingOrder], after: Sequence[WorkingOrder], now_ms: int
) -> None:
    changed = [new for old, new in zip(before, after, strict=True) if new != old]
    tables.save_orders(conn, changed, now_ms=now_ms)


def _stored(conn: sqlite3.Connection, client_order_id: str) -> VenueOrder:
    stored = tables.order_by_id(conn, client_order_id)
    if stored is None:
        raise LookupError(f"order {client_order_id} was stored and is gone: the venue's tables are damaged")
    return stored
