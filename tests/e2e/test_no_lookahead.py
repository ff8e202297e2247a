"""Whatever the future becomes, cut, altered or made up: scan, scores and plans of an instant stay the same."""

import asyncio
import shutil
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from finagent.adapters.bars.importer import import_folder
from finagent.adapters.bars.store import BarStore
from finagent.adapters.news.archive import NewsArchive
from finagent.adapters.vendors.calendar import ExchangeCalendar
from finagent.adapters.vendors.replay import ReplayVendor
from finagent.domain.gap import GapRules, GapScan
from finagent.domain.market import Session
from finagent.domain.orders import Scope
from finagent.domain.plan import NoPlan, NotYet, Plan
from finagent.domain.planning import make_plan
from finagent.domain.planning_rules import PlanningRules
from finagent.domain.scoring import ScoredCandidate, ScoreWeights
from finagent.domain.shorts import ShortRules
from finagent.services.scanner import compute_scan
from finagent.services.schedule import entry_windows
from finagent.services.scoring import compute_scores
from tests.e2e.independent.future import Inputs, altered, write
from tests.e2e.independent.market import clock_ms

MINUTE_MS = 60_000
MINUTE_SESSIONS = tuple(f"2018-02-{day}" for day in (21, 22, 26)) + tuple(
    f"2018-03-{day:02}" for day in (1, 2, 5, 8, 12, 15)
)
PREMARKET_SESSIONS = ("2013-10-07", "2013-10-08", "2013-10-10")
TWEET_SESSIONS = ("2014-04-24", "2014-06-09", "2015-01-28")
HEADLINE_SESSIONS = ("2024-02-02", "2024-02-22")
LOOSE = GapRules(min_gap_e6=500, min_adv_usd=0, max_price_e4=10**9, min_premarket_volume=0, min_rvol_e6=0)
Outcome = tuple[GapScan, tuple[ScoredCandidate, ...], tuple[Plan | NoPlan | NotYet, ...]]

CASES = st.one_of(
    st.tuples(
        st.sampled_from(MINUTE_SESSIONS), st.sampled_from(["09:31", "09:32", "10:03", "12:15", "15:59"])
    ),
    st.tuples(st.sampled_from(PREMARKET_SESSIONS), st.sampled_from(["09:00", "09:25", "09:31", "11:30"])),
    st.tuples(st.sampled_from(TWEET_SESSIONS), st.sampled_from(["09:31", "12:15"])),
    st.tuples(st.sampled_from(HEADLINE_SESSIONS), st.sampled_from(["09:31", "12:15"])),
)
SEEDS = st.integers(0, 2**32 - 1)


class Bench:
    """Imports a set of inputs and decides on it as of an instant, in a folder that it cleans up."""

    def __init__(self, inputs: Inputs, calendar: ExchangeCalendar, folder: Path) -> None:
        self._inputs, self._calendar, self._folder = inputs, calendar, folder
        self.slices = cache(inputs.around)
        self.truth = cache(self._truth)

    def session(self, date: str) -> Session:
        """The session of a date."""
        found = self._calendar.session(date)
        assert found is not None
        return found

    def _truth(self, date: str, as_of_ms: int) -> Outcome:
        return self.decide(self.slices(date), date, as_of_ms)

    def decide(
        self, frames: dict[str, pd.DataFrame], date: str, as_of_ms: int, *, peek_ms: int = 0
    ) -> Outcome:
        """Scan, score and plan; ``peek_ms``: a planted fault that looks so far ahead."""
        home = self._folder / "home"
        try:
            import_folder(write(frames, self._folder / "inputs"), home, calendar=self._calendar)
            return asyncio.run(self._decide(home, date, as_of_ms + peek_ms))
        finally:
            shutil.rmtree(self._folder)

    async def _decide(self, home: Path, date: str, as_of_ms: int) -> Outcome:
        store, session = BarStore(home), self.session(date)
        vendor = ReplayVendor(store, self._calendar)
        scan = await compute_scan(vendor, session, as_of_ms, LOOSE)
        scores = await compute_scores(
            NewsArchive(store),
            self._calendar,
            session,
            scan.candidates,
            ScoreWeights(),
            as_of_ms=as_of_ms,
            lookback_days=4,
        )
        plans = [
            make_plan(
                scored.candidate,
                score_e6=scored.score_e6,
                rank=rank,
                rules=PlanningRules(),
                session=session,
                scan_tick="test",
                bars=await vendor.minutes(scored.candidate.symbol, session, as_of_ms),
                windows=entry_windows(session, [("09:30", "16:00")], "America/New_York"),
                now_ms=as_of_ms,
                scope=Scope(),
                allow_shorts=True,
                shorts=ShortRules(is_borrow_assumed=True),
            )
            for rank, scored in enumerate(scores, 1)
        ]
        return scan, scores, tuple(plans)


@pytest.fixture(scope="module")
def bench(real_data: Path, calendar: ExchangeCalendar, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One bench for all examples: the true outcome of a case is computed once."""
    return Bench(Inputs(real_data), calendar, tmp_path_factory.mktemp("future") / "work")


def check(bench: Bench, case: tuple[str, str], seed: int) -> None:
    """The decision on an altered future equals the true one, and there was something to decide."""
    date, at = case
    as_of_ms = clock_ms(date, at)
    is_open_known = as_of_ms >= bench.session(date).open_ms + MINUTE_MS
    other = altered(bench.slices(date), date, as_of_ms, is_open_known, seed)
    truth, outcome = bench.truth(date, as_of_ms), bench.decide(other, date, as_of_ms)
    assert outcome[0] == truth[0]
    assert outcome[1] == truth[1]
    assert outcome[2] == truth[2]
    assert truth[0].universe > 0


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
@given(case=CASES, seed=SEEDS)
def test_no_future_changes_a_decision(bench: Bench, case: tuple[str, str], seed: int) -> None:
    """Raw files altered behind the instant, imported anew, scanned, scored and planned."""
    check(bench, case, seed)


@pytest.mark.full
@settings(
    max_examples=80,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
@given(case=CASES, seed=SEEDS)
def test_no_future_changes_a_decision_many_times(bench: Bench, case: tuple[str, str], seed: int) -> None:
    """The same with more examples."""
    check(bench, case, seed)


@pytest.mark.parametrize(
    ("date", "at"), [("2018-03-01", "09:31"), ("2018-02-22", "12:15"), ("2013-10-08", "09:25")]
)
def test_the_proof_notices_a_decision_that_looks_one_minute_ahead(bench: Bench, date: str, at: str) -> None:
    """A planted fault: decided on what is known a minute later, the altered future shows."""
    as_of_ms = clock_ms(date, at)
    is_open_known = as_of_ms >= bench.session(date).open_ms + MINUTE_MS
    frames = bench.slices(date)
    other = altered(frames, date, as_of_ms, is_open_known, 3)
    peeked = bench.decide(other, date, as_of_ms, peek_ms=MINUTE_MS)
    assert peeked != bench.decide(frames, date, as_of_ms, peek_ms=MINUTE_MS)


@pytest.mark.parametrize("date", ["2018-02-21", "2013-10-08", "2014-04-24", "2024-02-02"])
def test_there_is_something_to_decide_in_each_kind_of_session(bench: Bench, date: str) -> None:
    """The property is no empty one: candidates, and plans where minutes give a price."""
    scan, scores, plans = bench.truth(date, clock_ms(date, "09:31"))
    assert len(scan.candidates) == len(scores) == len(plans) > 0
    assert any(isinstance(plan, Plan) for plan in plans)
