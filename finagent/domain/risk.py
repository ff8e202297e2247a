"""Risk: profiles, sizing with its caps, the limits of the day, and a reason for every refusal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from finagent.domain.errors import SettingsValueError
from finagent.domain.market import Direction, Instrument
from finagent.domain.money import MONEY_SCALE, RATIO_SCALE, SHARE_E4, div_ceil
from finagent.domain.orders import ENTRY_LEG, OrderIntent, OrderType
from finagent.domain.plan import Plan

DAY_TRADE_RULES = ("intraday_margin", "cash_settled", "none")
_RULES_TEXT = ", ".join(DAY_TRADE_RULES)


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskProfile:
    """Limits of an account; ratios in 1e-6 of day-start equity, money in 1e-8; None switches a limit off."""

    name: str = "standard"
    risk_per_trade_e6: int = 5_000
    max_position_e6: int | None = 200_000
    max_position_notional_e8: int | None = None
    max_open_positions: int = 3
    max_trades_per_day: int = 5
    pause_loss_e6: int | None = 15_000
    flatten_loss_e6: int | None = 20_000
    pause_loss_e8: int | None = None
    flatten_loss_e8: int | None = None
    max_adv_share_e6: int = 5_000
    max_spread_e6: int | None = 3_000
    max_exposure_e6: int | None = 1_000_000
    max_orders_per_minute: int = 10
    lot_e4: int = 10_000
    allow_shorts: bool = False
    worst_case_extra_r_e6: int = 500_000
    day_trade_rule: str = "intraday_margin"
    bankroll_e8: int | None = None
    """Sizing and exposure count at most this much of the equity."""
    price_band_e6: int | None = 100_000
    """How far an entry's price may be from the last price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """The account as risk sees it at one instant, money in 1e-8; counts include reservations."""

    equity_e8: int
    day_start_equity_e8: int
    cash_e8: int
    buying_power_e8: int
    realised_pnl_e8: int = 0
    open_pnl_e8: int = 0
    open_worst_case_e8: int = 0
    """Sum over open positions and reservations of what they lose at stop + 0.5 R, as a positive amount."""
    exposure_e8: int = 0
    """Notional of open positions and of reservations."""
    open_positions: int = 0
    trades_today: int = 0
    symbols_today: tuple[str, ...] = ()
    orders_last_minute: int = 0
    is_paused: bool = False
    is_killed: bool = False
    locked_symbols: tuple[str, ...] = ()
    blocked_symbols: tuple[str, ...] = ()
    entry_gate_reason: str | None = None
    """Why no entry is possible at all (reconcile open, loss limit, rearm needed); None when the gate is open.
    """
    pause_reason: str | None = None

    @property
    def day_pnl_e8(self) -> int:
        """Profit and loss of the day including open positions."""
        return self.equity_e8 - self.day_start_equity_e8


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskDecision:
    """Approved with a quantity and what it reserves, or refused with reasons."""

    plan_id: str
    version: int
    is_approved: bool
    quantity_e4: int = 0
    notional_e8: int = 0
    worst_case_e8: int = 0
    reasons: tuple[str, ...] = ()
    caps: tuple[tuple[str, int], ...] = ()
    """Each cap's quantity in 1e-4 shares, in the order they were tried; the smallest binds."""
    binding_cap: str | None = None


@dataclass(frozen=True, slots=True)
class _Sizing:
    """What a quantity costs: R, the worst entry and the worst case per share, in 1e-4; the lot in 1e-4
    shares.
    """

    risk_per_share_e4: int
    cost_per_share_e10: int
    worst_per_share_e10: int
    lot_e4: int


def standard_profile() -> RiskProfile:
    """0.5 % risk a trade, 20 % a position, 3 open, 5 a day, pause at -1.5 %, flatten at -2 %."""
    return RiskProfile()


