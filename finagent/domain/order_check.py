"""The last look at an order before it may leave: quantity, price, lot, grid, band and size."""

from finagent.domain.account import share_of
from finagent.domain.market import Instrument
from finagent.domain.money import RATIO_SCALE
from finagent.domain.orders import ENTRY_LEG, OrderIntent, OrderType
from finagent.domain.risk_profile import RiskProfile


def order_check(
    intent: OrderIntent,
    *,
    last_price_e4: int | None,
    profile: RiskProfile,
    equity_e8: int,
    lot_e4: int | None = None,
    orders_last_minute: int = 0,
) -> tuple[str, ...]:
    """Why an order must not leave, last look before sending; empty when it may.

    Every order needs a quantity and the price of its type. Only entries are held to the lot, the price grid,
    the price band around the last price, the order rate and a notional (fat-finger) limit: the position cap
    plus the band.
    """
    price_e4 = intent.stop_e4 if intent.type is OrderType.STOP else intent.limit_e4
    reasons = [] if intent.quantity_e4 > 0 else ["bad_quantity"]
    if intent.type is not OrderType.MARKET and (price_e4 is None or price_e4 <= 0):
        reasons.append("bad_price")
    if intent.leg != ENTRY_LEG or reasons:
        return tuple(reasons)
    if intent.quantity_e4 % (lot_e4 or profile.lot_e4):
        reasons.append("odd_lot")
    if last_price_e4 is None or last_price_e4 <= 0:
        return (*reasons, "no_price")
    asked_e4 = price_e4 or last_price_e4
    if price_e4 is not None and price_e4 % Instrument(symbol=intent.symbol).tick_e4(price_e4):
        reasons.append("off_tick")
    band_e6 = profile.price_band_e6 or 0
    if profile.price_band_e6 and abs(asked_e4 - last_price_e4) * RATIO_SCALE > last_price_e4 * band_e6:
        reasons.append("price_band")
    limits = (profile.max_position_notional_e8, share_of(equity_e8, profile.max_position_e6), equity_e8)
    cap_e8 = min(limit for limit in limits if limit is not None)
    notional_e8 = intent.quantity_e4 * max(asked_e4, last_price_e4)
    if notional_e8 * RATIO_SCALE > cap_e8 * (RATIO_SCALE + band_e6):
        reasons.append("fat_finger")
    if orders_last_minute >= profile.max_orders_per_minute:
        reasons.append("orders_per_minute")
    return tuple(reasons)
