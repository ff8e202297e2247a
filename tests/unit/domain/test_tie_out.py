"""The broker's change of equity is explained to the last unit, or the rest is named."""

from finagent.domain.market import Side
from finagent.domain.orders import BrokerCashFlow, BrokerPosition
from finagent.domain.tie_out import CENT_E8, AccountSnapshot, TieOut, snapshot, tie_out
from tests.unit.domain.reconcile_builders import execution

START = AccountSnapshot(session="", at_ms=0, fill_seq=0, equity_e8=1_000_000_000_000)
FLOW = BrokerCashFlow(flow_id="f1", at_ms=5, kind="deposit", amount_e8=700)


def tied(change_e8: int, *, cent_per_fill: bool = False, own_e8: int = 0, external_e8: int = 0) -> TieOut:
    now = AccountSnapshot(
        session="2018-02-20",
        at_ms=9,
        fill_seq=2,
        equity_e8=START.equity_e8 + change_e8,
        own_e8=own_e8,
        external_e8=external_e8,
    )
    bought = execution("a", name="x1", quantity_e4=10, price_e4=1_000, fees_e8=3)
    sold = execution("a", name="x2", quantity_e4=4, price_e4=1_500, fees_e8=2, side=Side.SELL)
    other = execution("hand", "ZZZ", name="x3", quantity_e4=5, price_e4=200, fees_e8=1)
    return tie_out(START, now, own=[bought, sold], foreign=[other], flows=[FLOW], cent_per_fill=cent_per_fill)


def test_change_is_fills_at_cost_marks_fees_flows_and_what_is_not_ours() -> None:
    # Ours: -10,000 + 6,000 in cash and 9,000 still held; others: -1,000 in cash and 1,200 held; 6 in fees.
    found = tied(5_000 - 6 + 700 + 200, own_e8=9_000, external_e8=1_200)
    assert (found.pnl_e8, found.fees_e8, found.flows_e8, found.external_change_e8) == (5_000, 6, 700, 200)
    assert (found.difference_e8, found.is_tied) == (0, True)


def test_one_unit_too_much_is_a_difference_where_nothing_is_rounded() -> None:
    found = tied(5_895, own_e8=9_000, external_e8=1_200)
    assert (found.difference_e8, found.is_tied) == (1, False)


def test_broker_that_books_in_cents_may_be_off_by_a_cent_for_each_execution() -> None:
    for off, is_tied in ((3 * CENT_E8, True), (-3 * CENT_E8, True), (3 * CENT_E8 + 1, False)):
        found = tied(5_894 + off, own_e8=9_000, external_e8=1_200, cent_per_fill=True)
        assert (found.difference_e8, found.is_tied) == (off, is_tied)


def test_snapshot_parts_each_position_into_ours_and_what_is_not() -> None:
    held = [
        BrokerPosition(symbol="WMT", quantity_e4=30, mark_e4=100),
        BrokerPosition(symbol="ZZZ", quantity_e4=-5, mark_e4=10),
    ]
    seen = snapshot("d", 7, equity_e8=99, positions=held, ours_e4={"WMT": 20}, fill_seq=4)
    assert seen == AccountSnapshot(
        session="d", at_ms=7, fill_seq=4, equity_e8=99, own_e8=2_000, external_e8=950
    )
    unmarked = [BrokerPosition(symbol="WMT", quantity_e4=1)]
    assert snapshot("d", 7, equity_e8=99, positions=unmarked, ours_e4={}, fill_seq=4) is None
