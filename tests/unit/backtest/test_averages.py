"""Averages by whole columns are the domain's own, and where an action does more than pay a dividend it is asked."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from finagent.backtest.averages import averages_by_column, sessions_needed
from finagent.backtest.dataset import SUM_SESSIONS
from finagent.backtest.market import SessionMarket, open_session
from finagent.domain.gap import GapRules, IndicationSource, Measured
from finagent.domain.gap_filters import Averages, averages_of
from finagent.domain.market import CorporateAction
from finagent.domain.money import price_text
from tests.conformance.made_up import MadeUp, MadeUpCalendar

SESSIONS = 24
RULES = GapRules(adv_sessions=8, atr_sessions=5)
NEEDED = sessions_needed(RULES)
PRICES, VOLUMES = st.sampled_from((1, 9, 10, 90, 100, 1_000)), st.sampled_from((0, 1, 900, 1_234_567))
PARTS = st.lists(st.tuples(PRICES, PRICES, PRICES, VOLUMES), min_size=SESSIONS, max_size=SESSIONS)
MISSING = st.sampled_from((set[int](), {3}, {SESSIONS - NEEDED - 1}, {SESSIONS - NEEDED}))
FALLS = st.sampled_from((89, 90, 91))
"""The last low, after a close of 100: 90 restricts short sales, 91 does not."""
RATIOS = st.sampled_from((*[1_000_000] * 9, 2_000_000))
ACTIONS = st.dictionaries(
    st.one_of(st.just(0), st.integers(SESSIONS - NEEDED, SESSIONS)),
    st.tuples(st.sampled_from((0, 1, 10, 91, 2_000)), RATIOS),
    min_size=1,
    max_size=4,
)


def made_up(parts: list[tuple[int, int, int, int]], missing: set[int], *symbols: str) -> MadeUp:
    """Days with any prices, some of them missing, for each symbol."""
    stored = MadeUp(MadeUpCalendar("2018-01-01", SESSIONS + 1))
    for symbol in symbols:
        for place, (close, high, low, volume) in enumerate(parts):
            if place not in missing:
                top, bottom = max(close, high), min(close, low)
                row = [price_text(price) for price in (close, top, bottom, close)]
                stored.daily_bar(stored.calendar.all[place].date, symbol, *row, volume)
    stored.daily_bar(stored.calendar.all[SESSIONS].date, symbols[0], 1, 1, 1, 1, 1)
    return stored


def asked(market: SessionMarket, symbol: str) -> Averages:
    """What the domain says."""
    (snapshot,), (bars,) = market.snapshots([symbol], 0), market.past_bars([symbol], NEEDED)
    measured = Measured(
        snapshot=snapshot,
        session=market.session,
        as_of_ms=0,
        has_minutes=False,
        indication_e4=1,
        indication_source=IndicationSource.OPEN,
        adjusted_numerator=1,
        adjusted_denominator=1,
        gap_e6=0,
    )
    return averages_of(measured, bars, market.past_actions(symbol), RULES)


@settings(max_examples=150, deadline=None, database=None)
@given(parts=PARTS, low=FALLS, missing=MISSING, actions=ACTIONS)
def test_columns_come_to_what_the_domain_says(
    parts: list[tuple[int, int, int, int]],
    low: int,
    missing: set[int],
    actions: dict[int, tuple[int, int]],
) -> None:
    """Any prices, a missing bar, dividends that may eat the close, splits, an action of today."""
    ended = [*parts[:-2], (100, 100, 100, 1), (100, 100, low, 1)]
    stored = made_up(ended, missing, "AAA", "BBB")
    for place, (dividend_e4, ratio_e6) in sorted(actions.items()):
        stored.splits.setdefault("AAA", []).append(
            CorporateAction(
                ex_session=stored.calendar.all[place].date, dividend_e4=dividend_e4, split_ratio_e6=ratio_e6
            )
        )
    with TemporaryDirectory() as folder:
        dataset = stored.dataset(Path(folder))
        market = open_session(dataset, dataset.sessions[-1])
        found = averages_by_column(market, ["AAA", "BBB"], RULES)
        is_whole = not any(place >= SESSIONS - NEEDED for place in missing)
        splits = [place for place, (_, ratio_e6) in actions.items() if ratio_e6 != 1_000_000]
        is_plain = not any(place > SESSIONS - NEEDED for place in splits)
        assert [each is not None for each in found] == [is_whole and is_plain, is_whole]
        for symbol, averages in zip(("AAA", "BBB"), found, strict=True):
            assert averages is None or averages == asked(market, symbol)
        assert averages_by_column(market, ["BBB"], replace(RULES, adv_sessions=SUM_SESSIONS + 1)) == [None]
