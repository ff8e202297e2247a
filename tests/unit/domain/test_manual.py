"""An exit by hand is an order of the journal with the broker's own executions, and never sent."""

from finagent.domain.manual import PART, manual_exit, manual_fills
from finagent.domain.market import Side
from finagent.domain.orders import BrokerFill, OrderIntent, is_ours
from tests.unit.domain.reconcile_builders import SCOPE, execution, plan_of

PLAN = plan_of()
EXIT = manual_exit(PLAN, 300_000, generation=1, scope=SCOPE, now_ms=99)


def sold(name: str, quantity_e4: int, **more: int) -> BrokerFill:
    return execution("hand", name=name, side=Side.SELL, quantity_e4=quantity_e4, **more)


def fills(
    *executions: BrokerFill, recorded: tuple[str, ...] = (), intent: OrderIntent = EXIT
) -> list[object]:
    found = manual_fills(intent, executions, recorded, since_ms=10, mark_e4=990_000, now_ms=99)
    assert sum(fill.quantity_e4 for fill in found) == intent.quantity_e4
    assert {fill.client_order_id for fill in found} == {intent.client_order_id}
    return [(fill.execution_id, fill.quantity_e4, fill.price_e4, fill.at_ms, fill.fees_e8) for fill in found]


def test_exit_by_hand_is_on_the_exits_side_and_says_so() -> None:
    assert (EXIT.leg, EXIT.side, EXIT.reason) == ("manual", Side.SELL, "manual")
    assert is_ours(EXIT.client_order_id)


def test_executions_of_the_broker_are_taken_oldest_first() -> None:
    later, first = sold("b", 100_000, at_ms=30, fees_e8=8), sold("a", 200_000, at_ms=20, price_e4=1_010_000)
    assert fills(later, first) == [
        ("a", 200_000, 1_010_000, 20, 0),
        ("b", 100_000, 1_000_000, 30, 8),
    ]


def test_execution_that_closed_more_than_ours_counts_in_part() -> None:
    assert fills(sold("a", 900_000, fees_e8=9)) == [("a" + PART, 300_000, 1_000_000, 10, 3)]


def test_what_is_not_listed_is_closed_at_the_mark() -> None:
    missing = f"{EXIT.client_order_id}:unlisted"
    assert fills(sold("a", 100_000)) == [
        ("a", 100_000, 1_000_000, 10, 0),
        (missing, 200_000, 990_000, 99, 0),
    ]


def test_only_unused_executions_of_the_symbol_on_the_side_since_the_entry_are_evidence() -> None:
    others = (
        execution("hand", name="buy", quantity_e4=300_000),
        execution("hand", "ZZZ", name="other", side=Side.SELL),
        sold("before", 300_000, at_ms=9),
        sold("used", 300_000),
        sold("cut", 300_000),
    )
    ((name, *_),) = fills(*others, recorded=("used", "cut" + PART))  # type: ignore[misc]
    assert str(name).endswith(":unlisted")
