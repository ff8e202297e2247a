"""The fill table of docs/backtest.md: one case a line, each reckoned by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from finagent.backtest.parameters import Parameters
from finagent.bootstrap.backtest_report import bounds_e8
from finagent.domain.costs import CostRules
from finagent.domain.fills import Ambiguity
from finagent.domain.market import Direction
from tests.conformance.made_up import MadeUp, ms
from tests.conformance.trading import (
    DAY,
    FREE,
    NEXT_DAY,
    SHORT,
    clock,
    dollars,
    market,
    play,
    until_close,
    with_bars,
)

ENTRY = ("entry", 190, "105.00", "09:31")


@pytest.mark.parametrize(
    ("ambiguity", "leg", "price"),
    [
        (Ambiguity.STOP_FIRST, "stop", "103.00"),
        (Ambiguity.TARGET_FIRST, "target-1", "111.00"),
        (Ambiguity.PATH, "target-1", "111.00"),
    ],
)
def test_stop_and_target_in_one_bar(tmp_path: Path, ambiguity: Ambiguity, leg: str, price: str) -> None:
    """From 102 to 112 in one minute: what the rule says, counted, bounded by -380 and +1,140."""
    stored = with_bars(market(), ("09:40", 105, 112, 102, 106))
    found = play(stored, tmp_path, replace(FREE, ambiguity=ambiguity))
    assert found.fills == [ENTRY, (leg, 190, price, "09:41")]
    assert found.trade.is_ambiguous
    assert bounds_e8(found.ledger) == (190 * 6 * 10**8, -190 * 2 * 10**8)


def test_the_path_goes_down_first_when_the_low_is_nearer_in_time(tmp_path: Path) -> None:
    """A short on the same bar: open, high, low, close reaches its stop at 107 first."""
    stored = with_bars(market(), ("09:40", 105, 108, 98, 104))
    found = play(stored, tmp_path, replace(SHORT, ambiguity=Ambiguity.PATH))
    assert found.fills[-1] == ("stop", 190, "107.00", "09:41")


def test_bar_that_opens_beyond_the_stop_fills_at_its_open(tmp_path: Path) -> None:
    """95, not 103, at the bar's start."""
    found = play(with_bars(market(), ("09:40", 95, 96, 94, 95)), tmp_path)
    assert found.fills == [ENTRY, ("stop", 190, "95.00", "09:40")]
    assert found.trade.pnl_e8 == -190 * 10 * 10**8
    assert found.trade.r_multiple_e6 == -5_000_000
    assert not found.trade.is_ambiguous


def test_bar_that_opens_beyond_the_target_fills_at_its_open(tmp_path: Path) -> None:
    """113, not 111, at the bar's start."""
    found = play(with_bars(market(), ("09:40", 113, 114, 112, 113)), tmp_path)
    assert found.fills == [ENTRY, ("target-1", 190, "113.00", "09:40")]


def test_stop_in_the_bar_of_the_entry(tmp_path: Path) -> None:
    """Bought at 105, stopped at 103 within the same minute."""
    found = play(with_bars(market(), ("09:31", 105, "105.5", "102.5", 104)), tmp_path)
    assert found.fills == [ENTRY, ("stop", 190, "103.00", "09:32")]


def test_target_in_the_bar_of_the_entry(tmp_path: Path) -> None:
    """Bought at 105, sold at 111 within the same minute."""
    found = play(with_bars(market(), ("09:31", 105, "111.5", "104.5", 110)), tmp_path)
    assert found.fills == [ENTRY, ("target-1", 190, "111.00", "09:32")]


def test_levels_that_are_just_touched_fill(tmp_path: Path) -> None:
    """A low of exactly 103, a high of exactly 111; one cent short of them does not."""
    near = with_bars(market(), ("09:40", 105, "110.99", "103.01", 105), ("09:41", 105, 111, "103.01", 105))
    assert play(near, tmp_path / "target").fills[-1] == ("target-1", 190, "111.00", "09:42")
    near = with_bars(market(), ("09:40", 105, "110.99", "103.01", 105), ("09:41", 105, "110.99", 103, 105))
    assert play(near, tmp_path / "stop").fills[-1] == ("stop", 190, "103.00", "09:42")


