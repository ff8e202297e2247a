"""What daily bars cannot play is refused or counted, never passed over: each count reckoned by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from finagent.backtest.errors import BacktestError
from finagent.backtest.parameters import Parameters
from finagent.backtest.running import Bars, trades_hash
from finagent.backtest.unplayed import Unplayed, as_daily, refuse_unanswerable, unplayed
from finagent.bootstrap.backtest_report import report
from finagent.domain.planning_rules import PlanningRules
from finagent.domain.risk_profile import RiskProfile
from finagent.domain.setups import Setup
from tests.conformance.made_up import Price
from tests.conformance.test_daily import COSTLESS, one_day
from tests.conformance.test_no_lookahead import USUAL, walk
from tests.conformance.trading import DAY, NEXT_DAY, market, play, until_close, with_bars

CALM = replace(COSTLESS, planning=PlanningRules(time_stop_minutes=None))
"""Nothing watches the position; the day's loss limit is 2,000."""
TRAILING = replace(CALM.planning, trail_after_r_e6=1_000_000, trail_distance_atr_e6=1_000_000)


def counts(found: list[Unplayed]) -> list[tuple[str, int, int, int]]:
    return [(each.rule, each.of, each.maybe, each.surely) for each in found]


@pytest.mark.parametrize(
    ("row", "surely"),
    [((105, "105.99", 104, 105), 1), ((105, 106, 104, 105), 0), ((105, "105.99", 102, 103), 0)],
    ids=["never reached 106", "reached it some time", "stopped some time"],
)
def test_time_stop_is_counted(tmp_path: Path, row: tuple[Price, ...], surely: int) -> None:
    """Half of R is 106: a day that never saw it would have been left after an hour, of another nobody knows."""
    found = play(one_day(*row), tmp_path, COSTLESS)
    assert counts(unplayed(found.ledger, COSTLESS)) == [("time stop", 1, 1, surely)]


@pytest.mark.parametrize(("high", "maybe"), [(107, 1), ("106.99", 0)])
def test_trailing_stop_is_counted_where_it_could_have_begun(tmp_path: Path, high: Price, maybe: int) -> None:
    """From 1 R (107) on."""
    rules = replace(CALM, planning=TRAILING)
    found = play(one_day(105, high, 104, 105), tmp_path, rules)
    assert counts(unplayed(found.ledger, rules)) == [("trailing stop", 1, 1, 0)][:maybe]


def test_loss_limit_is_counted_by_what_all_positions_stood_at(tmp_path: Path) -> None:
    """Two of 190 shares. AAA ends at its stop, -380; BBB stood at 103.01, -378.10, and ends at 108.

    A limit of 758.10 may have been reached and one of 758.11 was not; AAA alone at -380 is where the day of 380 ended.
    """
    stored = one_day(105, 105, 102, 105)
    stored.quiet_days("BBB", 100, before=DAY)
    stored.daily_bar(DAY, "BBB", 105, 108, "103.01", 108, 10_000_000)
    ledger = play(stored, tmp_path / "two", CALM).ledger
    for limit_e8, expected in ((75_810_000_000, [("the day's loss limit", 1, 1, 0)]), (75_811_000_000, [])):
        limited = replace(CALM, profile=RiskProfile(flatten_loss_e8=limit_e8))
        assert counts(unplayed(ledger, limited)) == expected
    ledger = play(one_day(105, 105, 102, 105), tmp_path / "one", CALM).ledger
    for limit_e8, expected in ((38_000_000_000, [("the day's loss limit", 1, 1, 1)]), (38_001_000_000, [])):
        limited = replace(CALM, profile=RiskProfile(flatten_loss_e8=limit_e8))
        assert counts(unplayed(ledger, limited)) == expected


def test_loss_limit_is_of_the_equity_that_the_day_began_with(tmp_path: Path) -> None:
    """380 lost on the first day: the second day's loss is a larger share of the 99,620 left than of the 100,000."""
    stored = one_day(105, 105, 102, 105)
    stored.daily_bar(NEXT_DAY, "AAA", 111, 111, 90, 111, 10_000_000)
    ledger = play(stored, tmp_path, CALM, last=NEXT_DAY).ledger
    first, second = (-trade.pnl_e8 for trade in ledger.trades)
    share_e6 = second * 1_000_000 // (100_000 * 10**8 - first)
    assert share_e6 > second * 1_000_000 // (100_000 * 10**8)
    for more, sessions in ((0, [1]), (1, [])):
        limited = replace(CALM, profile=RiskProfile(flatten_loss_e6=share_e6 + more))
        assert [each.surely for each in unplayed(ledger, limited)] == sessions


