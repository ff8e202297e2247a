"""The first phase of the gap scan: cheap and exact, over the whole universe, a reason for each drop."""

from bisect import bisect_left, bisect_right
from operator import attrgetter
from typing import NamedTuple

from finagent.domain.errors import SettingsValueError
from finagent.domain.gap import (
    DataIssue,
    Dropped,
    GapRules,
    IndicationSource,
    Measured,
    MeasuredUniverse,
    new_measured,
)
from finagent.domain.indicators import adjusted_close
from finagent.domain.market import MINUTE_MS, Bar, MarketView, Session, Snapshot
from finagent.domain.money import RATIO_SCALE, percent_text, price_text

MARKET_SYMBOL = "SPY"

_start_ms = attrgetter("start_ms")
_PREMARKET, _OPEN = IndicationSource.PREMARKET, IndicationSource.OPEN


class _Reading(NamedTuple):
    """A gap before any limit: indication over the exact adjusted close, and where the bars are cut."""

    indication_e4: int
    source: IndicationSource
    numerator: int
    denominator: int
    first_regular: int
    ended: int

    @property
    def difference(self) -> int:
        """Indication minus adjusted close, times the denominator."""
        return self.indication_e4 * self.denominator - self.numerator


class _Indication(NamedTuple):
    price_e4: int
    source: IndicationSource
    first_regular: int = 0
    ended: int = 0


_LEAST = {
    "min_gap_e6": 1,
    "min_price_e4": 0,
    "max_price_e4": 1,
    "min_adv_usd": 0,
    "adv_sessions": 5,
    "min_premarket_volume": 0,
    "min_rvol_e6": 0,
    "rvol_min_sessions": 1,
    "max_spread_e6": 0,
    "min_premarket_trades": 0,
    "max_indication_age_ms": 0,
    "atr_sessions": 1,
    "top": 1,
}


def validate_rules(rules: GapRules) -> None:
    """Refuse rules that cannot be meant. SettingsValueError names the key, the value and the mend."""
    for key, least in _LEAST.items():
        value: int = getattr(rules, key)
        if value < least:
            raise SettingsValueError(f"scan.{key} is {value}: set it to {least} or more")
    if rules.min_gap_e6 > RATIO_SCALE:
        raise SettingsValueError(
            f"scan.min_gap_e6 is {rules.min_gap_e6}: set it to {RATIO_SCALE} (100 %) or less"
        )
    if rules.max_price_e4 < rules.min_price_e4:
        floor = f"scan.min_price_e4 ({rules.min_price_e4})"
        raise SettingsValueError(f"scan.max_price_e4 is {rules.max_price_e4}: set it to {floor} or more")


def measure(
    snapshot: Snapshot, *, session: Session, as_of_ms: int, has_minutes: bool, rules: GapRules
) -> Measured | Dropped | DataIssue:
    """Measure one symbol's gap and judge what needs no history.

    Until the first regular minute has ended the indication is the close of the last pre-market bar, from then
    on the opening print (the open of the first regular bar); where the session has daily bars alone, the
    official open. Bars that end after ``as_of_ms`` are ignored. Limits are inclusive and compared by integer
    cross-multiplication.
    """
    if snapshot.instrument.symbol in rules.exclude:
        return _excluded(snapshot)
    reading = _read(snapshot, session, as_of_ms, has_minutes)
    if isinstance(reading, _Reading):
        return _judge(snapshot, reading, session, as_of_ms, has_minutes, rules)
    return reading


def measure_all(view: MarketView, rules: GapRules) -> MeasuredUniverse:
    """Measure the whole universe, by symbol.

    Breadth is the share of symbols with a readable gap that gap up, before any limit; the market's gap is
    that of SPY, also where SPY is excluded from trading. Both are rounded down to 1e-6, None where unknown.
    """
    session, as_of_ms, has_minutes = view.session, view.as_of_ms, view.has_minutes
    exclude = frozenset(rules.exclude)
    measured: list[Measured] = []
    dropped: list[Dropped] = []
    issues: list[DataIssue] = []
    ups, readable = view.others.ups, view.others.readable
    spy_gap_e6: int | None = None
    for snapshot in view.snapshots:
        symbol = snapshot.instrument.symbol
        reading = _read(snapshot, session, as_of_ms, has_minutes)
        if symbol == MARKET_SYMBOL and isinstance(reading, _Reading):
            spy_gap_e6 = reading.difference * RATIO_SCALE // reading.numerator
        if symbol in exclude:
            dropped.append(_excluded(snapshot))
        elif isinstance(reading, Dropped):
            dropped.append(reading)
        elif isinstance(reading, DataIssue):
            issues.append(reading)
        else:
            readable += 1
            ups += reading.difference > 0
            outcome = _judge(snapshot, reading, session, as_of_ms, has_minutes, rules)
            if isinstance(outcome, Measured):
                measured.append(outcome)
            else:
                dropped.append(outcome)
    by_symbol = attrgetter("symbol")
    return MeasuredUniverse(
        session=session,
        as_of_ms=as_of_ms,
        feed=view.feed,
        universe=len(view.snapshots) + view.others.count,
        measured=tuple(sorted(measured, key=by_symbol)),
        dropped=tuple(sorted(dropped, key=by_symbol)),
        data_issues=tuple(sorted(issues, key=by_symbol)),
        spy_gap_e6=spy_gap_e6,
        breadth_e6=ups * RATIO_SCALE // readable if readable else None,
        readable=readable,
        ups=ups,
        others=view.others,
    )