@pytest.mark.parametrize(
    ("bar", "fill"),
    [
        (("09:40", 108, 109, "107.5", 108), ("stop", 190, "108.00", "09:40")),
        (("09:40", 106, "107.5", 105, 106), ("stop", 190, "107.00", "09:41")),
        (("09:40", 97, 98, 96, 97), ("target-1", 190, "97.00", "09:40")),
        (("09:40", 101, 102, 98, 99), ("target-1", 190, "99.00", "09:41")),
    ],
    ids=["gap through the stop", "stop", "gap through the target", "target"],
)
def test_shorts_are_the_same_the_other_way_round(
    tmp_path: Path, bar: tuple[str, float, float, float, float], fill: tuple[str, int, str, str]
) -> None:
    """Sold at 105, stop 107, target 99; the shares are assumed borrowed, and the plan says so."""
    found = play(with_bars(market(), bar), tmp_path, SHORT)  # type: ignore[arg-type]
    assert found.fills == [ENTRY, fill]
    assert found.trade.direction is Direction.SHORT
    assert "borrow_assumed" in next(iter(found.ledger.plans.values())).plan.notes


USUAL = Parameters(costs=CostRules(has_regulatory_fees=False))
"""5 bps slippage, three times that until 09:35, 5 % of a minute's volume."""


def test_slippage_is_threefold_in_the_first_five_minutes(tmp_path: Path) -> None:
    """Entry 105 + 15 bps = 105.1575, up to 105.16; a stop at 103 by 09:34 - 15 bps = 102.8455, down to 102.84."""
    found = play(with_bars(market(), ("09:34", 104, 104, 102, 103)), tmp_path, USUAL)
    assert [fill[2] for fill in found.fills] == ["105.16", "102.84"]


def test_slippage_is_simple_after_them(tmp_path: Path) -> None:
    """The stop at 103 in the 09:35 bar - 5 bps = 102.9485, down to 102.94; the open at 95 - 5 bps = 94.9525."""
    found = play(with_bars(market(), ("09:35", 104, 104, 102, 103)), tmp_path / "inside", USUAL)
    assert found.fills[-1][2] == "102.94"
    found = play(with_bars(market(), ("09:35", 95, 95, 95, 95)), tmp_path / "gap", USUAL)
    assert found.fills[-1] == ("stop", found.fills[0][1], "94.95", "09:35")


def test_targets_and_limits_pay_no_slippage(tmp_path: Path) -> None:
    """111 is 111."""
    found = play(with_bars(market(), ("09:40", 110, 112, 110, 111)), tmp_path, USUAL)
    assert found.fills[-1][2] == "111.00"


def test_half_the_quoted_spread_where_there_is_a_quote(tmp_path: Path) -> None:
    """Quoted 104.90 to 105.10 when the minute before ended: 0.10 x 3 in the first five minutes, 105.30."""
    stored = with_bars(market(), ("09:40", 110, 112, 110, 111))
    stored.quote(DAY, "AAA", "09:30", "104.90", "105.10")
    found = play(stored, tmp_path, USUAL)
    assert found.fills[0][2] == "105.30"


RANGE = replace(FREE, costs=CostRules(slippage_range_e6=100_000, has_regulatory_fees=False))
"""The usual slippage, and a tenth of the bar's range."""
IMPACT = replace(
    FREE,
    costs=CostRules(slippage_e6=0, slippage_impact_e6=10_000, has_regulatory_fees=False, close_penalty_e6=0),
)
"""100 bps for a bar's whole volume alone."""
WIDE = ("09:31", 105, 106, 104, 105)


def test_slippage_by_the_range_of_the_bar(tmp_path: Path) -> None:
    """105 + 15 bps + 0.20 = 105.3575; the stop in a bar from 104 to 102: 103 - 5 bps - 0.20 = 102.7485; through a gap,
    in a bar from 96 to 94: 95 - 5 bps - 0.20 = 94.7525; the target is 111.
    """
    stopped = play(with_bars(market(), WIDE, ("09:40", 104, 104, 102, 103)), tmp_path / "stop", RANGE)
    assert stopped.fills == [("entry", 190, "105.36", "09:31"), ("stop", 190, "102.74", "09:41")]
    jumped = play(with_bars(market(), WIDE, ("09:40", 95, 96, 94, 95)), tmp_path / "gap", RANGE)
    assert jumped.fills[-1] == ("stop", 190, "94.75", "09:40")
    reached = play(with_bars(market(), WIDE, ("09:40", 110, 112, 110, 111)), tmp_path / "target", RANGE)
    assert reached.fills[-1] == ("target-1", 190, "111.00", "09:41")


