"""The orders of one plan against one minute bar: an entry at the market, its stop and its target, a closing order.

The rules are those of ``domain.fills``. Stop and target close what is held; while the entry works they also wait for
what it may still bring, so their quantities need no columns of their own.
"""

from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.arithmetic import SHARE_E4, fees, share_floor, slipped, whole_lots
from finagent.backtest.kernel.compiling import compiled
from finagent.backtest.kernel.filling import is_target_first


@compiled
def play_bar(
    plan: list[int],
    row: list[int],
    bar: list[int],
    day: list[int],
    p: list[int],
    state: list[int],
    tally: list[int],
    fills: list[list[int]],
) -> None:
    """Everything that the bar does to a plan's orders."""
    is_long = row[c.DIRECTION] > 0
    times = p[c.OPEN_MULTIPLIER] if bar[c.B_MINUTE] < p[c.OPEN_MINUTES] else 1
    slippage = p[c.SLIPPAGE] * times
    if plan[c.P_EXIT] > 0:  # nothing else is left of the plan, and it takes no part in the minute's share
        price = slipped(not is_long, bar[c.B_OPEN], slippage)
        _leave(
            plan, row, bar, day, p, state, tally, fills, (c.EXIT_LEG, plan[c.P_EXIT], price, 0), 0, (0, 0, 0)
        )
        plan[c.P_EXIT] = 0
        return
    if plan[c.P_LEFT] == 0 and plan[c.P_IS_TRIGGERED] == 0 and not _is_touched(plan, bar, is_long):
        return
    budget = whole_lots(share_floor(bar[c.B_VOLUME] * SHARE_E4, p[c.PARTICIPATION]), p[c.LOT])
    budget = _leave_at_open(plan, row, bar, day, p, state, tally, fills, slippage, budget)
    bought = min(plan[c.P_LEFT], budget)
    if bought > 0:
        _enter(plan, row, bar, day, p, state, tally, fills, bought, slipped(is_long, bar[c.B_OPEN], slippage))
        budget = _leave_at_open(plan, row, bar, day, p, state, tally, fills, slippage, budget - bought)
    _leave_inside(plan, row, bar, day, p, state, tally, fills, slippage, budget)


@compiled
def close_out(
    plan: list[int],
    row: list[int],
    mark: int,
    day: list[int],
    p: list[int],
    state: list[int],
    tally: list[int],
    fills: list[list[int]],
) -> None:
    """The session's end: the entry is over, what is held leaves at the newest price less the penalty."""
    end_entry(plan)
    held = plan[c.P_HELD]
    if held == 0:
        return
    leg = c.EXIT_LEG if plan[c.P_EXIT] > 0 else c.STOP_LEG
    price = slipped(row[c.DIRECTION] < 0, mark, p[c.CLOSE_PENALTY])
    last = day[c.CLOSE_MINUTE] + 1
    generation = plan[c.P_GENERATION] if leg == c.STOP_LEG else 1
    _book_exit(
        plan,
        row,
        day,
        p,
        state,
        tally,
        fills,
        (leg, held, price, mark, last, last, generation, c.BY_CLOSE),
        (0, 0, 0),
    )
    plan[c.P_EXIT] = 0


@compiled
def end_entry(plan: list[int]) -> None:
    """Nothing more is bought, and nothing is reserved for it."""
    plan[c.P_LEFT] = plan[c.P_NOTIONAL] = plan[c.P_WORST] = 0


@compiled
def _is_touched(plan: list[int], bar: list[int], is_long: bool) -> bool:
    """Whether a bar reaches stop or target."""
    lowest, highest = min(bar[c.B_LOW], bar[c.B_OPEN]), max(bar[c.B_HIGH], bar[c.B_OPEN])
    if is_long:
        return lowest <= plan[c.P_LEVEL] or highest >= plan[c.P_TARGET]
    return highest >= plan[c.P_LEVEL] or lowest <= plan[c.P_TARGET]


@compiled
def _is_stop(plan: list[int], price: int, is_long: bool) -> bool:
    return price <= plan[c.P_LEVEL] if is_long else price >= plan[c.P_LEVEL]


@compiled
def _is_target(plan: list[int], price: int, is_long: bool) -> bool:
    return price >= plan[c.P_TARGET] if is_long else price <= plan[c.P_TARGET]


