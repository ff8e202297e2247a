"""The benchmark of backtests: its rule by hand, its refusal to tell a ratio of unequal results, and that it runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.backtest.__main__ import RATIOS, absolute, ratios, table
from benchmarks.backtest.agreement import GAP_TIE, TOUCH_TIE, DisagreementError, allowances, compare
from benchmarks.backtest.plain import Trades, daily_trades, minute_trades
from benchmarks.backtest.work import MINUTES, PRICES, Arrays, Rule
from tests.unit.test_benchmarks import last_line

ROOT = Path(__file__).resolve().parents[2]
RULE = Rule(gap=0.02, stop=0.02, target_r=2.0, notional=1_000.0, fee=0.01)


def day(prev: float, opened: float, high: float, low: float, close: float) -> Arrays:
    """A daily work of one session and one symbol."""
    bars = dict(zip(PRICES, (np.full((1, 1), price) for price in (opened, high, low, close)), strict=True))
    over = np.full((1, 1), round(prev * 10_000) * 1_000_000)
    return {
        **bars,
        "prev": np.full((1, 1), prev),
        "prev_over": over,
        "prev_under": np.full((1, 1), 1_000_000),
    }


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        pytest.param((100, 101.99, 103, 100, 102), None, id="gap just too small"),
        pytest.param(
            (50, 51, 51.5, 50.5, 51.2), (19, 510_000, 512_000, 34_200), id="gap exactly at the limit"
        ),
        # 1000 / 103 is 9 shares; stop 100.94, target 103 + 2 x 2.06 = 107.12; two fees of 9 x 0.01
        pytest.param((100, 103, 105, 101, 104), (9, 1_030_000, 1_040_000, 88_200), id="close"),
        pytest.param((100, 103, 105, 100.94, 104), (9, 1_030_000, 1_009_400, -187_200), id="stop touched"),
        pytest.param((100, 103, 107.12, 101, 104), (9, 1_030_000, 1_071_200, 369_000), id="target touched"),
        pytest.param((100, 103, 108, 100, 104), (9, 1_030_000, 1_009_400, -187_200), id="both: stop first"),
        # the stop 10.098 x 0.98 = 9.89604 becomes 9.90, the entry 10.10 and the close 10.14: against the buyer
        pytest.param((9.9, 10.098, 10.3, 9.95, 10.145), (99, 101_000, 101_400, 19_800), id="between cents"),
        pytest.param(
            (0.9, 1.02, 1.1, 0.9996, 1.05), (980, 10_200, 9_996, -395_920), id="stop below a dollar"
        ),
        pytest.param((0.1, 0.2, 0.3, 0.19, 0.25), (5_000, 2_000, 1_960, -1_200_000), id="below a dollar"),
        pytest.param((900, 1_001, 1_100, 1_000, 1_050), None, id="not one share"),
    ],
)
def test_rule_on_daily_bars(bars: tuple[float, ...], expected: tuple[int, ...] | None) -> None:
    """Reckoned by hand: shares, entry, exit and gain in 1e-4."""
    found = daily_trades(day(*bars), RULE, on_grid=True)
    assert found == ({} if expected is None else {(0, 0): expected})


def test_stop_that_rounds_to_the_reference_leaves_no_trade() -> None:
    """0.5 % below 1.50 is 1.4925, and the next cent towards the entry the entry itself."""
    arrays = day(1.4, 1.5, 1.6, 1.5, 1.55)
    assert daily_trades(arrays, RULE, on_grid=True)
    assert not daily_trades(arrays, replace(RULE, stop=0.005), on_grid=True)


def session(bars: dict[int, tuple[float, float, float, float]]) -> Arrays:
    """A work of one session on minutes, previous close 100."""
    columns = {name: np.full((1, MINUTES, 1), np.nan) for name in PRICES}
    for minute, prices in bars.items():
        for name, price in zip(PRICES, prices, strict=True):
            columns[name][0, minute, 0] = price
    own = day(100, 1, 1, 1, 1)
    return {**columns, **{name: own[name] for name in ("prev", "prev_over", "prev_under")}}


FIRST, QUIET = (103.0, 103.5, 102.5, 103.0), (103.2, 103.4, 103.0, 103.1)


@pytest.mark.parametrize(
    ("bars", "left"),
    [
        pytest.param({1: QUIET, 200: (103.0, 103.0, 100.0, 101.0)}, 1_009_400, id="stop"),
        pytest.param({1: QUIET, 200: (100.5, 101.0, 100.0, 101.0)}, 1_005_000, id="opens beyond the stop"),
        pytest.param({1: QUIET, 200: (108.0, 109.0, 107.5, 108.0)}, 1_080_000, id="opens beyond the target"),
        pytest.param({1: (103.2, 103.4, 100.0, 101.0)}, 1_009_400, id="stop in the bar of the entry"),
        pytest.param({1: QUIET, 376: (104.0, 109.0, 99.0, 105.0)}, 1_040_000, id="first open of the end"),
        pytest.param({1: QUIET, 10: (103.1, 103.6, 103.0, 103.5)}, 1_035_000, id="last close"),
    ],
)
def test_rule_on_minutes(bars: dict[int, tuple[float, float, float, float]], left: int) -> None:
    """The stop is 2 % below the first bar's close, whatever the entry was."""
    ((shares, entry, found, _),) = minute_trades(session({0: FIRST, **bars}), RULE, on_grid=True).values()
    assert (shares, entry, found) == (9, 1_032_000, left)