def test_slippage_by_range_comes_on_top_of_the_quoted_spread(tmp_path: Path) -> None:
    """105 + 3 x 0.10 + 0.20."""
    stored = with_bars(market(), WIDE, ("09:40", 110, 112, 110, 111))
    stored.quote(DAY, "AAA", "09:30", "104.90", "105.10")
    assert play(stored, tmp_path, RANGE).fills[0][2] == "105.50"


@pytest.mark.parametrize(
    ("ambiguity", "leg", "price"),
    [(Ambiguity.STOP_FIRST, "stop", "102.00"), (Ambiguity.TARGET_FIRST, "target-1", "111.00")],
)
def test_range_counts_in_the_bounds_of_an_ambiguous_bar(
    tmp_path: Path, ambiguity: Ambiguity, leg: str, price: str
) -> None:
    """From 102 to 112: the stop at 103 - 1.00, so between -3 and +6 a share, whichever is played."""
    costs = replace(FREE.costs, slippage_range_e6=100_000)
    stored = with_bars(market(), ("09:40", 105, 112, 102, 106))
    found = play(stored, tmp_path, replace(FREE, costs=costs, ambiguity=ambiguity))
    assert found.fills[-1] == (leg, 190, price, "09:41")
    assert bounds_e8(found.ledger) == (190 * 6 * 10**8, -190 * 3 * 10**8)


def test_slippage_by_the_share_of_the_volume(tmp_path: Path) -> None:
    """190 of 19,000 shares are 1 %, whose root is a tenth: 105 + 10 bps = 105.105; 103 - 10 bps = 102.897."""
    stored = market()
    stored.minute_bar(DAY, "AAA", "09:31", 105, 105, 105, 105, 19_000)
    stored.minute_bar(DAY, "AAA", "09:40", 104, 104, 102, 103, 19_000)
    found = play(stored, tmp_path, IMPACT)
    assert found.fills == [("entry", 190, "105.11", "09:31"), ("stop", 190, "102.89", "09:41")]


def test_each_part_of_an_order_concedes_by_its_own_share(tmp_path: Path) -> None:
    """50 of 1,000: 100 bps x 0.223607 of 105 are 0.2348; the last 40: a fifth of 100 bps, 0.21."""
    stored = until_close(market(), 105, first="09:35")
    for at in ("09:31", "09:32", "09:33", "09:34"):
        stored.minute_bar(DAY, "AAA", at, 105, 105, 105, 105, 1_000)
    entries = [fill for fill in play(stored, tmp_path, IMPACT).fills if fill[0] == "entry"]
    assert [fill[1:3] for fill in entries] == [(50, "105.24"), (50, "105.24"), (50, "105.24"), (40, "105.21")]


def test_sizing_reckons_with_the_impact_of_the_most_that_a_minute_gives(tmp_path: Path) -> None:
    """15 bps + 100 bps x 0.223607: 20,000 at 105 x 1.003737 = 105.3924 are 189 shares; a range has no bound."""
    costs = CostRules(slippage_impact_e6=10_000, slippage_range_e6=100_000, has_regulatory_fees=False)
    found = play(with_bars(market()), tmp_path, replace(FREE, costs=costs))
    assert found.fills[0][1] == 189


def test_partial_fills_share_a_minute_s_volume(tmp_path: Path) -> None:
    """5 % of 1,000 shares a minute: 50 at 105, 50, 50, then the last 40; one position, one trade."""
    stored = until_close(market(), 105, first="09:40")
    for at, price in (("09:31", 105), ("09:32", "105.2"), ("09:33", "105.4"), ("09:34", "105.6")):
        stored.minute_bar(DAY, "AAA", at, price, price, price, price, 1_000)
    rules = replace(FREE, costs=CostRules(slippage_e6=0, has_regulatory_fees=False, close_penalty_e6=0))
    found = play(stored, tmp_path, rules)
    assert found.fills[:4] == [
        ("entry", 50, "105.00", "09:31"),
        ("entry", 50, "105.20", "09:32"),
        ("entry", 50, "105.40", "09:33"),
        ("entry", 40, "105.60", "09:34"),
    ]
    assert found.trade.quantity_e4 == 190 * 10_000
    assert found.trade.entry_e8 == (50 * 1050_000 + 50 * 1052_000 + 50 * 1054_000 + 40 * 1056_000) * 10_000