def micro_profile() -> RiskProfile:
    """A bankroll of 500: at most 250 a symbol, long only, settled cash, 2 open, pause at -22, flatten at -33.

    1.5 % risk a trade is 7.50: both open trades at stop + 0.5 R stay within the flatten limit.
    """
    return RiskProfile(
        name="micro",
        bankroll_e8=500 * MONEY_SCALE,
        risk_per_trade_e6=15_000,
        max_position_e6=None,
        max_position_notional_e8=250 * MONEY_SCALE,
        max_open_positions=2,
        pause_loss_e6=None,
        flatten_loss_e6=None,
        pause_loss_e8=22 * MONEY_SCALE,
        flatten_loss_e8=33 * MONEY_SCALE,
        lot_e4=1,
        day_trade_rule="cash_settled",
    )


def validate_profile(profile: RiskProfile) -> RiskProfile:
    """The profile itself; SettingsValueError names the first value that cannot work."""
    pause, flatten = profile.pause_loss_e6, profile.flatten_loss_e6
    pause_e8, flatten_e8 = profile.pause_loss_e8, profile.flatten_loss_e8
    share = "more than 0 and at most 1000000 (100 %)"
    checks: tuple[tuple[str, object, bool, str], ...] = (
        ("risk_per_trade_e6", profile.risk_per_trade_e6, _is_share(profile.risk_per_trade_e6), share),
        ("max_adv_share_e6", profile.max_adv_share_e6, _is_share(profile.max_adv_share_e6), share),
        ("max_position_e6", profile.max_position_e6, _is_positive(profile.max_position_e6), "more than 0"),
        (
            "max_position_notional_e8",
            profile.max_position_notional_e8,
            _is_positive(profile.max_position_notional_e8),
            "more than 0",
        ),
        ("max_exposure_e6", profile.max_exposure_e6, _is_positive(profile.max_exposure_e6), "more than 0"),
        ("bankroll_e8", profile.bankroll_e8, _is_positive(profile.bankroll_e8), "more than 0"),
        ("max_spread_e6", profile.max_spread_e6, _is_positive(profile.max_spread_e6), "more than 0"),
        ("price_band_e6", profile.price_band_e6, _is_positive(profile.price_band_e6), "more than 0"),
        ("max_open_positions", profile.max_open_positions, profile.max_open_positions > 0, "1 or more"),
        ("max_trades_per_day", profile.max_trades_per_day, profile.max_trades_per_day > 0, "1 or more"),
        (
            "max_orders_per_minute",
            profile.max_orders_per_minute,
            profile.max_orders_per_minute > 0,
            "1 or more",
        ),
        ("lot_e4", profile.lot_e4, 0 < profile.lot_e4 <= SHARE_E4, "1 (fractions) to 10000 (whole shares)"),
        (
            "worst_case_extra_r_e6",
            profile.worst_case_extra_r_e6,
            profile.worst_case_extra_r_e6 >= 0,
            "0 or more",
        ),
        ("day_trade_rule", profile.day_trade_rule, profile.day_trade_rule in DAY_TRADE_RULES, _RULES_TEXT),
        ("pause_loss_e6", pause, _is_share(pause), share),
        ("flatten_loss_e6", flatten, _is_share(flatten), share),
        ("pause_loss_e8", pause_e8, _is_positive(pause_e8), "more than 0"),
        ("flatten_loss_e8", flatten_e8, _is_positive(flatten_e8), "more than 0"),
        ("pause_loss_e6", pause, _is_ordered(pause, flatten), "at most flatten_loss_e6"),
        (
            "pause_loss_e8",
            pause_e8,
            _is_ordered(pause_e8, flatten_e8),
            f"at most flatten_loss_e8 ({flatten_e8})",
        ),
        (
            "allow_shorts",
            profile.allow_shorts,
            not (profile.allow_shorts and profile.day_trade_rule == "cash_settled"),
            "false, or day_trade_rule to intraday_margin: shorts need a margin account",
        ),
    )
    for name, value, is_good, wanted in checks:
        if not is_good:
            raise SettingsValueError(f"risk.{name} is {value}; set it to {wanted}")
    return profile


