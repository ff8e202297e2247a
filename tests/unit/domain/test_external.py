"""Whose shares the broker holds: a change comes out of the person's own, and ours is never more than is there."""

from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.external import ExternalHolding, attribute, unseen

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