def test_the_rest_of_an_entry_is_cancelled_in_time(tmp_path: Path) -> None:
    """After five minutes, from 09:31 on, with 50 of 190 shares; the exits shrink with it."""
    stored = until_close(market(), 105, first="09:32")
    for at in ("09:31", "09:32", "09:33", "09:34", "09:35"):
        stored.minute_bar(DAY, "AAA", at, 105, 105, 105, 105, 200)
    stored.minute_bar(DAY, "AAA", "10:00", 103, 103, 102, 102, 100_000)
    rules = replace(FREE, costs=CostRules(slippage_e6=0, has_regulatory_fees=False))
    found = play(stored, tmp_path, rules)
    assert found.fills == [
        *(("entry", 10, "105.00", at) for at in ("09:31", "09:32", "09:33", "09:34", "09:35")),
        ("stop", 50, "103.00", "10:00"),
    ]
    entry = next(row for row in found.ledger.orders.values() if row.intent.leg == "entry")
    assert (entry.state.value, entry.reason) == ("cancelled", "entry_ttl")


def test_minimum_commission_and_the_fees_of_the_date(tmp_path: Path) -> None:
    """0.5 cents a share are 0.95 for 190: at least 1.00, twice. On the sale of 21,090 in February 2018 the SEC takes
    23.10 a million, 0.4872 up to 0.49, and FINRA 0.000119 a share, 0.0226 up to 0.03.
    """
    costs = CostRules(
        slippage_e6=0,
        participation_e6=1_000_000,
        commission_per_share_e8=500_000,
        commission_min_e8=100_000_000,
    )
    found = play(with_bars(market(), ("09:40", 110, 112, 110, 111)), tmp_path, replace(FREE, costs=costs))
    assert [row.fill.fees_e8 for row in found.ledger.fills] == [100_000_000, 152_000_000]
    assert found.trade.pnl_e8 == 190 * 6 * 10**8 - 252_000_000


def test_commission_is_at_most_its_share_of_the_value(tmp_path: Path) -> None:
    """10 cents a share are 19.00 for 190, at least 25.00: 0.1 % of 19,950 is 19.95, of 21,090 it is 21.09."""
    costs = CostRules(
        slippage_e6=0,
        participation_e6=1_000_000,
        commission_per_share_e8=10_000_000,
        commission_min_e8=2_500_000_000,
        commission_max_e6=1_000,
        has_regulatory_fees=False,
    )
    found = play(with_bars(market(), ("09:40", 110, 112, 110, 111)), tmp_path, replace(FREE, costs=costs))
    assert [row.fill.fees_e8 for row in found.ledger.fills] == [1_995_000_000, 2_109_000_000]


CENT = 1_000_000
IN_PARTS = {
    "least": (0, 100, None, [100, 0, 0, 0, 100]),
    "least, then by the share": (CENT, 125, None, [125, 0, 25, 40, 190]),
    "most": (20 * CENT, 0, 1_000, [525, 525, 525, 420, 1_995]),
    "least, then most": (0, 1_250, 1_000, [525, 525, 200, 0, 1_250]),
    "most, then by the share": (10 * CENT, 600, 1_000, [525, 475, 500, 400, 1_900]),
}
"""A share in 1e-8, at least in cents, at most of the value in 1e-6; and what each part and the exit pay, in cents."""


@pytest.mark.parametrize("case", IN_PARTS)
def test_commission_is_of_the_order_however_many_its_fills(tmp_path: Path, case: str) -> None:
    """50, 50, 50 and 40 at 105 are 5,250, 10,500, 15,750 and 19,950, of which 0.1 % is 5.25 to 19.95; then one exit of
    190. A cent a share is 0.50, 1.00, 1.50, 1.90: with at least 1.25 the first part pays that, the second nothing.
    """
    a_share_e8, least, most_e6, paid = IN_PARTS[case]
    stored = until_close(market(), 105, first="09:35")
    for at in ("09:31", "09:32", "09:33", "09:34"):
        stored.minute_bar(DAY, "AAA", at, 105, 105, 105, 105, 1_000)
    costs = CostRules(
        slippage_e6=0,
        commission_per_share_e8=a_share_e8,
        commission_min_e8=least * CENT,
        commission_max_e6=most_e6,
        has_regulatory_fees=False,
        close_penalty_e6=0,
    )
    found = play(stored, tmp_path, replace(FREE, costs=costs))
    assert [fill[:2] for fill in found.fills] == [
        *(("entry", shares) for shares in (50, 50, 50, 40)), ("exit", 190)
    ]  # fmt: skip
    assert [row.fill.fees_e8 for row in found.ledger.fills] == [cents * CENT for cents in paid]


