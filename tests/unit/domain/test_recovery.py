"""The lost time of a restore: shares, parts that a trade counts, and what it means for the day's limits."""

from dataclasses import replace

from finagent.domain.market import Side
from finagent.domain.orders import BrokerFill
from finagent.domain.recovery import (
    LostTime,
    RecoveredDay,
    RecoveredFill,
    is_entry_id,
    recovered_day,
    remainder,
    written_off,
)

DAY, BEFORE = "2018-02-20", "2018-02-16"


def fill(
    number: int, side: Side, shares: int, price_e4: int, symbol: str = "AAA", fees_e8: int = 0
) -> BrokerFill:
    return BrokerFill(
        execution_id=f"x{number}",
        client_order_id=f"o{number}",
        symbol=symbol,
        side=side,
        quantity_e4=shares * 10_000,
        price_e4=price_e4,
        at_ms=number,
        fees_e8=fees_e8,
    )


def on(session: str, *fills: BrokerFill) -> list[RecoveredFill]:
    return [RecoveredFill(fill=each, session=session) for each in fills]


def test_shares_are_the_sum_of_executions_and_flat_symbols_are_left_out() -> None:
    lost = LostTime(since_ms=1).with_more(
        ["o1"],
        on(
            DAY,
            fill(1, Side.BUY, 3, 10, "AAA"),
            fill(2, Side.SELL, 3, 10, "AAA"),
            fill(3, Side.SELL, 2, 10, "BBB"),
        ),
    )
    assert lost.is_open
    assert not LostTime().is_open
    assert lost.shares_e4 == {"BBB": -20_000}
    assert (lost.order_ids, lost.executions) == (("o1",), ("x1", "x2", "x3"))


def test_closed_loss_counts_with_its_fees_and_its_symbol() -> None:
    fills = on(DAY, fill(1, Side.BUY, 10, 1_000_000, fees_e8=5), fill(2, Side.SELL, 10, 990_000, fees_e8=7))
    assert recovered_day(fills, DAY) == RecoveredDay(
        symbols=("AAA",), realised_e8=-10 * 10_000 * 10_000 - 12, spent_e8=10 * 10_000 * 1_000_000
    )


def test_short_that_lost_counts_too() -> None:
    fills = on(DAY, fill(1, Side.SELL, 10, 1_000_000), fill(2, Side.BUY, 10, 1_010_000))
    assert recovered_day(fills, DAY).realised_e8 == -10 * 10_000 * 10_000


def test_loss_of_an_earlier_session_is_not_todays() -> None:
    fills = on(BEFORE, fill(1, Side.BUY, 10, 1_000_000), fill(2, Side.SELL, 5, 990_000))
    fills += on(DAY, fill(3, Side.SELL, 5, 980_000))
    day = recovered_day(fills, DAY)
    assert day.realised_e8 == -5 * 10_000 * 20_000
    assert (day.symbols, day.spent_e8) == (("AAA",), 0)
    assert recovered_day(fills, "2018-02-21") == RecoveredDay()
    assert recovered_day([], DAY) == RecoveredDay()


def test_part_that_a_trade_counts_is_left_out() -> None:
    whole = fill(1, Side.SELL, 10, 1_000_000, fees_e8=100)
    assert remainder(whole, 0) == whole
    assert remainder(whole, 40_000) == replace(whole, quantity_e4=60_000, fees_e8=60)
    assert remainder(whole, 100_000) is None


def test_shares_written_off_end_on_the_other_side() -> None:
    long, short = (written_off("AAA", quantity_e4, mark_e4=5, now_ms=9) for quantity_e4 in (30_000, -30_000))
    assert (long.side, long.quantity_e4, long.execution_id) == (Side.SELL, 30_000, "recovered:AAA:9")
    assert (short.side, short.quantity_e4) == (Side.BUY, 30_000)


def test_entry_is_told_from_an_exit_by_its_id() -> None:
    assert is_entry_id("fa-20180220-AAA-entry-1-0123456789abcdef")
    assert not is_entry_id("fa-20180220-AAA-stop-1-0123456789abcdef")
