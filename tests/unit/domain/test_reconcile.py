"""What broker and journal say of the same orders and shares, and what follows from where they part."""

import dataclasses

import pytest

from finagent.domain.market import Side
from finagent.domain.orders import OrderState
from finagent.domain.reconcile import (
    DifferenceKind,
    OrderFindings,
    ShareFinding,
    believable,
    compare_orders,
    compare_shares,
    stranded,
)
from tests.unit.domain.reconcile_builders import (
    SHARES_E4,
    entry_of,
    execution,
    holding,
    ours,
    plan_of,
    seen,
    stored,
    theirs,
)

PLAN = plan_of()
ENTRY = entry_of(PLAN)
ID = ENTRY.client_order_id
NOTHING = OrderFindings(fills=(), ended=(), orphans=(), differences=(), doubtful=frozenset())
DOUBT = dataclasses.replace(NOTHING, doubtful=frozenset({"WMT"}))


def kinds(found: OrderFindings) -> list[str]:
    return [each.kind for each in found.differences]


# ------------------------------------------------------------ orders
def test_orders_that_agree_say_nothing() -> None:
    assert compare_orders(ours(stored(ENTRY)), theirs(seen(ENTRY))) == NOTHING


def test_order_of_ours_that_no_journal_knows_is_a_difference_and_its_fills_put_the_symbol_in_doubt() -> None:
    found = compare_orders(ours(), theirs(dataclasses.replace(seen(ENTRY), filled_e4=10_000)))
    assert kinds(found) == [DifferenceKind.UNKNOWN_ORDER]
    assert found.doubtful == {"WMT"}


def test_unknown_order_that_filled_nothing_has_moved_no_share() -> None:
    found = compare_orders(ours(), theirs(seen(ENTRY)))
    assert kinds(found) == [DifferenceKind.UNKNOWN_ORDER]
    assert not found.doubtful


def test_order_of_another_program_is_none_of_our_business() -> None:
    foreign = dataclasses.replace(seen(ENTRY), client_order_id="by-hand-1")
    assert compare_orders(ours(), theirs(foreign)) == NOTHING
    assert compare_orders(ours(), theirs(missing=["by-hand-1"])) == NOTHING


def test_live_order_that_the_broker_does_not_have_is_lost_and_an_ended_one_is_not() -> None:
    found = compare_orders(ours(stored(ENTRY)), theirs(missing=[ID]))
    assert kinds(found) == [DifferenceKind.LOST_ORDER]
    over = stored(ENTRY, OrderState.CANCELLED)
    assert compare_orders(ours(over), theirs(missing=[ID])) == NOTHING


@pytest.mark.parametrize("state", [OrderState.INTENT, OrderState.UNKNOWN])
def test_order_whose_sending_is_under_way_is_left_to_its_sender(state: OrderState) -> None:
    for broker in (theirs(missing=[ID]), theirs(seen(ENTRY, OrderState.FILLED, SHARES_E4))):
        found = compare_orders(ours(stored(ENTRY, state)), broker)
        assert (found.differences, found.ended, found.orphans) == ((), (), ())
        assert found.doubtful == {"WMT"}


def test_exit_under_way_is_in_doubt_only_where_the_broker_has_it() -> None:
    """What it does not have has sold nothing: shares that are gone went another way."""
    stop = dataclasses.replace(ENTRY, client_order_id=f"{ID}-stop", leg="stop", side=Side.SELL)
    for state in (OrderState.INTENT, OrderState.UNKNOWN):
        absent = theirs(missing=[stop.client_order_id])
        assert compare_orders(ours(stored(stop, state)), absent).doubtful == set()
        assert compare_orders(ours(stored(stop, state)), theirs(seen(stop))).doubtful == {"WMT"}


def test_execution_that_is_not_recorded_is_told_once_and_then_its_order_ends() -> None:
    fill = execution(ID)
    broker = theirs(seen(ENTRY, OrderState.FILLED, SHARES_E4), fills=[fill])
    found = compare_orders(ours(stored(ENTRY)), broker)
    assert found.fills == (fill,)
    assert [order.intent.client_order_id for order, _ in found.ended] == [ID]
    recorded = stored(ENTRY, OrderState.FILLED, SHARES_E4)
    assert compare_orders(ours(recorded, executions=["x1"]), broker) == NOTHING


def test_execution_of_an_order_that_is_not_ours_is_not_recorded() -> None:
    assert compare_orders(ours(), theirs(fills=[execution("by-hand-1")])) == NOTHING


def test_order_filled_beyond_what_is_listed_does_not_end_before_its_executions_are_known() -> None:
    found = compare_orders(ours(stored(ENTRY)), theirs(seen(ENTRY, OrderState.FILLED, SHARES_E4)))
    assert kinds(found) == [DifferenceKind.MISSING_FILL]
    assert found.ended == ()
    assert found.doubtful == {"WMT"}


