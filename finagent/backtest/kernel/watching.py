"""What is watched while plans of a session on minutes are open: time stop, trailing stop, the day's loss, the ladder.

The rules are those of ``domain.manage`` and ``domain.limits``, in the order in which the agent's queue does them.
"""

from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.arithmetic import RATIO, half_even, tick_e4
from finagent.backtest.kernel.compiling import compiled
from finagent.backtest.kernel.sizing import loss_limit
from finagent.backtest.kernel.working import end_entry


@compiled
def look(plan: list[int], row: list[int], bar: list[int], p: list[int], now: int) -> None:
    """Judge an open position at the end of its bar: ``P_IS_TIME_UP``, or ``P_MOVE`` with a closer stop."""
    is_long = row[c.DIRECTION] > 0
    plan[c.P_MOVE] = plan[c.P_IS_TIME_UP] = 0
    if plan[c.P_IS_SEEN] == 0:
        average = half_even(plan[c.P_IN], plan[c.P_FILLED])
        plan[c.P_IS_SEEN] = 1
        plan[c.P_BEST] = max(plan[c.P_BEST], average) if is_long else min(plan[c.P_BEST], average)
    best = max(plan[c.P_BEST], bar[c.B_HIGH]) if is_long else min(plan[c.P_BEST], bar[c.B_LOW])
    plan[c.P_BEST] = best
    if plan[c.P_EXIT] > 0:
        return
    is_due = p[c.TIME_STOP] >= 0 and now >= plan[c.P_SINCE] + p[c.TIME_STOP]
    distance = row[c.ATR] * p[c.TRAIL_ATR] // RATIO if p[c.TRAIL_R] >= 0 else 0
    if not is_due and distance <= 0:
        return
    sign = row[c.DIRECTION]
    gained = sign * (best - half_even(plan[c.P_IN], plan[c.P_FILLED])) * RATIO
    if is_due and gained < p[c.TIME_MIN_R] * plan[c.P_RISK]:
        plan[c.P_IS_TIME_UP] = 1
        return
    if distance > 0 and gained >= p[c.TRAIL_R] * plan[c.P_RISK]:
        signed = sign * best - distance
        tick = tick_e4(abs(signed))
        stop = sign * (signed // tick * tick)
        if sign * plan[c.P_LEVEL] < sign * stop < sign * bar[c.B_CLOSE]:
            plan[c.P_MOVE] = stop


@compiled
def act(plan: list[int], row: list[int], tally: list[int]) -> None:
    """Do what ``look`` found, once this minute's fills are booked."""
    if plan[c.P_HELD] == 0 or plan[c.P_EXIT] > 0:
        return
    if plan[c.P_MOVE] > 0 and row[c.DIRECTION] * (plan[c.P_MOVE] - plan[c.P_LEVEL]) > 0:
        tally[c.ORDERS] += 1
        plan[c.P_STOPS] += 1
        if plan[c.P_IS_TRIGGERED] == 0:  # a stop that is a market order by now is not replaced
            plan[c.P_LEVEL] = plan[c.P_MOVE]
            plan[c.P_GENERATION] = plan[c.P_STOPS]
    if plan[c.P_IS_TIME_UP] == 1:
        send_exit(plan, tally, c.BY_TIME)


@compiled
def send_exit(plan: list[int], tally: list[int], reason: int) -> None:
    """Free what is held and close it at the market, unless such an order is on its way."""
    if plan[c.P_HELD] == 0 or plan[c.P_EXIT] > 0:
        return
    end_entry(plan)
    tally[c.ORDERS] += 1
    plan[c.P_EXIT], plan[c.P_REASON] = plan[c.P_HELD], reason


@compiled
def stop_entry(plan: list[int]) -> None:
    """Cancel what is left of an entry; a plan without a fill ends with it."""
    if plan[c.P_LEFT] == 0:
        return
    end_entry(plan)
    if plan[c.P_FILLED] == 0:
        plan[c.P_STATE] = c.NOT_FILLED


@compiled
def day_gain(rows: list[list[int]], state: list[int], plans: list[list[int]]) -> int:
    """What the session has gained so far, open positions at their newest prices."""
    gain = state[c.BANKED]
    for place in range(state[c.COUNT]):
        plan = plans[place]
        if plan[c.P_STATE] == c.EXECUTED:
            sign = rows[plan[c.P_ROW]][c.DIRECTION]
            gain += sign * (plan[c.P_OUT] - plan[c.P_IN] + plan[c.P_HELD] * plan[c.P_MARK]) - plan[c.P_FEES]
    return gain


@compiled
def has_tier(p: list[int]) -> bool:
    """Whether the day's loss is limited at all."""
    return max(max(p[c.PAUSE_SHARE], p[c.PAUSE_E8]), max(p[c.FLATTEN_SHARE], p[c.FLATTEN_E8])) >= 0


@compiled
def tier(p: list[int], equity: int, gain: int) -> int:
    """Of the day's loss: 2 where it closes everything, 1 where it stops entries, else 0."""
    if gain >= 0:
        return 0
    flatten = loss_limit(p[c.FLATTEN_SHARE], p[c.FLATTEN_E8], equity)
    if 0 <= flatten <= -gain:
        return 2
    pause = loss_limit(p[c.PAUSE_SHARE], p[c.PAUSE_E8], equity)
    return 1 if 0 <= pause <= -gain else 0


@compiled
def losses_in_a_row(rows: list[list[int]], state: list[int], plans: list[list[int]]) -> int:
    """Closed trades lost since the last that was not."""
    last = -1_000_000
    for place in range(state[c.COUNT]):
        plan = plans[place]
        if plan[c.P_STATE] == c.CLOSED_PLAN and pnl(plan, rows[plan[c.P_ROW]]) >= 0:
            last = max(last, plan[c.P_UNTIL])
    count = 0
    for place in range(state[c.COUNT]):
        plan = plans[place]
        if plan[c.P_STATE] == c.CLOSED_PLAN and plan[c.P_UNTIL] > last and pnl(plan, rows[plan[c.P_ROW]]) < 0:
            count += 1
    return count


@compiled
def pnl(plan: list[int], row: list[int]) -> int:
    """What a closed plan gained."""
    return row[c.DIRECTION] * (plan[c.P_OUT] - plan[c.P_IN]) - plan[c.P_FEES]
