"""An executed plan's day on one daily bar: entry at the open, stop and target in the bar, the rest at the close.

The fills are those of ``domain.fills`` for an entry with its attached legs.
"""

from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.arithmetic import SHARE_E4, fees, share_floor, slipped, whole_lots
from finagent.backtest.kernel.compiling import compiled


@compiled
def carry(
    plan: list[int],
    row: list[int],
    bars: list[list[int]],
    day: list[int],
    p: list[int],
    state: list[int],
    tally: list[int],
    fills: list[list[int]],
) -> tuple[int, int]:
    """Everything that fills of a plan; gives what it gained and what its sales brought, in 1e-8."""
    is_long = row[c.DIRECTION] > 0
    budget = whole_lots(share_floor(row[c.VOLUME] * SHARE_E4, p[c.PARTICIPATION]), p[c.LOT])
    bought = min(plan[c.P_QUANTITY], budget)
    if bought <= 0:
        return 0, 0
    price, opened = slipped(is_long, row[c.OPEN], p[c.OPEN_SLIPPAGE]), row[c.OPEN]
    fee = fees(p, day, is_long, bought, price, 0, 0)
    _keep(fills, state, tally, (c.AT_OPEN, c.ENTRY_LEG, bought, price, opened, fee), (0, 0, 0, 0))
    entry_e8, total_fees = bought * price, fee
    more = min(plan[c.P_QUANTITY] - bought, budget)
    if more > 0:  # the day's own share of the volume, at the same open
        price = slipped(is_long, opened, p[c.SLIPPAGE])
        fee = fees(p, day, is_long, more, price, bought, entry_e8)
        _keep(fills, state, tally, (c.IN_DAY, c.ENTRY_LEG, more, price, opened, fee), (0, 0, 0, 0))
        entry_e8, total_fees = entry_e8 + more * price, total_fees + fee
    held = bought + more
    exit_e8, gone, fee, is_ambiguous = _leave_inside(
        plan, row, bars, day, p, state, tally, fills, held, budget - more
    )
    total_fees += fee
    if gone < held:
        tally[c.ORDERS] += 1
        times = p[c.OPEN_MULTIPLIER] if day[c.CLOSE_MINUTE] < p[c.OPEN_MINUTES] else 1
        price = slipped(not is_long, row[c.CLOSE], p[c.SLIPPAGE] * times)
        fee = fees(p, day, not is_long, held - gone, price, 0, 0)
        _keep(
            fills, state, tally, (c.AT_CLOSE, c.EXIT_LEG, held - gone, price, row[c.CLOSE], fee), (0, 0, 0, 0)
        )
        exit_e8, total_fees = exit_e8 + (held - gone) * price, total_fees + fee
    gained = row[c.DIRECTION] * (exit_e8 - entry_e8) - total_fees
    tally[c.TRADES] += 1
    tally[c.WINS] += 1 if gained > 0 else 0
    tally[c.FEES] += total_fees
    tally[c.GAINED] += gained
    tally[c.AMBIGUOUS] += is_ambiguous
    return gained, exit_e8 if is_long else entry_e8