@compiled
def _enter(
    plan: list[int],
    row: list[int],
    bar: list[int],
    day: list[int],
    p: list[int],
    state: list[int],
    tally: list[int],
    fills: list[list[int]],
    bought: int,
    price: int,
) -> None:
    """A part of the entry at the bar's open; what is left of it reserves less."""
    is_long, minute = row[c.DIRECTION] > 0, bar[c.B_MINUTE]
    fee = fees(p, day, is_long, bought, price, plan[c.P_FILLED], plan[c.P_IN])
    keep(
        plan,
        state,
        tally,
        fills,
        (c.ENTRY_LEG, bought, price, bar[c.B_OPEN], minute, minute + 1, 1, c.BY_NOTHING),
        fee,
        (0, 0, 0),
    )
    if plan[c.P_FILLED] == 0:
        plan[c.P_SINCE] = minute
        plan[c.P_BEST] = bar[c.B_HIGH] if is_long else bar[c.B_LOW]
    plan[c.P_FILLED] += bought
    plan[c.P_HELD] += bought
    plan[c.P_LEFT] -= bought
    plan[c.P_IN] += bought * price
    plan[c.P_FEES] += fee
    left = plan[c.P_LEFT]
    if left == 0:
        end_entry(plan)
    else:
        worst = abs(price - plan[c.P_STOP]) + plan[c.P_RISK] // 2
        plan[c.P_NOTIONAL] = min(plan[c.P_NOTIONAL], left * price)
        plan[c.P_WORST] = min(plan[c.P_WORST], left * worst)


@compiled
def _leave_at_open(
    plan: list[int],
    row: list[int],
    bar: list[int],
    day: list[int],
    p: list[int],
    state: list[int],
    tally: list[int],
    fills: list[list[int]],
    slippage: int,
    budget: int,
) -> int:
    """Stop and target where the open is at or beyond them; gives what is left of the minute's share."""
    is_long, opened = row[c.DIRECTION] > 0, bar[c.B_OPEN]
    if plan[c.P_HELD] > 0 and (plan[c.P_IS_TRIGGERED] == 1 or _is_stop(plan, opened, is_long)):
        plan[c.P_IS_TRIGGERED] = 1
        end_entry(plan)
        gone = min(plan[c.P_HELD], budget)
        price = slipped(not is_long, opened, slippage)
        _leave(plan, row, bar, day, p, state, tally, fills, (c.STOP_LEG, gone, price, 0), 0, (0, 0, 0))
        budget -= gone
    if plan[c.P_HELD] > 0 and _is_target(plan, opened, is_long):
        gone = min(plan[c.P_HELD], budget)
        _leave(plan, row, bar, day, p, state, tally, fills, (c.TARGET_LEG, gone, opened, 0), 0, (0, 0, 0))
        budget -= gone
    return budget


@compiled
def _leave_inside(
    plan: list[int],
    row: list[int],
    bar: list[int],
    day: list[int],
    p: list[int],
    state: list[int],
    tally: list[int],
    fills: list[list[int]],
    slippage: int,
    budget: int,
) -> None:
    """Stop and target where the bar's range touches them, in the order of the ambiguity rule."""
    if plan[c.P_HELD] == 0:
        return
    is_long, high, low = row[c.DIRECTION] > 0, bar[c.B_HIGH], bar[c.B_LOW]
    is_stopped = plan[c.P_IS_TRIGGERED] == 0 and (
        _is_stop(plan, high, is_long) or _is_stop(plan, low, is_long)
    )
    is_reached = _is_target(plan, high, is_long) or _is_target(plan, low, is_long)
    level, target = plan[c.P_LEVEL], plan[c.P_TARGET]
    stopped = slipped(not is_long, level, slippage)
    best, worst = (max(stopped, target), min(stopped, target)) if is_long else (
        min(stopped, target), max(stopped, target)
    )  # fmt: skip
    bounds = (1, best, worst) if is_stopped and is_reached else (0, 0, 0)
    is_first = not is_stopped or is_target_first(is_long, high, level, target, p[c.AMBIGUITY])
    for turn in range(2):
        if plan[c.P_HELD] == 0:
            return
        if is_reached and is_first == (turn == 0):
            gone = min(plan[c.P_HELD], budget)
            _leave(
                plan, row, bar, day, p, state, tally, fills, (c.TARGET_LEG, gone, target, target), 1, bounds
            )
            budget -= gone
        elif is_stopped and is_first != (turn == 0):
            plan[c.P_IS_TRIGGERED] = 1
            end_entry(plan)
            gone = min(plan[c.P_HELD], budget)
            _leave(plan, row, bar, day, p, state, tally, fills, (c.STOP_LEG, gone, stopped, level), 1, bounds)
            budget -= gone


