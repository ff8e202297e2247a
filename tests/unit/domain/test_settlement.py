"""A cash account buys with settled money only."""

import pytest

from finagent.domain.book import Book, Control, account_state, settled_cash_e8, settlement_days
from finagent.domain.risk import micro_profile

DOLLAR_E8 = 100_000_000


def _book(*, spent: int, unsettled: int) -> Book:
    return Book(
        session="2018-02-23",
        day_start_equity_e8=500 * DOLLAR_E8,
        positions=(),
        reservations=(),
        realised_e8=0,
        entered_symbols=(),
        trades=0,
        orders_last_minute=0,
        unknown_symbols=(),
        control=Control(),
        spent_e8=spent * DOLLAR_E8,
        unsettled_e8=unsettled * DOLLAR_E8,
    )


def test_money_spent_today_is_not_spent_again_after_the_sale() -> None:
    """Everything was sold again, equity is whole, and still only the rest may be spent."""
    account = account_state(_book(spent=240, unsettled=0), {}, micro_profile())
    assert account.equity_e8 == 500 * DOLLAR_E8
    assert account.cash_e8 == 260 * DOLLAR_E8


def test_unsettled_proceeds_and_reservations_are_not_cash() -> None:
    """Yesterday's sale settles tomorrow."""
    assert settled_cash_e8(_book(spent=100, unsettled=250), 50 * DOLLAR_E8) == 100 * DOLLAR_E8


def test_cash_never_reads_below_zero() -> None:
    """A price that moved at the fill may spend more than was reserved."""
    assert account_state(_book(spent=510, unsettled=0), {}, micro_profile()).cash_e8 == 0


@pytest.mark.parametrize(
    ("session", "days"),
    [("2017-09-01", 3), ("2017-09-05", 2), ("2024-05-24", 2), ("2024-05-28", 1), ("2026-11-20", 1)],
)
def test_settlement_cycle_follows_the_dates_of_the_rule(session: str, days: int) -> None:
    """T+3, then T+2, then T+1."""
    assert settlement_days(session) == days