@compiled
def _leave_inside(
    plan: list[int],
    row: list[int],
    bars: list[list[int]],
    day: list[int],
    p: list[int],
    state: list[int],
    tally: list[int],
    fills: list[list[int]],
    held: int,
    left: int,
) -> tuple[int, int, int, int]:
    """Stop or target: money, quantity and fees of the exit, and whether the bar left its order open."""
    is_long = row[c.DIRECTION] > 0
    lowest, highest = min(row[c.HIGH], row[c.LOW]), max(row[c.HIGH], row[c.LOW])
    if is_long:
        is_stopped, is_reached = lowest <= plan[c.P_STOP], highest >= plan[c.P_TARGET]
    else:
        is_stopped, is_reached = highest >= plan[c.P_STOP], lowest <= plan[c.P_TARGET]
    gone = min(held, left)
    if gone <= 0 or not (is_stopped or is_reached):
        return 0, 0, 0, 0
    leg, reference = c.STOP_LEG, plan[c.P_STOP]
    price = stopped = slipped(not is_long, reference, p[c.SLIPPAGE])
    is_first = is_target_first(is_long, row[c.HIGH], plan[c.P_STOP], plan[c.P_TARGET], p[c.AMBIGUITY])
    if not is_stopped or (is_reached and is_first):
        leg, price, reference = c.TARGET_LEG, plan[c.P_TARGET], plan[c.P_TARGET]
    doubt, minute = c.DOUBTFUL if is_stopped and is_reached else c.UNDOUBTED, c.OFF
    if doubt == c.DOUBTFUL and p[c.AMBIGUITY] == c.BY_MINUTES:
        minute, is_target, level = drill(row, bars, is_long, plan[c.P_STOP], plan[c.P_TARGET])
        if minute >= 0:
            doubt, leg, price, reference = c.DRILLED, c.TARGET_LEG, level, level
            if not is_target:
                leg, price = c.STOP_LEG, slipped(not is_long, level, p[c.SLIPPAGE])
    low, high = min(stopped, plan[c.P_TARGET]), max(stopped, plan[c.P_TARGET])
    bounds = (doubt, high, low, max(minute, 0)) if is_long else (doubt, low, high, max(minute, 0))
    fee = fees(p, day, not is_long, gone, price, 0, 0)
    _keep(fills, state, tally, (c.IN_DAY, leg, gone, price, reference, fee), bounds)
    return gone * price, gone, fee, 1 if doubt == c.DOUBTFUL else 0


@compiled
def drill(
    row: list[int], bars: list[list[int]], is_long: bool, stop: int, target: int
) -> tuple[int, bool, int]:
    """The minute inside the day that came to stop or target first, whether it was the target, and at which price: the
    minute's open where that is beyond. OFF where the minutes do not hold both, or the first holds both.
    """
    stopped = reached = c.OFF
    for number in range(row[c.DRILL_FIRST], row[c.DRILL_LAST]):
        low, high = bars[number][c.B_LOW], bars[number][c.B_HIGH]
        if stopped < 0 and (low <= stop if is_long else high >= stop):
            stopped = number
        if reached < 0 and (high >= target if is_long else low <= target):
            reached = number
        if stopped >= 0 and reached >= 0:
            break
    if stopped < 0 or reached < 0:
        return c.OFF, False, 0
    minute, opened = bars[min(stopped, reached)][c.B_MINUTE], bars[min(stopped, reached)][c.B_OPEN]
    is_target = opened >= target if is_long else opened <= target
    is_stop = opened <= stop if is_long else opened >= stop
    if stopped == reached and not is_target and not is_stop:
        return c.OFF, False, 0
    if is_stop or stopped < reached:
        return minute, False, min(opened, stop) if is_long else max(opened, stop)
    return minute, True, max(opened, target) if is_long else min(opened, target)


@compiled
def is_target_first(is_long: bool, high: int, stop: int, target: int, ambiguity: int) -> bool:
    """Which comes first of two that were both touched: by rule, or along open, high, low, close."""
    if ambiguity != c.ALONG_PATH:
        return ambiguity == c.TARGET_FIRST
    if is_long:
        return high >= target and high > stop
    return high <= target and high < stop


@compiled
def _keep(
    fills: list[list[int]],
    state: list[int],
    tally: list[int],
    fill: tuple[int, int, int, int, int, int],
    bounds: tuple[int, int, int, int],
) -> None:
    """Count a fill, and write it down where there is room for fills at all."""
    tally[c.FILLS] += 1
    number = state[c.FILLS_KEPT]
    state[c.FILLS_KEPT] = number + 1
    if number >= len(fills):
        return
    kept = fills[number]
    kept[c.F_PLAN] = state[c.PLANS_KEPT] - 1
    (
        kept[c.F_PHASE],
        kept[c.F_LEG],
        kept[c.F_QUANTITY],
        kept[c.F_PRICE],
        kept[c.F_REFERENCE],
        kept[c.F_FEES],
    ) = fill
    kept[c.F_AMBIGUOUS], kept[c.F_BEST], kept[c.F_WORST], kept[c.F_MINUTE] = bounds
    kept[c.F_GENERATION] = kept[c.F_REASON] = 0
