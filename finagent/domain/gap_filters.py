"""The second phase of the gap scan: what needs history, the day's levels and the direction of the trade."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from finagent.domain.gap import (
    Candidate,
    Dropped,
    GapRules,
    GapStyle,
    IndicationSource,
    Levels,
    Measured,
    new_candidate,
    new_levels,
)
from finagent.domain.indicators import (
    average_shares,
    average_true_range,
    dollar_volume,
    fell,
    relative_volume,
    short_restricted,
    volume_weighted_price,
)
from finagent.domain.market import Bar, CorporateAction, DailyBars, Direction, History, Quote
from finagent.domain.money import (
    PRICE_SCALE,
    RATIO_SCALE,
    div_ceil,
    div_half_even,
    percent_text,
    ratio_number,
)
from finagent.domain.rows import maker, quick

_LONG, _SHORT, _GO, _PREMARKET = Direction.LONG, Direction.SHORT, GapStyle.GO, IndicationSource.PREMARKET


@quick
@dataclass(frozen=True, slots=True)
class Averages:
    """What the daily bars before a session come to on its basis, exactly; None where unknown."""

    dollars: tuple[int, int] | None
    """Close times volume in 1e-4 dollars summed, and over how many bars."""
    adv_shares: int | None
    atr: tuple[int, int] | None
    """True ranges in 1e-4, as numerator and denominator."""
    has_fallen: bool | None
    """Whether the session before fell by 10 %, so that short sales are restricted in this one too."""


new_averages = maker(Averages)


@quick
@dataclass(frozen=True, slots=True)
class _Facts:
    """What the filters judge, exactly; None where unknown."""

    averages: Averages
    premarket_volume: int | None
    volume: int | None
    rvol: tuple[int, int] | None
    spread: tuple[int, int] | None
    is_short_restricted: bool | None


_facts = maker(_Facts)


class _Verdict(NamedTuple):
    """What one filter says: it cannot tell, it passes (no refusal), or it refuses with reason and detail."""

    filter: str = ""
    reason: str = ""
    refusal: str = ""
    is_known: bool = True


_PASSED = _Verdict()
_ADV_UNKNOWN = _Verdict("adv", is_known=False)
_RVOL_UNKNOWN = _Verdict("rvol", is_known=False)
_SPREAD_UNKNOWN = _Verdict("spread", is_known=False)


def screen(
    measured: Measured,
    history: History,
    *,
    rules: GapRules,
    feed: str = "",
    averages: Averages | None = None,
) -> Candidate | Dropped:
    """Apply the filters on volume, activity and spread, in that order, and complete the candidate.

    ADV(20): mean of close x volume over the last sessions at hand, unknown below five. RVOL: regular volume
    so far (before the opening print: pre-market volume) over its mean at the same time of earlier sessions.
    Spread: (ask - bid) / mid of a valid quote. An unknown value is kept with the flag ``unknown_<filter>`` or
    dropped with that reason, as ``rules.keep_unknown`` says. Bars and actions of history that are not before
    the session are ignored. ``averages`` are those of the history's bars where the caller has them already.
    """
    if averages is None:
        averages = averages_of(measured, DailyBars.of(history.bars), history.actions, rules)
    facts = _gather(measured, history, averages, rules)
    unknown: list[str] = []
    for verdict in _verdicts(measured, facts, rules):
        if not verdict.is_known:
            unknown.append(f"unknown_{verdict.filter}")
            if not rules.keep_unknown:
                return Dropped(
                    measured.symbol, unknown[-1], "the value is unknown and scan.keep_unknown is off"
                )
        elif verdict.refusal:
            return Dropped(measured.symbol, verdict.reason, verdict.refusal)
    return _candidate(measured, facts, rules, tuple(unknown), feed)


def averages_of(
    measured: Measured, columns: DailyBars, actions: tuple[CorporateAction, ...], rules: GapRules
) -> Averages:
    """The averages over those of some daily bars and actions that are before the session."""
    session = measured.session
    bars = columns.before(session.date)
    if actions:
        actions = tuple(action for action in actions if action.ex_session < session.date)
    if measured.snapshot.action is not None:
        actions += (measured.snapshot.action,)
    last = bars if len(bars) and bars.sessions[-1] == session.previous else ()
    return new_averages(
        dollar_volume(bars, rules.adv_sessions),
        average_shares(bars, actions, rules.adv_sessions),
        average_true_range(bars, actions, rules.atr_sessions),
        fell(last, actions),
    )


def _gather(measured: Measured, history: History, averages: Averages, rules: GapRules) -> _Facts:
    volume = sum([bar.volume for bar in measured.regular]) if measured.regular else None
    premarket_volume = sum([bar.volume for bar in measured.premarket]) if measured.premarket else None
    is_premarket = measured.indication_source is _PREMARKET
    to_now = premarket_volume if is_premarket else volume
    earlier = history.premarket_volumes if is_premarket else history.volumes_to_now
    return _facts(
        averages,
        premarket_volume,
        volume,
        None if to_now is None else relative_volume(to_now, earlier, rules.rvol_min_sessions),
        _spread(measured.snapshot.quote, measured.as_of_ms),
        _restricted(measured, averages),
    )


def _restricted(measured: Measured, averages: Averages) -> bool | None:
    """What the feed says of short sales, else what the bars tell."""
    told = measured.snapshot.is_short_restricted
    if told is not None:
        return told
    if not measured.regular:
        return averages.has_fallen
    previous = (measured.adjusted_numerator, measured.adjusted_denominator)
    return short_restricted(averages.has_fallen, _low(measured.regular), previous)


def _high(bars: Sequence[Bar]) -> int:
    return max([bar.high_e4 for bar in bars])


def _low(bars: Sequence[Bar]) -> int:
    return min([bar.low_e4 for bar in bars])


def _spread(quote: Quote | None, as_of_ms: int) -> tuple[int, int] | None:
    """Ask less bid over mid, as numerator and denominator; None without a valid quote."""
    if quote is None or quote.at_ms > as_of_ms or not 0 < quote.bid_e4 <= quote.ask_e4:
        return None
    return 2 * (quote.ask_e4 - quote.bid_e4), quote.bid_e4 + quote.ask_e4


def _verdicts(measured: Measured, facts: _Facts, rules: GapRules) -> tuple[_Verdict, ...]:
    """Each filter's word, in the order in which they refuse."""
    return (
        _judge_adv(facts.averages.dollars, rules),
        _judge_premarket_volume(measured, facts, rules),
        _judge_rvol(facts.rvol, rules),
        _judge_spread(facts.spread, rules),
    )