@compiled
def _leave(
    plan: list[int],
    row: list[int],
    bar: list[int],
    day: list[int],
    p: list[int],
    state: list[int],
    tally: list[int],
    fills: list[list[int]],
    what: tuple[int, int, int, int],
    inside: int,
    bounds: tuple[int, int, int],
) -> None:
    """An exit's fill, at the bar's open or ``inside``: leg, quantity, price, and there the price before slippage."""
    leg, gone, price, reference = what
    if gone <= 0:
        return
    minute = bar[c.B_MINUTE]
    reason, generation = c.BY_TARGET, 1
    if leg == c.EXIT_LEG:
        reason = plan[c.P_REASON]
    elif leg == c.STOP_LEG:
        reason = c.BY_STOP if plan[c.P_LEVEL] == plan[c.P_STOP] else c.BY_TRAILING
        generation = plan[c.P_GENERATION]
    seen = bar[c.B_OPEN] if inside == 0 else reference
    end_entry(plan)
    _book_exit(
        plan,
        row,
        day,
        p,
        state,
        tally,
        fills,
        (leg, gone, price, seen, minute + inside, minute + 1, generation, reason),
        bounds,
    )


@compiled
def _book_exit(
    plan: list[int],
    row: list[int],
    day: list[int],
    p: list[int],
    state: list[int],
    tally: list[int],
    fills: list[list[int]],
    fill: tuple[int, int, int, int, int, int, int, int],
    bounds: tuple[int, int, int],
) -> None:
    filled, filled_e8 = 0, 0  # of the closing order, which fills whole
    if fill[0] == c.STOP_LEG:  # once part of it has filled it is not replaced any more
        filled, filled_e8 = plan[c.P_STOPPED], plan[c.P_STOPPED_E8]
        plan[c.P_STOPPED], plan[c.P_STOPPED_E8] = filled + fill[1], filled_e8 + fill[1] * fill[2]
    elif fill[0] == c.TARGET_LEG:  # a stop that has begun leaves it nothing
        filled, filled_e8 = plan[c.P_GONE], plan[c.P_OUT]
    fee = fees(p, day, row[c.DIRECTION] < 0, fill[1], fill[2], filled, filled_e8)
    keep(plan, state, tally, fills, fill, fee, bounds)
    plan[c.P_HELD] -= fill[1]
    plan[c.P_GONE] += fill[1]
    plan[c.P_OUT] += fill[1] * fill[2]
    plan[c.P_FEES] += fee
    plan[c.P_UNTIL] = max(plan[c.P_UNTIL], fill[4])
    if bounds[0] == 1:
        plan[c.P_IS_AMBIGUOUS] = 1


@compiled
def keep(
    plan: list[int],
    state: list[int],
    tally: list[int],
    fills: list[list[int]],
    fill: tuple[int, int, int, int, int, int, int, int],
    fee: int,
    bounds: tuple[int, int, int],
) -> None:
    """Count a fill, and write it down where there is room: leg, quantity, price, price before slippage, minute, the
    minute in which it is booked, generation, reason.
    """
    tally[c.FILLS] += 1
    number = state[c.FILLS_KEPT]
    state[c.FILLS_KEPT] = number + 1
    if number >= len(fills):
        return
    kept = fills[number]
    kept[c.F_PLAN] = plan[c.P_KEPT]
    (
        kept[c.F_LEG],
        kept[c.F_QUANTITY],
        kept[c.F_PRICE],
        kept[c.F_REFERENCE],
        kept[c.F_MINUTE],
        kept[c.F_PHASE],
        kept[c.F_GENERATION],
        kept[c.F_REASON],
    ) = fill
    kept[c.F_FEES] = fee
    kept[c.F_AMBIGUOUS], kept[c.F_BEST], kept[c.F_WORST] = bounds
