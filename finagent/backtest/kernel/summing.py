"""What plans of a day are and come to for all sets that differ in nothing but their gap and their account.

Where all plans of a set fit as large as their own amounts allow, what they come to together is a sum that begins with
the largest gap: each set takes it as far as its own least gap goes.
"""

from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.choosing import gapping
from finagent.backtest.kernel.compiling import compiled
from finagent.backtest.kernel.filling import carry
from finagent.backtest.kernel.sizing import (
    MOST_PRODUCT,
    caps,
    cash_of,
    draw_up,
    is_refused,
    notional,
    size_by_amounts,
    worst_case,
)

MOST_SUM = c.MOST // 4
"""What may be added to one that is no larger stays within 64 bits."""


@compiled
def prepare(plan: list[int], number: int, rows: list[list[int]], p: list[int], family: int) -> None:
    """Draw up a family's plan for a row, with what it takes at the quantity that no account changes."""
    row = rows[number]
    plan[c.D_FAMILY], plan[c.P_ROW] = family, number
    plan[c.D_AMOUNTS], plan[c.D_PLAYED] = c.OFF, 0
    if not draw_up(plan, row, p):
        plan[c.D_IS_PLAN] = 0
        return
    plan[c.D_IS_PLAN] = 1
    if is_refused(plan, row, p, 0):
        return
    quantity = size_by_amounts(row, p)
    if quantity > 0 and max(quantity, row[c.LAST_PRICE], plan[c.P_RISK]) <= MOST_PRODUCT:
        plan[c.D_AMOUNTS] = quantity
        plan[c.D_STAKE] = quantity * plan[c.P_RISK]
        plan[c.D_NOTIONAL] = notional(row, p, quantity)
        plan[c.D_WORST] = worst_case(plan, p, quantity)


@compiled
def carry_plan(
    plan: list[int],
    row: list[int],
    bars: list[list[int]],
    day: list[int],
    p: list[int],
    state: list[int],
    tally: list[int],
    fills: list[list[int]],
) -> None:
    """Play a plan's day, and keep with the plan what it came to."""
    quantity = plan[c.P_QUANTITY]
    highest = max(max(row[c.HIGH], row[c.LOW]), max(row[c.OPEN], row[c.CLOSE]))
    is_small = max(quantity, highest) <= MOST_PRODUCT
    if not is_small and quantity > c.MOST // 2 // highest:
        state[c.IS_BEYOND] = c.BEYOND
        plan[c.D_PLAYED] = plan[c.D_GAINED] = plan[c.D_SOLD] = 0
        return
    fees, filled, orders = tally[c.FEES], tally[c.FILLS], tally[c.ORDERS]
    trades, wins, ambiguous = tally[c.TRADES], tally[c.WINS], tally[c.AMBIGUOUS]
    plan[c.D_GAINED], plan[c.D_SOLD] = carry(plan, row, bars, day, p, state, tally, fills)
    plan[c.D_PLAYED] = quantity
    plan[c.D_FEES], plan[c.D_FILLS] = tally[c.FEES] - fees, tally[c.FILLS] - filled
    plan[c.D_ORDERS], plan[c.D_TRADES] = tally[c.ORDERS] - orders, tally[c.TRADES] - trades
    plan[c.D_WINS], plan[c.D_AMBIGUOUS] = tally[c.WINS] - wins, tally[c.AMBIGUOUS] - ambiguous


@compiled
def play_together(
    day: list[int],
    rows: list[list[int]],
    bars: list[list[int]],
    p: list[int],
    state: list[int],
    tally: list[int],
    plans: list[list[int]],
    ranks: list[list[int]],
    fills: list[list[int]],
    family: tuple[int, int, int, int],
) -> tuple[bool, int, int, int, int]:
    """Whether a set's plans all fit together, what they gain and what their sales bring.

    ``family``: how many candidates are ranked, the family's number, how many of them are in its sums, and how many
    may be; the last two are given back.
    """
    ranked, number, added, most = family
    # Only with more gaps are all that are tradable ranked.
    if p[c.HAS_MORE_GAPS] == 0 or day[c.IS_NO_TRADE] == 1:
        return False, 0, 0, added, most
    if p[c.MAX_POSITION_E8] < 0 and p[c.MAX_ORDER_E8] < 0:  # the account decides how large they are
        return False, 0, 0, added, most
    wanted = gapping(ranked, p[c.MIN_GAP], ranks[c.R_GAPS])
    if wanted == 0:
        return True, 0, 0, added, most
    if wanted > min(p[c.TOP], most):
        return False, 0, 0, added, most
    own = caps(p, state[c.EQUITY])
    if wanted > added:
        added = _add_up((added, wanted), day, rows, bars, p, state, own, plans, ranks, fills, number)
        if wanted > added:
            return False, 0, 0, added, added
    total = plans[ranks[c.R_BY_GAP][wanted - 1] - day[c.FIRST]]
    if not _all_fit(total, p, own, cash_of(day, p, state)):
        return False, 0, 0, added, most
    gained, sold = _book(total, tally)
    return True, gained, sold, added, most


