"""Tickets: which one is meant, what cannot have filled, and what must rest at the broker."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.market import Side
from finagent.domain.orders import BrokerFill, OrderState, OrderType
from finagent.domain.tickets import (
    SaidFill,
    Ticket,
    TicketRefusal,
    held_e4,
    open_quantity_e4,
    order_words,
    refuse_end,
    refuse_fill,
    ticket_for,
)

WRITTEN_MS, NOW_MS = 1_000_000, 2_000_000
SHARE = 10_000
ENTRY = Ticket(
    client_order_id="e",
    plan_id="pl_1",
    session="2018-02-20",
    symbol="WMT",
    leg="entry",
    generation=1,
    side=Side.BUY,
    type=OrderType.MARKET,
    quantity_e4=100 * SHARE,
    filled_e4=0,
    state=OrderState.ACCEPTED,
    accepted_at_ms=WRITTEN_MS,
)
STOP = replace(
    ENTRY,
    client_order_id="s",
    leg="stop",
    side=Side.SELL,
    type=OrderType.STOP,
    stop_e4=97_0000,
    parent_id="e",
)
TARGET = replace(
    STOP,
    client_order_id="t",
    leg="target-1",
    type=OrderType.LIMIT,
    stop_e4=None,
    limit_e4=109_0000,
    quantity_e4=50 * SHARE,
)
ENTERED = replace(ENTRY, filled_e4=60 * SHARE, state=OrderState.PARTIALLY_FILLED)
SAID = SaidFill(
    leg="entry", quantity_e4=60 * SHARE, price_e4=100_0000, at_ms=1_500_000, reference_e4=100_0000
)


def a_fill(ticket: Ticket = ENTRY, **changes: object) -> BrokerFill:
    base = BrokerFill(
        execution_id="x",
        client_order_id=ticket.client_order_id,
        symbol="WMT",
        side=ticket.side,
        quantity_e4=60 * SHARE,
        price_e4=100_0000,
        at_ms=1_400_000,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def judged(
    said: SaidFill, ticket: Ticket = ENTRY, *others: Ticket, fills: tuple[BrokerFill, ...] = ()
) -> str:
    found = refuse_fill(said, ticket, (ticket, *others), fills, now_ms=NOW_MS)
    return found.reason if found is not None else ""


def test_fill_of_the_ticket_is_taken():
    assert judged(SAID) == ""
    assert judged(replace(SAID, leg="stop"), STOP, ENTERED, fills=(a_fill(),)) == ""


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("not_positive", {"quantity_e4": 0}),
        ("not_positive", {"price_e4": 0}),
        ("not_positive", {"fees_e8": -1}),
        ("too_large", {"price_e4": 10**14}),
        ("lot", {"quantity_e4": 5_000}),
        ("off_tick", {"price_e4": 100_0050}),
        ("too_much", {"quantity_e4": 101 * SHARE}),
        ("future", {"at_ms": NOW_MS + 1}),
        ("before_ticket", {"at_ms": WRITTEN_MS - 60_001}),
        ("price_far", {"price_e4": 49_9900}),
        ("price_far", {"price_e4": 200_0100}),
        ("fees_far", {"fees_e8": 600_0000_0001 * 100}),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason_and_the_mend(reason, changes):
    said = replace(SAID, **changes)
    found = refuse_fill(said, ENTRY, (ENTRY,), (), now_ms=NOW_MS)
    assert isinstance(found, TicketRefusal)
    assert (found.reason, bool(found.detail), bool(found.mend)) == (reason, True, True)


def test_what_is_meant_all_the_same_is_taken_when_it_is_said():
    assert judged(replace(SAID, price_e4=100_0050, is_average=True)) == ""
    assert judged(replace(SAID, price_e4=10_0000, is_sure=True)) == ""
    assert judged(replace(SAID, fees_e8=700_0000_0000 * 100, is_sure=True)) == ""
    assert judged(replace(SAID, quantity_e4=5_000, lot_e4=1)) == ""
    assert judged(replace(SAID, at_ms=WRITTEN_MS - 60_000)) == ""
    assert judged(replace(SAID, price_e4=50_0000)) == ""
    assert judged(replace(SAID, price_e4=200_0000)) == ""


def test_exit_is_no_more_than_the_plan_holds_and_not_before_its_entry():
    stop = replace(SAID, leg="stop", quantity_e4=61 * SHARE)
    assert judged(stop, STOP, ENTERED) == "too_much"
    assert judged(stop, STOP, ENTRY) == "too_much"
    early = replace(SAID, leg="stop", at_ms=1_300_000)
    assert judged(early, STOP, ENTERED, fills=(a_fill(),)) == "before_entry"
    assert judged(replace(early, at_ms=1_400_000), STOP, ENTERED, fills=(a_fill(),)) == ""


def test_short_position_is_closed_by_buying():
    short = replace(ENTERED, side=Side.SELL)
    cover = replace(STOP, side=Side.BUY)
    assert held_e4((short, cover)) == -60 * SHARE
    assert judged(replace(SAID, leg="stop"), cover, short) == ""
    assert judged(replace(SAID, leg="stop", quantity_e4=61 * SHARE), cover, short) == "too_much"


def test_same_fill_twice_is_asked_about():
    ticket = replace(ENTRY, quantity_e4=200 * SHARE, filled_e4=60 * SHARE)
    assert judged(SAID, ticket, fills=(a_fill(ticket),)) == "said_before"
    assert judged(replace(SAID, is_again=True), ticket, fills=(a_fill(ticket),)) == ""
    assert judged(replace(SAID, price_e4=100_0100), ticket, fills=(a_fill(ticket),)) == ""
    assert judged(SAID, ticket, fills=(a_fill(STOP),)) == ""


def test_newest_open_ticket_of_a_leg_is_meant_else_the_newest():
    old = replace(STOP, state=OrderState.CANCELLED)
    new = replace(STOP, client_order_id="s2", generation=2)
    assert ticket_for((ENTRY, old, new), "stop") is new
    assert ticket_for((ENTRY, STOP, replace(new, state=OrderState.CANCELLED)), "stop") is STOP
    over = replace(new, state=OrderState.FILLED)
    assert ticket_for((ENTRY, old, over), "stop") is over


def test_leg_without_a_ticket_names_those_there_are():
    found = ticket_for((ENTRY, STOP), "target-1")
    assert isinstance(found, TicketRefusal)
    assert "entry, stop" in found.detail
    none = ticket_for((), "entry")
    assert isinstance(none, TicketRefusal)
    assert "none yet" in none.detail


def test_ticket_that_is_over_cannot_end_again():
    assert refuse_end(ENTRY) is None
    found = refuse_end(replace(ENTRY, state=OrderState.FILLED))
    assert found is not None
    assert found.reason == "already_over"


def test_exit_rests_for_what_is_held_once_anything_is():
    assert open_quantity_e4(ENTRY, (ENTRY, STOP)) == 100 * SHARE
    assert open_quantity_e4(STOP, (ENTRY, STOP)) == 100 * SHARE
    assert open_quantity_e4(STOP, (ENTERED, STOP, TARGET)) == 60 * SHARE
    assert open_quantity_e4(TARGET, (ENTERED, STOP, TARGET)) == 50 * SHARE
    sold = replace(TARGET, filled_e4=50 * SHARE, state=OrderState.FILLED)
    assert open_quantity_e4(STOP, (ENTERED, STOP, sold)) == 10 * SHARE


def test_words_are_what_is_typed():
    assert order_words(ENTRY, 100 * SHARE) == "BUY 100 WMT market"
    assert order_words(STOP, 60 * SHARE) == "SELL 60 WMT stop 97.00"
    assert order_words(TARGET, 5_000) == "SELL 0.5 WMT limit 109.00"
    assert order_words(replace(TARGET, limit_e4=None), SHARE) == "SELL 1 WMT limit ?"


@given(
    quantity=st.integers(-10, 200),
    price=st.integers(-10, 10**6),
    at=st.integers(0, NOW_MS * 2),
    is_sure=st.booleans(),
)
def test_nothing_that_is_taken_can_hold_more_than_was_written(quantity, price, at, is_sure):
    said = replace(
        SAID, quantity_e4=quantity * SHARE, price_e4=price * 100, at_ms=at, is_sure=is_sure, is_average=True
    )
    if judged(said, ENTERED, STOP, fills=(a_fill(),)) == "":
        assert 0 < said.quantity_e4 <= ENTERED.remaining_e4
        assert said.price_e4 > 0
        assert said.at_ms <= NOW_MS