def test_most_commission_of_an_order_grows_with_its_value(tmp_path: Path) -> None:
    """0.1 % of 50 at 105 is 5.25; the next 50 at 104 and 106 add 5.20 and 5.30."""
    stored = market()
    for at, price in (("09:31", 105), ("09:32", 104), ("09:33", 106)):
        stored.minute_bar(DAY, "AAA", at, price, price, price, price, 1_000)
    costs = CostRules(
        slippage_e6=0, commission_min_e8=10**11, commission_max_e6=1_000, has_regulatory_fees=False
    )
    found = play(stored, tmp_path, replace(FREE, costs=costs))
    assert [row.fill.fees_e8 for row in found.ledger.fills][:3] == [525 * CENT, 520 * CENT, 530 * CENT]


def test_each_order_of_a_plan_has_a_least_commission_of_its_own(tmp_path: Path) -> None:
    """The entry, a target reached by 50 shares, its stop in two parts (50 and 50), and what closes the last 40."""
    stored = with_bars(market())
    stored.minute_bar(DAY, "AAA", "09:40", 111, 111, 111, 111, 1_000)
    stored.minute_bar(DAY, "AAA", "09:41", 110, 110, 110, 110, 1_000)
    stored.minute_bar(DAY, "AAA", "09:42", 103, 103, 103, 103, 1_000)
    stored.minute_bar(DAY, "AAA", "09:43", 103, 103, 103, 103, 1_000)
    stored.minute_bar(DAY, "AAA", "15:45", 103, 103, 103, 103, 0)
    costs = CostRules(slippage_e6=0, commission_min_e8=100 * CENT, has_regulatory_fees=False)
    found = play(stored, tmp_path, replace(FREE, costs=costs))
    assert [(leg, shares, row.fill.fees_e8 // CENT) for (leg, shares, *_), row in zip(
        found.fills, found.ledger.fills, strict=True
    )] == [
        ("entry", 190, 100), ("target-1", 50, 100), ("stop", 50, 100), ("stop", 50, 0), ("exit", 40, 100)
    ]  # fmt: skip


def test_flatten_leaves_at_the_next_open_before_the_close(tmp_path: Path) -> None:
    """The ladder's first line at 15:45: out at the open of the 15:45 bar, whatever the volume."""
    stored = until_close(with_bars(market()), 106, first="09:32")
    stored.minute_bar(DAY, "AAA", "15:45", "106.5", "106.5", "106.5", "106.5", 1)
    rules = replace(FREE, planning=replace(FREE.planning, time_stop_minutes=None))
    found = play(stored, tmp_path, rules)
    assert found.fills == [ENTRY, ("exit", 190, "106.50", "15:45")]
    assert found.trade.exit_reason == "flatten"


def test_half_day_is_flat_by_its_own_close(tmp_path: Path) -> None:
    """A close at 13:00: the ladder at 12:45, and nothing is held after it."""
    stored = until_close(with_bars(market(half_days=(DAY,))), 106, first="09:32", last="12:59")
    rules = replace(FREE, planning=replace(FREE.planning, time_stop_minutes=None))
    found = play(stored, tmp_path, rules)
    assert found.fills[-1] == ("exit", 190, "106.00", "12:45")
    assert found.dataset.sessions[-1].is_half_day


def test_no_bar_until_the_close_ends_at_the_newest_price_less_the_penalty(tmp_path: Path) -> None:
    """Halted from 10:00 on: the exit of 15:45 finds no bar; at 16:00 the last price 106 - 50 bps = 105.47."""
    stored = until_close(with_bars(market()), 106, first="09:32", last="09:59")
    rules = replace(
        FREE, costs=CostRules(slippage_e6=0, participation_e6=1_000_000, has_regulatory_fees=False)
    )
    found = play(stored, tmp_path, rules)
    assert found.fills == [ENTRY, ("exit", 190, "105.47", "16:00")]
    assert found.trade.exit_reason == "close_forced"


