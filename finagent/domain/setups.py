"""Setups: integer definitions of the chart patterns that the ``structure`` preset enters on.

Every definition is written for a long; a short is the same on mirrored prices (each price negated, high and
low swapped). ``bars`` are the ended regular one-minute bars of the session, so a pattern never sees the
future.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, takewhile

from finagent.domain.gap import Candidate
from finagent.domain.market import MINUTE_MS, Bar, Direction, Session


class Setup(StrEnum):
    """How a plan enters."""

    NEXT_OPEN = "next_open"
    OPENING_RANGE_BREAK = "opening_range_break"
    PREMARKET_BREAK = "premarket_break"
    FIRST_PULLBACK = "first_pullback"
    VWAP_PULLBACK = "vwap_pullback"
    VWAP_RECLAIM = "vwap_reclaim"
    GAP_FILL_FADE = "gap_fill_fade"


CLASSIC_SETUPS = (Setup.NEXT_OPEN, Setup.OPENING_RANGE_BREAK)

BASE_BARS = 5
"""How many bars under a level make its base (``premarket_break``)."""
PULLBACK_BARS = 2
"""Bars without a new high that make a pull-back."""
VWAP_TREND_BARS = 5
"""Closes above VWAP before a touch counts as a pull-back."""
VWAP_BELOW_BARS = 3
"""Closes below VWAP before a close above counts as a reclaim."""
FADE_RANGE_MINUTES = 5
"""Opening range whose break towards the previous close starts a fade."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupView:
    """What a pattern may look at, mirrored so that the trade is a long; prices in 1e-4 (negative when
    mirrored).
    """

    bars: tuple[Bar, ...]
    last_e4: int
    open_ms: int
    now_ms: int
    premarket_e4: int | None
    gap_fill_e4: int | None
    is_against_gap: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Enter one tick beyond ``trigger_e4``, stop one tick beyond ``stop_e4``; the move may end at
    ``room_e4``.
    """

    trigger_e4: int
    stop_e4: int
    room_e4: int | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """The pattern is not there yet; the next bar may complete it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Missing:
    """The pattern cannot come any more in this session."""

    reason: str
    detail: str


Pattern = Found | Waiting | Missing
PatternRule = Callable[[SetupView], Pattern]


def look(
    rule: PatternRule,
    candidate: Candidate,
    bars: Sequence[Bar],
    *,
    last_e4: int,
    session: Session,
    now_ms: int,
) -> Pattern:
    """Apply a pattern to a candidate's bars in its direction; the prices of the answer are real ones
    again.
    """
    levels, sign = candidate.levels, candidate.direction.sign
    is_long = candidate.direction is Direction.LONG
    premarket = levels.premarket_high_e4 if is_long else levels.premarket_low_e4
    pattern = rule(
        SetupView(
            bars=tuple(bars) if is_long else tuple(_mirrored(bar) for bar in bars),
            last_e4=sign * last_e4,
            open_ms=session.open_ms,
            now_ms=now_ms,
            premarket_e4=_signed(sign, premarket),
            gap_fill_e4=_signed(sign, levels.gap_fill_e4),
            is_against_gap=sign * candidate.gap_e6 < 0,
        )
    )
    if not isinstance(pattern, Found):
        return pattern
    return Found(
        trigger_e4=sign * pattern.trigger_e4,
        stop_e4=sign * pattern.stop_e4,
        room_e4=_signed(sign, pattern.room_e4),
    )


def premarket_break(view: SetupView) -> Pattern:
    """Break of the pre-market high.

    There, once the session has an ended bar and the last close is at or below the pre-market high. Trigger
    level: the pre-market high. Stop level: the lowest low of the last five ended bars, the base from which
    the break comes.
    """
    if view.premarket_e4 is None:
        return Missing("no_level", "the pre-market high or low is unknown")
    if not view.bars:
        return Waiting("before_open")
    if view.last_e4 > view.premarket_e4:
        return Waiting("beyond_level")
    return Found(trigger_e4=view.premarket_e4, stop_e4=min(bar.low_e4 for bar in view.bars[-BASE_BARS:]))


def first_pullback(view: SetupView) -> Pattern:
    """First pull-back of the opening move.

    The peak is the highest high so far (its first bar), the base the lowest low up to and with the peak's
    bar, the pull-back the bars since. There, when the peak is above the session's first open, the pull-back
    has at least two bars and has retraced at least a quarter of peak - base. Over, when it retraces more than
    half, or when a new peak follows a pull-back that was there. Trigger level: the last bar's high. Stop
    level: the pull-back's lowest low.
    """
    if not view.bars:
        return Waiting("before_open")
    first = view.bars[0]
    peak, base, low, resting = first.high_e4, first.low_e4, first.high_e4, 0
    for bar in view.bars[1:]:
        if bar.high_e4 > peak:
            if _is_pullback(peak=peak, base=base, low=low, resting=resting, open_e4=first.open_e4):
                return Missing("no_setup", "the first pull-back is past")
            base = min(base, low, bar.low_e4)
            peak, low, resting = bar.high_e4, bar.high_e4, 0
            continue
        low, resting = min(low, bar.low_e4), resting + 1
        if 2 * (peak - low) > peak - base:
            return Missing("no_setup", "the first pull-back retraced more than half of the opening move")
    if not _is_pullback(peak=peak, base=base, low=low, resting=resting, open_e4=first.open_e4):
        return Waiting("no_pullback")
    return Found(trigger_e4=view.bars[-1].high_e4, stop_e4=low)


