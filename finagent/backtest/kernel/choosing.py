"""From a session's candidates to sized plans: limits of the scan, score, stop and target, quantity.

The formulas are those of ``gap_filters``, ``scoring``, ``planning`` and ``risk`` of the domain.
"""

from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.arithmetic import (
    RATIO,
    SHARE_E4,
    affordable,
    half_even,
    share_ceil,
    share_floor,
    towards,
)
from finagent.backtest.kernel.compiling import compiled

MAX_PRICE_E4 = 10**11
MAX_QUANTITY_E4 = 10**13
MIN_MARGIN_E8 = 2_000 * 10**8
MOST_PRODUCT = 2**30
"""The product of two numbers up to this leaves room for a ratio."""


@compiled
def reach(first: int, last: int, rows: list[list[int]], least_gap: int) -> int:
    """The end of the candidates that gap enough: the largest gap comes first."""
    while last > first and rows[last - 1][c.GAP] < least_gap:
        last -= 1
    return last


@compiled
def choose(
    first: int,
    last: int,
    rows: list[list[int]],
    p: list[int],
    plans: list[list[int]],
    tally: list[int],
) -> int:
    """The best tradable candidates of those that gap enough into ``plans``, best score first, then by symbol; gives how
    many.
    """
    count = 0
    for number in range(first, last):
        row = rows[number]
        if not passes(row, p):
            continue
        tally[c.CANDIDATES] += 1
        if row[c.DIRECTION] > 0 or p[c.ALLOWS_SHORTS] == 1:
            count = insert(number, score(row, p), rows, plans, count, p[c.TOP])
    return count


@compiled
def insert(
    number: int, value: int, rows: list[list[int]], plans: list[list[int]], count: int, most: int
) -> int:
    """A candidate among those chosen so far, of which the best ``most`` are kept; gives how many there are now."""
    place = count
    while place > 0 and _is_before(value, rows[number], plans[place - 1], rows):
        place -= 1
    if place >= most:
        return count
    count = min(count + 1, most)
    for later in range(count - 1, place, -1):
        plans[later][c.P_ROW] = plans[later - 1][c.P_ROW]
        plans[later][c.P_SCORE] = plans[later - 1][c.P_SCORE]
    plans[place][c.P_ROW] = number
    plans[place][c.P_SCORE] = value
    return count


@compiled
def passes(row: list[int], p: list[int]) -> bool:
    """Whether a candidate of the index is one under these limits."""
    if row[c.INDICATION] < p[c.MIN_PRICE] or row[c.INDICATION] > p[c.MAX_PRICE]:
        return False
    if p[c.KEEPS_UNKNOWN] == 0 and (row[c.ADV_USD] < 0 or row[c.RVOL] < 0 or row[c.SPREAD] < 0):
        return False
    if 0 <= row[c.ADV_USD] < p[c.MIN_ADV] or 0 <= row[c.RVOL] < p[c.MIN_RVOL]:
        return False
    if row[c.PREMARKET] == 1 and max(row[c.PREMARKET_VOLUME], 0) < p[c.MIN_PREMARKET]:
        return False
    return row[c.SPREAD] <= p[c.MAX_SPREAD]


@compiled
def score(row: list[int], p: list[int]) -> int:
    """The weighted sum of the factors."""
    return half_even(
        row[c.VOLATILITY] * p[c.W_VOLATILITY]
        + row[c.CATALYST] * p[c.W_CATALYST]
        + row[c.SENTIMENT] * p[c.W_SENTIMENT]
        + row[c.LIQUIDITY] * p[c.W_LIQUIDITY],
        RATIO,
    )


@compiled
def _is_before(value: int, row: list[int], plan: list[int], rows: list[list[int]]) -> bool:
    if value != plan[c.P_SCORE]:
        return value > plan[c.P_SCORE]
    return row[c.SYMBOL] < rows[plan[c.P_ROW]][c.SYMBOL]


@compiled
def draw_up(plan: list[int], row: list[int], p: list[int]) -> bool:
    """Stop at the tighter of percentage and ATR multiple, target at a multiple of R; False: there is no plan."""
    sign, reference = row[c.DIRECTION], row[c.LAST_PRICE]
    if sign < 0 and row[c.RESTRICTED] < 0:
        return False
    width = reference * p[c.STOP_WIDTH]
    if row[c.ATR] > 0:
        width = min(width, row[c.ATR] * p[c.STOP_ATR])
    stop = towards(reference, reference * RATIO - sign * width)
    if sign * (reference - stop) <= 0:
        return False
    risk = sign * (reference - stop)
    target = towards(reference, reference * RATIO + sign * risk * p[c.TARGET_R])
    if sign * (target - reference) <= 0 or target <= 0:
        return False
    plan[c.P_STOP], plan[c.P_TARGET], plan[c.P_RISK] = stop, target, risk
    return True


