"""Small made-up markets on minute bars, and the rules that act within a day; between them a day on daily bars."""

import random
from dataclasses import replace

from hypothesis import strategies as st

from finagent.backtest.parameters import DayLines, Lines, Parameters, ScanLine
from finagent.backtest.source import Halt
from finagent.domain.market import MINUTE_MS, Session
from tests.conformance.made_up import MadeUp, MadeUpCalendar, weekdays
from tests.kernel.world import FIRSTS, GAPS_E6, PLAYED, PRICES, QUIET, SYMBOLS, Case, optional, rules

STEPS_E6 = (-31_000, -9_000, -2_500, -2_500, -500, 0, 0, 0, 500, 2_500, 2_500, 9_000, 31_000)
CALM_E6 = (-500, 0, 0, 0, 500, 1_000)
REACHES_E6 = (0, 0, 0, 0, 500, 2_500, 9_000)
VOLUMES = (0, 0, 150, 400, 3_000, 9_700, 400_000)
WATCHED = ((0, 14), (28, 48), (110, 118), (190, 210), (-18, 0))
"""When there are bars, minutes since the open or before the close: the rest of the day nothing is traded."""
DAILY_DAY = QUIET + 1
SCANS = (1, 5, 9, 30)


@st.composite
def minute_markets(draw: st.DrawFn) -> MadeUp:
    """Quiet sessions, then some in which every symbol gaps and trades in some minutes; one has daily bars alone."""
    first = draw(st.sampled_from(FIRSTS))
    half_day = weekdays(first, QUIET + 3)[-1]
    stored = MadeUp(MadeUpCalendar(first, QUIET + PLAYED, half_days=(half_day,)))
    chance = random.Random(draw(st.integers(0, 2**32)))
    for symbol in SYMBOLS[: draw(st.integers(2, len(SYMBOLS)))]:
        close, volume = draw(PRICES), draw(st.sampled_from((2_000_000, 60_000_000)))
        for session in stored.calendar.all[:QUIET]:
            _store_day(stored, session, symbol, (close, close + close * 9 // 1_000, close, close), volume)
        for number, session in enumerate(stored.calendar.all[QUIET:], QUIET):
            opened = max(1, close + close * draw(GAPS_E6) // 1_000_000)
            if number == DAILY_DAY:
                close = max(1, opened + opened * chance.choice(STEPS_E6) // 1_000_000)
                prices = (opened, max(opened, close), min(opened, close), close)
                _store_day(stored, session, symbol, prices, volume)
            else:
                close = _trade(stored, session, symbol, opened, chance)
    if draw(st.integers(0, 3)) == 0:
        halted = stored.calendar.all[chance.randrange(QUIET, QUIET + PLAYED)]
        start_ms = chance.choice((halted.open_ms + 5 * MINUTE_MS, halted.close_ms - 3 * MINUTE_MS))
        end_ms = start_ms + chance.choice((9, 40)) * MINUTE_MS
        stored.halted.append(Halt(SYMBOLS[0], start_ms, end_ms))
        for key in [key for key in stored.bars if key[1] == SYMBOLS[0] and start_ms <= key[2] < end_ms]:
            del stored.bars[key]
    return stored


def _trade(stored: MadeUp, session: Session, symbol: str, opened: int, chance: random.Random) -> int:
    """A day of a symbol, with its daily bar; gives the close."""
    minutes = sorted(
        {
            minute if minute >= 0 else session.minutes + minute
            for first, last in WATCHED
            for minute in range(first, last)
            if minute < session.minutes and (minute == 0 or chance.random() < 0.85)
        }
    )
    steps = chance.choice((STEPS_E6, CALM_E6, (0,)))
    price, bars = opened, []
    for minute in minutes:
        start = price if minute == 0 or chance.random() < 0.8 else _moved(price, chance.choice(steps))
        price = _moved(start, chance.choice(steps))
        high = _moved(max(start, price), chance.choice(REACHES_E6))
        low = _moved(min(start, price), -chance.choice(REACHES_E6))
        if chance.random() < 0.03:  # to the tick where stops and targets of 3 % are
            high, low = max(high, opened * 103 // 100), min(low, opened * 97 // 100)
        row = (start, high, low, price)
        bars.append(row)
        at_ms = session.open_ms + minute * MINUTE_MS
        stored.bars[session.date, symbol, at_ms] = (*_dollars(row), chance.choice(VOLUMES))
    highest, lowest = max(bar[1] for bar in bars), min(bar[2] for bar in bars)
    _store_day(stored, session, symbol, (opened, highest, lowest, price), 3_000_000)
    return price


def _moved(price: int, by_e6: int) -> int:
    return max(1, price + price * by_e6 // 1_000_000)


def _store_day(
    stored: MadeUp, session: Session, symbol: str, prices: tuple[int, int, int, int], volume: int
) -> None:
    stored.days[session.date, symbol] = (*_dollars(prices), volume)


def _dollars(prices: tuple[int, int, int, int]) -> tuple[str, str, str, str]:
    opened, high, low, close = (f"{price // 10_000}.{price % 10_000:04d}" for price in prices)
    return opened, high, low, close


@st.composite
def minute_rules(draw: st.DrawFn) -> Parameters:
    """Rules that the kernel declares on minutes."""
    found = draw(rules())
    trailing = draw(st.sampled_from((None, (300_000, 300_000), (1, 50_000), (1, 50_000))))
    profile = found.profile
    flatten_e6 = profile.flatten_loss_e6
    return replace(
        found,
        top=draw(st.sampled_from((1, 1, 2, 5))),
        gap=replace(found.gap, min_rvol_e6=0),
        planning=replace(
            found.planning,
            time_stop_minutes=draw(st.sampled_from((None, None, 3, 20, 60))),
            time_stop_min_r_e6=draw(st.sampled_from((-1_000_000, 0, 500_000, 500_000))),
            trail_after_r_e6=None if trailing is None else trailing[0],
            trail_distance_atr_e6=None if trailing is None else trailing[1],
        ),
        profile=replace(
            profile,
            pause_loss_e6=draw(st.sampled_from((None, 1_000 if flatten_e6 is None else flatten_e6 // 2))),
            pause_loss_e8=draw(optional(50 * 10**8)),
            max_losses_in_a_row=draw(st.sampled_from((None, None, 1, 2))),
        ),
        costs=replace(found.costs, close_penalty_e6=draw(st.sampled_from((0, 5_000)))),
        entry_ttl_ms=draw(st.sampled_from((60_000, 90_000, 300_000, 7_200_000, 7_200_000))),
        max_price_age_ms=draw(st.sampled_from((90_000, 90_000, 1, 300_000))),
    )


KINDS = ("usual", "early ladder", "no ladder", "skipped", "one window", "closed", "looks")
WEIGHTS = (3, 2, 3, 1, 1, 1, 2)


@st.composite
def minute_schedules(draw: st.DrawFn) -> Lines:
    """Some scans and a ladder; now and then one in between, or none, windows that are over, a time without entries."""
    kind = draw(
        st.sampled_from([kind for kind, weight in zip(KINDS, WEIGHTS, strict=True) for _ in range(weight)])
    )

    def lines(session: Session) -> DayLines:
        open_ms, close_ms = session.open_ms, session.close_ms
        instants = [open_ms + minute * MINUTE_MS for minute in SCANS]
        kinds = ["plan", "second_look" if kind == "looks" else "plan", "plan", "second_look"]
        scans = [
            ScanLine(*each) for each in zip(instants, ("open", "early", "more", "look"), kinds, strict=True)
        ]
        if kind == "skipped":
            scans[-1] = ScanLine(instants[-1], "look", "", "holiday of the agent")
        ladder = (
            [] if kind == "no ladder" else [close_ms - 15 * MINUTE_MS, close_ms - 5 * MINUTE_MS, close_ms]
        )
        if kind == "early ladder":
            ladder = [open_ms + 2 * MINUTE_MS, *instants[1:], *ladder]
        return DayLines(
            scans=(
                ScanLine(open_ms - 30 * MINUTE_MS, "list", "watchlist"),
                ScanLine(open_ms - 5 * MINUTE_MS, "reprice", "plan"),
                *scans,
            ),
            flatten_ms=tuple(ladder),
            day_open_ms=open_ms,
            day_close_ms=close_ms + 2 * MINUTE_MS,
            windows=((open_ms, open_ms + (20 if kind == "one window" else 60) * MINUTE_MS),),
            no_trade=((instants[1], instants[2]),) if kind == "closed" else (),
        )

    return lines


def minute_cases() -> st.SearchStrategy[Case]:
    """A market, and eight kinds of rules each with a schedule."""
    return st.builds(Case, minute_markets(), st.tuples(*[st.tuples(minute_rules(), minute_schedules())] * 8))
