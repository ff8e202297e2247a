"""A session's capital: deposits counted once, what is not ours taken off, never below nothing."""

from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.day_start import (
    BEFORE_OPEN_MS,
    DayStart,
    day_start,
    day_start_data,
    external_value_e8,
    is_due,
)
from finagent.domain.external import ExternalHolding
from finagent.domain.market import Session
from finagent.domain.orders import BrokerCashFlow

money = st.integers(min_value=-(10**15), max_value=10**15)


def flow(kind: str, amount_e8: int) -> BrokerCashFlow:
    return BrokerCashFlow(flow_id=kind, at_ms=1, kind=kind, amount_e8=amount_e8)


def start(
    last_equity_e8: int | None, *flows: BrokerCashFlow, external_e8: int = 0, pnl_e8: int = 0
) -> DayStart:
    return day_start(
        "2018-02-20",
        5,
        equity_e8=1_000,
        last_equity_e8=last_equity_e8,
        flows=flows,
        external_e8=external_e8,
        pnl_e8=pnl_e8,
    )


def test_deposits_and_withdrawals_since_the_close_are_on_top_of_its_equity() -> None:
    found = start(900, flow("deposit", 500), flow("withdrawal", -150))
    assert (found.base_e8, found.flows_e8, found.equity_e8) == (900, 350, 1_250)


def test_equity_of_now_has_the_flows_and_todays_result_in_it() -> None:
    found = start(None, flow("deposit", 500), pnl_e8=-40)
    assert (found.base_e8, found.flows_e8, found.pnl_e8, found.equity_e8) == (1_000, 0, -40, 1_040)
    assert start(900, pnl_e8=-40).equity_e8 == 900


def test_dividends_give_nothing_and_fees_take() -> None:
    assert start(900, flow("dividend", 7), flow("interest", 2), flow("fee", -3)).equity_e8 == 897


def test_external_holdings_are_taken_off_but_not_below_nothing() -> None:
    assert start(900, external_e8=300).equity_e8 == 600
    assert start(900, external_e8=901).equity_e8 == 0


@given(money, money)
def test_capital_is_never_negative(last_e8: int, external_e8: int) -> None:
    assert start(last_e8, external_e8=external_e8).equity_e8 >= 0


def test_external_value_is_the_larger_of_now_and_the_close_and_a_short_one_gives_nothing() -> None:
    held = [ExternalHolding(symbol="AAA", quantity_e4=10), ExternalHolding(symbol="BBB", quantity_e4=-4)]
    marks_e4 = {"AAA": 100, "BBB": 50}
    assert external_value_e8(held, marks_e4, at_close_e8=0) == 1_000
    assert external_value_e8(held, marks_e4, at_close_e8=1_200) == 1_200
    assert external_value_e8(held, {"AAA": 100}, at_close_e8=0) is None


def test_capital_is_due_from_two_hours_before_the_open_to_the_close() -> None:
    session = Session(date="2018-02-20", open_ms=10**8, close_ms=2 * 10**8, previous="2018-02-16")
    first_ms = session.open_ms - BEFORE_OPEN_MS
    assert [is_due(session, at) for at in (first_ms - 1, first_ms, 2 * 10**8 - 1, 2 * 10**8)] == [
        False, True, True, False,
    ]  # fmt: skip


def test_journal_keeps_every_part() -> None:
    found = start(900, flow("deposit", 500), external_e8=300)
    assert day_start_data(found) == {
        "equity_e8": 1_100, "base_e8": 900, "last_close": True, "flows_e8": 500, "external_e8": 300, "pnl_e8": 0,
    }  # fmt: skip
