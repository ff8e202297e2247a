"""From a chosen candidate to a sized plan: stop and target, the account's caps, the quantity, the last look.

The formulas are those of ``planning`` and ``risk`` of the domain.
"""

from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.arithmetic import (
    RATIO,
    SHARE_E4,
    affordable,
    share_ceil,
    share_floor,
    towards,
    whole_lots,
)
from finagent.backtest.kernel.compiling import compiled

MAX_PRICE_E4 = 10**11
MAX_QUANTITY_E4 = 10**13
MIN_MARGIN_E8 = 2_000 * 10**8
MOST_PRODUCT = 2**30
"""The product of two numbers up to this leaves room for a ratio."""


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
def unsettled(day: list[int], state: list[int]) -> int:
    """Sales of sessions before that have not settled this morning."""
    total = day[c.UNSETTLED]
    if day[c.UNSETTLED_DAYS] >= 1:
        total += state[c.SOLD_BEFORE]
    if day[c.UNSETTLED_DAYS] >= 2:
        total += state[c.SOLD_EARLIER]
    return total


@compiled
def cash_of(day: list[int], p: list[int], state: list[int]) -> int:
    """Money that may be spent this morning."""
    cash = state[c.EQUITY]
    if p[c.IS_CASH_SETTLED] == 1:
        cash = min(cash, cash - unsettled(day, state))
    return max(cash, 0)


@compiled
def caps(p: list[int], equity_e8: int) -> tuple[int, int, int, int, int]:
    """What an account of this equity allows: the risk of a plan, the money of a position, the exposure and the loss of
    all of them (OFF where there is no limit), and the worth of an order as it leaves.
    """
    capital = max(equity_e8, 0)
    if p[c.BANKROLL] >= 0:
        capital = min(capital, p[c.BANKROLL])
    position, last = c.MOST, equity_e8
    if p[c.MAX_POSITION] >= 0:
        position = share_floor(capital, p[c.MAX_POSITION])
        last = min(last, share_floor(equity_e8, p[c.MAX_POSITION]))
    if p[c.MAX_POSITION_E8] >= 0:
        position = min(position, p[c.MAX_POSITION_E8])
        last = min(last, p[c.MAX_POSITION_E8])
    if p[c.BANKROLL] >= 0:
        last = min(last, p[c.BANKROLL])
    last = share_floor(last, RATIO + max(p[c.PRICE_BAND], 0))
    if p[c.MAX_ORDER_E8] >= 0:
        position = min(position, p[c.MAX_ORDER_E8])
        last = min(last, p[c.MAX_ORDER_E8])
    exposure = share_floor(capital, p[c.MAX_EXPOSURE]) if p[c.MAX_EXPOSURE] >= 0 else c.OFF
    room = loss_limit(p[c.FLATTEN_SHARE], p[c.FLATTEN_E8], equity_e8)
    return share_floor(capital, p[c.RISK_PER_TRADE]), position, exposure, room, last


@compiled
def size(
    plan: list[int],
    row: list[int],
    p: list[int],
    own: tuple[int, int, int, int, int],
    funds_e8: int,
    taken: tuple[int, int, int, int, int],
    now_e8: int,
) -> int:
    """The quantity that every cap allows, in whole lots; 0 refuses. ``own``: the caps of the day's first equity, while
    ``now_e8`` is the present one.

    ``taken``: what is held and reserved besides (notional; worst case, with what is lost already), how many positions
    and trades that makes, and the orders of the last minute.
    """
    notional_e8, worst_e8, positions, trades, orders = taken
    if positions >= p[c.MOST_POSITIONS] or trades >= p[c.MOST_TRADES] or orders >= p[c.MOST_ORDERS]:
        return 0
    if is_refused(plan, row, p, now_e8):
        return 0
    price, risk = row[c.LAST_PRICE], plan[c.P_RISK]
    stake_e8, most_e8, exposure_e8, room_e8, _ = own
    quantity = stake_e8 // risk
    most_e8 = min(most_e8, funds_e8)  # of all amounts that buy at this cost the least one binds
    if exposure_e8 >= 0:
        most_e8 = min(most_e8, exposure_e8 - notional_e8)
    if row[c.ADV_SHARES] >= 0:
        quantity = min(quantity, share_floor(row[c.ADV_SHARES] * SHARE_E4, p[c.MAX_ADV_SHARE]))
    is_small = max(quantity, price, risk) <= MOST_PRODUCT
    if not is_small or notional(row, p, quantity) > most_e8:  # what fits needs no division
        quantity = min(quantity, affordable(most_e8, price * (RATIO + p[c.SIZING_SLIPPAGE])))
    if room_e8 >= 0 and (not is_small or worst_case(plan, p, quantity) > room_e8 - worst_e8):
        quantity = min(quantity, affordable(room_e8 - worst_e8, risk * (RATIO + p[c.EXTRA_R])))
    return whole_lots(quantity, lot_of(row, p))


