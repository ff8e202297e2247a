"""Sessions on minute bars: the instants of a day in the order in which the reference engine comes to them.

At the end of each minute: fills, then what is watched, the day's loss, the lines of the schedule that are due, and the
entries whose time is over. Minutes in which nothing is open are passed over.
"""

from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.compiling import compiled
from finagent.backtest.kernel.entering import enter
from finagent.backtest.kernel.looking import count_candidates
from finagent.backtest.kernel.watching import (
    act,
    day_gain,
    has_tier,
    look,
    losses_in_a_row,
    pnl,
    send_exit,
    stop_entry,
    tier,
)
from finagent.backtest.kernel.working import close_out, play_bar

MINUTE_MS = 60_000


@compiled
def play_minutes(
    first: int,
    last: int,
    days: list[list[int]],
    rows: list[list[int]],
    lines: list[list[int]],
    bars: list[list[int]],
    sets: list[list[int]],
    states: list[list[int]],
    gains: list[list[int]],
    tallies: list[list[int]],
    plans: list[list[int]],
    looks: list[list[int]],
    ranks: list[list[int]],
    kept: list[list[int]],
    fills: list[list[int]],
    is_by_day: bool,
) -> None:
    """Play the days from first to last (excluded) with every set, as ``playing.play`` does for daily bars.

    ``plans``, ``looks`` and ``ranks`` are room for one day. A set whose session is not the kernel's stops there and is
    marked.
    """
    for number in range(first, last):
        for each in range(len(sets)):
            p, state = sets[each], states[each]
            if abs(state[c.EQUITY]) > c.MOST_EQUITY_E8 and state[c.IS_BEYOND] == 0:
                state[c.IS_BEYOND], state[c.STOPPED] = c.BEYOND, number
            if state[c.IS_BEYOND] > 0:
                continue
            tally = tallies[number] if is_by_day else tallies[each]
            sold = _play_day(
                number, days[number], rows, lines, bars, p, state, tally, plans, looks, ranks, kept, fills
            )
            if state[c.IS_BEYOND] > 0:
                state[c.STOPPED] = number
                continue
            gains[p[c.PLACE]][number] = state[c.BANKED]
            state[c.EQUITY] += state[c.BANKED]
            state[c.SOLD_EARLIER] = state[c.SOLD_BEFORE]
            state[c.SOLD_BEFORE] = sold


@compiled
def _play_day(
    number: int,
    day: list[int],
    rows: list[list[int]],
    lines: list[list[int]],
    bars: list[list[int]],
    p: list[int],
    state: list[int],
    tally: list[int],
    plans: list[list[int]],
    looks: list[list[int]],
    ranks: list[list[int]],
    kept: list[list[int]],
    fills: list[list[int]],
) -> int:
    """One session; gives what its sales brought, in 1e-8."""
    state[c.COUNT] = state[c.BANKED] = state[c.IS_SHUT] = state[c.IS_OVER] = 0
    line, close = day[c.FIRST], day[c.CLOSE_MINUTE] + 1
    now, is_open = 0, False
    while line < day[c.LAST] or is_open:
        if is_open:
            now += 1
        else:
            now = lines[line][c.L_MINUTE]
        if is_open and now == close:
            _end(day, rows, bars, p, state, tally, plans, fills)
            _bank(rows, p, state, tally, plans)
            is_open = False
            continue
        if is_open:
            _pass_minute(now, day, rows, bars, p, state, tally, plans, fills)
        while line < day[c.LAST] and lines[line][c.L_MINUTE] == now:
            _follow(number, line, day, rows, lines, bars, p, state, tally, plans, looks, ranks, kept)
            line += 1
            if state[c.IS_BEYOND] > 0:
                return 0
        is_open = _is_any_open(now, state, plans)
    sold = 0
    for place in range(state[c.COUNT]):
        plan = plans[place]
        if plan[c.P_STATE] == c.CLOSED_PLAN:
            sold += plan[c.P_OUT] if rows[plan[c.P_ROW]][c.DIRECTION] > 0 else plan[c.P_IN]
    return sold


@compiled
def _is_any_open(now: int, state: list[int], plans: list[list[int]]) -> bool:
    """End the entries whose time is over by the end of this instant; whether any plan is still under way."""
    is_open = False
    for place in range(state[c.COUNT]):
        plan = plans[place]
        if plan[c.P_STATE] == c.EXECUTED:
            if plan[c.P_LEFT] > 0 and plan[c.P_DUE] < (now + 1) * MINUTE_MS:
                stop_entry(plan)
            is_open = is_open or plan[c.P_STATE] == c.EXECUTED
    return is_open