@compiled
def _add_up(
    span: tuple[int, int],
    day: list[int],
    rows: list[list[int]],
    bars: list[list[int]],
    p: list[int],
    state: list[int],
    own: tuple[int, int, int, int, int],
    plans: list[list[int]],
    ranks: list[list[int]],
    fills: list[list[int]],
    family: int,
) -> int:
    """Go on with the sums from so many of the tradable candidates to so many; gives how far it came.

    It ends at a plan that is larger by its amounts than this account allows, and before a sum grows too large.
    """
    by_gap, spare = ranks[c.R_BY_GAP], plans[len(plans) - 1]  # no candidate's row: room for counts
    for column in range(c.TALLY_WIDTH):
        spare[column] = 0
    for place in range(span[0], span[1]):
        number = by_gap[place]
        plan = plans[number - day[c.FIRST]]
        if plan[c.D_FAMILY] != family:
            prepare(plan, number, rows, p, family)
        if place == 0:
            for column in range(c.S_COUNT, c.DAILY_PLAN_WIDTH):
                plan[column] = 0
        else:
            before = plans[by_gap[place - 1] - day[c.FIRST]]
            for column in range(c.S_COUNT, c.DAILY_PLAN_WIDTH):
                plan[column] = before[column]
        if plan[c.D_IS_PLAN] == 0:
            continue
        row = rows[number]
        if plan[c.D_AMOUNTS] <= 0 or plan[c.D_STAKE] > own[0] or plan[c.D_NOTIONAL] > own[1]:
            return place
        if max(max(row[c.HIGH], row[c.LOW]), max(row[c.OPEN], row[c.CLOSE])) > MOST_PRODUCT:
            return place
        if plan[c.D_PLAYED] != plan[c.D_AMOUNTS]:
            plan[c.P_QUANTITY] = plan[c.D_AMOUNTS]
            carry_plan(plan, row, bars, day, p, state, spare, fills)
        _add(plan, row)
        largest = max(max(plan[c.S_NOTIONAL], plan[c.S_WORST]), max(plan[c.S_SOLD], plan[c.S_FEES]))
        if max(largest, abs(plan[c.S_GAINED])) > MOST_SUM:
            return place
    return span[1]


@compiled
def _add(plan: list[int], row: list[int]) -> None:
    """A plan to the sums of those before it."""
    plan[c.S_COUNT] += 1
    plan[c.S_SHORTS] += 1 if row[c.DIRECTION] < 0 else 0
    plan[c.S_NOTIONAL] += plan[c.D_NOTIONAL]
    plan[c.S_WORST] += plan[c.D_WORST]
    plan[c.S_STAKE] = max(plan[c.S_STAKE], plan[c.D_STAKE])
    plan[c.S_POSITION] = max(plan[c.S_POSITION], plan[c.D_NOTIONAL])
    plan[c.S_WORTH] = max(plan[c.S_WORTH], plan[c.D_AMOUNTS] * row[c.LAST_PRICE])
    plan[c.S_GAINED] += plan[c.D_GAINED]
    plan[c.S_SOLD] += plan[c.D_SOLD]
    plan[c.S_FEES] += plan[c.D_FEES]
    plan[c.S_FILLS] += plan[c.D_FILLS]
    plan[c.S_ORDERS] += plan[c.D_ORDERS]
    plan[c.S_TRADES] += plan[c.D_TRADES]
    plan[c.S_WINS] += plan[c.D_WINS]
    plan[c.S_AMBIGUOUS] += plan[c.D_AMBIGUOUS]


@compiled
def _all_fit(total: list[int], p: list[int], own: tuple[int, int, int, int, int], cash: int) -> bool:
    """Whether an account decides, approves and executes all plans as large as their amounts allow."""
    stake_e8, position_e8, exposure_e8, room_e8, worth_e8 = own
    most = min(min(p[c.MOST_POSITIONS], p[c.MOST_TRADES]), p[c.MOST_ORDERS])
    if total[c.S_COUNT] > most or total[c.S_STAKE] > stake_e8 or total[c.S_POSITION] > position_e8:
        return False
    if total[c.S_NOTIONAL] > (cash if exposure_e8 < 0 else min(cash, exposure_e8)):
        return False
    return total[c.S_WORTH] <= worth_e8 and (room_e8 < 0 or total[c.S_WORST] <= room_e8)


@compiled
def _book(total: list[int], tally: list[int]) -> tuple[int, int]:
    """Count what all of them came to; gives what they gained and what their sales brought."""
    count = total[c.S_COUNT]
    tally[c.PLANS] += count
    tally[c.SHORT_PLANS] += total[c.S_SHORTS]
    tally[c.APPROVED] += count
    tally[c.ORDERS] += 3 * count + total[c.S_ORDERS]
    tally[c.FILLS] += total[c.S_FILLS]
    tally[c.TRADES] += total[c.S_TRADES]
    tally[c.WINS] += total[c.S_WINS]
    tally[c.FEES] += total[c.S_FEES]
    tally[c.GAINED] += total[c.S_GAINED]
    tally[c.AMBIGUOUS] += total[c.S_AMBIGUOUS]
    return total[c.S_GAINED], total[c.S_SOLD]
