"""Sessions on daily bars, days outer and parameter sets inner, each set with the state of its own account.

The order of a day is the reference engine's: all plans are decided in rank, then approved, then executed, each seeing
what the others reserve; then the open, the day, the close.
"""

from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.choosing import (
    choose,
    draw_up,
    may_leave,
    notional,
    reach,
    size,
    still_fits,
    worst_case,
)
from finagent.backtest.kernel.compiling import compiled
from finagent.backtest.kernel.filling import carry


@compiled
def play(
    first: int,
    last: int,
    days: list[list[int]],
    rows: list[list[int]],
    sets: list[list[int]],
    states: list[list[int]],
    gains: list[list[int]],
    tallies: list[list[int]],
    plans: list[list[int]],
    kept: list[list[int]],
    fills: list[list[int]],
    is_by_day: bool,
) -> None:
    """Play the days from first to last (excluded) with every set; ``gains[set][day]`` in 1e-8, tallies by day (for one
    set) or by set.

    ``plans`` is room for one day's plans. A set whose sums could pass 2^62 stops there and is marked.
    """
    for number in range(first, last):
        day = days[number]
        chosen = seen = -1
        last_row = day[c.LAST]
        for each in range(len(sets)):
            p, state = sets[each], states[each]
            if abs(state[c.EQUITY]) > c.MOST_EQUITY_E8 and state[c.IS_BEYOND] == 0:
                state[c.IS_BEYOND], state[c.STOPPED] = c.BEYOND, number
            if state[c.IS_BEYOND] > 0:
                chosen = chosen if p[c.IS_ALIKE] == 1 else -1
                continue
            tally = tallies[number] if is_by_day else tallies[each]
            if day[c.STAGE] != c.SKIPPED:
                before = last_row
                is_alike = p[c.IS_ALIKE] == 1 and chosen >= 0
                last_row = reach(day[c.FIRST], before if is_alike else day[c.LAST], rows, p[c.MIN_GAP])
                if (
                    is_alike and last_row == before
                ):  # whom the set before has chosen still stands in the plans
                    tally[c.CANDIDATES] += seen
                else:
                    seen = tally[c.CANDIDATES]
                    chosen = choose(day[c.FIRST], last_row, rows, p, plans, tally)
                    seen = tally[c.CANDIDATES] - seen
            gained, sold = _play_day(number, day, rows, p, state, tally, plans, max(chosen, 0), kept, fills)
            if state[c.IS_BEYOND] > 0:
                state[c.STOPPED] = number
                continue
            gains[each][number] = gained
            state[c.EQUITY] += gained
            state[c.SOLD_EARLIER] = state[c.SOLD_BEFORE]
            state[c.SOLD_BEFORE] = sold


@compiled
def _play_day(
    number: int,
    day: list[int],
    rows: list[list[int]],
    p: list[int],
    state: list[int],
    tally: list[int],
    plans: list[list[int]],
    count: int,
    kept: list[list[int]],
    fills: list[list[int]],
) -> tuple[int, int]:
    gained = sold = 0
    if day[c.STAGE] != c.PLANNED:
        return gained, sold
    for place in range(count):
        plan = plans[place]
        row = rows[plan[c.P_ROW]]
        plan[c.P_STATE] = c.NO_PLAN
        if draw_up(plan, row, p):
            tally[c.PLANS] += 1
            tally[c.SHORT_PLANS] += 1 if row[c.DIRECTION] < 0 else 0
            plan[c.P_STATE] = c.PENDING
    if day[c.IS_NO_TRADE] == 1:
        return gained, sold
    _decide(day, rows, p, state, plans, count)
    _approve(day, rows, p, state, tally, plans, count)
    _execute(day, rows, p, state, tally, plans, count)
    for place in range(count):
        plan = plans[place]
        if plan[c.P_STATE] == c.EXECUTED:
            write_down(number, plan, state, kept)
            more, brought = carry(plan, rows[plan[c.P_ROW]], day, p, state, tally, fills)
            gained, sold = gained + more, sold + brought
    return gained, sold


@compiled
def unsettled(day: list[int], state: list[int]) -> int:
    """Sales of sessions before that have not settled this morning."""
    total = day[c.UNSETTLED]
    if day[c.UNSETTLED_DAYS] >= 1:
        total += state[c.SOLD_BEFORE]
    if day[c.UNSETTLED_DAYS] >= 2:
        total += state[c.SOLD_EARLIER]
    return total


