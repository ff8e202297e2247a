"""The built-in market keeps its word: exact sums, the tick grid, no look-ahead, work for every filter."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finagent.adapters.vendors.simulated import RVOL_SESSIONS, SimulatedVendor
from finagent.domain.errors import SessionDataMissingError, SettingsValueError
from finagent.domain.gap import GapRules
from finagent.domain.gap_scan import scan
from finagent.domain.market import MINUTE_MS, DailyBar, MarketView, Session
from finagent.domain.money import RATIO_SCALE
from finagent.ports import CalendarPort, MarketDataPort

HOUR_MS = 60 * MINUTE_MS
FIRST, LAST = "2026-01-05", "2026-02-17"
SEED = 7
QUICK = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def vendor(calendar: CalendarPort) -> SimulatedVendor:
    """The market of one seed."""
    return SimulatedVendor(SEED, calendar)


def must(calendar: CalendarPort, date: str) -> Session:
    """The session of a date that has one."""
    session = calendar.session(date)
    assert session is not None
    return session


def scan_ms(session: Session) -> int:
    """09:25."""
    return session.open_ms - 5 * MINUTE_MS


async def adjusted_gaps(
    vendor: SimulatedVendor, calendar: CalendarPort, session: Session
) -> dict[str, float]:
    """Open against the adjusted previous close, from the daily bars as known the day after."""
    following = calendar.after(session.date)
    gaps = {}
    histories = await vendor.history(vendor.symbols, following, following.open_ms, sessions=2)
    for symbol, history in histories.items():
        before, today = history.bars
        close = float(before.close_e4)
        for action in history.actions:
            if action.ex_session == session.date:
                close = (close - action.dividend_e4) * RATIO_SCALE / action.split_ratio_e6
        gaps[symbol] = today.open_e4 / close - 1
    return gaps


def test_it_is_a_market_data_port(vendor: SimulatedVendor) -> None:
    """mypy checks the shape; the names are part of identities."""
    port: MarketDataPort = vendor
    assert port.name == "simulated"
    assert vendor.data_id == "simulated-7-v1"
    assert len(vendor.symbols) == 202
    assert list(vendor.symbols) == sorted(set(vendor.symbols))
    assert all(2 < len(symbol) <= 4 for symbol in vendor.symbols)


def test_its_size_can_be_chosen_within_bounds(calendar: CalendarPort) -> None:
    """A small market names its size, one outside the bounds is refused with the mend."""
    assert SimulatedVendor(1, calendar, symbols=20).data_id == "simulated-1-v1-20"
    with pytest.raises(SettingsValueError, match="choose a number from 20 to 400"):
        SimulatedVendor(1, calendar, symbols=19)


async def test_the_daily_bar_is_the_sum_of_the_regular_minutes(
    vendor: SimulatedVendor, calendar: CalendarPort
) -> None:
    """Open, high, low, close and volume, for every symbol, halted ones and half days too."""
    for date in ("2026-01-06", "2026-01-09", "2025-11-28"):
        session = must(calendar, date)
        following = calendar.after(date)
        histories = await vendor.history(vendor.symbols, following, following.open_ms, sessions=1)
        for symbol in vendor.symbols:
            bars = [
                bar
                for bar in await vendor.minutes(symbol, session, session.close_ms)
                if bar.start_ms >= session.open_ms
            ]
            assert histories[symbol].bars == (
                DailyBar(
                    date,
                    bars[0].open_e4,
                    max(bar.high_e4 for bar in bars),
                    min(bar.low_e4 for bar in bars),
                    bars[-1].close_e4,
                    sum(bar.volume for bar in bars),
                ),
            )
            assert bars[-1].end_ms == session.close_ms


async def test_prices_are_sane_and_on_the_tick_grid(vendor: SimulatedVendor, calendar: CalendarPort) -> None:
    """0.01 from one dollar, 0.0001 below; high and low enclose open and close; some volume."""
    session = must(calendar, "2026-01-07")
    below_a_dollar = 0
    for symbol in vendor.symbols:
        instrument = vendor.instrument(symbol)
        assert instrument is not None
        bars = await vendor.minutes(symbol, session, session.close_ms)
        for bar in bars:
            for price_e4 in (bar.open_e4, bar.high_e4, bar.low_e4, bar.close_e4):
                assert price_e4 % instrument.tick_e4(price_e4) == 0
                below_a_dollar += price_e4 < 10_000
            assert 0 < bar.low_e4 <= min(bar.open_e4, bar.close_e4)
            assert bar.high_e4 >= max(bar.open_e4, bar.close_e4)
            assert bar.volume > 0
        assert all(one.end_ms <= other.start_ms for one, other in pairwise(bars))
    assert below_a_dollar > 0


async def test_prices_stay_within_bounds_for_years(vendor: SimulatedVendor, calendar: CalendarPort) -> None:
    """No stock runs away in twelve years: its new shares stay within a factor of nine."""
    closes: dict[str, list[int]] = {symbol: [] for symbol in vendor.symbols}
    for year in range(2015, 2028):
        session = calendar.after(f"{year}-12-01")
        for symbol, history in (await vendor.history(vendor.symbols, session, session.open_ms)).items():
            closes[symbol] += [bar.close_e4 for bar in history.bars[::7]]
    for values in closes.values():
        # a factor of four at most is the split
        assert max(values) < min(values) * 9 * 4
        assert 1_000 < min(values) < max(values) < 15_000_000


async def test_every_session_has_four_to_ten_gappers(vendor: SimulatedVendor, calendar: CalendarPort) -> None:
    """Up and down; several pass the default filters; SPY and QQQ never gap."""
    ups = downs = 0
    for session in calendar.sessions(FIRST, LAST):
        gaps = await adjusted_gaps(vendor, calendar, session)
        gappers = [gap for gap in gaps.values() if abs(gap) >= 0.04]
        assert 4 <= len(gappers) <= 10
        assert set(vendor.surprises(session)) == {s for s, gap in gaps.items() if abs(gap) >= 0.04}
        assert max(abs(gaps["SPY"]), abs(gaps["QQQ"])) < 0.02
        ups += sum(gap > 0 for gap in gappers)
        downs += sum(gap < 0 for gap in gappers)
    assert ups > 50
    assert downs > 50


async def test_every_default_filter_drops_some_and_several_pass(
    vendor: SimulatedVendor, calendar: CalendarPort
) -> None:
    """The real gap scan at 09:25 over ten sessions."""
    rules, reasons = GapRules(), Counter[str]()
    for session in list(calendar.sessions(FIRST, LAST))[:10]:
        view = await vendor.view(session, scan_ms(session))
        histories = await vendor.history(vendor.symbols, session, scan_ms(session))
        found = scan(view, lambda symbols, known=histories: {s: known[s] for s in symbols}, rules)
        assert len(found.candidates) >= 3
        assert not found.data_issues
        reasons.update(drop.reason for drop in found.dropped)
    wanted = {"adv_below_min", "premarket_volume_below_min", "rvol_below_min", "spread_above_max"}
    wanted |= {"halted", "thin_premarket"}
    assert wanted <= set(reasons)
    assert any("price" in reason for reason in reasons)


async def test_after_the_open_gappers_trend_fade_or_stand_still(
    vendor: SimulatedVendor, calendar: CalendarPort
) -> None:
    """From the open: nine per cent on (three times a stop of three), three per cent back, or neither."""
    outcomes = Counter[str]()
    for session in calendar.sessions(FIRST, LAST):
        for symbol, (is_up, _) in vendor.surprises(session).items():
            bars = [
                bar
                for bar in await vendor.minutes(symbol, session, session.close_ms)
                if bar.start_ms >= session.open_ms
            ]
            first, sign = bars[0].open_e4, 1 if is_up else -1
            outcome = "neither"
            for bar in bars:
                best, worst = (bar.high_e4, bar.low_e4) if is_up else (bar.low_e4, bar.high_e4)
                if sign * (worst - first) <= -0.03 * first:
                    outcome = "stop"
                    break
                if sign * (best - first) >= 0.09 * first:
                    outcome = "target"
                    break
            outcomes[outcome] += 1
    assert min(outcomes[name] for name in ("stop", "target", "neither")) > 30


async def test_a_split_divides_the_raw_price_and_is_no_gap(
    vendor: SimulatedVendor, calendar: CalendarPort
) -> None:
    """Every split of three years: a third or a quarter of the price, no gap after adjustment, never twice."""
    seen: dict[str, str] = {}
    for year in (2024, 2025, 2026):
        session = must(calendar, f"{year}-12-30")
        for symbol, history in (
            await vendor.history(vendor.symbols, session, session.open_ms, sessions=250)
        ).items():
            closes = {bar.session: bar.close_e4 for bar in history.bars}
            for action in history.actions:
                if action.split_ratio_e6 == RATIO_SCALE:
                    assert action.dividend_e4 > 0
                    continue
                assert symbol not in seen
                assert action.split_ratio_e6 in (3 * RATIO_SCALE, 4 * RATIO_SCALE)
                seen[symbol] = action.ex_session
                ex = must(calendar, action.ex_session)
                if ex.previous in closes:
                    assert closes[ex.date] < closes[ex.previous] / 2
                assert abs((await adjusted_gaps(vendor, calendar, ex))[symbol]) < 0.03
    assert 10 <= len(seen) <= 15


async def test_halts_have_no_bars_and_some_sessions_have_one(
    vendor: SimulatedVendor, calendar: CalendarPort
) -> None:
    """A halted minute has no bar, its quote stands still, and the official open waits for the first trade."""
    halted_sessions = 0
    kinds = Counter[str]()
    for session in calendar.sessions(FIRST, LAST):
        halted = 0
        for symbol in vendor.surprises(session):
            minutes = range(session.open_ms - HOUR_MS, session.close_ms, MINUTE_MS)
            stopped = [at_ms for at_ms in minutes if vendor.is_halted(session, symbol, at_ms)]
            if not stopped:
                continue
            halted += 1
            bars = await vendor.minutes(symbol, session, session.close_ms)
            assert not {bar.start_ms for bar in bars} & set(stopped)
            prices = await vendor.last_prices([symbol], session, stopped[-1])
            assert prices[symbol].at_ms <= stopped[0]
            quote = prices[symbol].quote
            assert quote is not None
            assert quote.at_ms <= stopped[0]
            if stopped[0] < session.open_ms:
                kinds["open"] += 1
                view = await vendor.view(session, session.open_ms + MINUTE_MS)
                (snapshot,) = (item for item in view.snapshots if item.symbol == symbol)
                assert snapshot.is_halted
                assert snapshot.official_open_e4 is None
            else:
                kinds["pause"] += 1
        halted_sessions += halted > 0
    assert 5 < halted_sessions < 30
    assert set(kinds) == {"open", "pause"}


async def test_a_half_day_is_short(vendor: SimulatedVendor, calendar: CalendarPort) -> None:
    """210 minutes, and the last bar ends at its close."""
    session = must(calendar, "2025-11-28")
    bars = [
        bar
        for bar in await vendor.minutes("SPY", session, session.close_ms + HOUR_MS)
        if bar.start_ms >= session.open_ms
    ]
    assert len(bars) == session.minutes == 210
    assert vendor.next_bar_end_ms(session, session.close_ms - 1) == session.close_ms
    assert vendor.next_bar_end_ms(session, session.close_ms) is None


@QUICK
@given(
    day=st.integers(0, 29), early=st.integers(0, 720), later=st.integers(0, 720), part=st.integers(0, 59_999)
)
async def test_nothing_later_is_known(
    vendor: SimulatedVendor, calendar: CalendarPort, day: int, early: int, later: int, part: int
) -> None:
    """What is answered as of an instant ends by it and is the beginning of what is answered later."""
    session = calendar.sessions(FIRST, LAST)[day]
    first, last = sorted((early, later))
    start_ms = session.open_ms - 330 * MINUTE_MS
    at_ms, late_ms = start_ms + first * MINUTE_MS + part, start_ms + last * MINUTE_MS + part
    sooner, after = await vendor.view(session, at_ms), await vendor.view(session, late_ms)
    for one, other in zip(sooner.snapshots, after.snapshots, strict=True):
        assert other.minutes[: len(one.minutes)] == one.minutes
        assert all(bar.end_ms > at_ms for bar in other.minutes[len(one.minutes) :])
        assert not one.minutes or one.minutes[-1].end_ms <= at_ms
        assert one.quote is None or one.quote.at_ms <= at_ms
        assert one.official_open_e4 is None or at_ms >= session.open_ms + MINUTE_MS
        assert (one.instrument, one.previous, one.action) == (other.instrument, other.previous, other.action)


async def test_a_session_is_no_history_until_it_has_closed(
    vendor: SimulatedVendor, calendar: CalendarPort
) -> None:
    """Asked for tomorrow during today, today's daily bar is not known; nothing of tomorrow is."""
    today = must(calendar, "2026-01-08")
    tomorrow = calendar.after(today.date)
    for at_ms, newest in ((today.close_ms - 1, today.previous), (today.close_ms, today.date)):
        history = (await vendor.history(["SPY"], tomorrow, at_ms))["SPY"]
        assert history.bars[-1].session == newest
        assert len(history.bars) in (59, 60)
        snapshot = (await vendor.view(tomorrow, at_ms)).snapshots[0]
        assert (snapshot.previous is None) is (newest != today.date)
        assert (snapshot.minutes, snapshot.quote, snapshot.official_open_e4) == ((), None, None)
        prices = await vendor.last_prices(["SPY", "NOPE"], tomorrow, at_ms)
        assert ("SPY" in prices) is (newest == today.date)