def test_late_execution_of_an_ended_order_is_still_missing() -> None:
    over = stored(ENTRY, OrderState.CANCELLED)
    found = compare_orders(ours(over), theirs(seen(ENTRY, OrderState.CANCELLED, 5)))
    assert kinds(found) == [DifferenceKind.MISSING_FILL]


def test_order_that_works_at_the_broker_after_its_end_was_written_is_an_orphan() -> None:
    over = stored(ENTRY, OrderState.CANCELLED)
    found = compare_orders(ours(over), theirs(seen(ENTRY)))
    assert [each.client_order_id for each in found.orphans] == [ID]


# ------------------------------------------------------------ shares
def shares(
    found_held: dict[str, int], *, external: dict[str, int] | None = None, orders: OrderFindings = NOTHING
) -> tuple[ShareFinding, ...]:
    own = ours(positions=[holding(PLAN)], external=external)
    return compare_shares(own, theirs(held=found_held), orders)


def test_shares_that_agree_say_nothing() -> None:
    assert shares({"WMT": SHARES_E4}) == ()
    assert shares({"WMT": SHARES_E4 + 7, "ZZZ": 3}, external={"WMT": 7, "ZZZ": 3}) == ()


def test_executions_on_their_way_count_as_ours() -> None:
    own, fill = ours(), execution(ID)
    coming = dataclasses.replace(NOTHING, fills=(fill,))
    assert compare_shares(own, theirs(held={"WMT": SHARES_E4}), coming) == ()
    (found,) = compare_shares(own, theirs(), coming)
    assert (found.expected_e4, found.theirs_e4) == (SHARES_E4, 0)


def test_shares_sold_by_hand_are_a_reduction_of_ours() -> None:
    (found,) = shares({"WMT": 400_000})
    assert (found.ours_e4, found.external_e4, found.reduction_e4) == (400_000, 0, 600_000)
    assert not found.is_harmless
    assert found.difference.detail == "journal 1000000, broker 400000 (1e-4 shares)"


def test_shares_sold_by_hand_and_bought_back_are_external() -> None:
    """The executions by time tell it, as far as no fill of ours has one and they add up to the change."""
    hand = [
        execution("hand-0", name="x0", side=Side.SELL, quantity_e4=500_000, at_ms=5),
        execution("hand-1", name="x1", side=Side.SELL, quantity_e4=700_000, at_ms=20),
        execution("hand-2", name="x2", side=Side.BUY, quantity_e4=100_000, at_ms=30),
        execution("hand-3", "GE", name="x3", side=Side.BUY, quantity_e4=100_000, at_ms=40),
    ]

    def found(left_e4: int, *known: str) -> tuple[int, int]:
        own = ours(positions=[holding(PLAN)], executions=known)
        (each,) = compare_shares(own, theirs(fills=hand, held={"WMT": left_e4, "GE": 0}), NOTHING)
        return each.ours_e4, each.external_e4

    assert found(400_000) == (300_000, 100_000)
    assert found(300_000) == (300_000, 0)
    assert found(1_100_000) == (SHARES_E4, 100_000)
    assert found(400_000, "x1") == (400_000, 0)
    assert found(400_000, "x1/part") == (400_000, 0)


def test_shares_of_nobody_are_external() -> None:
    ours_too, other = shares({"WMT": SHARES_E4 + 5, "ZZZ": 9})
    assert (ours_too.symbol, ours_too.external_e4, ours_too.reduction_e4) == ("WMT", 5, 0)
    assert (other.symbol, other.ours_e4, other.external_e4) == ("ZZZ", 0, 9)
    assert not ours_too.is_harmless


def test_external_shares_that_go_are_harmless() -> None:
    (found,) = shares({"WMT": SHARES_E4}, external={"ZZZ": 9})
    assert (found.symbol, found.external_e4, found.is_harmless) == ("ZZZ", 0, True)
    (turned,) = shares({"WMT": SHARES_E4, "ZZZ": -3}, external={"ZZZ": 9})
    assert not turned.is_harmless


def test_shares_in_a_symbol_of_unknown_orders_are_in_doubt() -> None:
    (found,) = shares({}, orders=DOUBT)
    assert found.is_doubtful


# ------------------------------------------------------------ money
def believed(held: dict[str, int], *, worth_e8: int, marks: dict[str, int] | None = None) -> bool:
    broker = theirs(held=held, cash_e8=500, equity_e8=500 + worth_e8)
    found = compare_shares(ours(positions=[holding(PLAN)]), broker, NOTHING)
    return "WMT" in believable(broker, found, {"WMT": 1_000_000} if marks is None else marks)


