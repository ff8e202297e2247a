"""Averages and ranges of daily and minute bars, in integers and on today's basis of splits."""

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from operator import mul

from finagent.domain.market import Bar, CorporateAction, DailyBar, DailyBars
from finagent.domain.money import RATIO_SCALE, div_half_even

Exact = int | Fraction
"""Never a float: an integer where no split or dividend makes it a fraction, which is many times as fast."""
LEAST_ADV_SESSIONS = 5
"""With fewer earlier sessions an average volume says nothing: unknown."""


def adjusted_close(previous_close_e4: int, action: CorporateAction | None) -> tuple[int, int]:
    """The previous close on the ex-date's basis, (close - dividend) / split ratio: numerator, denominator.

    Their quotient is a price in 1e-4; nothing is rounded. The numerator is not positive where the dividend
    eats the close; ValueError where the split ratio is not positive.
    """
    if action is None:
        return previous_close_e4, 1
    if action.split_ratio_e6 <= 0:
        raise ValueError(
            f"split ratio {action.split_ratio_e6}e-6 of {action.ex_session} must be positive: mend the action"
        )
    if action.split_ratio_e6 == RATIO_SCALE:
        return previous_close_e4 - action.dividend_e4, 1
    return (previous_close_e4 - action.dividend_e4) * RATIO_SCALE, action.split_ratio_e6


def short_restricted(
    has_fallen: bool | None, today_low_e4: int | None, previous: tuple[int, int]
) -> bool | None:
    """Whether a fall of 10 % restricts short sales, that session and the next (SEC Rule 201); None when unknown.

    ``has_fallen`` is what the previous session did (``fell``), ``previous`` its close on today's basis as a fraction.
    """
    numerator, denominator = previous
    if today_low_e4 is not None and 10 * today_low_e4 * denominator <= 9 * numerator:
        return True
    return has_fallen


def fell(earlier: Sequence[DailyBar] | DailyBars, actions: Sequence[CorporateAction]) -> bool | None:
    """Whether the last of some bars fell by 10 % from the close before it; None when unknown."""
    if len(earlier) < 2:
        return None
    last = earlier if isinstance(earlier, DailyBars) else DailyBars.of(earlier[-2:])
    today = [each for each in actions if each.ex_session == last.sessions[-1]] if actions else []
    action = today[0] if today else None
    if action is not None and action.split_ratio_e6 <= 0:
        return None
    base, share = adjusted_close(last.closes_e4[-2], action)
    return 10 * last.lows_e4[-1] * share <= 9 * base


def dollar_volume(bars: Sequence[DailyBar] | DailyBars, sessions: int) -> tuple[int, int] | None:
    """Sum of close times volume in 1e-4 dollars over the last ``sessions`` bars, and how many bars that were.

    None (unknown) below five bars; between five and ``sessions`` the bars at hand speak.
    """
    columns = DailyBars.of(bars)
    closes_e4, volumes = columns.closes_e4[-sessions:], columns.volumes[-sessions:]
    if len(closes_e4) < LEAST_ADV_SESSIONS:
        return None
    return sum(map(mul, closes_e4, volumes)), len(closes_e4)


def average_shares(
    bars: Sequence[DailyBar] | DailyBars, actions: Sequence[CorporateAction], sessions: int
) -> int | None:
    """Average daily volume in shares of today's split basis, rounded down; None where unknown.

    ``actions`` are those effective up to and including today; a split n:1 multiplies the volumes before it
    by n.
    """
    columns = DailyBars.of(bars)
    dates, volumes = columns.sessions[-sessions:], columns.volumes[-sessions:]
    if len(volumes) < LEAST_ADV_SESSIONS or not _usable(actions):
        return None
    if not _has_later(actions, dates[0], is_split=True):
        return sum(volumes) // len(volumes)
    total: Exact = 0
    for volume, splits in zip(volumes, _later_splits(dates, actions), strict=True):
        total += volume * splits
    return int(Fraction(total) / len(volumes))