def test_nothing_is_traded_without_the_first_minute() -> None:
    """The opening print is the indication."""
    assert minute_trades(session({1: FIRST, 2: QUIET}), RULE, on_grid=True) == {}


EXPECTED: Trades = {(0, 0): (9, 1_030_000, 1_009_400, -187_200)}
OTHER: Trades = {(0, 0): (9, 1_030_000, 1_040_000, 88_200)}


@pytest.mark.parametrize(
    ("found", "allowed"),
    [
        pytest.param(OTHER, frozenset(), id="another exit"),
        pytest.param(OTHER, frozenset({GAP_TIE}), id="a reason for something else"),
        pytest.param({}, frozenset({TOUCH_TIE}), id="no trade"),
        pytest.param({**EXPECTED, (0, 1): EXPECTED[0, 0]}, frozenset(), id="one more trade"),
        pytest.param({(0, 0): (8, *OTHER[0, 0][1:])}, frozenset({TOUCH_TIE}), id="fewer shares"),
    ],
)
def test_difference_without_a_reason_is_refused(found: Trades, allowed: frozenset[str]) -> None:
    """Speed is told of equal results only."""
    with pytest.raises(DisagreementError, match="peer: 1 trades differ without a reason"):
        compare("peer", EXPECTED, found, {(0, 0): allowed})


def test_difference_with_a_reason_is_counted() -> None:
    """A ratio of floats misses a low that ends exactly at the stop; the program's integers may not."""
    arrays = day(100, 103, 105, 100.94, 104)
    allowed = allowances(arrays, RULE, EXPECTED, name="vectorbt")
    assert compare("vectorbt", EXPECTED, OTHER, allowed) == {TOUCH_TIE: 1}
    with pytest.raises(DisagreementError):
        compare(
            "finagent",
            EXPECTED,
            OTHER,
            allowances({**arrays, "volume": np.full((1, 1), 9)}, RULE, EXPECTED, name="finagent"),
        )


def test_gap_at_the_limit_is_a_reason_for_peers_alone() -> None:
    """32.16 / 32 - 1 is a little less than 0.005 in float64."""
    arrays = day(32, 32.16, 33, 32, 32.5)
    rule = replace(RULE, gap=0.005)
    expected = daily_trades(arrays, rule, on_grid=False)
    assert compare("vectorbt", expected, {}, allowances(arrays, rule, expected, name="vectorbt")) == {
        GAP_TIE: 1
    }
    with pytest.raises(DisagreementError):
        compare("finagent", expected, {}, {})