def vwap_pullback(view: SetupView) -> Pattern:
    """Pull-back to VWAP in a trend above it.

    VWAP after a bar is the sum of (high + low + close) x volume over three times the volume, from the open.
    There, when the five bars before the last one closed above VWAP, and the last one's low is at or below
    VWAP and its close at or above it. Trigger level: the last bar's high. Stop level: the last bar's low.
    """
    if len(view.bars) <= VWAP_TREND_BARS:
        return Waiting("too_few_bars")
    sides = _vwap_sides(view.bars)
    low_side, close_side = next(sides)
    trend = islice(sides, VWAP_TREND_BARS)
    if low_side <= 0 <= close_side and all(close > 0 for _, close in trend):
        return Found(trigger_e4=view.bars[-1].high_e4, stop_e4=view.bars[-1].low_e4)
    return Waiting("no_pullback")


def vwap_reclaim(view: SetupView) -> Pattern:
    """Return above VWAP.

    There, when the last bar closed above VWAP and the run of bars right before it that closed below VWAP is
    at least three long. Trigger level: the last bar's high. Stop level: the lowest low of that run and the
    last bar.
    """
    sides = _vwap_sides(view.bars)
    _, close_side = next(sides, (0, 0))
    if close_side <= 0:
        return Waiting("below_vwap")
    run = sum(1 for _ in takewhile(lambda side: side[1] < 0, sides))
    if run < VWAP_BELOW_BARS:
        return Waiting("no_reclaim")
    return Found(trigger_e4=view.bars[-1].high_e4, stop_e4=min(bar.low_e4 for bar in view.bars[-run - 1 :]))


def gap_fill_fade(view: SetupView) -> Pattern:
    """Fade of the gap towards its fill.

    Only against the gap. There, once the first five minutes have ended, the gap fill has not traded, and the
    last close is at or below the high of the first five minutes. Trigger level: that high. Stop level: the
    session's lowest low so far. Room: the gap fill, which the first target may not pass.
    """
    if not view.is_against_gap:
        return Missing("no_setup", "a fade trades against the gap; set scan.style to fade")
    if view.gap_fill_e4 is None:
        return Missing("no_level", "the gap fill is unknown")
    range_end_ms = view.open_ms + FADE_RANGE_MINUTES * MINUTE_MS
    if view.now_ms < range_end_ms:
        return Waiting("opening_range")
    opening = [bar.high_e4 for bar in view.bars if bar.start_ms < range_end_ms]
    if not opening:
        return Missing("no_level", "no bar in the first five minutes")
    if max(bar.high_e4 for bar in view.bars) >= view.gap_fill_e4:
        return Missing("no_setup", "the gap is filled")
    if view.last_e4 > max(opening):
        return Waiting("beyond_level")
    return Found(
        trigger_e4=max(opening), stop_e4=min(bar.low_e4 for bar in view.bars), room_e4=view.gap_fill_e4
    )


STRUCTURE_SETUPS: Mapping[Setup, PatternRule] = {
    Setup.PREMARKET_BREAK: premarket_break,
    Setup.FIRST_PULLBACK: first_pullback,
    Setup.VWAP_PULLBACK: vwap_pullback,
    Setup.VWAP_RECLAIM: vwap_reclaim,
    Setup.GAP_FILL_FADE: gap_fill_fade,
}
"""The rule of each setup of the ``structure`` preset."""


def _is_pullback(*, peak: int, base: int, low: int, resting: int, open_e4: int) -> bool:
    return resting >= PULLBACK_BARS and peak > open_e4 and 4 * (peak - low) >= peak - base


def _vwap_sides(bars: Sequence[Bar]) -> Iterator[tuple[int, int]]:
    """(low - VWAP, close - VWAP) after each bar from the last back to the first, scaled by three times the volume up
    to it: only the signs matter.
    """
    value = sum([(bar.high_e4 + bar.low_e4 + bar.close_e4) * bar.volume for bar in bars])
    volume = 3 * sum([bar.volume for bar in bars])
    for bar in reversed(bars):
        yield bar.low_e4 * volume - value, bar.close_e4 * volume - value
        value -= (bar.high_e4 + bar.low_e4 + bar.close_e4) * bar.volume
        volume -= 3 * bar.volume


def _mirrored(bar: Bar) -> Bar:
    return Bar(bar.start_ms, -bar.open_e4, -bar.low_e4, -bar.high_e4, -bar.close_e4, bar.volume)


def _signed(sign: int, price_e4: int | None) -> int | None:
    return None if price_e4 is None else sign * price_e4