def _judge_adv(dollars: tuple[int, int] | None, rules: GapRules) -> _Verdict:
    if dollars is None:
        return _ADV_UNKNOWN
    total, sessions = dollars
    if total >= rules.min_adv_usd * sessions * PRICE_SCALE:
        return _PASSED
    detail = f"ADV {total // (sessions * PRICE_SCALE)} $ is below {rules.min_adv_usd} $"
    return _Verdict("adv", "adv_below_min", detail)


def _judge_premarket_volume(measured: Measured, facts: _Facts, rules: GapRules) -> _Verdict:
    """Only judged while pre-market trading is all there is; its bars are known then, so the volume is."""
    volume = facts.premarket_volume or 0
    is_premarket = measured.indication_source is _PREMARKET
    if not is_premarket or volume >= rules.min_premarket_volume:
        return _PASSED
    detail = f"{volume} pre-market shares are below {rules.min_premarket_volume}"
    return _Verdict("premarket_volume", "premarket_volume_below_min", detail)


def _judge_rvol(rvol: tuple[int, int] | None, rules: GapRules) -> _Verdict:
    if rvol is None:
        return _RVOL_UNKNOWN
    volume, usual = rvol
    if volume * RATIO_SCALE >= rules.min_rvol_e6 * usual:
        return _PASSED
    seen = ratio_number(volume * RATIO_SCALE // usual)
    return _Verdict("rvol", "rvol_below_min", f"RVOL {seen} is below {ratio_number(rules.min_rvol_e6)}")


def _judge_spread(spread: tuple[int, int] | None, rules: GapRules) -> _Verdict:
    if spread is None:
        return _SPREAD_UNKNOWN
    width, middle = spread
    if width * RATIO_SCALE <= rules.max_spread_e6 * middle:
        return _PASSED
    seen = percent_text(div_ceil(width * RATIO_SCALE, middle))
    detail = f"spread {seen} % is above {percent_text(rules.max_spread_e6)} %"
    return _Verdict("spread", "spread_above_max", detail)


def _candidate(
    measured: Measured, facts: _Facts, rules: GapRules, unknown: tuple[str, ...], feed: str
) -> Candidate:
    numerator, denominator = measured.adjusted_numerator, measured.adjusted_denominator
    previous = measured.snapshot.previous
    is_up = measured.gap_e6 >= 0
    bars = measured.regular or measured.premarket
    levels, dollars, atr = _levels(measured), facts.averages.dollars, facts.averages.atr
    return new_candidate(
        instrument=measured.snapshot.instrument,
        session=measured.session.date,
        as_of_ms=measured.as_of_ms,
        gap_e6=measured.gap_e6,
        indication_e4=measured.indication_e4,
        indication_source=measured.indication_source,
        prev_close_e4=0 if previous is None else previous.close_e4,
        prev_close_adjusted_e8=div_half_even(numerator * PRICE_SCALE, denominator),
        direction=_LONG if is_up is (rules.style is _GO) else _SHORT,
        last_price_e4=bars[-1].close_e4 if bars else measured.indication_e4,
        volume=facts.volume,
        premarket_volume=facts.premarket_volume,
        adv_usd=None if dollars is None else dollars[0] // (dollars[1] * PRICE_SCALE),
        adv_shares=facts.averages.adv_shares,
        rvol_e6=None if facts.rvol is None else facts.rvol[0] * RATIO_SCALE // facts.rvol[1],
        atr_e4=None if atr is None else div_half_even(*atr),
        atr_pct_e6=None if atr is None else _percentage(atr, numerator, denominator),
        spread_e6=None if facts.spread is None else div_ceil(facts.spread[0] * RATIO_SCALE, facts.spread[1]),
        move_from_open_e6=_move_from_open(measured),
        is_short_restricted=facts.is_short_restricted,
        feed=feed,
        levels=levels,
        flags=_flags(measured, levels, rules, bool(facts.is_short_restricted)) + unknown,
        adjusted_numerator=numerator,
        adjusted_denominator=denominator,
    )


def _percentage(atr: tuple[int, int], numerator: int, denominator: int) -> int:
    """An average range in 1e-6 of the adjusted previous close, the rest cut off."""
    exact, whole = atr[0] * denominator * RATIO_SCALE, atr[1] * numerator
    return exact // whole if exact >= 0 else -(-exact // whole)


def _move_from_open(measured: Measured) -> int | None:
    if not measured.regular or measured.regular[0].open_e4 <= 0:
        return None
    opened_e4 = measured.regular[0].open_e4
    return (measured.regular[-1].close_e4 - opened_e4) * RATIO_SCALE // opened_e4


def _levels(measured: Measured) -> Levels:
    """Prices of yesterday are put on today's basis by the session's action; all rounded half even to 1e-4."""
    numerator, denominator = measured.adjusted_numerator, measured.adjusted_denominator
    premarket, regular, previous = measured.premarket, measured.regular, measured.snapshot.previous
    action = measured.snapshot.action
    return new_levels(
        premarket_high_e4=_high(premarket) if premarket else None,
        premarket_low_e4=_low(premarket) if premarket else None,
        prev_high_e4=None if previous is None else _on_today(action, previous.high_e4),
        prev_low_e4=None if previous is None else _on_today(action, previous.low_e4),
        half_gap_e4=div_half_even(measured.indication_e4 * denominator + numerator, 2 * denominator),
        gap_fill_e4=div_half_even(numerator, denominator),
        vwap_e4=volume_weighted_price(regular) if regular else None,
        day_high_e4=_high(regular) if regular else None,
        day_low_e4=_low(regular) if regular else None,
    )


def _on_today(action: CorporateAction | None, price_e4: int) -> int | None:
    if action is None:
        return price_e4
    adjusted_e4 = div_half_even((price_e4 - action.dividend_e4) * RATIO_SCALE, action.split_ratio_e6)
    return adjusted_e4 if adjusted_e4 > 0 else None


def is_gap_filled(gap_e6: int, levels: Levels) -> bool | None:
    """Whether the session has traded back to the adjusted previous close; None before its first bar."""
    fill_e4, high_e4, low_e4 = levels.gap_fill_e4, levels.day_high_e4, levels.day_low_e4
    if fill_e4 is None or high_e4 is None or low_e4 is None:
        return None
    return low_e4 <= fill_e4 if gap_e6 >= 0 else high_e4 >= fill_e4


def _flags(measured: Measured, levels: Levels, rules: GapRules, is_short_restricted: bool) -> tuple[str, ...]:
    snapshot, regular = measured.snapshot, measured.regular
    flags: list[str] = []
    if not measured.has_minutes:
        flags.append("open_assumed_known")
    if snapshot.action is not None:
        flags.append("ex_date")
    if is_gap_filled(measured.gap_e6, levels):
        flags.append("gap_filled")
    if is_short_restricted:
        flags.append("ssr")
    if regular and measured.as_of_ms - regular[-1].end_ms > rules.max_indication_age_ms:
        flags.append("thin")
    if measured.indication_source is _PREMARKET and snapshot.premarket_trades is None:
        flags.append("unknown_premarket_trades")
    return tuple(flags)