@compiled
def _decide(
    day: list[int], rows: list[list[int]], p: list[int], state: list[int], plans: list[list[int]], count: int
) -> None:
    """Risk in rank: each plan sees what those before it reserve."""
    equity, taken, worst, others = state[c.EQUITY], 0, 0, 0
    settled = max(equity - unsettled(day, state), 0)
    for place in range(count):
        plan = plans[place]
        if plan[c.P_STATE] != c.PENDING:
            continue
        row = rows[plan[c.P_ROW]]
        funds = max(equity, 0) - taken
        if p[c.IS_CASH_SETTLED] == 1:
            funds = min(funds, settled - taken)
        quantity = size(plan, row, p, equity, funds, (taken, worst, others, others, 0), equity)
        if quantity == 0:
            plan[c.P_STATE] = c.NO_PLAN
            continue
        reserve(plan, row, p, quantity)
        taken, worst, others = taken + plan[c.P_NOTIONAL], worst + plan[c.P_WORST], others + 1


@compiled
def reserve(plan: list[int], row: list[int], p: list[int], quantity: int) -> None:
    """Size a plan and take what it takes from the limits."""
    plan[c.P_QUANTITY] = quantity
    plan[c.P_NOTIONAL] = notional(row, p, quantity)
    plan[c.P_WORST] = worst_case(plan, p, quantity)


@compiled
def _again(
    place: int,
    day: list[int],
    rows: list[list[int]],
    p: list[int],
    state: list[int],
    plans: list[list[int]],
    count: int,
) -> int:
    """The quantity that risk still allows a sized plan when all others keep what they reserve."""
    equity, taken, worst, others, orders = state[c.EQUITY], 0, 0, 0, 0
    for other in range(count):
        if other != place and plans[other][c.P_STATE] != c.NO_PLAN:
            taken += plans[other][c.P_NOTIONAL]
            worst += plans[other][c.P_WORST]
            others += 1
            orders += 1 if plans[other][c.P_STATE] == c.EXECUTED else 0
    funds = max(equity - taken, 0)
    if p[c.IS_CASH_SETTLED] == 1:
        funds = min(funds, max(equity - unsettled(day, state) - taken, 0))
    plan = plans[place]
    held = (taken, worst, others, others, orders)
    if still_fits(plan, p, equity, funds, held):
        return plan[c.P_QUANTITY]
    quantity = size(plan, rows[plan[c.P_ROW]], p, equity, funds, held, equity)
    return min(quantity, plan[c.P_QUANTITY])


@compiled
def _approve(
    day: list[int],
    rows: list[list[int]],
    p: list[int],
    state: list[int],
    tally: list[int],
    plans: list[list[int]],
    count: int,
) -> None:
    """The policy's yes, unless the account no longer allows it."""
    for place in range(count):
        plan = plans[place]
        if plan[c.P_STATE] != c.PENDING:
            continue
        if _again(place, day, rows, p, state, plans, count) == 0:
            plan[c.P_STATE] = c.NO_PLAN
            continue
        plan[c.P_STATE] = c.APPROVED_PLAN
        tally[c.APPROVED] += 1


@compiled
def _execute(
    day: list[int],
    rows: list[list[int]],
    p: list[int],
    state: list[int],
    tally: list[int],
    plans: list[list[int]],
    count: int,
) -> None:
    """Orders leave with what risk still allows: an entry, its stop and its target."""
    for place in range(count):
        plan = plans[place]
        if plan[c.P_STATE] != c.APPROVED_PLAN:
            continue
        row = rows[plan[c.P_ROW]]
        quantity = _again(place, day, rows, p, state, plans, count)
        if quantity == 0 or not may_leave(row, p, state[c.EQUITY], quantity):
            plan[c.P_STATE] = c.NO_PLAN
            continue
        highest = max(max(row[c.HIGH], row[c.LOW]), max(row[c.OPEN], row[c.CLOSE]))
        if quantity > c.MOST // 2 // highest:
            state[c.IS_BEYOND] = c.BEYOND
        reserve(plan, row, p, quantity)
        plan[c.P_STATE] = c.EXECUTED
        tally[c.ORDERS] += 3


@compiled
def write_down(number: int, plan: list[int], state: list[int], kept: list[list[int]]) -> None:
    """Keep an executed plan where there is room for plans at all."""
    place = state[c.PLANS_KEPT]
    if place >= len(kept):
        return
    state[c.PLANS_KEPT] = place + 1
    kept[place][c.K_DAY] = number
    kept[place][c.K_ROW] = plan[c.P_ROW]
    kept[place][c.K_SCORE] = plan[c.P_SCORE]
    kept[place][c.K_STOP] = plan[c.P_STOP]
    kept[place][c.K_TARGET] = plan[c.P_TARGET]
    kept[place][c.K_QUANTITY] = plan[c.P_QUANTITY]