def test_the_document_tells_it(tmp_path: Path) -> None:
    """In words among the assumptions, and in numbers."""
    found = play(one_day(105, "105.99", 104, 105), tmp_path, replace(COSTLESS, approval_delay_ms=1_000))
    document = report(found.result, bars=Bars.AUTO, elapsed_ms=1)
    assert document["assumptions"][1:3] == [  # type: ignore[index]
        "exits attached to the entry, as the paper venue takes them",
        (
            "time stop (planning.time_stop_minutes) not played on daily bars: may have acted in 1 of 1 trades there,"
            " surely in 1"
        ),
    ]
    assert document["unplayed"] == [
        {"rule": "time stop", "setting": "planning.time_stop_minutes", "trades": 1, "maybe": 1, "surely": 1},
        {"rule": "late yes", "setting": "approval.simulated_delay_s", "trades": 1, "maybe": 1, "surely": 1},
    ]


def test_minutes_play_all_of_it(tmp_path: Path) -> None:
    """Nothing is left over of a session on minutes; of the daily one behind it its own trade alone is counted."""
    stored = until_close(with_bars(market()), 105, first="09:32")
    stored.daily_bar(DAY, "AAA", 105, 105, 105, 105, 10_000_000)
    assert unplayed(play(stored, tmp_path / "minutes").ledger, COSTLESS) == []
    stored.daily_bar(NEXT_DAY, "AAA", 111, 115, 110, 112, 10_000_000)
    found = play(stored, tmp_path / "both", COSTLESS, last=NEXT_DAY)
    assert counts(unplayed(found.ledger, COSTLESS)) == [("time stop", 1, 1, 0)]


def test_setups_without_minutes_are_told(tmp_path: Path) -> None:
    """No plan in any session of daily bars."""
    rules = replace(CALM, planning=PlanningRules(preset="structure", time_stop_minutes=None))
    found = play(one_day(105, 108, 104, 107), tmp_path, rules)
    assert counts(unplayed(found.ledger, rules)) == [("setup premarket_break", 1, 1, 0)]


@pytest.mark.parametrize(
    ("planning", "words"),
    [
        (TRAILING, "planning.trail_after_r moves stops within the session"),
        (PlanningRules(preset="structure"), "planning.preset structure enters within the session"),
        (
            PlanningRules(classic_entry=Setup.OPENING_RANGE_BREAK),
            "planning.classic_entry opening_range_break enters within the session",
        ),
    ],
)
def test_rules_that_mean_nothing_there_are_refused(
    tmp_path: Path, planning: PlanningRules, words: str
) -> None:
    """Where no session has minutes, or none is asked for; one with minutes is enough to answer."""
    rules = replace(CALM, planning=planning)
    daily = one_day(105, 108, 104, 107).dataset(tmp_path / "daily")
    both = until_close(with_bars(market()), 105, first="09:32").dataset(tmp_path / "minutes")
    for dataset, bars in ((daily, Bars.AUTO), (both, Bars.DAILY)):
        with pytest.raises(BacktestError, match=words) as caught:
            refuse_unanswerable(dataset, rules, dataset.between(DAY, DAY), bars)
        assert (caught.value.code, caught.value.hint.count("planning.")) == ("needs_minutes", 1)
        refuse_unanswerable(dataset, CALM, dataset.between(DAY, DAY), bars)
    refuse_unanswerable(both, rules, both.between(DAY, NEXT_DAY), Bars.AUTO)


def eager() -> Parameters:
    """Everything that watches, so tight that it would act at once if anything asked it."""
    return replace(
        USUAL,
        planning=PlanningRules(
            time_stop_minutes=1,
            time_stop_min_r_e6=9_000_000,
            trail_after_r_e6=1,
            trail_distance_atr_e6=1,
            break_even_after_r_e6=1,
            opening_range_minutes=30,
        ),
        profile=RiskProfile(allow_shorts=True, pause_loss_e8=1, max_losses_in_a_row=1),
        costs=replace(USUAL.costs, close_penalty_e6=500_000),
        approval_delay_ms=60_000,
        max_price_age_ms=1,
        entry_ttl_ms=1,
    )


def test_sets_that_are_equal_without_it_come_to_the_same(tmp_path: Path) -> None:
    """What ``as_daily`` leaves out is never asked on daily bars, over stocks that gap and fall both ways."""
    for seed in (1, 2, 3):
        rules = eager()
        stored = walk(seed)
        full, plain = (
            play(stored, tmp_path / f"{seed}", each, last=NEXT_DAY, bars=Bars.DAILY).ledger
            for each in (rules, as_daily(rules))
        )
        assert len(full.trades) > 2
        assert trades_hash(full) == trades_hash(plain)
    other = replace(eager(), profile=RiskProfile(allow_shorts=True, max_open_positions=1))
    assert trades_hash(play(walk(1), tmp_path / "1", other, bars=Bars.DAILY).ledger) != trades_hash(plain)
