"""Whose shares the broker holds: a change comes out of the person's own, and ours is never more than is there."""

from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.external import (
    ExternalHolding,
    attribute,
    attribute_in_turn,
    external_intent,
    is_external_id,
    unseen,
)
from finagent.domain.market import Side
from finagent.domain.orders import OrderIntent, Scope

shares = st.integers(min_value=-10_000_000, max_value=10_000_000)


@given(shares, shares, shares)
def test_parts_add_up_to_what_the_broker_holds_and_ours_never_exceeds_it(
    ours: int, external: int, theirs: int
) -> None:
    left, rest = attribute(ours, external, theirs)
    assert left + rest == theirs
    if ours + external != theirs:
        assert abs(left) <= abs(ours)
        assert left * ours >= 0
        assert left == 0 or (left * theirs > 0 and abs(left) <= abs(theirs))


@given(shares, shares)
def test_agreement_changes_nothing(ours: int, external: int) -> None:
    assert attribute(ours, external, ours + external) == (ours, external)


def test_a_sale_takes_the_persons_own_shares_first() -> None:
    assert attribute(100, 50, 120) == (100, 20)
    assert attribute(100, 50, 70) == (70, 0)
    assert attribute(100, 0, 150) == (100, 50)
    assert attribute(100, 0, -30) == (0, -30)
    assert attribute(-100, 0, -40) == (-40, 0)
    assert attribute(-100, 0, 10) == (0, 10)
    assert attribute(0, 50, 80) == (0, 80)


@given(shares, shares, st.lists(shares))
def test_parts_after_several_changes_add_up_too(ours: int, external: int, changes: list[int]) -> None:
    left, rest = attribute_in_turn(ours, external, changes)
    assert left + rest == ours + external + sum(changes)
    assert left * ours >= 0
    assert abs(left) <= abs(ours)


def test_what_was_sold_and_bought_back_is_external() -> None:
    assert attribute_in_turn(100, 0, [-90, 10]) == (10, 10)
    assert attribute_in_turn(100, 0, [10, -90]) == (20, 0)
    assert attribute_in_turn(-100, 0, [100, -40]) == (0, -40)
    assert attribute_in_turn(100, 5, []) == (100, 5)


def test_holding_is_seen_as_long_as_it_is_not_larger_or_on_another_side() -> None:
    seen = ExternalHolding(symbol="AAA", quantity_e4=50, acknowledged_e4=50)
    smaller = ExternalHolding(symbol="BBB", quantity_e4=20, acknowledged_e4=50)
    larger = ExternalHolding(symbol="DDD", quantity_e4=51, acknowledged_e4=50)
    turned = ExternalHolding(symbol="CCC", quantity_e4=-10, acknowledged_e4=50)
    new = ExternalHolding(symbol="ZZZ", quantity_e4=1)
    assert [each.is_acknowledged for each in (seen, smaller, larger, turned, new)] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert unseen([new, larger, seen, turned, smaller]) == (turned, larger, new)


def test_order_that_closes_a_holding_has_a_derived_id_of_its_own_and_belongs_to_no_plan() -> None:
    def intent(quantity_e4: int, **changes: object) -> OrderIntent:
        details = {"session": "2018-02-20", "generation": 1, "scope": Scope(), "now_ms": 1, "reason": "kill"}
        return external_intent(
            ExternalHolding(symbol="ZZZ", quantity_e4=quantity_e4),
            **{**details, **changes},  # type: ignore[arg-type]
        )

    sale, cover = intent(50_000), intent(-50_000)
    assert (sale.side, sale.quantity_e4, sale.plan_id) == (Side.SELL, 50_000, "")
    assert (cover.side, cover.quantity_e4) == (Side.BUY, 50_000)
    assert sale.client_order_id == intent(10_000).client_order_id
    others = [
        intent(1, generation=2),
        intent(1, session="2018-02-21"),
        intent(1, scope=Scope(generation="b")),
    ]
    assert len({each.client_order_id for each in [sale, *others]}) == 4
    assert all(is_external_id(each.client_order_id) for each in [sale, *others])
    assert not is_external_id("by-hand-external-1")
    assert not is_external_id(sale.client_order_id.replace("-external-", "-entry-"))