def decide(
    plan: Plan,
    account: AccountState,
    profile: RiskProfile,
    *,
    price_e4: int,
    slippage_bound_e6: int,
    now_ms: int | None = None,
) -> RiskDecision:
    """Approve a plan with a quantity and what it reserves, or refuse it with every reason that applies.

    ``price_e4`` is the worst of reference and current price (the higher for a long). Notional is reckoned at
    the worst entry (that price or the plan's limit) plus ``slippage_bound_e6``, the worst case at the stop +
    0.5 R. A plan that has a quantity already is decided again: the account comes without its own reservation
    (``release``), and risk may only shrink.
    """
    reasons = _refusals(plan, account, profile, price_e4=price_e4, now_ms=now_ms)
    if reasons:
        return RiskDecision(plan_id=plan.plan_id, version=plan.version, is_approved=False, reasons=reasons)
    sizing = _sizing(plan, profile, price_e4=price_e4, slippage_bound_e6=slippage_bound_e6)
    caps = tuple(
        (name, max(0, quantity) // sizing.lot_e4 * sizing.lot_e4)
        for name, quantity in _caps(plan, account, profile, sizing)
        if quantity is not None
    )
    binding, quantity_e4 = min(caps, key=lambda cap: cap[1])
    if quantity_e4 == 0:
        return RiskDecision(
            plan_id=plan.plan_id,
            version=plan.version,
            is_approved=False,
            reasons=("too_small",),
            caps=caps,
            binding_cap=binding,
        )
    return RiskDecision(
        plan_id=plan.plan_id,
        version=plan.version,
        is_approved=True,
        quantity_e4=quantity_e4,
        notional_e8=div_ceil(quantity_e4 * sizing.cost_per_share_e10, RATIO_SCALE),
        worst_case_e8=div_ceil(quantity_e4 * sizing.worst_per_share_e10, RATIO_SCALE),
        caps=caps,
        binding_cap=binding,
    )


def decide_in_rank(
    plans: Sequence[Plan],
    account: AccountState,
    profile: RiskProfile,
    *,
    slippage_bound_e6: int,
    prices_e4: Mapping[str, int] | None = None,
    now_ms: int | None = None,
) -> tuple[RiskDecision, ...]:
    """One decision after the other by (score descending, symbol), each seeing the reservations before it.

    ``prices_e4`` by symbol as for ``decide``; the plan's reference where a symbol is not in it.
    """
    prices = prices_e4 or {}
    decisions: list[RiskDecision] = []
    for plan in sorted(plans, key=lambda each: (-each.score_e6, each.symbol, each.plan_id)):
        decision = decide(
            plan,
            account,
            profile,
            price_e4=prices.get(plan.symbol, plan.reference_e4),
            slippage_bound_e6=slippage_bound_e6,
            now_ms=now_ms,
        )
        account = reserve(account, decision, plan)
        decisions.append(decision)
    return tuple(decisions)


def reserve(account: AccountState, decision: RiskDecision, plan: Plan) -> AccountState:
    """The account as the next decision sees it; a refusal reserves nothing."""
    if not decision.is_approved:
        return account
    return replace(
        account,
        buying_power_e8=account.buying_power_e8 - decision.notional_e8,
        cash_e8=account.cash_e8 - decision.notional_e8,
        open_worst_case_e8=account.open_worst_case_e8 + decision.worst_case_e8,
        exposure_e8=account.exposure_e8 + decision.notional_e8,
        open_positions=account.open_positions + 1,
        trades_today=account.trades_today + 1,
        symbols_today=(*account.symbols_today, plan.symbol),
    )


def release(account: AccountState, decision: RiskDecision, plan: Plan) -> AccountState:
    """The account without a reservation: exactly undoes ``reserve``, for a decision taken again or a plan
    that ended.
    """
    if not decision.is_approved:
        return account
    index = account.symbols_today.index(plan.symbol)
    return replace(
        account,
        buying_power_e8=account.buying_power_e8 + decision.notional_e8,
        cash_e8=account.cash_e8 + decision.notional_e8,
        open_worst_case_e8=account.open_worst_case_e8 - decision.worst_case_e8,
        exposure_e8=account.exposure_e8 - decision.notional_e8,
        open_positions=account.open_positions - 1,
        trades_today=account.trades_today - 1,
        symbols_today=account.symbols_today[:index] + account.symbols_today[index + 1 :],
    )


def loss_limit_e8(account: AccountState, *, share_e6: int | None, amount_e8: int | None) -> int | None:
    """A daily loss limit as an amount: the smaller of the share of day-start equity and the fixed one; None
    is off.
    """
    limits = [] if amount_e8 is None else [amount_e8]
    if share_e6 is not None:
        limits.append(max(0, account.day_start_equity_e8) * share_e6 // RATIO_SCALE)
    return min(limits, default=None)


def loss_tier(account: AccountState, profile: RiskProfile) -> str | None:
    """``flatten`` or ``pause`` once the day's loss, open profit and loss included, reaches that limit; else
    None.
    """
    loss_e8 = -account.day_pnl_e8
    for tier, limit_e8 in (
        ("flatten", _flatten_limit_e8(account, profile)),
        ("pause", _pause_limit_e8(account, profile)),
    ):
        if limit_e8 is not None and loss_e8 > 0 and loss_e8 >= limit_e8:
            return tier
    return None


def limits_used(account: AccountState, profile: RiskProfile) -> Mapping[str, int]:
    """How much of each limit is used, in 1e-6 (1_000_000 is all of it), by name in order; limits that are off
    miss.
    """
    loss_e8 = max(0, -account.day_pnl_e8)
    at_risk_e8 = max(0, -account.realised_pnl_e8) + account.open_worst_case_e8
    exposure_e8 = _share_e8(_capital_e8(account, profile), profile.max_exposure_e6)
    used: tuple[tuple[str, int, int | None], ...] = (
        ("daily_loss_flatten", loss_e8, _flatten_limit_e8(account, profile)),
        ("daily_loss_pause", loss_e8, _pause_limit_e8(account, profile)),
        ("daily_worst_case", at_risk_e8, _flatten_limit_e8(account, profile)),
        ("exposure", account.exposure_e8, exposure_e8),
        ("open_positions", account.open_positions, profile.max_open_positions),
        ("orders_per_minute", account.orders_last_minute, profile.max_orders_per_minute),
        ("trades_per_day", account.trades_today, profile.max_trades_per_day),
    )
    return {name: _used_e6(value, limit) for name, value, limit in used if limit is not None}


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
    limits = (profile.max_position_notional_e8, _share_e8(equity_e8, profile.max_position_e6), equity_e8)
    cap_e8 = min(limit for limit in limits if limit is not None)
    notional_e8 = intent.quantity_e4 * max(asked_e4, last_price_e4)
    if notional_e8 * RATIO_SCALE > cap_e8 * (RATIO_SCALE + band_e6):
        reasons.append("fat_finger")
    if orders_last_minute >= profile.max_orders_per_minute:
        reasons.append("orders_per_minute")
    return tuple(reasons)


def _refusals(
    plan: Plan, account: AccountState, profile: RiskProfile, *, price_e4: int, now_ms: int | None
) -> tuple[str, ...]:
    sign, tier = plan.direction.sign, loss_tier(account, profile)
    is_wide = (
        plan.spread_e6 is not None
        and profile.max_spread_e6 is not None
        and plan.spread_e6 > profile.max_spread_e6
    )
    is_late = now_ms is not None and now_ms >= plan.entry_until_ms
    found = (
        ("entry_gate", account.entry_gate_reason is not None),
        ("killed", account.is_killed),
        ("paused", account.is_paused),
        ("symbol_locked", plan.symbol in account.locked_symbols),
        ("symbol_blocked", plan.symbol in account.blocked_symbols),
        ("symbol_today", plan.symbol in account.symbols_today),
        ("trades_per_day", account.trades_today >= profile.max_trades_per_day),
        ("open_positions", account.open_positions >= profile.max_open_positions),
        ("orders_per_minute", account.orders_last_minute >= profile.max_orders_per_minute),
        ("daily_loss_flatten", tier == "flatten"),
        ("daily_loss_pause", tier == "pause"),
        ("spread", is_wide),
        ("shorts_off", plan.direction is Direction.SHORT and not profile.allow_shorts),
        ("plan_expired", is_late or plan.entry_from_ms >= plan.entry_until_ms),
        ("past_stop", sign * (price_e4 - plan.stop_e4) <= 0),
        ("past_target", any(sign * (price_e4 - leg.price_e4) >= 0 for leg in plan.targets)),
    )
    return tuple(name for name, is_true in found if is_true)


def _sizing(plan: Plan, profile: RiskProfile, *, price_e4: int, slippage_bound_e6: int) -> _Sizing:
    sign = plan.direction.sign
    prices = [price_e4, plan.reference_e4] + ([] if plan.limit_e4 is None else [plan.limit_e4])
    worst_e4 = max(sign * (price - plan.stop_e4) for price in prices)
    is_short = plan.direction is Direction.SHORT
    return _Sizing(
        risk_per_share_e4=max(plan.risk_per_share_e4, sign * (price_e4 - plan.stop_e4)),
        cost_per_share_e10=max(prices) * (RATIO_SCALE + slippage_bound_e6),
        worst_per_share_e10=worst_e4 * RATIO_SCALE + plan.risk_per_share_e4 * profile.worst_case_extra_r_e6,
        lot_e4=max(plan.lot_e4, profile.lot_e4, SHARE_E4 if is_short else 1),
    )


def _caps(
    plan: Plan, account: AccountState, profile: RiskProfile, sizing: _Sizing
) -> tuple[tuple[str, int | None], ...]:
    """Each cap's quantity in 1e-4 shares before rounding to lots; None where off or its input unknown."""
    capital_e8 = _capital_e8(account, profile)
    funds_e8 = account.buying_power_e8
    if profile.day_trade_rule == "cash_settled":
        funds_e8 = min(funds_e8, account.cash_e8)
    exposure_e8 = _share_e8(capital_e8, profile.max_exposure_e6)
    if exposure_e8 is not None:
        exposure_e8 -= account.exposure_e8
    room_e8 = _flatten_limit_e8(account, profile)
    if room_e8 is not None:
        room_e8 -= max(0, -account.realised_pnl_e8) + account.open_worst_case_e8
    risk_e8, cost_e10 = _share_e8(capital_e8, profile.risk_per_trade_e6), sizing.cost_per_share_e10
    adv_e4 = None if plan.adv_shares is None else plan.adv_shares * SHARE_E4
    return (
        ("risk_per_trade", _affordable(risk_e8, sizing.risk_per_share_e4 * RATIO_SCALE)),
        ("position_notional", _affordable(_share_e8(capital_e8, profile.max_position_e6), cost_e10)),
        ("symbol_notional", _affordable(profile.max_position_notional_e8, cost_e10)),
        ("adv_share", None if adv_e4 is None else adv_e4 * profile.max_adv_share_e6 // RATIO_SCALE),
        ("buying_power", _affordable(funds_e8, cost_e10)),
        ("exposure", _affordable(exposure_e8, cost_e10)),
        ("daily_loss", _affordable(room_e8, sizing.worst_per_share_e10)),
        ("plan_quantity", plan.quantity_e4 or None),
    )


def _affordable(money_e8: int | None, per_share_e10: int) -> int | None:
    return None if money_e8 is None else money_e8 * RATIO_SCALE // per_share_e10


def _share_e8(money_e8: int, share_e6: int | None) -> int | None:
    return None if share_e6 is None else money_e8 * share_e6 // RATIO_SCALE


def _capital_e8(account: AccountState, profile: RiskProfile) -> int:
    """Day-start equity, at most the bankroll and never below 0."""
    equity_e8 = max(0, account.day_start_equity_e8)
    return equity_e8 if profile.bankroll_e8 is None else min(equity_e8, profile.bankroll_e8)


def _flatten_limit_e8(account: AccountState, profile: RiskProfile) -> int | None:
    return loss_limit_e8(account, share_e6=profile.flatten_loss_e6, amount_e8=profile.flatten_loss_e8)


def _pause_limit_e8(account: AccountState, profile: RiskProfile) -> int | None:
    return loss_limit_e8(account, share_e6=profile.pause_loss_e6, amount_e8=profile.pause_loss_e8)


def _used_e6(value: int, limit: int) -> int:
    if limit > 0:
        return value * RATIO_SCALE // limit
    return RATIO_SCALE if value > 0 else 0


def _is_share(value: int | None) -> bool:
    return value is None or 0 < value <= RATIO_SCALE


def _is_positive(value: int | None) -> bool:
    return value is None or value > 0


def _is_ordered(first: int | None, second: int | None) -> bool:
    return first is None or second is None or first <= second
