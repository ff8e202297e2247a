"""From a scan on minutes to orders that work: risk in rank, the policy's yes, risk again, and the venue's last word.

All of it happens at the instant of the scan, at the price that it saw; what earlier scans hold and reserve counts.
"""

from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.arithmetic import share_ceil
from finagent.backtest.kernel.compiling import compiled
from finagent.backtest.kernel.looking import choose_at
from finagent.backtest.kernel.playing import write_down
from finagent.backtest.kernel.sizing import caps, draw_up, may_leave, reserve, size, still_fits, unsettled
from finagent.backtest.kernel.watching import day_gain, losses_in_a_row, tier

MOST_SHARED_E4 = 2**31
"""The cost of the rest of a position that large is not the kernel's to divide."""


@compiled
def enter(
    number: int,
    line: int,
    day: list[int],
    rows: list[list[int]],
    due: list[int],
    bars: list[list[int]],
    p: list[int],
    state: list[int],
    tally: list[int],
    plans: list[list[int]],
    looks: list[list[int]],
    ranks: list[list[int]],
    kept: list[list[int]],
) -> None:
    """Plan the best of a scan, and send what risk allows; the new plans follow those of the session's earlier scans."""
    first = state[c.COUNT]
    fresh = plans[first:]
    count = choose_at(due, rows, p, fresh, looks, ranks)
    for place in range(count):
        plan = fresh[place]
        row = rows[plan[c.P_ROW]]
        plan[c.P_STATE] = c.NO_PLAN
        if draw_up(plan, row, p):
            tally[c.PLANS] += 1
            tally[c.SHORT_PLANS] += 1 if row[c.DIRECTION] < 0 else 0
            plan[c.P_STATE] = c.PENDING
    gain = day_gain(rows, state, plans)
    is_shut = state[c.IS_SHUT] == 1 or due[c.L_IS_NO_TRADE] == 1 or tier(p, state[c.EQUITY], gain) > 0
    if p[c.MOST_LOSSES] >= 0 and losses_in_a_row(rows, state, plans) >= p[c.MOST_LOSSES]:
        is_shut = True
    if not is_shut:
        held = _held(rows, p, state, plans)
        money = (max(state[c.EQUITY] + gain - held[0], 0), _cash(day, rows, state, plans))
        now = state[c.EQUITY] + gain
        own = caps(p, state[c.EQUITY])
        _decide(rows, p, state, plans, fresh, count, held, money, own, now)
        _approve(rows, p, tally, fresh, count, held, money, own, now)
        _execute(due, rows, bars, p, state, tally, plans, fresh, count, held, money, own, now)
    for place in range(count):
        plan = fresh[place]
        if plan[c.P_STATE] == c.EXECUTED:
            plan[c.P_KEPT] = state[c.PLANS_KEPT]
            write_down(number, plan, state, kept)
            if plan[c.P_KEPT] < len(kept):
                kept[plan[c.P_KEPT]][c.K_LINE] = line
    state[c.COUNT] = first + count


@compiled
def _held(
    rows: list[list[int]], p: list[int], state: list[int], plans: list[list[int]]
) -> tuple[int, int, int, int]:
    """What earlier scans hold and reserve: exposure, worst case with what is lost already, positions, trades."""
    exposure = worst = positions = trades = 0
    realised = state[c.BANKED]
    for place in range(state[c.COUNT]):
        plan = plans[place]
        if plan[c.P_STATE] == c.CLOSED_PLAN:
            trades += 1
        if plan[c.P_STATE] != c.EXECUTED:
            continue
        trades, positions = trades + 1, positions + 1
        exposure += plan[c.P_HELD] * plan[c.P_MARK] + plan[c.P_NOTIONAL]
        worst += plan[c.P_WORST]
        realised -= plan[c.P_FEES]
        if plan[c.P_HELD] == 0:
            continue
        if plan[c.P_GONE] > 0 and plan[c.P_FILLED] > MOST_SHARED_E4:
            state[c.IS_BEYOND] = c.NOT_ITS_OWN
        is_long = rows[plan[c.P_ROW]][c.DIRECTION] > 0
        worst += _worst_case(plan, p, is_long)
        if plan[c.P_GONE] > 0:
            cost = _part(plan, plan[c.P_GONE], is_long)
            realised += plan[c.P_OUT] - cost if is_long else cost - plan[c.P_OUT]
    return exposure, worst + max(0, -realised), positions, trades