def test_empty_list_is_believed_only_when_the_equity_says_flat_too() -> None:
    worth_e8 = SHARES_E4 * 1_000_000
    assert not believed({}, worth_e8=worth_e8)
    assert not believed({}, worth_e8=worth_e8 * 9 // 10)
    assert believed({}, worth_e8=0)


def test_sale_of_a_half_is_believed_when_half_the_worth_is_left() -> None:
    worth_e8 = SHARES_E4 * 1_000_000
    assert believed({"WMT": SHARES_E4 // 2}, worth_e8=worth_e8 // 2)
    assert not believed({"WMT": SHARES_E4 // 2}, worth_e8=worth_e8)


def test_symbol_without_a_price_says_nothing() -> None:
    assert believed({}, worth_e8=5, marks={})


def of_all(*, worth_e8: int, marks: dict[str, int], listed: dict[str, int] | None = None) -> set[str]:
    """What is believed of holdings of 100 shares each that a list does not show, but for ``listed``."""
    plans = [dataclasses.replace(PLAN, plan_id=f"pl_{symbol}", symbol=symbol) for symbol in marks]
    broker = theirs(held=listed or {}, cash_e8=500, equity_e8=500 + worth_e8)
    found = compare_shares(ours(positions=[holding(plan) for plan in plans]), broker, NOTHING)
    return set(believable(broker, found, marks))


def test_true_sale_beside_an_empty_list_is_believed_alone() -> None:
    """WMT was sold; the broker's money still holds the other two, which its list does not show."""
    marks = {"WMT": 1_000_000, "GE": 300_000, "KO": 450_000}
    assert of_all(worth_e8=SHARES_E4 * 750_000, marks=marks) == {"WMT"}
    assert of_all(worth_e8=0, marks=marks) == {"WMT", "GE", "KO"}
    assert of_all(worth_e8=SHARES_E4 * 1_750_000, marks=marks) == set()


def test_nothing_is_believed_where_no_way_fits_the_money() -> None:
    """Found in the simulated world (seed 3901): what is not ours has no cost that could speak against a wrong price."""
    assert of_all(worth_e8=SHARES_E4 * 2_000_000, marks={"WMT": 10_000_000}) == set()


@pytest.mark.parametrize(
    ("listed", "left_e8", "expected"),
    [
        ({"OLD": 290_000}, 0, {"WMT", "OLD"}),
        ({"OLD": 290_000}, SHARES_E4 * 1_000_000, {"OLD"}),
        ({"OLD": -290_000}, -2 * 290_000 * 100_000, {"WMT", "OLD"}),
        ({"OLD": 290_000, "OLDER": -290_000}, 0, {"OLD", "OLDER"}),
    ],
)
def test_what_is_listed_without_a_price_is_worth_what_is_left(
    listed: dict[str, int], left_e8: int, expected: set[str]
) -> None:
    """Found in the simulated world (seed 2203): 29 shares of what is not ours hid a sale by hand for ever."""
    worth_e8 = 290_000 * 100_000 + left_e8
    assert of_all(worth_e8=worth_e8, marks={"WMT": 1_000_000}, listed=listed) == expected


def test_sale_that_could_as_well_be_of_another_symbol_is_not_believed() -> None:
    """One of two holdings of nearly one price was sold: the money does not tell which."""
    marks = {"WMT": 1_000_000, "GE": 1_010_000}
    assert of_all(worth_e8=SHARES_E4 * 1_000_000, marks=marks) == set()


def test_more_symbols_than_can_be_looked_at_one_by_one_are_believed_together_or_not() -> None:
    marks = {f"S{number}": 100_000 * (number + 1) for number in range(11)}
    worth_e8 = SHARES_E4 * sum(marks.values())
    assert of_all(worth_e8=worth_e8, marks=marks) == set()
    assert of_all(worth_e8=0, marks=marks) == set(marks)


def test_only_positions_of_earlier_sessions_are_stranded() -> None:
    held = [holding(PLAN)]
    assert stranded(held, PLAN.session) == ()
    (found,) = stranded(held, "2018-02-21")
    assert (found.kind, found.ref) == (DifferenceKind.STRANDED, "WMT")


def test_sale_of_ours_is_told_by_its_own_side() -> None:
    fill = execution(ID, side=Side.SELL, quantity_e4=400_000)
    own = ours(positions=[holding(PLAN)])
    coming = dataclasses.replace(NOTHING, fills=(fill,))
    assert compare_shares(own, theirs(held={"WMT": 600_000}), coming) == ()


def test_order_and_shares_of_a_restores_lost_time_are_known() -> None:
    own = dataclasses.replace(ours(), recovered={ID}, recovered_e4={"WMT": SHARES_E4})
    assert compare_orders(own, theirs(seen(ENTRY))) == NOTHING
    assert compare_shares(own, theirs(held={"WMT": SHARES_E4}), NOTHING) == ()
    (found,) = compare_shares(own, theirs(held={}), NOTHING)
    assert (found.ours_before_e4, found.reduction_e4) == (SHARES_E4, SHARES_E4)
