"""Exits in legs, moved stops and armed entries: the ``structure`` preset and trailing, each reckoned by hand.

The break of a pre-market high of 105.50: trigger 105.51, stop 105.01 (a tick below the base), R 0.50, limit 105.56,
targets 106.01 for half and 106.51 for the rest; 189 shares (a fifth of 100,000 at the limit).
"""

from dataclasses import replace
from pathlib import Path

import pytest

from finagent.domain.planning_rules import PlanningRules
from finagent.domain.positions import ExitReason
from finagent.domain.setups import Setup
from tests.conformance.made_up import MadeUp, Price
from tests.conformance.trading import DAY, FREE, market, play, until_close

BREAK = replace(
    FREE, planning=PlanningRules(preset="structure", setup=Setup.PREMARKET_BREAK, time_stop_minutes=None)
)
ENTRY = ("entry", 189, "105.55", "09:32")


def broken(*bars: tuple[str, Price, Price, Price, Price]) -> MadeUp:
    """Pre-market up to 105.50, a first minute that holds above 105.02, a second one that breaks out."""
    stored = market()
    stored.minute_bar(DAY, "AAA", "09:20", 105, "105.5", 105, "105.2", 200_000)
    stored.minute_bar(DAY, "AAA", "09:30", 105, "105.2", "105.02", "105.1", 100_000)
    stored.minute_bar(DAY, "AAA", "09:31", "105.1", "105.6", "105.1", "105.55", 100_000)
    for at, *prices in bars:
        stored.minute_bar(DAY, "AAA", at, *prices, 100_000)
    stored.flat_minutes(DAY, "AAA", "105.55", first="09:32", last="09:32")
    return stored


def test_half_at_the_first_target_stop_to_break_even_rest_stopped_there(tmp_path: Path) -> None:
    """Half of 189 in whole shares: 94 at 106.01. The high of 106.05 is 1 R from 105.55: the stop goes to 105.55."""
    stored = broken(
        ("09:33", "105.6", "106.05", "105.6", "106"), ("09:34", "105.9", "105.9", "105.4", "105.5")
    )
    found = play(stored, tmp_path, BREAK)
    assert found.fills == [
        ENTRY,
        ("target-1", 94, "106.01", "09:34"),
        ("stop", 95, "105.55", "09:35"),
    ]
    assert [leg.reason for leg in found.trade.exits] == [ExitReason.TARGET, ExitReason.TRAILING]
    assert found.trade.pnl_e8 == 94 * 46 * 10**6
    assert found.trade.exit_reason is ExitReason.TRAILING


def test_both_targets(tmp_path: Path) -> None:
    """One bar through both: 94 at 106.01 and 95 at 106.51, each at its price."""
    found = play(broken(("09:33", "105.6", "106.6", "105.6", "106.6")), tmp_path, BREAK)
    assert found.fills == [ENTRY, ("target-1", 94, "106.01", "09:34"), ("target-2", 95, "106.51", "09:34")]
    assert not found.trade.is_ambiguous


def test_gap_through_both_targets_fills_both_at_the_open(tmp_path: Path) -> None:
    """Opens at 107."""
    found = play(broken(("09:33", 107, 107, 107, 107)), tmp_path, BREAK)
    assert found.fills == [ENTRY, ("target-1", 94, "107.00", "09:33"), ("target-2", 95, "107.00", "09:33")]


def test_stop_before_the_first_target_takes_all(tmp_path: Path) -> None:
    """At 105.01 with everything; the targets are cancelled."""
    found = play(broken(("09:33", "105.5", "105.5", 105, 105)), tmp_path, BREAK)
    assert found.fills == [ENTRY, ("stop", 189, "105.01", "09:34")]
    ended = {row.intent.leg: row.state.value for row in found.ledger.orders.values()}
    assert ended == {"entry": "filled", "stop": "filled", "target-1": "cancelled", "target-2": "cancelled"}


def test_stop_and_one_target_in_one_bar(tmp_path: Path) -> None:
    """Stop first takes all 189; marked."""
    found = play(broken(("09:33", "105.5", "106.1", 105, 105)), tmp_path, BREAK)
    assert found.fills == [ENTRY, ("stop", 189, "105.01", "09:34")]
    assert found.trade.is_ambiguous


def test_break_even_waits_for_a_close_beyond_it(tmp_path: Path) -> None:
    """High 106.05 and a close at 105.55: the stop stays at 105.01, where the next bar takes it."""
    stored = broken(
        ("09:33", "105.6", "106.05", "105.5", "105.55"), ("09:34", "105.5", "105.5", "105.2", "105.3"),
        ("09:35", "105.3", "105.3", 105, 105),
    )  # fmt: skip
    found = play(stored, tmp_path, BREAK)
    assert found.fills[-1] == ("stop", 95, "105.01", "09:36")
    assert found.trade.exit_reason is ExitReason.STOP


def test_entry_beyond_its_limit_is_not_chased(tmp_path: Path) -> None:
    """Broken in the 09:31 minute, the next bar opens at 105.60, above the limit of 105.56, and never comes back."""
    stored = market()
    stored.minute_bar(DAY, "AAA", "09:20", 105, "105.5", 105, "105.2", 200_000)
    stored.minute_bar(DAY, "AAA", "09:30", 105, "105.2", "105.02", "105.1", 100_000)
    stored.minute_bar(DAY, "AAA", "09:31", "105.1", "105.6", "105.1", "105.6", 100_000)
    until_close(stored, "105.6", first="09:32")
    found = play(stored, tmp_path, BREAK)
    assert found.fills == []
    assert found.state() == ("not_filled", "entry_ttl")