@compiled
def _worst_case(plan: list[int], p: list[int], is_long: bool) -> int:
    """What an open position loses against its cost at stop and extra R."""
    slack = share_ceil(plan[c.P_RISK], p[c.EXTRA_R])
    if is_long:
        return max(0, _part(plan, plan[c.P_HELD], True) - plan[c.P_HELD] * (plan[c.P_LEVEL] - slack))
    return max(0, plan[c.P_HELD] * (plan[c.P_LEVEL] + slack) - _part(plan, plan[c.P_HELD], False))


@compiled
def _part(plan: list[int], quantity: int, is_up: bool) -> int:
    """The entry's money for a part of its quantity, rounded up or down."""
    if quantity == plan[c.P_FILLED]:
        return plan[c.P_IN]
    price = plan[c.P_IN] // plan[c.P_FILLED]
    rest = (plan[c.P_IN] - price * plan[c.P_FILLED]) * quantity
    return price * quantity + (-(-rest // plan[c.P_FILLED]) if is_up else rest // plan[c.P_FILLED])


@compiled
def _cash(day: list[int], rows: list[list[int]], state: list[int], plans: list[list[int]]) -> int:
    """Settled cash that is neither spent today nor reserved; below 0 where all of it is."""
    cash = state[c.EQUITY] - unsettled(day, state)
    for place in range(state[c.COUNT]):
        plan = plans[place]
        is_long = rows[plan[c.P_ROW]][c.DIRECTION] > 0
        if plan[c.P_STATE] == c.EXECUTED or plan[c.P_STATE] == c.CLOSED_PLAN:
            cash -= (plan[c.P_IN] if is_long else plan[c.P_OUT]) + plan[c.P_NOTIONAL]
    return cash


@compiled
def _is_of_today(plan: list[int], rows: list[list[int]], state: list[int], plans: list[list[int]]) -> bool:
    """Whether an earlier scan of the session has entered the plan's symbol."""
    for place in range(state[c.COUNT]):
        other = plans[place]
        if rows[other[c.P_ROW]][c.SYMBOL] == rows[plan[c.P_ROW]][c.SYMBOL] and (
            other[c.P_STATE] == c.EXECUTED or other[c.P_STATE] == c.CLOSED_PLAN
        ):
            return True
    return False


@compiled
def _decide(
    rows: list[list[int]],
    p: list[int],
    state: list[int],
    plans: list[list[int]],
    fresh: list[list[int]],
    count: int,
    held: tuple[int, int, int, int],
    money: tuple[int, int],
    own: tuple[int, int, int, int, int],
    now: int,
) -> None:
    """Risk in rank: each plan sees what those before it reserve."""
    taken = worst = others = 0
    for place in range(count):
        plan = fresh[place]
        if plan[c.P_STATE] != c.PENDING:
            continue
        row = rows[plan[c.P_ROW]]
        funds = money[0] - taken
        if p[c.IS_CASH_SETTLED] == 1:
            funds = min(funds, max(money[1], 0) - taken)
        besides = (held[0] + taken, held[1] + worst, held[2] + others, held[3] + others, 0)
        quantity = size(plan, row, p, own, funds, besides, now)
        if quantity == 0 or _is_of_today(plan, rows, state, plans):
            plan[c.P_STATE] = c.NO_PLAN
            continue
        reserve(plan, row, p, quantity)
        taken, worst, others = taken + plan[c.P_NOTIONAL], worst + plan[c.P_WORST], others + 1


@compiled
def _again(
    place: int,
    rows: list[list[int]],
    p: list[int],
    fresh: list[list[int]],
    count: int,
    held: tuple[int, int, int, int],
    money: tuple[int, int],
    own: tuple[int, int, int, int, int],
    now: int,
) -> int:
    """The quantity that risk still allows a sized plan when all others keep what they reserve."""
    taken = worst = others = orders = 0
    for other in range(count):
        if other != place and fresh[other][c.P_STATE] != c.NO_PLAN:
            taken += fresh[other][c.P_NOTIONAL]
            worst += fresh[other][c.P_WORST]
            others += 1
            orders += 1 if fresh[other][c.P_STATE] == c.EXECUTED else 0
    plan = fresh[place]
    funds = max(now - held[0] - taken, 0)
    if p[c.IS_CASH_SETTLED] == 1:
        funds = min(funds, max(money[1] - taken, 0))
    besides = (held[0] + taken, held[1] + worst, held[2] + others, held[3] + others, orders)
    if still_fits(plan, p, own, funds, besides):
        return plan[c.P_QUANTITY]
    quantity = size(plan, rows[plan[c.P_ROW]], p, own, funds, besides, now)
    return min(quantity, plan[c.P_QUANTITY])


@compiled
def _approve(
    rows: list[list[int]],
    p: list[int],
    tally: list[int],
    fresh: list[list[int]],
    count: int,
    held: tuple[int, int, int, int],
    money: tuple[int, int],
    own: tuple[int, int, int, int, int],
    now: int,
) -> None:
    """The policy's yes, unless the price is old or the account no longer allows it."""
    for place in range(count):
        plan = fresh[place]
        if plan[c.P_STATE] != c.PENDING:
            continue
        is_old = rows[plan[c.P_ROW]][c.AGE] > p[c.MAX_AGE]
        if is_old or _again(place, rows, p, fresh, count, held, money, own, now) == 0:
            plan[c.P_STATE] = c.NO_PLAN
            continue
        plan[c.P_STATE] = c.APPROVED_PLAN
        tally[c.APPROVED] += 1


@compiled
def _execute(
    due: list[int],
    rows: list[list[int]],
    bars: list[list[int]],
    p: list[int],
    state: list[int],
    tally: list[int],
    plans: list[list[int]],
    fresh: list[list[int]],
    count: int,
    held: tuple[int, int, int, int],
    money: tuple[int, int],
    own: tuple[int, int, int, int, int],
    now: int,
) -> None:
    """Orders leave with what risk still allows; where the venue might refuse one, the session is not the kernel's."""
    power = now
    for place in range(state[c.COUNT]):
        other = plans[place]
        if other[c.P_STATE] == c.EXECUTED:
            power -= other[c.P_HELD] * other[c.P_MARK] + other[c.P_LEFT] * rows[other[c.P_ROW]][c.LAST_PRICE]
    for place in range(count):
        plan = fresh[place]
        if plan[c.P_STATE] != c.APPROVED_PLAN:
            continue
        row = rows[plan[c.P_ROW]]
        quantity = _again(place, rows, p, fresh, count, held, money, own, now)
        if quantity == 0 or not may_leave(row, own, quantity):
            plan[c.P_STATE] = c.NO_PLAN
            continue
        power -= quantity * row[c.LAST_PRICE]
        if power < 0 or quantity > c.MOST // 4 // len(plans) // abs(row[c.HIGHEST]):
            state[c.IS_BEYOND] = c.NOT_ITS_OWN
        reserve(plan, row, p, quantity)
        _begin(plan, row, bars, due[c.L_MINUTE], p[c.ENTRY_LIFE])
        tally[c.ORDERS] += 3


@compiled
def _begin(plan: list[int], row: list[int], bars: list[list[int]], now: int, life: int) -> None:
    """An entry that works from the first bar that begins now or later."""
    for column in range(c.P_KEPT, c.PLAN_WIDTH):
        plan[column] = 0
    low, high = row[c.BAR_FIRST], row[c.BAR_LAST]
    while low < high:
        middle = (low + high) // 2
        if bars[middle][c.B_MINUTE] < now:
            low = middle + 1
        else:
            high = middle
    plan[c.P_BAR] = low
    plan[c.P_STATE] = c.EXECUTED
    plan[c.P_LEFT] = plan[c.P_QUANTITY]
    plan[c.P_LEVEL] = plan[c.P_STOP]
    plan[c.P_GENERATION] = plan[c.P_STOPS] = 1
    plan[c.P_MARK] = row[c.LAST_PRICE]
    plan[c.P_DUE] = now * 60_000 + life
    plan[c.P_UNTIL] = -1_000_000