def readable_and_up(view: MarketView) -> tuple[int, int]:
    """How many snapshots of a view have a readable gap, and how many of these gap up."""
    readings = [_read(each, view.session, view.as_of_ms, view.has_minutes) for each in view.snapshots]
    gaps = [each.difference for each in readings if isinstance(each, _Reading)]
    return len(gaps), sum(gap > 0 for gap in gaps)


def _excluded(snapshot: Snapshot) -> Dropped:
    return Dropped(snapshot.instrument.symbol, "excluded", "the symbol is in scan.exclude")


def _read(
    snapshot: Snapshot, session: Session, as_of_ms: int, has_minutes: bool
) -> _Reading | Dropped | DataIssue:
    """The gap as the data have it, or why it cannot be read."""
    symbol = snapshot.instrument.symbol
    previous = snapshot.previous
    if previous is None or previous.session != session.previous:
        seen = "none" if previous is None else f"one of {previous.session}"
        return Dropped(symbol, "no_prev_close", f"needs the daily bar of {session.previous}, found {seen}")
    is_opened = as_of_ms >= session.open_ms + MINUTE_MS
    if has_minutes:
        indication = _indicate_by_minutes(snapshot, session, as_of_ms, is_opened)
    else:
        indication = _indicate_by_day(snapshot, is_opened)
    if isinstance(indication, Dropped):
        return indication
    if indication.price_e4 <= 0 or previous.close_e4 <= 0:
        return DataIssue(
            symbol,
            "bad_price",
            f"indication {price_text(indication.price_e4)} and previous close {price_text(previous.close_e4)}"
            " must be positive",
        )
    return _check(snapshot, session, previous.close_e4, indication, is_opened)


def _indicate_by_minutes(
    snapshot: Snapshot, session: Session, as_of_ms: int, is_opened: bool
) -> _Indication | Dropped:
    symbol, minutes = snapshot.instrument.symbol, snapshot.minutes
    ended = len(minutes)
    if minutes and minutes[-1].start_ms > as_of_ms - MINUTE_MS:
        ended = bisect_right(minutes, as_of_ms - MINUTE_MS, key=_start_ms)
    first = bisect_left(minutes, session.open_ms, 0, ended, key=_start_ms)
    if is_opened and (first == ended or minutes[first].start_ms != session.open_ms):
        if ended == 0:
            return Dropped(symbol, "no_minutes", f"no minute bar in {session.date} so far, others have them")
        return Dropped(symbol, "no_print", f"no bar in the first minute of {session.date}: no opening print")
    if not is_opened and first == 0:
        return Dropped(symbol, "no_premarket", f"no pre-market bar in {session.date} so far")
    if snapshot.is_halted:
        return Dropped(symbol, "halted", "trading is halted")
    if is_opened:
        return _Indication(minutes[first].open_e4, IndicationSource.OPEN, first, ended)
    return _Indication(minutes[first - 1].close_e4, IndicationSource.PREMARKET, first, ended)


def _indicate_by_day(snapshot: Snapshot, is_opened: bool) -> _Indication | Dropped:
    symbol = snapshot.instrument.symbol
    if snapshot.is_halted:
        return Dropped(symbol, "halted", "trading is halted")
    if not is_opened:
        return Dropped(
            symbol, "no_indication", "daily bars alone say nothing before the first minute has ended"
        )
    if snapshot.official_open_e4 is None:
        return Dropped(symbol, "no_print", "no opening print: the symbol has no bar in this session")
    return _Indication(snapshot.official_open_e4, _OPEN)