@compiled
def _pass_minute(
    now: int,
    day: list[int],
    rows: list[list[int]],
    bars: list[list[int]],
    p: list[int],
    state: list[int],
    tally: list[int],
    plans: list[list[int]],
    fills: list[list[int]],
) -> None:
    """Fills, stops that move, time stops and the day's loss at the end of a minute."""
    is_watched = p[c.TIME_STOP] >= 0 or p[c.TRAIL_R] >= 0
    is_any = is_moved = is_ended = False
    for place in range(state[c.COUNT]):
        plan = plans[place]
        plan[c.P_WAS_HELD] = 0
        if plan[c.P_STATE] != c.EXECUTED:
            continue
        row = rows[plan[c.P_ROW]]
        plan[c.P_WAS_HELD] = 1 if plan[c.P_HELD] > 0 else 0
        plan[c.P_MOVE] = plan[c.P_IS_TIME_UP] = 0
        if plan[c.P_BAR] < row[c.BAR_LAST] and bars[plan[c.P_BAR]][c.B_MINUTE] == now - 1:
            bar = bars[plan[c.P_BAR]]
            plan[c.P_BAR] += 1
            plan[c.P_MARK] = bar[c.B_CLOSE]
            if is_watched and plan[c.P_HELD] > 0:
                look(plan, row, bar, p, now)
                is_moved = is_moved or plan[c.P_MOVE] > 0 or plan[c.P_IS_TIME_UP] == 1
            play_bar(plan, row, bar, day, p, state, tally, fills)
            is_any = True
        is_ended = is_ended or (plan[c.P_HELD] == 0 and plan[c.P_LEFT] == 0)
    if not is_any:
        return
    lost = tier(p, state[c.EQUITY], day_gain(rows, state, plans)) if has_tier(p) else 0
    if is_moved:
        for place in range(state[c.COUNT]):
            if plans[place][c.P_STATE] == c.EXECUTED:
                act(plans[place], rows[plans[place][c.P_ROW]], tally)
    if is_ended:
        _bank(rows, p, state, tally, plans)
    if lost > 0:
        state[c.IS_SHUT] = 1
    if lost == 2 and state[c.IS_OVER] == 0:
        state[c.IS_OVER] = 1
        _flatten(tally, state, plans, 0)


@compiled
def _bank(
    rows: list[list[int]], p: list[int], state: list[int], tally: list[int], plans: list[list[int]]
) -> None:
    """Book the trades that have ended."""
    is_any = False
    for place in range(state[c.COUNT]):
        plan = plans[place]
        if plan[c.P_STATE] != c.EXECUTED or plan[c.P_HELD] > 0 or plan[c.P_LEFT] > 0:
            continue
        if plan[c.P_FILLED] == 0:
            plan[c.P_STATE] = c.NOT_FILLED
            continue
        plan[c.P_STATE] = c.CLOSED_PLAN
        gained = pnl(plan, rows[plan[c.P_ROW]])
        state[c.BANKED] += gained
        tally[c.TRADES] += 1
        tally[c.WINS] += 1 if gained > 0 else 0
        tally[c.FEES] += plan[c.P_FEES]
        tally[c.GAINED] += gained
        tally[c.AMBIGUOUS] += plan[c.P_IS_AMBIGUOUS]
        is_any = True
    if is_any and p[c.MOST_LOSSES] >= 0 and losses_in_a_row(rows, state, plans) >= p[c.MOST_LOSSES]:
        state[c.IS_SHUT] = 1


@compiled
def _flatten(tally: list[int], state: list[int], plans: list[list[int]], is_as_before: int) -> None:
    """Stop every entry and close what is held; ``is_as_before``: what was held before this minute's fills."""
    for place in range(state[c.COUNT]):
        plan = plans[place]
        if plan[c.P_STATE] == c.EXECUTED:
            stop_entry(plan)
            if is_as_before == 0 or plan[c.P_WAS_HELD] == 1:
                send_exit(plan, tally, c.BY_FLATTEN)


@compiled
def _follow(
    number: int,
    line: int,
    day: list[int],
    rows: list[list[int]],
    lines: list[list[int]],
    bars: list[list[int]],
    p: list[int],
    state: list[int],
    tally: list[int],
    plans: list[list[int]],
    looks: list[list[int]],
    ranks: list[list[int]],
    kept: list[list[int]],
) -> None:
    """A line of the schedule: the ladder, or a scan."""
    due = lines[line]
    if due[c.L_KIND] == c.FLATTEN_LINE:
        _flatten(tally, state, plans, 1)
        return
    count_candidates(due, rows, p, tally)
    if due[c.L_KIND] == c.WATCH_LINE or due[c.L_IS_OPEN] == 0:
        return
    enter(number, line, day, rows, due, bars, p, state, tally, plans, looks, ranks, kept)


@compiled
def _end(
    day: list[int],
    rows: list[list[int]],
    bars: list[list[int]],
    p: list[int],
    state: list[int],
    tally: list[int],
    plans: list[list[int]],
    fills: list[list[int]],
) -> None:
    """The session's last bar: what it fills, then everything closes."""
    for place in range(state[c.COUNT]):
        plan = plans[place]
        if plan[c.P_STATE] != c.EXECUTED:
            continue
        row = rows[plan[c.P_ROW]]
        if plan[c.P_BAR] < row[c.BAR_LAST] and bars[plan[c.P_BAR]][c.B_MINUTE] == day[c.CLOSE_MINUTE]:
            bar = bars[plan[c.P_BAR]]
            plan[c.P_MARK] = bar[c.B_CLOSE]
            play_bar(plan, row, bar, day, p, state, tally, fills)
        elif plan[c.P_HELD] > 0 and row[c.HIGHEST] < 0:  # halted: the position stays
            state[c.IS_BEYOND] = c.NOT_ITS_OWN
            return
        close_out(plan, row, plan[c.P_MARK], day, p, state, tally, fills)
