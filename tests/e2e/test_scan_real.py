"""The scan on real bars finds exactly the gaps that an independent computation in fractions finds."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from finagent.adapters.bars.store import BarStore
from finagent.adapters.vendors.calendar import ExchangeCalendar
from finagent.adapters.vendors.replay import ReplayVendor
from finagent.bootstrap.research import run_scan
from finagent.domain.gap import Candidate, GapRules, GapScan
from finagent.services.scanner import compute_scan
from finagent.settings import load_settings
from tests.e2e.independent.market import RawMarket, clock_ms

FIRST, LAST = "2018-02-16", "2018-03-16"
FOUR, TWO = Fraction(4, 100), Fraction(2, 100)


@pytest.fixture(scope="module")
def vendor(real_home: Path, calendar: ExchangeCalendar) -> ReplayVendor:
    """The imported data as a feed."""
    return ReplayVendor(BarStore(real_home), calendar)


async def scan(vendor: ReplayVendor, calendar: ExchangeCalendar, date: str, threshold: Fraction) -> GapScan:
    """The scan at 09:31 with every filter open except the gap's."""
    session = calendar.session(date)
    assert session is not None
    rules = GapRules(
        min_gap_e6=int(threshold * 1_000_000),
        min_price_e4=0,
        max_price_e4=10**12,
        min_adv_usd=0,
        min_premarket_volume=0,
        min_rvol_e6=0,
        max_spread_e6=10**9,
        top=50,
    )
    return await compute_scan(vendor, session, clock_ms(date, "09:31"), rules)


def exact(candidate: Candidate) -> Fraction:
    """The gap that a candidate's exact numbers state."""
    adjusted = Fraction(candidate.adjusted_numerator, candidate.adjusted_denominator)
    return Fraction(candidate.indication_e4) / adjusted - 1


def compare(found: GapScan, expected: Mapping[str, Fraction]) -> None:
    """Same symbols, same exact gaps, and the shown number is the floor of the exact one in 1e-6."""
    gaps = {candidate.symbol: exact(candidate) for candidate in found.candidates}
    assert gaps == expected
    for candidate in found.candidates:
        assert candidate.gap_e6 == expected[candidate.symbol] * 1_000_000 // 1
        assert candidate.direction.sign == (1 if candidate.gap_e6 > 0 else -1)
    sizes = [abs(exact(candidate)) for candidate in found.candidates]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(("threshold", "gaps", "ups"), [(FOUR, 27, 12), (TWO, 69, 31)], ids=["4%", "2%"])
async def test_every_session_has_exactly_the_gaps_of_the_independent_computation(
    vendor: ReplayVendor,
    calendar: ExchangeCalendar,
    raw_market: RawMarket,
    threshold: Fraction,
    gaps: int,
    ups: int,
) -> None:
    """All 20 sessions, split- and dividend-adjusted; CZR's minutes are of another company."""
    total = up = 0
    sessions = list(raw_market.sessions(FIRST, LAST))
    assert len(sessions) == 20
    for date in sessions:
        wanted = raw_market.opening_gaps(date)
        expected = wanted.at_least(threshold)
        found = await scan(vendor, calendar, date, threshold)
        compare(found, expected)
        assert {issue.symbol: issue.kind for issue in found.data_issues} == wanted.issues
        assert wanted.issues == {"CZR": "identity_mismatch"}
        total += len(expected)
        up += sum(gap > 0 for gap in expected.values())
    assert (total, up) == (gaps, ups)


@pytest.mark.parametrize(
    "date", ["2014-06-09", "2007-07-02", "2013-09-30", "2017-01-04", "2010-02-12", "2011-01-04", "2013-05-01"]
)
async def test_a_daily_session_has_exactly_the_gaps_of_the_independent_computation(
    vendor: ReplayVendor, calendar: ExchangeCalendar, raw_market: RawMarket, date: str
) -> None:
    """Sessions with daily bars alone, chosen for their splits and wrong actions."""
    wanted = raw_market.opening_gaps(date)
    found = await scan(vendor, calendar, date, TWO)
    recent = {symbol for before in raw_market.before(date, 10) for symbol in raw_market.daily(before)}
    compare(found, {symbol: gap for symbol, gap in wanted.at_least(TWO).items() if symbol in recent})
    assert {issue.symbol: issue.kind for issue in found.data_issues} == wanted.issues


async def test_a_split_is_no_gap(vendor: ReplayVendor, calendar: ExchangeCalendar) -> None:
    """AAPL 2014-06-09 opened 85.6 % lower by raw prices, seven new shares for one old."""
    found = await scan(vendor, calendar, "2014-06-09", TWO)
    assert "AAPL" not in [candidate.symbol for candidate in found.candidates]
    assert [drop.reason for drop in found.dropped if drop.symbol == "AAPL"] == ["gap_below_min"]
    assert "AAPL" not in [issue.symbol for issue in found.data_issues]


@pytest.mark.parametrize(
    ("symbol", "date"), [("JCI", "2007-07-02"), ("LDOS", "2013-09-30"), ("HLT", "2017-01-04")]
)
async def test_a_wrong_action_is_a_data_issue_and_no_candidate(
    vendor: ReplayVendor, calendar: ExchangeCalendar, symbol: str, date: str
) -> None:
    """Spin-offs that the vendor booked on another basis."""
    found = await scan(vendor, calendar, date, TWO)
    assert [issue.kind for issue in found.data_issues if issue.symbol == symbol] == ["bad_action"]
    assert symbol not in [candidate.symbol for candidate in found.candidates]


@pytest.mark.parametrize("date", ["2018-02-16", "2018-02-20", "2018-03-07"])
async def test_the_scan_verb_tells_the_same_gaps(
    real_home: Path, raw_market: RawMarket, monkeypatch: pytest.MonkeyPatch, date: str
) -> None:
    """Through settings and the JSON document: ``gap_pct`` in percent, prices as decimal strings, 09:31 by default."""
    for name in ("MIN_ADV_USD", "MIN_RVOL"):
        monkeypatch.setenv(f"FINAGENT__SCAN__{name}", "0")
    monkeypatch.setenv("FINAGENT__SCAN__MAX_PRICE", "100000")
    document = await run_scan(load_settings(), real_home, session=date, at=None, explain=None)
    expected = raw_market.opening_gaps(date).at_least(FOUR)
    told: list[dict[str, Any]] = document["candidates"]  # type: ignore[assignment]
    assert {row["symbol"] for row in told} == set(expected)
    opened = clock_ms(date, "09:30")
    for row in told:
        assert row["gap_pct"] == pytest.approx(float(expected[row["symbol"]] * 100), abs=1e-4)
        first = raw_market.regular(date, row["symbol"])[0]
        assert first.start == opened
        assert (Decimal(row["indication"]) * 10_000, row["volume"]) == (first.open, first.volume)
        adjusted = raw_market.adjusted_close(row["symbol"], date)
        assert adjusted is not None
        assert abs(Decimal(row["prev_close_adjusted"]) * 10_000 - Decimal(float(adjusted))) < Decimal("0.001")
    assert datetime.fromisoformat(str(document["as_of"])).timestamp() * 1000 == opened + 60_000
    issues: list[dict[str, Any]] = document["data_issues"]  # type: ignore[assignment]
    assert [(issue["symbol"], issue["kind"]) for issue in issues] == [("CZR", "identity_mismatch")]
    dropped: dict[str, int] = document["dropped"]  # type: ignore[assignment]
    assert document["universe"] == len(told) + len(issues) + sum(dropped.values())