def average_true_range(
    bars: Sequence[DailyBar] | DailyBars, actions: Sequence[CorporateAction], sessions: int
) -> tuple[int, int] | None:
    """ATR in 1e-4 on today's split basis as numerator and denominator; None below ``sessions`` + 1 bars.

    True range (Wilder, New Concepts in Technical Trading Systems, 1978): the largest of high - low,
    |high - previous close|, |low - previous close|. This is its simple mean over the last sessions, not
    Wilder's smoothing, so that no bar before the window has a say. The previous close of an ex-date is
    adjusted for dividend and split; where that leaves nothing (a wrong action) the day counts high - low.
    """
    columns = DailyBars.of(bars)
    if len(columns) < sessions + 1 or not _usable(actions):
        return None
    dates, earlier = columns.sessions[-sessions:], columns.sessions[-sessions - 1 : -1]
    highs, lows = columns.highs_e4[-sessions:], columns.lows_e4[-sessions:]
    closes = columns.closes_e4[-sessions - 1 : -1]
    if not _has_later(actions, earlier[0], is_split=True):
        references = _less_dividends(dates, closes, actions, earlier[0])
        return _sum_of_ranges(highs, lows, references), sessions
    total: Exact = 0
    splits = _later_splits(dates, actions)
    for high_e4, low_e4, close_e4, before, date, later in zip(
        highs, lows, closes, earlier, dates, splits, strict=True
    ):
        reference: Exact = close_e4
        for action in actions:
            if before < action.ex_session <= date:
                numerator = (reference - action.dividend_e4) * RATIO_SCALE
                reference = Fraction(numerator) / action.split_ratio_e6
        true_range = _true_range(high_e4, low_e4, reference)
        total += true_range if later == 1 else Fraction(true_range) / later
    exact = Fraction(total) / sessions
    return exact.numerator, exact.denominator


def _less_dividends(
    dates: Sequence[str], closes_e4: Sequence[int], actions: Sequence[CorporateAction], since: str
) -> Sequence[int]:
    """The close before each date, on the date's basis where dividends alone change it."""
    if not _has_later(actions, since):
        return closes_e4
    references = list(closes_e4)
    for action in actions:
        place = bisect_left(dates, action.ex_session)
        if action.ex_session > since and place < len(dates):
            references[place] -= action.dividend_e4
    return references


def _sum_of_ranges(highs_e4: Sequence[int], lows_e4: Sequence[int], references_e4: Sequence[int]) -> int:
    """True ranges summed, in one loop: of every candidate's last bars there are many."""
    total = 0
    for high, low, reference in zip(highs_e4, lows_e4, references_e4, strict=True):
        if reference > 0:
            total += (reference if reference > high else high) - (reference if reference < low else low)
        else:
            total += high - low
    return total


def _true_range(high: Exact, low: Exact, reference: Exact) -> Exact:
    """From high to low, and to the previous close where there is one."""
    return max(high, reference) - min(low, reference) if reference > 0 else high - low


def relative_volume(volume: int, earlier: Sequence[int], least: int) -> tuple[int, int] | None:
    """Volume against its mean in earlier sessions at the same time of day, as numerator and denominator.

    None (unknown) below ``least`` earlier sessions or where none of them traded.
    """
    total = sum(earlier)
    if len(earlier) < least or total <= 0:
        return None
    return volume * len(earlier), total


def volume_weighted_price(bars: Sequence[Bar]) -> int | None:
    """VWAP in 1e-4, half even: typical price (high + low + close) / 3 by volume; None without volume."""
    volume = sum([bar.volume for bar in bars])
    if volume <= 0:
        return None
    return div_half_even(
        sum((bar.high_e4 + bar.low_e4 + bar.close_e4) * bar.volume for bar in bars), 3 * volume
    )


def _usable(actions: Sequence[CorporateAction]) -> bool:
    return not actions or all(action.split_ratio_e6 > 0 for action in actions)


def _has_later(actions: Sequence[CorporateAction], session: str, *, is_split: bool = False) -> bool:
    """Whether any took effect after a session; ``is_split``: any that changes the number of shares."""
    for action in actions:
        if action.ex_session > session and not (is_split and action.split_ratio_e6 == RATIO_SCALE):
            return True
    return False


def _later_splits(sessions: Sequence[str], actions: Sequence[CorporateAction]) -> list[Exact]:
    """For each session the product of the split ratios that came into effect after it."""
    splits = [action for action in actions if action.split_ratio_e6 != RATIO_SCALE]
    factors: list[Exact] = []
    for session in sessions:
        factor: Exact = 1
        for action in splits:
            if action.ex_session > session:
                factor *= Fraction(action.split_ratio_e6, RATIO_SCALE)
        factors.append(factor)
    return factors