def _check(
    snapshot: Snapshot, session: Session, previous_close_e4: int, indication: _Indication, is_opened: bool
) -> _Reading | DataIssue:
    """The reading, unless the data contradict themselves."""
    symbol, action, official_e4 = snapshot.instrument.symbol, snapshot.action, snapshot.official_open_e4
    price_e4 = indication.price_e4
    if is_opened and official_e4 is not None:
        if official_e4 <= 0:
            return DataIssue(symbol, "bad_price", f"official open {price_text(official_e4)} must be positive")
        if abs(official_e4 - price_e4) * 10 > price_e4:
            detail = (
                f"daily open {price_text(official_e4)}, by minutes {price_text(price_e4)}: over 10 % apart"
            )
            return DataIssue(symbol, "identity_mismatch", detail)
    if action is not None and action.split_ratio_e6 <= 0:
        return DataIssue(symbol, "bad_action", f"split ratio {action.split_ratio_e6}e-6 must be positive")
    numerator, denominator = adjusted_close(previous_close_e4, action)
    if action is not None:
        if numerator <= 0:
            dividend, close = price_text(action.dividend_e4), price_text(previous_close_e4)
            return DataIssue(symbol, "bad_action", f"dividend {dividend} leaves nothing of the close {close}")
        difference = price_e4 * denominator - numerator
        if abs(difference) * 4 >= numerator:
            gap = percent_text(difference * RATIO_SCALE // numerator)
            return DataIssue(
                symbol, "bad_action", f"gap {gap} % on the ex-date {session.date}: the action is doubtful"
            )
    return _Reading(
        price_e4, indication.source, numerator, denominator, indication.first_regular, indication.ended
    )


def _judge(
    snapshot: Snapshot, reading: _Reading, session: Session, as_of_ms: int, has_minutes: bool, rules: GapRules
) -> Measured | Dropped:
    symbol, price_e4, difference = snapshot.instrument.symbol, reading.indication_e4, reading.difference
    gap_e6 = difference * RATIO_SCALE // reading.numerator
    if abs(difference) * RATIO_SCALE < rules.min_gap_e6 * reading.numerator:
        detail = f"gap {percent_text(gap_e6)} % is below {percent_text(rules.min_gap_e6)} %"
        return Dropped(symbol, "gap_below_min", detail)
    premarket = snapshot.minutes[: reading.first_regular]
    if reading.source is _PREMARKET:
        thin = _thin(snapshot, premarket[-1], as_of_ms, rules)
        if thin is not None:
            return Dropped(symbol, "thin_premarket", thin)
    if price_e4 < rules.min_price_e4:
        detail = f"price {price_text(price_e4)} is below {price_text(rules.min_price_e4)}"
        return Dropped(symbol, "price_below_min", detail)
    if price_e4 > rules.max_price_e4:
        detail = f"price {price_text(price_e4)} is above {price_text(rules.max_price_e4)}"
        return Dropped(symbol, "price_above_max", detail)
    regular = snapshot.minutes[reading.first_regular : reading.ended]
    return new_measured(
        snapshot=snapshot,
        session=session,
        as_of_ms=as_of_ms,
        has_minutes=has_minutes,
        indication_e4=price_e4,
        indication_source=reading.source,
        adjusted_numerator=reading.numerator,
        adjusted_denominator=reading.denominator,
        gap_e6=gap_e6,
        premarket=premarket,
        regular=tuple([bar for bar in regular if bar.start_ms < session.close_ms]) if regular else (),
    )


def _thin(snapshot: Snapshot, last: Bar, as_of_ms: int, rules: GapRules) -> str | None:
    """Why a pre-market indication is not to be trusted; trades and quote are judged where they are known."""
    trades, quote, price_e4 = snapshot.premarket_trades, snapshot.quote, last.close_e4
    if trades is not None and trades < rules.min_premarket_trades:
        return f"{trades} pre-market trades are fewer than {rules.min_premarket_trades}"
    age_ms = as_of_ms - last.end_ms
    if age_ms > rules.max_indication_age_ms:
        limit_s = rules.max_indication_age_ms // 1000
        return f"the last pre-market bar is {age_ms // 1000} s old, more than {limit_s} s"
    if quote is None or quote.at_ms > as_of_ms or not 0 < quote.bid_e4 <= quote.ask_e4:
        return None
    if not quote.bid_e4 <= price_e4 <= quote.ask_e4:
        bid, ask = price_text(quote.bid_e4), price_text(quote.ask_e4)
        return f"the indication {price_text(price_e4)} is outside the quote {bid} to {ask}"
    return None
