"""The desk on its tables: tickets written once, fills told once, entries over with their session."""

from finagent.adapters.brokers.manual import Said, end_ticket, read_plan_tickets
from finagent.domain.orders import OrderState
from finagent.domain.tickets import TicketRefusal
from tests.integration.manual.hands import Person
from tests.integration.paper.venue import SESSION, SHARE, bracket


async def test_fill_named_twice_counts_once_and_other_figures_under_the_name_are_refused() -> None:
    person = Person()
    await person.broker.submit(bracket(100))
    first = person.say("entry", 60 * SHARE, 1_000_000, name="A1")
    again = person.say("entry", 60 * SHARE, 1_000_000, name="A1")
    other = person.say("entry", 40 * SHARE, 1_000_000, name="A1")
    assert isinstance(first, Said)
    assert isinstance(again, Said)
    assert isinstance(other, TicketRefusal)
    assert (first.is_known, again.is_known, other.reason) == (False, True, "name_taken")
    assert again.fill is not None
    assert [fill.execution_id for fill in await person.broker.fills(session=SESSION.date)] == ["pl_1/A1"]


async def test_plan_that_is_flat_again_needs_its_other_tickets_no_more() -> None:
    person = Person()
    await person.broker.submit(bracket(100))
    person.say("entry", 100 * SHARE, 1_000_000)
    half = person.say("target-1", 50 * SHARE, 1_040_000)
    assert isinstance(half, Said)
    assert (half.closed, half.held_e4) == ((), 50 * SHARE)
    last = person.say("stop", 50 * SHARE, 980_000)
    assert isinstance(last, Said)
    assert [ticket.leg for ticket in last.closed] == ["stop", "target-1"]
    states = {t.leg: (t.state, t.reason) for t in read_plan_tickets(person.desk.conn, "pl_1")}
    assert states["target-1"] == (OrderState.CANCELLED, "position_closed")
    assert await person.broker.positions() == []


async def test_stop_that_filled_before_it_was_taken_back_is_still_told() -> None:
    """The agent cancelled it for an exit; at the broker it had filled already."""
    person = Person()
    await person.broker.submit(bracket(100))
    person.say("entry", 100 * SHARE, 1_000_000)
    assert await person.broker.cancel("stop")
    told = person.say("stop", 100 * SHARE, 980_000)
    assert isinstance(told, Said)
    found = await person.broker.find("stop")
    assert found is not None
    assert (found.state, found.filled_e4, told.held_e4) == (OrderState.CANCELLED, 100 * SHARE, 0)


async def test_entry_that_was_not_typed_takes_its_legs_along_and_one_with_fills_leaves_them() -> None:
    for filled, over in ((0, ["stop", "target-1"]), (40, [])):
        person = Person()
        await person.broker.submit(bracket(100))
        if filled:
            person.say("entry", filled * SHARE, 1_000_000)
        ended = end_ticket(person.desk.conn, "pl_1", "entry", "too fast", now_ms=person.clock.now_ms())
        assert isinstance(ended, Said)
        assert [ticket.leg for ticket in ended.closed] == over
        again = end_ticket(person.desk.conn, "pl_1", "entry", "", now_ms=person.clock.now_ms())
        assert isinstance(again, TicketRefusal)
        assert again.reason == "already_over"
        none = end_ticket(person.desk.conn, "pl_1", "exit", "", now_ms=person.clock.now_ms())
        assert isinstance(none, TicketRefusal)
        assert none.reason == "unknown_leg"


async def test_entry_ends_with_its_session_and_what_is_held_keeps_its_exits() -> None:
    for filled, states in ((0, {"expired"}), (100, {"filled", "accepted"})):
        person = Person()
        await person.broker.submit(bracket(100))
        if filled:
            person.say("entry", filled * SHARE, 1_000_000)
        person.clock.advance(SESSION.close_ms)
        assert {order.state.value for order in await person.broker.orders(session=SESSION.date)} == states


async def test_account_is_what_the_fills_made_of_it() -> None:
    person = Person()
    await person.broker.submit(bracket(100))
    person.say("entry", 100 * SHARE, 990_000)
    account = await person.broker.account()
    assert (account.cash_e8, account.equity_e8) == ((100_000 - 9_900) * 10**8, (100_000 + 100) * 10**8)
    assert not await person.broker.cash_flows(session=SESSION.date)