ROUND = {
    "daily": {"seconds": {"kernel": 0.01, "read": 0.004, "run": 2.0}},
    "minutes": {"seconds": {"run": 0.5}},
    "quarter": {"seconds": {"run": 1.0}},
    "sweep": {
        "seconds": {
            "one": 10.0,
            "all": 0.01,
            "many_by_one": 100.0,
            "many_by_two": 62.5,
            "many_by_threads": 50.0,
        },
        "sets": 1_000,
        "threads": 2,
        "trades": 1_000_000,
    },
    "alone": {"seconds": {"by_one": 4.0, "by_two": 2.5}},
    "vectorbt_daily": {"seconds": {"engine": [0.3, 0.2], "whole": [0.4]}, "swept_s": [0.2, 0.4]},
    "vectorbt_minutes": {"seconds": {"engine": [0.1], "whole": [0.2]}},
    "backtesting_quarter": {"seconds": {"whole": [4.0]}},
    "nautilus_quarter": {"seconds": {"whole": [9.0, 8.0]}},
}


def test_ratios_are_theirs_over_ours_and_the_read_limit_ours_over_it() -> None:
    """The least of a contestant's repeats counts; the median of rounds is told."""
    slow = {**ROUND, "quarter": {"seconds": {"run": 2.0}}}
    assert ratios([ROUND, ROUND, slow]) == {
        "daily_vs_vectorbt": 20.0,
        "minute_vs_vectorbt": 0.2,
        "sweep_vs_vectorbt": 30.0,
        "reference_vs_backtesting_py": 4.0,
        "reference_vs_nautilus": 8.0,
        "daily_vs_read_limit": 2.5,
    }
    on_minutes = {**ROUND, "minutes": {"seconds": {"run": 0.5, "kernel": 0.002}}}
    assert ratios([on_minutes])["minute_vs_vectorbt"] == 50.0
    figures = absolute([ROUND], {}, {"first_result_s": 0.9, "backtest_typed_s": 6.0})
    assert (figures["pool_efficiency_2"], figures["thread_efficiency_2"]) == (0.8, 1.0)
    assert figures["sweep_pool_efficiency_2"] == 0.8
    assert (figures["sweep_ns_a_trade"], figures["sweep_ns_a_trade_by_all_threads"]) == (10_000, 10)
    missed = {line.split()[0] for line in table(ratios([ROUND]), figures).splitlines() if "MISSED" in line}
    assert missed == {
        "minute_vs_vectorbt", "sweep_vs_vectorbt", "reference_vs_nautilus", "backtest_typed_s",
        "sweep_ns_a_trade", "pool_efficiency_2",
    }  # fmt: skip


def test_quick_run_agrees_with_the_plain_rule_and_ends_with_one_document() -> None:
    """No peer, made-up prices: the program's trades equal the plain rule's, or there is no document."""
    document = last_line(of="benchmarks.backtest")
    assert set(document["ratios"]) == {"daily_vs_read_limit"}
    told = document["differences"]
    assert {work: told[work]["trades"] for work in ("daily", "quarter", "minutes")} == {
        "daily": 162,
        "quarter": 48,
        "minutes": 12,
    }
    assert [told[work]["finagent"] for work in ("daily", "quarter", "minutes")] == [{}, {}, {}]


def test_every_ratio_and_limit_is_in_its_document() -> None:
    """docs/benchmarks.md says how each was obtained."""
    text = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    named = [
        *RATIOS, "first_result_s", "backtest_typed_s", "pool_efficiency_2", "thread_efficiency_2",
        "sweep_pool_efficiency_2", "sweep_ns_a_trade", "sweep_ns_a_trade_by_all_threads",
    ]  # fmt: skip
    assert not [name for name in named if f"`{name}`" not in text]