def test_limit_entry_inside_the_bar_fills_at_its_limit(tmp_path: Path) -> None:
    """Opens above at 105.60, comes down to 105.50: 105.56, at the bar's end."""
    stored = broken()
    stored.minute_bar(DAY, "AAA", "09:32", "105.6", "105.6", "105.5", "105.6", 100_000)
    found = play(until_close(stored, "105.6", first="09:33"), tmp_path, BREAK)
    assert found.fills[0] == ("entry", 189, "105.56", "09:33")


def test_limit_entry_and_its_stop_in_one_bar(tmp_path: Path) -> None:
    """The stop lies behind the limit: whoever was filled at 105.56 was stopped at 105.01."""
    stored = broken()
    stored.minute_bar(DAY, "AAA", "09:32", "105.6", "105.6", 105, "105.3", 100_000)
    found = play(stored, tmp_path, BREAK)
    assert found.fills == [("entry", 189, "105.56", "09:33"), ("stop", 189, "105.01", "09:33")]
    assert not found.trade.is_ambiguous


def test_limit_entry_and_its_target_in_one_bar_is_doubtful(tmp_path: Path) -> None:
    """High 106.10 and low 105.50, close 105.60: the target may have come first; it is not taken, and marked."""
    stored = broken()
    stored.minute_bar(DAY, "AAA", "09:32", "105.6", "106.1", "105.5", "105.6", 100_000)
    found = play(until_close(stored, "105.6", first="09:33"), tmp_path, BREAK)
    assert found.fills[0] == ("entry", 189, "105.56", "09:33")
    assert found.trade.is_ambiguous
    model = found.ledger.fills[0].model
    assert (model.best_e4, model.worst_e4) == (1_060_100, 1_056_000)


def test_armed_plan_ends_with_its_window(tmp_path: Path) -> None:
    """Never broken: expired when entries end."""
    stored = market()
    stored.minute_bar(DAY, "AAA", "09:20", 105, "105.5", 105, "105.2", 200_000)
    stored.minute_bar(DAY, "AAA", "09:30", 105, "105.2", "105.02", "105.1", 100_000)
    until_close(stored, "105.1", first="09:31")
    found = play(stored, tmp_path, BREAK)
    assert found.state() == ("expired", "entry_window_over")


@pytest.mark.parametrize(("width", "reason"), [("103.9", "stop_too_wide"), ("105.3", "stop_too_tight")])
def test_stop_outside_its_width_makes_no_plan(tmp_path: Path, width: str, reason: str) -> None:
    """Wider than an ATR of 1, tighter than a quarter of it."""
    stored = market()
    stored.minute_bar(DAY, "AAA", "09:20", 105, "105.5", 105, "105.2", 200_000)
    stored.minute_bar(DAY, "AAA", "09:30", "105.4", "105.4", width, "105.4", 100_000)
    found = play(until_close(stored, "105.4", first="09:31"), tmp_path, BREAK)
    told = next(entry for entry in found.ledger.journal if entry.kind == "no_plan")
    assert told.data["reason"] == reason


def test_opening_range_break_enters_on_its_trigger(tmp_path: Path) -> None:
    """High of the first minute 105.20: trigger 105.21, stop 2 ATR below, entered at the open behind the break."""
    planning = PlanningRules(
        classic_entry=Setup.OPENING_RANGE_BREAK, opening_range_minutes=1, time_stop_minutes=None
    )
    stored = market()
    stored.minute_bar(DAY, "AAA", "09:30", 105, "105.2", 105, "105.1", 100_000)
    stored.minute_bar(DAY, "AAA", "09:31", "105.1", "105.3", "105.1", "105.3", 100_000)
    until_close(stored, "105.3", first="09:32")
    found = play(stored, tmp_path, replace(FREE, planning=planning))
    assert found.fills[0] == ("entry", 189, "105.30", "09:32")
    plan = next(iter(found.ledger.plans.values())).plan
    assert (plan.trigger_e4, plan.stop_e4) == (1_052_100, 1_032_100)


def test_trailing_stop_follows_and_never_goes_back(tmp_path: Path) -> None:
    """After 0.5 R a stop one ATR behind the best price: 107 - 1 = 106, then 108 - 1 = 107, where it leaves."""
    planning = PlanningRules(
        trail_after_r_e6=500_000, trail_distance_atr_e6=1_000_000, time_stop_minutes=None
    )
    stored = market()
    stored.minute_bar(DAY, "AAA", "09:31", 105, 105, 105, 105, 100_000)
    stored.minute_bar(DAY, "AAA", "09:32", 105, 107, 105, 107, 100_000)
    stored.minute_bar(DAY, "AAA", "09:33", 107, 108, "106.5", 108, 100_000)
    stored.minute_bar(DAY, "AAA", "09:34", 108, 108, "107.5", "107.5", 100_000)
    stored.minute_bar(DAY, "AAA", "09:35", "107.5", "107.5", "106.9", "106.9", 100_000)
    found = play(stored, tmp_path, replace(FREE, planning=planning))
    assert found.fills[-1] == ("stop", 190, "107.00", "09:36")
    assert found.trade.exit_reason is ExitReason.TRAILING
    moved = [entry.data["stop_e4"] for entry in found.ledger.journal if entry.kind == "move_stop"]
    assert moved == [1_060_000, 1_070_000]