def test_entry_in_a_halt_waits_for_the_first_price_after_it(tmp_path: Path) -> None:
    """Approved at 09:32 and halted until 09:36: the first minute after it ends at 09:37."""
    from finagent.backtest.source import Halt

    stored = until_close(market(), 105, first="09:36")
    stored.halted.append(Halt("AAA", ms(DAY, "09:32"), ms(DAY, "09:36")))
    found = play(stored, tmp_path, replace(FREE, approval_delay_ms=60_000))
    assert found.fills[0] == ("entry", 190, "105.00", "09:37")


def test_policy_answers_no_at_a_price_that_is_too_old(tmp_path: Path) -> None:
    """Asked at 09:36 of a price of 09:32; 4 minutes are in time, a second less is not."""
    stored = until_close(with_bars(market()), 105, first="09:37")
    late = replace(FREE, approval_delay_ms=300_000, max_price_age_ms=240_000)
    assert play(stored, tmp_path / "in time", late).fills[0] == ("entry", 190, "105.00", "09:37")
    found = play(stored, tmp_path / "late", replace(late, max_price_age_ms=239_000))
    assert found.state() == ("refused", "stale_quote")
    assert "approved" not in {entry.kind for entry in found.ledger.journal}


def test_halted_at_the_close_is_held_over_and_closed_at_the_next_open(tmp_path: Path) -> None:
    """The session says so and is not flat; the next one shuts entries and leaves at its first bar."""
    from finagent.backtest.source import Halt

    stored = until_close(with_bars(market()), 106, first="09:32", last="09:59")
    stored.halted.append(Halt("AAA", ms(DAY, "10:00"), ms(NEXT_DAY, "09:30")))
    stored.flat_minutes(NEXT_DAY, "AAA", 98, first="09:30", last="15:59")
    found = play(stored, tmp_path, last=NEXT_DAY)
    held, after = found.ledger.days
    assert (held.is_flat, held.held_over) == (False, ("AAA",))
    assert (after.is_flat, after.held_over) == (True, ())
    assert found.fills[-1] == ("exit", 190, "98.00", "09:30")
    assert found.ledger.control.gate_reason is None


def test_last_bar_closes_what_is_left(tmp_path: Path) -> None:
    """The ladder's exits find no bar before 15:59: at the open of that bar; nothing is left for its close."""
    stored = until_close(with_bars(market()), 106, first="09:32", last="10:30")
    stored.minute_bar(DAY, "AAA", "15:59", 104, 104, 104, 104, 10)
    rules = replace(FREE, planning=replace(FREE.planning, time_stop_minutes=None))
    assert play(stored, tmp_path, rules).fills[-1] == ("exit", 190, "104.00", "15:59")


def test_time_stop_leaves_at_the_open_behind_its_hour(tmp_path: Path) -> None:
    """Entered 09:31, best price 105.99 (0.495 R): out at 10:31. With 106.00 (0.5 R) it stays."""
    stored = until_close(with_bars(market(), ("09:50", 105, "105.99", 105, 105)), 105, first="09:32")
    assert play(stored, tmp_path / "out").fills[-1] == ("exit", 190, "105.00", "10:31")
    stored = until_close(with_bars(market(), ("09:50", 105, 106, 105, 105)), 105, first="09:32")
    assert play(stored, tmp_path / "stays").fills[-1] == ("exit", 190, "105.00", "15:45")


def test_excursions_are_of_the_bars_between_entry_and_exit(tmp_path: Path) -> None:
    """Low 103.5 (-0.75 R), high 108 (+1.5 R) while held; what the entry's minute before did does not count."""
    stored = with_bars(
        market(),
        ("09:32", 105, 108, 105, 106),
        ("09:33", 106, 106, "103.5", 104),
        ("09:40", 104, 111, 104, 111),
    )
    found = play(stored, tmp_path)
    assert (found.trade.mae_r_e6, found.trade.mfe_r_e6) == (-750_000, 3_000_000)


