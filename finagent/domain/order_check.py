"""The last look at an order before it may leave: whose it is, quantity, price, its age, halts, lot, grid and size."""

from dataclasses import dataclass
from itertools import compress

from finagent.domain.account import share_of
from finagent.domain.legs import entry_side, exit_side
from finagent.domain.market import Direction, Instrument, Session
from finagent.domain.money import PRICE_SCALE, RATIO_SCALE, SHARE_E4
from finagent.domain.orders import ENTRY_LEG, OrderIntent, OrderType
from finagent.domain.plan import AUCTION_NOTE, Plan
from finagent.domain.risk_profile import RiskProfile
from finagent.domain.rows import maker, quick
from finagent.domain.shorts import UNKNOWN, ShortNow

MAX_QUANTITY_E4 = 10**9 * SHARE_E4
"""A billion shares: more is a mistake, whatever the limits say."""
MAX_PRICE_E4 = 10**7 * PRICE_SCALE
"""Ten million a share, ten times the dearest stock there is."""
_STOP = OrderType.STOP
HALT_LOOK_MS = 20_000
"""Between two looks at an entry that waits for the end of a halt."""
OF_A_HALT = frozenset({"halted", "stale_quote", "no_price"})
"""What a halt brings with it, and its end takes away."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What the last look knows beside the order; prices in 1e-4, money in 1e-8.

    ``session`` is the one whose hours hold now; ``instrument`` and ``last_price_e4`` are None where unknown.
    """

    now_ms: int
    session: Session
    instrument: Instrument | None
    last_price_e4: int | None
    equity_e8: int
    orders_last_minute: int
    is_halted: bool
    is_price_stale: bool
    short: ShortNow = UNKNOWN


new_circumstances = maker(Circumstances)


def order_check(
    intent: OrderIntent, plan: Plan, profile: RiskProfile, seen: Circumstances
) -> tuple[str, ...]:
    """Why an order must not leave, last look before its intent; empty when it may.

    Every order must be its plan's own, with a quantity and the price of its type. Only entries are held to
    the market's hours, a halt, the age of the last price, the lot, the price grid, the price band around the last
    price, the order rate and the size of one order: its own cap, and the position cap plus the band (a fat finger).
    """
    reasons = _malformed(intent, plan)
    if intent.leg != ENTRY_LEG or reasons:
        return reasons
    applies = (
        not _is_market_open(plan, seen),
        seen.is_halted,
        seen.is_price_stale,
        seen.instrument is None,
        intent.quantity_e4 % max(plan.lot_e4, profile.lot_e4) != 0,
        seen.orders_last_minute >= profile.max_orders_per_minute,
    )
    reasons = tuple(compress(_UNFIT, applies)) + _short(intent, plan, seen)
    if seen.last_price_e4 is None or seen.last_price_e4 <= 0:
        return (*reasons, "no_price")
    return reasons + _priced(intent, profile, seen, seen.last_price_e4)


def waits_for_halt(
    reasons: tuple[str, ...],
    plan: Plan,
    *,
    halted_ms: int | None,
    price_e4: int | None,
    price_at_ms: int | None,
) -> bool:
    """Whether a halt alone keeps an entry from leaving, so that it waits; it ends with its window.

    ``reasons`` are those of this look, ``halted_ms`` is when an earlier one last saw the halt, None where none did.
    The first price since the halt decides; a trigger that it does not reach has to be reached again.
    """
    if not OF_A_HALT.issuperset(reasons):
        return False
    if "halted" in reasons or halted_ms is None:
        return "halted" in reasons
    if price_e4 is None or price_at_ms is None or price_at_ms <= halted_ms:
        return True
    return plan.trigger_e4 is not None and plan.direction.sign * (price_e4 - plan.trigger_e4) < 0


_MALFORMED = ("not_of_plan", "bad_quantity", "exceeds_plan", "bad_price")
_UNFIT = ("market_closed", "halted", "stale_quote", "unknown_symbol", "odd_lot", "orders_per_minute")
_PRICED = ("off_tick", "price_band", "order_notional", "fat_finger")
"""What each look may find, in the order in which it looks."""


def _malformed(intent: OrderIntent, plan: Plan) -> tuple[str, ...]:
    side = entry_side(plan) if intent.leg == ENTRY_LEG else exit_side(plan)
    own = (plan.plan_id, plan.symbol, side)
    price_e4 = _own_price_e4(intent)
    is_priced = price_e4 is not None and 0 < price_e4 <= MAX_PRICE_E4
    is_whole = 0 < intent.quantity_e4 <= MAX_QUANTITY_E4
    applies = (
        (intent.plan_id, intent.symbol, intent.side) != own,
        not is_whole,
        is_whole and 0 < plan.quantity_e4 < intent.quantity_e4,
        intent.type is not OrderType.MARKET and not is_priced,
    )
    return tuple(compress(_MALFORMED, applies))


def _is_market_open(plan: Plan, seen: Circumstances) -> bool:
    """Inside the hours of the plan's own session; an auction entry leaves before they begin."""
    if plan.session != seen.session.date or seen.now_ms >= seen.session.close_ms:
        return False
    return seen.now_ms >= seen.session.open_ms or AUCTION_NOTE in plan.notes


def _short(intent: OrderIntent, plan: Plan, seen: Circumstances) -> tuple[str, ...]:
    """Under the restriction, or where nobody knows of it, a short is a limit above the bid or does not leave."""
    if plan.direction is Direction.LONG:
        return ()
    bid_e4, limit_e4 = seen.short.bid_e4, intent.limit_e4
    is_above = bid_e4 is not None and limit_e4 is not None and limit_e4 > bid_e4
    found = (
        ("short_at_bid", seen.short.is_restricted is not False and not is_above),
        ("odd_short", intent.quantity_e4 % SHARE_E4 != 0),
    )
    return tuple([name for name, is_true in found if is_true])


def _priced(
    intent: OrderIntent, profile: RiskProfile, seen: Circumstances, last_price_e4: int
) -> tuple[str, ...]:
    price_e4, band_e6 = _own_price_e4(intent), profile.price_band_e6 or 0
    asked_e4 = price_e4 or last_price_e4
    instrument = seen.instrument or Instrument(symbol=intent.symbol)
    away_e10 = abs(asked_e4 - last_price_e4) * RATIO_SCALE
    notional_e8 = intent.quantity_e4 * max(asked_e4, last_price_e4)
    limits = (
        profile.max_position_notional_e8,
        share_of(seen.equity_e8, profile.max_position_e6),
        profile.bankroll_e8,
        seen.equity_e8,
    )
    cap_e8 = min([limit for limit in limits if limit is not None])
    order_cap_e8 = profile.max_order_notional_e8
    applies = (
        price_e4 is not None and price_e4 % instrument.tick_e4(price_e4) != 0,
        profile.price_band_e6 is not None and away_e10 > last_price_e4 * band_e6,
        order_cap_e8 is not None and notional_e8 > order_cap_e8,
        notional_e8 * RATIO_SCALE > cap_e8 * (RATIO_SCALE + band_e6),
    )
    return tuple(compress(_PRICED, applies))


def _own_price_e4(intent: OrderIntent) -> int | None:
    return intent.stop_e4 if intent.type is _STOP else intent.limit_e4
