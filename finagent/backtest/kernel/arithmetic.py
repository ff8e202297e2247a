"""Exact shares, prices on the tick grid and fees, in integers of 64 bits: no product passes 2^62 within the bounds.

Each is a formula of the domain (``money``, ``grid``, ``costs``) with its products taken apart; amounts are never
negative.
"""

from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.compiling import compiled

RATIO = 1_000_000
SHARE_E4 = DOLLAR_E4 = 10_000
CENT_E8 = 1_000_000
LITTLE = 4 * 10**12
"""An amount up to this times a ratio up to 1 stays below 2^62: one division is enough, and it is the usual case."""


@compiled
def share_floor(amount: int, ratio_e6: int) -> int:
    """``amount * ratio_e6 // 1_000_000``."""
    if 0 <= amount <= LITTLE and ratio_e6 <= RATIO:
        return amount * ratio_e6 // RATIO
    whole = amount // RATIO
    return whole * ratio_e6 + (amount - whole * RATIO) * ratio_e6 // RATIO


@compiled
def share_ceil(amount: int, ratio_e6: int) -> int:
    """The same rounded up."""
    if 0 <= amount <= LITTLE and ratio_e6 <= RATIO:
        return -(-amount * ratio_e6 // RATIO)
    whole = amount // RATIO
    return whole * ratio_e6 + -(-(amount - whole * RATIO) * ratio_e6 // RATIO)


@compiled
def affordable(money_e8: int, per_share_e10: int) -> int:
    """``money_e8 * 1_000_000 // per_share_e10``, by long division in one step or in three; nothing below 0."""
    if money_e8 <= 0:
        return 0
    if money_e8 <= LITTLE:
        return money_e8 * RATIO // per_share_e10
    quotient = money_e8 // per_share_e10
    rest = money_e8 - quotient * per_share_e10
    if per_share_e10 <= c.MOST // RATIO:
        return quotient * RATIO + rest * RATIO // per_share_e10
    for _ in range(3):
        rest *= 100
        digit = rest // per_share_e10
        quotient = quotient * 100 + digit
        rest -= digit * per_share_e10
    return quotient


@compiled
def whole_lots(quantity_e4: int, lot_e4: int) -> int:
    """A quantity rounded down to lots; a lot is nearly always one share, and to divide by that is a multiplication."""
    if lot_e4 == SHARE_E4:
        return quantity_e4 // SHARE_E4 * SHARE_E4
    return quantity_e4 // lot_e4 * lot_e4


@compiled
def half_even(numerator: int, denominator: int) -> int:
    """The nearest quotient, ties to even."""
    quotient = numerator // denominator
    twice = 2 * (numerator - quotient * denominator)
    if twice > denominator or (twice == denominator and quotient % 2 == 1):
        return quotient + 1
    return quotient


@compiled
def tick_e4(price_e4: int) -> int:
    """The price increment at a price."""
    return 100 if price_e4 >= DOLLAR_E4 else 1


@compiled
def towards(entry_e4: int, numerator: int) -> int:
    """The grid price nearest to ``numerator / 1_000_000`` on its entry side."""
    has_cents = numerator >= DOLLAR_E4 * RATIO
    if numerator > entry_e4 * RATIO:
        return numerator // (RATIO * 100) * 100 if has_cents else numerator // RATIO
    return -(-numerator // (RATIO * 100)) * 100 if has_cents else -(-numerator // RATIO)


@compiled
def slipped(is_buy: bool, price_e4: int, slippage_e6: int) -> int:
    """The price after slippage, rounded against the trader to the grid and never below one tick."""
    if tick_e4(price_e4) == 100:  # a division by what is known beforehand is a multiplication
        if is_buy:
            return -(-price_e4 * (RATIO + slippage_e6) // (RATIO * 100)) * 100
        return max(price_e4 * (RATIO - slippage_e6) // (RATIO * 100) * 100, 100)
    if is_buy:
        return -(-price_e4 * (RATIO + slippage_e6) // RATIO)
    return max(price_e4 * (RATIO - slippage_e6) // RATIO, 1)


@compiled
def fees(
    p: list[int],
    day: list[int],
    is_buy: bool,
    quantity_e4: int,
    price_e4: int,
    filled_e4: int,
    filled_e8: int,
) -> int:
    """What one fill adds to its order's commission and, on sales, the session's regulatory fees, each rounded up by
    itself; ``filled_e4`` and ``filled_e8``: shares and notional of the order's fills before.
    """
    notional_e8 = quantity_e4 * price_e4
    charge = _commission(p, filled_e4 + quantity_e4, filled_e8 + notional_e8)
    if filled_e4 > 0:
        charge -= _commission(p, filled_e4, filled_e8)
    if is_buy or p[c.HAS_REGULATORY] == 0:
        return charge
    return charge + _sec_fee(day[c.SEC_CENTS], notional_e8) + _taf(day, quantity_e4)


@compiled
def _commission(p: list[int], quantity_e4: int, notional_e8: int) -> int:
    """Of an order that has filled so much: per share, at least so much, at most a share of the notional."""
    whole = quantity_e4 // SHARE_E4
    charge, rest = whole * p[c.FEE_SHARE], quantity_e4 - whole * SHARE_E4
    if rest > 0:
        charge += -(-rest * p[c.FEE_SHARE] // SHARE_E4)
    charge = max(charge, p[c.FEE_MIN])
    if p[c.FEE_MAX] >= 0:
        charge = min(charge, share_ceil(notional_e8, p[c.FEE_MAX]))
    return charge


@compiled
def _sec_fee(cents: int, notional_e8: int) -> int:
    """``ceil(notional_e8 * cents / 10^14)`` cents, the notional taken apart at 10^7."""
    high = notional_e8 // 10_000_000
    low = (notional_e8 - high * 10_000_000) * cents
    carried = high * cents + low // 10_000_000
    is_more = low % 10_000_000 > 0 or carried % 10_000_000 > 0
    return (carried // 10_000_000 + (1 if is_more else 0)) * CENT_E8


@compiled
def _taf(day: list[int], quantity_e4: int) -> int:
    return min(-(-quantity_e4 * day[c.TAF_RATE] // (SHARE_E4 * CENT_E8)) * CENT_E8, day[c.TAF_CAP])