def test_prices_below_a_dollar_move_in_hundredths_of_a_cent(tmp_path: Path) -> None:
    """A stock that gaps from 0.80 to 0.84: slippage 15 bps of 0.84 = 0.84126, up to the grid of 0.0001."""
    stored = market()
    stored.quiet_days("PNY", "0.80", before=DAY, volume=50_000_000)
    for session in stored.calendar.all:
        if session.date < DAY:
            stored.daily_bar(session.date, "PNY", "0.8", "0.81", "0.79", "0.8", 50_000_000)
    for at in ("09:30", "09:31"):
        stored.minute_bar(DAY, "PNY", at, "0.84", "0.84", "0.84", "0.84", 10_000_000)
    rules = replace(USUAL, gap=replace(USUAL.gap, min_price_e4=1), symbols=("PNY",))
    found = play(stored, tmp_path, rules)
    assert found.ledger.fills[0].fill.price_e4 == 8_413


def test_a_symbol_is_traded_once_a_session(tmp_path: Path) -> None:
    """Stopped at 09:40; whatever it does later, no second entry."""
    stored = until_close(with_bars(market(), ("09:40", 103, 103, 102, 102)), 106, first="09:41")
    found = play(stored, tmp_path)
    assert [fill[0] for fill in found.fills] == ["entry", "stop"]
    assert dollars(found.trade.stop_e4) == "103.00"
    assert clock(found.trade.exit_at_ms) == "09:40"


def test_a_dividend_moves_the_gap_not_the_prices(tmp_path: Path) -> None:
    """1.00 goes ex: against 99 the open at 105 is a gap of 6.06 %; the plan's prices are today's own."""
    stored = with_bars(market())
    stored.action("AAA", DAY, dividend=1)
    found = play(stored, tmp_path)
    scan = next(entry for entry in found.ledger.journal if entry.kind == "scan")
    assert scan.data["candidates"] == [{"symbol": "AAA", "gap_e6": 60_606, "indication_e4": 1_050_000}]
    assert dollars(next(iter(found.ledger.plans.values())).plan.reference_e4) == "105.00"


def test_a_split_is_read_exactly(tmp_path: Path) -> None:
    """100 before a split of 7.000007 for 1: 14.2857...; 15 is a gap of 5.000105 %, 14.85 of 3.950104 %: too small."""
    for price, count in (("15", 1), ("14.85", 0)):
        stored = MadeUp(market().calendar)
        stored.quiet_days("AAA", 100, before=DAY)
        stored.action("AAA", DAY, split="7.000007")
        stored.minute_bar(DAY, "AAA", "09:30", price, price, price, price, 100_000)
        found = play(stored, tmp_path / price)
        scan = next(entry for entry in found.ledger.journal if entry.kind == "scan")
        assert len(scan.data["candidates"]) == count  # type: ignore[arg-type]


def test_a_doubtful_action_is_an_issue_and_no_trade(tmp_path: Path) -> None:
    """A split of 2 for 1 that the price does not show: a gap of 110 % on its ex-date."""
    stored = with_bars(market())
    stored.action("AAA", DAY, split="2")
    found = play(stored, tmp_path)
    scan = next(entry for entry in found.ledger.journal if entry.kind == "scan")
    assert scan.data["data_issues"] == [{"symbol": "AAA", "kind": "bad_action"}]
    assert found.ledger.plans == {}


def test_symbols_without_minutes_or_first_bar_are_dropped(tmp_path: Path) -> None:
    """Where the session has minutes: ``no_minutes`` and ``no_print``, each counted."""
    stored = with_bars(market())
    stored.quiet_days("BBB", 50, before=DAY)
    stored.quiet_days("CCC", 50, before=DAY)
    stored.minute_bar(DAY, "CCC", "09:20", 53, 53, 53, 53, 100)
    found = play(stored, tmp_path)
    scan = next(entry for entry in found.ledger.journal if entry.kind == "scan")
    assert scan.data["dropped"] == {"no_minutes": 1, "no_print": 1}


def test_the_close_of_an_earlier_session_is_no_previous_close(tmp_path: Path) -> None:
    """A symbol without a bar in the session before is not measured."""
    stored = with_bars(market())
    before = next(each.previous for each in stored.calendar.all if each.date == DAY)
    del stored.days[before, "AAA"]
    stored.quiet_days("BBB", 50, before=DAY)
    found = play(stored, tmp_path)
    scan = next(entry for entry in found.ledger.journal if entry.kind == "scan")
    assert scan.data["dropped"] == {"no_minutes": 1, "no_prev_close": 1}
