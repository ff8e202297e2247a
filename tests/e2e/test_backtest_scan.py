"""The backtest's scan over mapped columns is the agent's scan over the store, to the last field."""

import asyncio
from pathlib import Path

import pytest

from finagent.adapters.bars.store import BarStore
from finagent.adapters.news.archive import NewsArchive
from finagent.adapters.vendors.calendar import ExchangeCalendar
from finagent.adapters.vendors.replay import ReplayVendor
from finagent.backtest.building import find_or_build
from finagent.backtest.dataset import Dataset
from finagent.backtest.market import open_session
from finagent.backtest.scanning import scan_session, score_candidates
from finagent.bootstrap.stored import StoredMarket
from finagent.domain.gap import GapRules
from finagent.domain.gap_scan import second_look_rank
from finagent.domain.scoring import ScoreWeights
from finagent.services.scanner import compute_scan
from finagent.services.scoring import compute_scores
from tests.e2e.independent.market import clock_ms

LOOSE = GapRules(min_gap_e6=500, min_adv_usd=0, max_price_e4=10**9, min_premarket_volume=0, min_rvol_e6=0)
USUAL = GapRules(min_gap_e6=20_000)
FADE = GapRules(min_gap_e6=10_000, exclude=("AAPL", "SPY"), keep_unknown=False)
MINUTES = ("2018-02-16", "2018-02-20", "2018-03-01", "2018-03-09", "2018-03-16")
EXTENDED = ("2011-01-03", "2013-10-04", "2013-10-08", "2013-10-11")
DAILY = ("1998-01-02", "1998-02-03", "2005-01-03", "2009-03-10", "2014-06-09", "2015-01-28", "2024-02-02")
CASES = [
    *((date, at) for date in MINUTES for at in ("09:25", "09:30", "09:31", "09:33", "12:15", "15:59")),
    *((date, at) for date in EXTENDED for at in ("09:00", "09:25", "09:31", "11:30")),
    *((date, at) for date in DAILY for at in ("09:25", "09:31", "12:15")),
]


@pytest.fixture(scope="module")
def dataset(real_home: Path, calendar: ExchangeCalendar, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The dataset of all real data."""
    return find_or_build(StoredMarket(real_home), calendar, tmp_path_factory.mktemp("datasets"))


@pytest.fixture(scope="module")
def vendor(real_home: Path, calendar: ExchangeCalendar) -> ReplayVendor:
    """What a replay reads."""
    return ReplayVendor(BarStore(real_home), calendar)


@pytest.fixture(scope="module")
def news(real_home: Path) -> NewsArchive:
    """The texts that a replay reads."""
    return NewsArchive(BarStore(real_home))


def test_the_dataset_keeps_the_calendar(dataset: Dataset, calendar: ExchangeCalendar) -> None:
    """Every session of the stored range, half days and the session before included."""
    first, last = dataset.sessions[0].date, dataset.sessions[-1].date
    assert dataset.sessions == tuple(calendar.sessions(first, last))
    assert sum(session.is_half_day for session in dataset.sessions) > 50


@pytest.mark.parametrize(
    ("date", "at", "rules"),
    [
        *(pytest.param(*case, LOOSE, id=f"{case[0]} {case[1]} loose") for case in CASES),
        *(pytest.param(*case, USUAL, id=f"{case[0]} {case[1]} usual") for case in CASES[::3]),
        *(pytest.param(*case, FADE, id=f"{case[0]} {case[1]} fade") for case in CASES[1::3]),
    ],
)
def test_scan_and_scores_are_those_of_the_agent(
    dataset: Dataset,
    vendor: ReplayVendor,
    news: NewsArchive,
    calendar: ExchangeCalendar,
    date: str,
    at: str,
    rules: GapRules,
) -> None:
    """Candidates with every field, drops by reason, data issues, scores with factors and explanations."""
    session = calendar.session(date)
    assert session is not None
    as_of_ms = clock_ms(date, at)
    wanted = asyncio.run(compute_scan(vendor, session, as_of_ms, rules))
    market = open_session(dataset, session)
    found = scan_session(market, as_of_ms, rules)
    reasons: dict[str, int] = {}
    for drop in wanted.dropped:
        reasons[drop.reason] = reasons.get(drop.reason, 0) + 1
    assert found.candidates == wanted.candidates
    assert found.dropped == dict(sorted(reasons.items()))
    assert found.issues == wanted.data_issues
    assert found.universe == wanted.universe
    scores = asyncio.run(
        compute_scores(
            news, calendar, session, wanted.candidates, ScoreWeights(), as_of_ms=as_of_ms, lookback_days=4
        )
    )
    assert scores == score_candidates(
        market, found.candidates, ScoreWeights(), as_of_ms=as_of_ms, lookback_days=4
    )
    later = scan_session(market, as_of_ms, rules, is_second_look=True)
    assert later.candidates == second_look_rank(wanted.candidates)


def test_there_is_something_to_compare(dataset: Dataset, calendar: ExchangeCalendar) -> None:
    """The cases hold candidates by print, by pre-market and by daily bars alone."""
    kinds = set()
    for date, at in CASES:
        session = calendar.session(date)
        assert session is not None
        found = scan_session(open_session(dataset, session), clock_ms(date, at), LOOSE)
        kinds |= {
            (c.indication_source.value, bool("open_assumed_known" in c.flags)) for c in found.candidates
        }
    assert kinds == {("open", False), ("premarket", False), ("open", True)}