@compiled
def size(
    plan: list[int],
    row: list[int],
    p: list[int],
    equity_e8: int,
    funds_e8: int,
    taken: tuple[int, int, int, int, int],
    now_e8: int,
) -> int:
    """The quantity that every cap allows, in whole lots; 0 refuses. Equity is the day's first, ``now_e8`` the present.

    ``taken``: what is held and reserved besides (notional; worst case, with what is lost already), how many positions
    and trades that makes, and the orders of the last minute.
    """
    notional_e8, worst_e8, positions, trades, orders = taken
    if positions >= p[c.MOST_POSITIONS] or trades >= p[c.MOST_TRADES] or orders >= p[c.MOST_ORDERS]:
        return 0
    price, risk, is_short = row[c.LAST_PRICE], plan[c.P_RISK], row[c.DIRECTION] < 0
    if plan[c.P_STOP] <= 0 or plan[c.P_STOP] > MAX_PRICE_E4 or plan[c.P_TARGET] > MAX_PRICE_E4:
        return 0
    if is_short and (p[c.IS_CASH_SETTLED] == 1 or row[c.RESTRICTED] == 1):
        return 0
    if is_short and p[c.NEEDS_MARGIN] == 1 and now_e8 < MIN_MARGIN_E8:
        return 0
    capital = max(equity_e8, 0)
    if p[c.BANKROLL] >= 0:
        capital = min(capital, p[c.BANKROLL])
    cost = price * (RATIO + p[c.SIZING_SLIPPAGE])
    quantity = share_floor(capital, p[c.RISK_PER_TRADE]) // risk
    most_e8 = funds_e8  # of all amounts that buy at this cost the least one binds
    if p[c.MAX_POSITION] >= 0:
        most_e8 = min(most_e8, share_floor(capital, p[c.MAX_POSITION]))
    if p[c.MAX_POSITION_E8] >= 0:
        most_e8 = min(most_e8, p[c.MAX_POSITION_E8])
    if p[c.MAX_ORDER_E8] >= 0:
        most_e8 = min(most_e8, p[c.MAX_ORDER_E8])
    if row[c.ADV_SHARES] >= 0:
        quantity = min(quantity, share_floor(row[c.ADV_SHARES] * SHARE_E4, p[c.MAX_ADV_SHARE]))
    if p[c.MAX_EXPOSURE] >= 0:
        most_e8 = min(most_e8, share_floor(capital, p[c.MAX_EXPOSURE]) - notional_e8)
    is_small = max(quantity, price, risk) <= MOST_PRODUCT
    if not is_small or notional(row, p, quantity) > most_e8:  # what fits needs no division
        quantity = min(quantity, affordable(most_e8, cost))
    room = loss_limit(p[c.FLATTEN_SHARE], p[c.FLATTEN_E8], equity_e8)
    if room >= 0 and (not is_small or worst_case(plan, p, quantity) > room - worst_e8):
        quantity = min(quantity, affordable(room - worst_e8, risk * (RATIO + p[c.EXTRA_R])))
    lot = max(p[c.LOT], SHARE_E4) if is_short else p[c.LOT]
    return quantity // SHARE_E4 * SHARE_E4 if lot == SHARE_E4 else quantity // lot * lot


@compiled
def still_fits(
    plan: list[int],
    p: list[int],
    equity_e8: int,
    funds_e8: int,
    taken: tuple[int, int, int, int, int],
) -> bool:
    """Whether a sized plan keeps its quantity when others take this much: what it takes is the least that buys it."""
    notional_e8, worst_e8, positions, trades, orders = taken
    if positions >= p[c.MOST_POSITIONS] or trades >= p[c.MOST_TRADES] or orders >= p[c.MOST_ORDERS]:
        return False
    capital = max(equity_e8, 0)
    if p[c.BANKROLL] >= 0:
        capital = min(capital, p[c.BANKROLL])
    if p[c.MAX_EXPOSURE] >= 0:
        funds_e8 = min(funds_e8, share_floor(capital, p[c.MAX_EXPOSURE]) - notional_e8)
    room = loss_limit(p[c.FLATTEN_SHARE], p[c.FLATTEN_E8], equity_e8)
    return plan[c.P_NOTIONAL] <= funds_e8 and (room < 0 or plan[c.P_WORST] <= room - worst_e8)


@compiled
def loss_limit(share: int, amount: int, equity_e8: int) -> int:
    """The smaller of a share of the equity and an amount; OFF where both are."""
    if share < 0:
        return amount
    limit = share_floor(max(equity_e8, 0), share)
    return limit if amount < 0 else min(limit, amount)


@compiled
def notional(row: list[int], p: list[int], quantity_e4: int) -> int:
    """What a quantity takes from the limits at its worst entry."""
    worth = quantity_e4 * row[c.LAST_PRICE]
    return worth + share_ceil(worth, p[c.SIZING_SLIPPAGE])


@compiled
def worst_case(plan: list[int], p: list[int], quantity_e4: int) -> int:
    """What a quantity loses at its stop and the extra R beyond it."""
    risk = quantity_e4 * plan[c.P_RISK]
    return risk + share_ceil(risk, p[c.EXTRA_R])


@compiled
def may_leave(row: list[int], p: list[int], equity_e8: int, quantity_e4: int) -> bool:
    """The last look at an order: its quantity, and its worth against the caps with the price band on top."""
    if quantity_e4 > MAX_QUANTITY_E4:
        return False
    worth = quantity_e4 * row[c.LAST_PRICE]
    if p[c.MAX_ORDER_E8] >= 0 and worth > p[c.MAX_ORDER_E8]:
        return False
    cap = equity_e8
    if p[c.MAX_POSITION_E8] >= 0:
        cap = min(cap, p[c.MAX_POSITION_E8])
    if p[c.MAX_POSITION] >= 0:
        cap = min(cap, share_floor(equity_e8, p[c.MAX_POSITION]))
    if p[c.BANKROLL] >= 0:
        cap = min(cap, p[c.BANKROLL])
    return worth <= share_floor(cap, RATIO + max(p[c.PRICE_BAND], 0))
