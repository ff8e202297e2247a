"""The kernel's arithmetic is exact on both sides of every short cut, and no step of it passes a word of the machine."""

import operator
from collections.abc import Callable

from hypothesis import example, given
from hypothesis import strategies as st

from finagent.backtest.kernel import arithmetic
from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.arithmetic import LITTLE, RATIO, SHARE_E4
from finagent.domain.costs import CostRules, fees_e8
from finagent.domain.market import Side

AMOUNTS = st.one_of(
    st.integers(LITTLE - 2, LITTLE + 2), st.integers(0, 10**13), st.integers(0, c.MOST // 200)
)
RATIOS = st.one_of(st.integers(0, RATIO), st.integers(RATIO, 2 * RATIO))
DOLLARS = st.one_of(st.integers(1, 3 * arithmetic.DOLLAR_E4), st.integers(1, c.MOST_PRICE_E4))


class Word(int):
    """A whole number of 64 bits with its sign, as the compiled kernel has them: it cannot grow beyond."""


def _checked(does: Callable[[int, int], int]) -> Callable[[int, int], Word]:
    def act(left: int, right: int) -> Word:
        found = does(int(left), int(right))
        assert -(2**63) <= found < 2**63, f"{does.__name__}({int(left)}, {int(right)}) passes 64 bits"
        return Word(found)

    return act


for name in ("add", "sub", "mul", "floordiv"):
    act = _checked(getattr(operator, name))
    setattr(Word, f"__{name}__", act)
    setattr(Word, f"__r{name}__", lambda self, other, act=act: act(other, self))
Word.__neg__ = lambda self: Word(-int(self))  # type: ignore[method-assign]


@given(AMOUNTS, RATIOS)
@example(LITTLE, RATIO)
@example(LITTLE + 1, RATIO + 1)
@example(LITTLE, c.MOST_RATIO_E6)
def test_shares_are_exact(amount: int, ratio_e6: int) -> None:
    """Rounded down and up, by one division or by two."""
    words = Word(amount), Word(ratio_e6)
    assert arithmetic.share_floor(*words) == amount * ratio_e6 // RATIO
    assert arithmetic.share_ceil(*words) == -(-amount * ratio_e6 // RATIO)


@given(AMOUNTS, st.one_of(st.integers(10**9, 10**12), st.integers(10**12, 4 * 10**16)))
@example(LITTLE, 1)
@example(LITTLE + 1, 10**8)
def test_what_money_buys_is_exact(money_e8: int, per_share_e10: int) -> None:
    """By one division, by two steps of a long one or by four, while the quantity itself fits."""
    bought = money_e8 * RATIO // per_share_e10
    if bought < c.MOST:
        assert arithmetic.affordable(Word(money_e8), Word(per_share_e10)) == bought


@given(DOLLARS, st.integers(-RATIO + 1, RATIO))
@example(10_000, 1)
@example(9_999, 100)
@example(10_001, -100)
def test_stops_and_targets_stand_on_the_grid_towards_the_entry(entry_e4: int, away_e6: int) -> None:
    """Cents from a dollar on, a hundredth of a cent below."""
    exact = entry_e4 * (RATIO + away_e6)
    price_e4 = exact // RATIO if away_e6 > 0 else -(-exact // RATIO)
    grid = 100 if price_e4 >= arithmetic.DOLLAR_E4 else 1
    expected = price_e4 // grid * grid if away_e6 > 0 else -(-price_e4 // grid) * grid
    assert arithmetic.towards(Word(entry_e4), Word(exact)) == expected


@given(st.integers(0, 10**13), st.integers(0, 10**9))
@example(SHARE_E4, 1)
@example(SHARE_E4 + 1, 1)
def test_a_part_of_a_share_pays_its_part(quantity_e4: int, a_share_e8: int) -> None:
    """The commission is rounded up once."""
    p: list[int] = [Word(0)] * c.SET_WIDTH
    p[c.FEE_SHARE], p[c.FEE_MAX] = Word(a_share_e8), Word(c.OFF)
    day: list[int] = [Word(0)] * c.DAY_WIDTH
    paid = arithmetic.fees(p, day, True, Word(quantity_e4), Word(10_000), Word(0), Word(0))
    assert paid == -(-quantity_e4 * a_share_e8 // SHARE_E4)


@given(
    st.integers(1, 10**10), st.integers(1, 10**8), st.one_of(st.just(0), st.integers(1, 10**10)),
    st.integers(1, 10**8), st.sampled_from((0, 1, 500_000, 10**9)), st.sampled_from((0, 10**8, 10**11)),
    st.sampled_from((None, 0, 1_000, 10**6)),
)  # fmt: skip
def test_a_fill_pays_what_the_domain_says_that_it_adds(
    quantity_e4: int,
    price_e4: int,
    filled_e4: int,
    before_e4: int,
    a_share: int,
    least: int,
    most: int | None,
) -> None:
    """To the commission of its order, with whatever had filled of it."""
    rules = CostRules(
        commission_per_share_e8=a_share,
        commission_min_e8=least,
        commission_max_e6=most,
        has_regulatory_fees=False,
    )
    p: list[int] = [Word(0)] * c.SET_WIDTH
    p[c.FEE_SHARE], p[c.FEE_MIN] = Word(a_share), Word(least)
    p[c.FEE_MAX] = Word(c.OFF if most is None else most)
    day: list[int] = [Word(0)] * c.DAY_WIDTH
    fill, filled = (quantity_e4, price_e4), (filled_e4, filled_e4 * before_e4)
    paid = arithmetic.fees(p, day, False, *(Word(each) for each in (*fill, *filled)))
    assert paid == fees_e8(
        rules,
        side=Side.SELL,
        quantity_e4=quantity_e4,
        price_e4=price_e4,
        session="2018-02-06",
        filled_e4=filled[0],
        filled_e8=filled[1],
    )