@compiled
def is_refused(plan: list[int], row: list[int], p: list[int], now_e8: int) -> bool:
    """Whether no quantity is right: prices that are none, or a short that the account may not have."""
    if plan[c.P_STOP] <= 0 or plan[c.P_STOP] > MAX_PRICE_E4 or plan[c.P_TARGET] > MAX_PRICE_E4:
        return True
    if row[c.DIRECTION] > 0:
        return False
    if p[c.IS_CASH_SETTLED] == 1 or row[c.RESTRICTED] == 1:
        return True
    return p[c.NEEDS_MARGIN] == 1 and now_e8 < MIN_MARGIN_E8


@compiled
def lot_of(row: list[int], p: list[int]) -> int:
    """Shorts are sold in whole shares."""
    return max(p[c.LOT], SHARE_E4) if row[c.DIRECTION] < 0 else p[c.LOT]


@compiled
def size_by_amounts(row: list[int], p: list[int]) -> int:
    """The quantity that the caps allow which no account changes; OFF where there are none."""
    most_e8, quantity = p[c.MAX_POSITION_E8], c.OFF
    if p[c.MAX_ORDER_E8] >= 0:
        most_e8 = min(most_e8, p[c.MAX_ORDER_E8]) if most_e8 >= 0 else p[c.MAX_ORDER_E8]
    if most_e8 >= 0:
        quantity = affordable(most_e8, row[c.LAST_PRICE] * (RATIO + p[c.SIZING_SLIPPAGE]))
    if row[c.ADV_SHARES] >= 0:
        shares = share_floor(row[c.ADV_SHARES] * SHARE_E4, p[c.MAX_ADV_SHARE])
        quantity = min(quantity, shares) if quantity >= 0 else shares
    return quantity if quantity < 0 else whole_lots(quantity, lot_of(row, p))


@compiled
def still_fits(
    plan: list[int],
    p: list[int],
    own: tuple[int, int, int, int, int],
    funds_e8: int,
    taken: tuple[int, int, int, int, int],
) -> bool:
    """Whether a sized plan keeps its quantity when others take this much: what it takes is the least that buys it."""
    notional_e8, worst_e8, positions, trades, orders = taken
    if positions >= p[c.MOST_POSITIONS] or trades >= p[c.MOST_TRADES] or orders >= p[c.MOST_ORDERS]:
        return False
    if own[2] >= 0:
        funds_e8 = min(funds_e8, own[2] - notional_e8)
    return plan[c.P_NOTIONAL] <= funds_e8 and (own[3] < 0 or plan[c.P_WORST] <= own[3] - worst_e8)


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
def reserve(plan: list[int], row: list[int], p: list[int], quantity: int) -> None:
    """Size a plan and take what it takes from the limits."""
    plan[c.P_QUANTITY] = quantity
    plan[c.P_NOTIONAL] = notional(row, p, quantity)
    plan[c.P_WORST] = worst_case(plan, p, quantity)


@compiled
def may_leave(row: list[int], own: tuple[int, int, int, int, int], quantity_e4: int) -> bool:
    """The last look at an order: its quantity, and its worth against the caps with the price band on top."""
    return quantity_e4 <= MAX_QUANTITY_E4 and quantity_e4 * row[c.LAST_PRICE] <= own[4]
