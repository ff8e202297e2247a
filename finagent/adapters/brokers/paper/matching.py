"""The venue's step of a tick: accepted orders against the bars that just ended, inside the tick's commit."""

import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import groupby

from finagent.adapters.brokers.paper import tables
from finagent.adapters.brokers.paper.rules import VenueEvent, VenueRules
from finagent.adapters.brokers.paper.tables import Holding, VenueOrder
from finagent.domain.fills import MatchResult, ModelFill, force_close, match_symbol
from finagent.domain.market import Bar, Instrument, Session
from finagent.domain.orders import BrokerFill, BrokerOrder, OrderState
from finagent.domain.working_orders import WorkingOrder, expire

NO_SPREADS: Mapping[str, int] = {}


def match(
    conn: sqlite3.Connection,
    *,
    rules: VenueRules,
    bars: Mapping[str, Bar],
    now_ms: int,
    session: Session,
    is_last_bar: bool = False,
    spreads: Mapping[str, int] = NO_SPREADS,
    halted: Collection[str] = (),
) -> list[VenueEvent]:
    """Play all open orders against the bars that end at ``now_ms`` and tell what happened, by symbol and leg.

    A pure function of the venue's tables and its arguments: the same call on the same tables writes and
    returns the same. ``spreads`` are quoted spreads in 1e-4. Orders of an earlier session expire; those
    accepted after ``now_ms`` (a backlog is played) are left alone. With
    ``is_last_bar`` every exit is closed: on the symbol's bar, or where it did not trade this minute on its
    newest price of the session; a symbol in ``halted`` or without any price stays open (held over) and its
    orders expire. Orders that ended since the last call, by a cancel or replacement too, are told once.
    Raises ValueError for a bar that has not ended.
    """
    for symbol in sorted(bars):
        if bars[symbol].end_ms > now_ms:
            raise ValueError(
                f"the bar of {symbol} ends at {bars[symbol].end_ms} ms, now is {now_ms} ms: wait for its end"
            )
    tables.open_account(conn, rules)
    open_orders = [each for each in tables.open_orders(conn) if each.order.accepted_at_ms <= now_ms]
    held = {each.symbol: each for each in tables.holdings(conn)}
    told: list[tuple[VenueOrder, ModelFill]] = []
    for symbol, group in groupby(open_orders, key=lambda each: each.order.symbol):
        rows = list(group)
        newest = None if symbol in halted else _newest(held.get(symbol), session)
        result = _play(
            [_day_order(each, session) for each in rows],
            bars.get(symbol),
            newest,
            rules=rules,
            session=session,
            spread_e4=spreads.get(symbol),
            is_last_bar=is_last_bar,
        )
        changed = [new for old, new in zip(rows, result.orders, strict=True) if new != old.order]
        tables.save_orders(conn, changed, now_ms=now_ms)
        by_id = {each.order.client_order_id: each for each in rows}
        told += [(by_id[fill.client_order_id], fill) for fill in result.fills]
    watched = {each.order.symbol for each in open_orders} | {s for s in held if held[s].quantity_e4}
    for symbol in sorted(watched & bars.keys()):
        tables.set_mark(conn, symbol, price_e4=bars[symbol].close_e4, at_ms=bars[symbol].end_ms)
    return _events(conn, told, session)


def _newest(held: Holding | None, session: Session) -> Bar | None:
    """A bar that stands at the newest price of the session, None where there is none."""
    if held is None or held.mark_at_ms < session.open_ms:
        return None
    mark_e4 = held.mark_e4
    return Bar(session.open_ms, mark_e4, mark_e4, mark_e4, mark_e4, 0)


def _day_order(row: VenueOrder, session: Session) -> WorkingOrder:
    """The row's order, expired when it is of an earlier session: DAY orders do not outlive their day."""
    return row.order if row.session >= session.date else replace(row.order, state=OrderState.EXPIRED)


def _play(
    orders: list[WorkingOrder],
    bar: Bar | None,
    newest: Bar | None,
    *,
    rules: VenueRules,
    session: Session,
    spread_e4: int | None,
    is_last_bar: bool,
) -> MatchResult:
    instrument = Instrument(symbol=orders[0].symbol, lot_e4=rules.lot_e4)
    if bar is not None:
        return match_symbol(
            orders,
            bar,
            session=session,
            instrument=instrument,
            rules=rules.costs,
            spread_e4=spread_e4,
            is_last_bar=is_last_bar,
            ambiguity=rules.ambiguity,
        )
    if not is_last_bar:
        return MatchResult((), tuple(orders))
    if newest is not None:
        return force_close(orders, newest, session=session, instrument=instrument, rules=rules.costs)
    return MatchResult((), expire(orders))


def _events(
    conn: sqlite3.Connection, told: list[tuple[VenueOrder, ModelFill]], session: Session
) -> list[VenueEvent]:
    told.sort(key=lambda pair: _place(pair[0]))  # stable: the fills of one order keep their order
    ended = {each.order.client_order_id: each for each in tables.take_unreported(conn)}
    events: list[tuple[tuple[str, str, int], VenueEvent]] = []
    for before, pairs in groupby(told, key=lambda pair: pair[0]):
        order_id = before.order.client_order_id
        booked = [tables.insert_fill(conn, fill, session=session.date) for _, fill in pairs]
        after = tables.order_by_id(conn, order_id) or before
        events += [(_place(before), event) for event in _tell_fills(before, after, booked)]
        if after.order.filled_e4 == after.asked_e4:
            ended.pop(order_id, None)
    events += [(_place(row), _event(row, row.seen, None)) for row in ended.values()]
    events.sort(key=lambda pair: pair[0])
    return [event for _, event in events]


def _tell_fills(before: VenueOrder, after: VenueOrder, fills: list[BrokerFill]) -> list[VenueEvent]:
    events: list[VenueEvent] = []
    filled_e4 = before.order.filled_e4
    for fill in fills:
        filled_e4 += fill.quantity_e4
        state = OrderState.FILLED if filled_e4 == after.asked_e4 else OrderState.PARTIALLY_FILLED
        order = replace(after.seen, filled_e4=filled_e4, state=state, reason="")
        events.append(_event(before, order, fill))
    return events


def _place(row: VenueOrder) -> tuple[str, str, int]:
    return row.order.symbol, row.leg, row.order.sequence


def _event(row: VenueOrder, order: BrokerOrder, fill: BrokerFill | None) -> VenueEvent:
    return VenueEvent(symbol=order.symbol, leg=row.leg, plan_id=row.plan_id, order=order, fill=fill)