@pytest.mark.parametrize("minute", [0, 200, 325, 331, 400, 720])
async def test_volumes_to_now_are_those_of_the_minutes(
    vendor: SimulatedVendor, calendar: CalendarPort, minute: int
) -> None:
    """The volumes that need no bars equal the sums of the bars, for every symbol and every kind of gapper."""
    session = must(calendar, "2026-01-14")
    at_ms = session.open_ms + (minute - 330) * MINUTE_MS
    histories = await vendor.history(vendor.symbols, session, at_ms)
    earlier = calendar.sessions("2025-11-01", session.previous)[-3:]
    for back, past in zip((-3, -2, -1), earlier, strict=True):
        until_ms = past.open_ms + (minute - 330) * MINUTE_MS
        for symbol, history in histories.items():
            bars = await vendor.minutes(symbol, past, until_ms)
            regular = sum(bar.volume for bar in bars if bar.start_ms >= past.open_ms)
            assert history.volumes_to_now[back] == regular
            assert history.premarket_volumes[back] == sum(bar.volume for bar in bars) - regular
            assert len(history.volumes_to_now) == RVOL_SESSIONS


async def test_history_reaches_back_and_agrees_from_day_to_day(
    vendor: SimulatedVendor, calendar: CalendarPort
) -> None:
    """Ninety sessions and more; two days that overlap say the same; no sessions, no bars."""
    day = must(calendar, "2026-01-14")
    following = calendar.after(day.date)
    one = await vendor.history(vendor.symbols, day, day.open_ms, sessions=120)
    other = await vendor.history(vendor.symbols, following, following.open_ms, sessions=120)
    for symbol in vendor.symbols:
        assert len(one[symbol].bars) == 120
        assert one[symbol].bars[1:] == other[symbol].bars[:-1]
    nothing = await vendor.history(["SPY", "NOPE"], day, day.open_ms, sessions=0)
    assert list(nothing) == ["SPY"]
    assert nothing["SPY"].bars == ()


