"""Averages over the daily bars before a session, by whole columns for all symbols of a scan at once."""

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from finagent.backtest.dataset import ABSENT, SUM_SESSIONS
from finagent.backtest.market import SessionMarket
from finagent.backtest.source import Ints
from finagent.domain.gap import GapRules
from finagent.domain.gap_filters import Averages, new_averages
from finagent.domain.indicators import LEAST_ADV_SESSIONS
from finagent.domain.money import RATIO_SCALE

LEAST_BARS = 2
"""The short-sale restriction looks at two sessions."""
_ex_session = attrgetter("ex_session")


def sessions_needed(rules: GapRules) -> int:
    """How many earlier sessions the averages look at."""
    return max(rules.adv_sessions, rules.atr_sessions + 1, LEAST_BARS)


def averages_by_column(
    market: SessionMarket, symbols: Sequence[str], rules: GapRules
) -> list[Averages | None]:
    """What the domain's ``averages_of`` comes to for each symbol; None where it has to be asked.

    That is where a bar is missing or a split changes one of them. No sum passes 2^62: such data make no dataset.
    """
    dataset, row, days, ranges = market.dataset, market.row, rules.adv_sessions, rules.atr_sessions
    first = row - sessions_needed(rules)
    if not symbols or first < market.first_row or not LEAST_ADV_SESSIONS <= days <= SUM_SESSIONS:
        return [None] * len(symbols)
    numbers = np.array([dataset.numbers[symbol] for symbol in symbols])
    daily = dataset.daily
    high, low, close, volume = (
        column[first:row, numbers].astype(np.int64)
        for column in (daily.high_e4, daily.low_e4, daily.close_e4, daily.volume)
    )
    dollars = (close[-days:] * volume[-days:]).sum(axis=0)
    shares = volume[-days:].sum(axis=0) // days
    dates = [session.date for session in dataset.sessions[first:row]]
    changed = {
        symbol
        for place, symbol in enumerate(symbols)
        if symbol in dataset.actions and not _take_dividends_off(close[:, place], dates, symbol, market)
    }
    before, highest, lowest = close[-ranges - 1 : -1], high[-ranges:], low[-ranges:]
    widened = np.maximum(highest, before) - np.minimum(lowest, before)
    true_range = np.where(before > 0, widened, highest - lowest).sum(axis=0)
    has_fallen = 10 * low[-1] <= 9 * close[-2]
    is_whole = (volume != ABSENT).all(axis=0)
    columns = (dollars, shares, true_range, has_fallen, is_whole)
    rows = zip(symbols, *(column.tolist() for column in columns), strict=True)
    return [
        new_averages((worth, days), traded, (moved, ranges), fallen)
        if whole and symbol not in changed
        else None
        for symbol, worth, traded, moved, fallen, whole in rows
    ]


def _take_dividends_off(close: Ints, dates: Sequence[str], symbol: str, market: SessionMarket) -> bool:
    """Put each close before an ex-date on that date's basis; False where an action does more than that."""
    actions, today = market.dataset.actions[symbol], market.session.date
    place = bisect_right(actions, today, key=_ex_session)
    while place and (action := actions[place - 1]).ex_session >= market.oldest_date:
        place -= 1
        if action.split_ratio_e6 <= 0:
            return False
        if action.ex_session <= dates[0]:
            continue
        if action.split_ratio_e6 != RATIO_SCALE:
            return False
        if action.ex_session == today:
            continue
        if action.ex_session not in dates:
            return False
        close[dates.index(action.ex_session) - 1] -= action.dividend_e4
    return True