async def everything(vendor: SimulatedVendor, session: Session) -> tuple[MarketView, object]:
    """A view and its history."""
    return (
        await vendor.view(session, scan_ms(session)),
        await vendor.history(vendor.symbols, session, scan_ms(session)),
    )


async def test_the_order_of_questions_changes_nothing(calendar: CalendarPort) -> None:
    """Forwards, backwards and on its own, a session is the same; another seed is another market."""
    sessions = list(calendar.sessions("2026-01-05", "2026-04-20"))[::15]
    forwards, backwards = SimulatedVendor(3, calendar), SimulatedVendor(3, calendar)
    told = [await everything(forwards, session) for session in sessions]
    again = [await everything(backwards, session) for session in reversed(sessions)]
    assert told == again[::-1]
    assert await everything(SimulatedVendor(3, calendar), sessions[3]) == told[3]
    assert await everything(SimulatedVendor(4, calendar), sessions[3]) != told[3]


async def test_bars_arrive_minute_by_minute(vendor: SimulatedVendor, calendar: CalendarPort) -> None:
    """From 09:00 on each minute ends once, and what ends is what ``minutes`` has."""
    session = must(calendar, "2026-01-06")
    await vendor.load(session)
    ends, end_ms = [], vendor.next_bar_end_ms(session, 0)
    while end_ms is not None:
        ends.append(end_ms)
        end_ms = vendor.next_bar_end_ms(session, end_ms)
    assert ends == list(range(session.open_ms - HOUR_MS // 2, session.close_ms + 1, MINUTE_MS))
    for symbol in vendor.symbols[::40]:
        bars = [
            bar
            for bar in await vendor.minutes(symbol, session, session.close_ms)
            if bar.end_ms >= session.open_ms - HOUR_MS // 2
        ]
        ended = (vendor.bars_ending(session, at_ms, [symbol, "NOPE"]) for at_ms in ends)
        assert [bar for answer in ended for bar in answer.values()] == bars
    assert vendor.bars_ending(session, session.open_ms + 1, ["SPY"]) == {}
    assert vendor.bars_ending(session, session.close_ms + MINUTE_MS, ["SPY"]) == {}


async def test_unknown_symbols_and_dates_are_no_crash(
    vendor: SimulatedVendor, calendar: CalendarPort
) -> None:
    """An unknown symbol has nothing; a day without a session is refused by name."""
    session = must(calendar, "2026-01-06")
    assert vendor.instrument("NOPE") is None
    assert not vendor.is_halted(session, "NOPE", session.open_ms)
    assert await vendor.minutes("NOPE", session, session.close_ms) == ()
    sunday = Session(date="2026-01-19", open_ms=0, close_ms=1, previous="2026-01-16")
    with pytest.raises(SessionDataMissingError, match="2026-01-19"):
        await vendor.view(sunday, 0)


async def test_quotes_enclose_the_last_price(vendor: SimulatedVendor, calendar: CalendarPort) -> None:
    """The bid is below the ask, the last trade is inside, SPY's spread is a cent."""
    session = must(calendar, "2026-01-06")
    for at_ms in (scan_ms(session), session.open_ms + HOUR_MS, session.close_ms):
        prices = await vendor.last_prices(vendor.symbols, session, at_ms)
        for price in prices.values():
            assert price.quote is not None
            assert 0 < price.quote.bid_e4 <= price.price_e4 <= price.quote.ask_e4
            assert price.quote.bid_e4 < price.quote.ask_e4
        spy = prices["SPY"].quote
        assert spy is not None
        assert spy.ask_e4 - spy.bid_e4 <= 300


async def test_a_hard_fall_restricts_shorts_for_two_days(
    vendor: SimulatedVendor, calendar: CalendarPort
) -> None:
    """Ten per cent below the close before: restricted from then on and the next day, others are not."""
    found = 0
    for session in list(calendar.sessions(FIRST, LAST))[:8]:
        view = await vendor.view(session, session.close_ms)
        following = calendar.after(session.date)
        tomorrow = await vendor.view(following, following.open_ms)
        for today, next_day in zip(view.snapshots, tomorrow.snapshots, strict=True):
            assert today.previous is not None
            if today.action is None:
                low_e4 = min(bar.low_e4 for bar in today.minutes if bar.start_ms >= session.open_ms)
                if low_e4 * 10 <= today.previous.close_e4 * 9:
                    found += 1
                    assert today.is_short_restricted
                    assert next_day.is_short_restricted
        assert sum(bool(item.is_short_restricted) for item in view.snapshots) < 20
    assert found > 3


async def test_the_calendars_beginning_is_the_markets(calendar: CalendarPort) -> None:
    """Where a calendar begins, history is short, and its first session, which follows none, is missing."""

    class Young(type(calendar)):  # type: ignore[misc]
        """The same weekdays from one date on."""

        def sessions(self, first: str, last: str) -> Sequence[Session]:
            return [] if last < "2026-01-05" else super().sessions(max(first, "2026-01-05"), last)

    vendor = SimulatedVendor(SEED, Young())
    session = must(calendar, "2026-01-09")
    history = (await vendor.history(["SPY"], session, session.open_ms))["SPY"]
    assert [bar.session for bar in history.bars] == ["2026-01-06", "2026-01-07", "2026-01-08"]
    with pytest.raises(SessionDataMissingError, match="2026-01-05"):
        await vendor.load(must(calendar, "2026-01-05"))
