"""Risk: sizing with its caps, and a reason for every refusal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import itemgetter

from finagent.domain.account import AccountState, capital_of, share_of
from finagent.domain.limits import breakers, flatten_limit_e8, limits_used, loss_limit_e8, loss_tier
from finagent.domain.market import Direction
from finagent.domain.money import RATIO_SCALE, SHARE_E4, div_ceil
from finagent.domain.order_check import MAX_PRICE_E4, Circumstances, order_check
from finagent.domain.plan import Plan
from finagent.domain.risk_profile import RiskProfile, micro_profile, standard_profile, validate_profile
from finagent.domain.rows import maker, quick, replace
from finagent.domain.shorts import UNKNOWN, ShortNow, entry_limit_e4, short_refusals

__all__ = [
    "AccountState",
    "Circumstances",
    "RiskDecision",
    "RiskProfile",
    "decide",
    "decide_in_rank",
    "limits_used",
    "loss_limit_e8",
    "loss_tier",
    "micro_profile",
    "order_check",
    "release",
    "reserve",
    "standard_profile",
    "validate_profile",
]


_SHORT = Direction.SHORT


@quick
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
    entry_limit_e4: int | None = None
    """The limit the entry must have beyond what the plan says (a short under the restriction); None: as planned."""


_decision = maker(RiskDecision)


@quick
@dataclass(frozen=True, slots=True)
class _Sizing:
    """What a quantity costs a share: R in 1e-4; the worst entry, the worst case and the spread in 1e-10; the
    lot in 1e-4 shares.
    """

    risk_per_share_e4: int
    cost_per_share_e10: int
    worst_per_share_e10: int
    spread_per_share_e10: int
    lot_e4: int


_new_sizing = maker(_Sizing)


def decide(
    plan: Plan,
    account: AccountState,
    profile: RiskProfile,
    *,
    price_e4: int,
    slippage_bound_e6: int,
    now_ms: int | None = None,
    short: ShortNow = UNKNOWN,
) -> RiskDecision:
    """Approve a plan with a quantity and what it reserves, or refuse it with every reason that applies.

    ``price_e4`` is the worst of reference and current price (the higher for a long). Notional is reckoned at
    the worst entry (that price or the plan's limit) plus ``slippage_bound_e6``, the worst case at the stop +
    0.5 R. A plan that has a quantity already is decided again: the account comes without its own reservation
    (``release``), and risk may only shrink. ``short`` is what is known now of a short sale; unknown refuses it.
    """
    is_short = plan.direction is _SHORT
    limit_e4 = entry_limit_e4(plan.symbol, short, plan.limit_e4) if is_short else None
    reasons = _refusals(plan, account, profile, price_e4=price_e4, now_ms=now_ms)
    if is_short and profile.allow_shorts:
        reasons += _short_reasons(plan, account, profile, short, limit_e4)
    if reasons:
        return _decision(plan_id=plan.plan_id, version=plan.version, is_approved=False, reasons=reasons)
    sizing = _sizing(plan, profile, price_e4=price_e4, limit_e4=limit_e4, slippage_bound_e6=slippage_bound_e6)
    lot_e4 = sizing.lot_e4
    caps = tuple(
        [
            (name, money_e8 * RATIO_SCALE // per_share_e10 // lot_e4 * lot_e4 if money_e8 > 0 else 0)
            for name, money_e8, per_share_e10 in _caps(plan, account, profile, sizing)
            if money_e8 is not None
        ]
    )
    binding, quantity_e4 = min(caps, key=_quantity)
    if quantity_e4 == 0:
        return _decision(
            plan_id=plan.plan_id,
            version=plan.version,
            is_approved=False,
            reasons=("too_small",),
            caps=caps,
            binding_cap=binding,
        )
    return _decision(
        plan_id=plan.plan_id,
        version=plan.version,
        is_approved=True,
        quantity_e4=quantity_e4,
        notional_e8=div_ceil(quantity_e4 * sizing.cost_per_share_e10, RATIO_SCALE),
        worst_case_e8=div_ceil(quantity_e4 * sizing.worst_per_share_e10, RATIO_SCALE),
        caps=caps,
        binding_cap=binding,
        entry_limit_e4=limit_e4,
    )


def decide_in_rank(
    plans: Sequence[Plan],
    account: AccountState,
    profile: RiskProfile,
    *,
    slippage_bound_e6: int,
    prices_e4: Mapping[str, int] | None = None,
    now_ms: int | None = None,
    shorts: Mapping[str, ShortNow] | None = None,
) -> tuple[RiskDecision, ...]:
    """One decision after the other by (score descending, symbol), each seeing the reservations before it.

    ``prices_e4`` and ``shorts`` by symbol as for ``decide``; the plan's reference where a symbol is not in it.
    """
    prices, known = prices_e4 or {}, shorts or {}
    decisions: list[RiskDecision] = []
    for plan in sorted(plans, key=lambda each: (-each.score_e6, each.symbol, each.plan_id)):
        decision = decide(
            plan,
            account,
            profile,
            price_e4=prices.get(plan.symbol, plan.reference_e4),
            slippage_bound_e6=slippage_bound_e6,
            now_ms=now_ms,
            short=known.get(plan.symbol, UNKNOWN),
        )
        account = reserve(account, decision, plan)
        decisions.append(decision)
    return tuple(decisions)


def reserve(account: AccountState, decision: RiskDecision, plan: Plan) -> AccountState:
    """The account as the next decision sees it; a refusal reserves nothing."""
    if not decision.is_approved:
        return account
    return replace(
        account.with_sector(plan.sector, decision.notional_e8),
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
        account.with_sector(plan.sector, -decision.notional_e8),
        buying_power_e8=account.buying_power_e8 + decision.notional_e8,
        cash_e8=account.cash_e8 + decision.notional_e8,
        open_worst_case_e8=account.open_worst_case_e8 - decision.worst_case_e8,
        exposure_e8=account.exposure_e8 - decision.notional_e8,
        open_positions=account.open_positions - 1,
        trades_today=account.trades_today - 1,
        symbols_today=account.symbols_today[:index] + account.symbols_today[index + 1 :],
    )


_quantity = itemgetter(1)
_REFUSALS = (
    "bad_plan", "entry_gate", "killed", "paused", "symbol_locked", "symbol_blocked", "symbol_excluded",
    "no_trade_window", "symbol_today", "trades_per_day", "open_positions", "orders_per_minute",
    "orders_out", "rejected_orders", "losses_in_a_row", "daily_loss_flatten", "daily_loss_pause",
    "spread", "shorts_off", "plan_expired", "past_stop", "past_target",
)  # fmt: skip
"""In the order in which ``_refusals`` looks at them."""


def _refusals(
    plan: Plan, account: AccountState, profile: RiskProfile, *, price_e4: int, now_ms: int | None
) -> tuple[str, ...]:
    sign, symbol, tier = plan.direction.sign, plan.symbol, loss_tier(account, profile)
    is_wide = (
        plan.spread_e6 is not None
        and profile.max_spread_e6 is not None
        and plan.spread_e6 > profile.max_spread_e6
    )
    is_late = now_ms is not None and now_ms >= plan.entry_until_ms
    open_breakers = breakers(account, profile)
    applies = (
        not _is_sane(plan, price_e4),
        account.entry_gate_reason is not None,
        account.is_killed,
        account.is_paused,
        symbol in account.locked_symbols,
        symbol in account.blocked_symbols,
        symbol in account.excluded_symbols,
        account.is_no_trade_time,
        symbol in account.symbols_today,
        account.trades_today >= profile.max_trades_per_day,
        account.open_positions >= profile.max_open_positions,
        account.orders_last_minute >= profile.max_orders_per_minute,
        "orders_out" in open_breakers,
        "rejected_orders" in open_breakers,
        "losses_in_a_row" in open_breakers,
        tier == "flatten",
        tier == "pause",
        is_wide,
        plan.direction is _SHORT and not profile.allow_shorts,
        is_late or plan.entry_from_ms >= plan.entry_until_ms,
        sign * (price_e4 - plan.stop_e4) <= 0,
        bool([leg for leg in plan.targets if sign * (price_e4 - leg.price_e4) >= 0]),
    )
    return tuple(compress(_REFUSALS, applies))


def _short_reasons(
    plan: Plan, account: AccountState, profile: RiskProfile, short: ShortNow, limit_e4: int | None
) -> tuple[str, ...]:
    found = (
        *short_refusals(plan.short, short, rule=profile.day_trade_rule, equity_e8=account.equity_e8),
        ("bid_past_stop", limit_e4 is not None and limit_e4 >= plan.stop_e4),
    )
    return tuple(name for name, is_true in found if is_true)


def _is_sane(plan: Plan, price_e4: int) -> bool:
    """Prices that can be: above 0, below any stock's, the stop on its own side of the entry."""
    prices = [price_e4, plan.reference_e4, plan.stop_e4, *[leg.price_e4 for leg in plan.targets]]
    if plan.trigger_e4 is not None:
        prices.append(plan.trigger_e4)
    if plan.limit_e4 is not None:
        prices.append(plan.limit_e4)
    is_possible = min(prices) > 0 and max(prices) <= MAX_PRICE_E4
    return is_possible and plan.direction.sign * (plan.reference_e4 - plan.stop_e4) > 0


def _sizing(
    plan: Plan, profile: RiskProfile, *, price_e4: int, limit_e4: int | None, slippage_bound_e6: int
) -> _Sizing:
    sign = plan.direction.sign
    prices = [price_e4, plan.reference_e4]
    if plan.limit_e4 is not None:
        prices.append(plan.limit_e4)
    if limit_e4 is not None:
        prices.append(limit_e4)
    dearest_e4, one_r_e4 = max(prices), plan.risk_per_share_e4
    worst_e4 = dearest_e4 - plan.stop_e4 if sign > 0 else plan.stop_e4 - min(prices)
    is_short = plan.direction is _SHORT
    return _new_sizing(
        risk_per_share_e4=max(one_r_e4, sign * (price_e4 - plan.stop_e4)),
        cost_per_share_e10=dearest_e4 * (RATIO_SCALE + slippage_bound_e6),
        worst_per_share_e10=worst_e4 * RATIO_SCALE + one_r_e4 * profile.worst_case_extra_r_e6,
        spread_per_share_e10=dearest_e4 * (plan.spread_e6 or 0),
        lot_e4=max(plan.lot_e4, profile.lot_e4, SHARE_E4 if is_short else 1),
    )


def _caps(
    plan: Plan, account: AccountState, profile: RiskProfile, sizing: _Sizing
) -> tuple[tuple[str, int | None, int], ...]:
    """What each cap allows in 1e-8, None where it is off or its input unknown, and what of it a share takes in 1e-10.

    A cap that counts shares allows 1e-4 of them and takes one for each.
    """
    capital_e8 = capital_of(account, profile)
    funds_e8 = account.buying_power_e8
    if profile.day_trade_rule == "cash_settled":
        funds_e8 = min(funds_e8, account.cash_e8)
    exposure_e8 = share_of(capital_e8, profile.max_exposure_e6)
    if exposure_e8 is not None:
        exposure_e8 -= account.exposure_e8
    sector_e8 = share_of(capital_e8, profile.max_sector_e6)
    if sector_e8 is not None:
        sector_e8 = None if plan.sector is None else sector_e8 - account.in_sector_e8(plan.sector)
    room_e8 = flatten_limit_e8(account, profile)
    if room_e8 is not None:
        room_e8 -= max(0, -account.realised_pnl_e8) + account.open_worst_case_e8
    risk_e8 = capital_e8 * profile.risk_per_trade_e6 // RATIO_SCALE
    cost_e10, spread_e10 = sizing.cost_per_share_e10, sizing.spread_per_share_e10
    spread_e8 = share_of(risk_e8, profile.max_spread_cost_e6) if spread_e10 > 0 else None
    adv_e4 = None
    if plan.adv_shares is not None:
        adv_e4 = plan.adv_shares * SHARE_E4 * profile.max_adv_share_e6 // RATIO_SCALE
    return (
        ("risk_per_trade", risk_e8, sizing.risk_per_share_e4 * RATIO_SCALE),
        ("position_notional", share_of(capital_e8, profile.max_position_e6), cost_e10),
        ("symbol_notional", profile.max_position_notional_e8, cost_e10),
        ("order_notional", profile.max_order_notional_e8, cost_e10),
        ("spread_cost", spread_e8, spread_e10),
        ("adv_share", adv_e4, RATIO_SCALE),
        ("buying_power", funds_e8, cost_e10),
        ("exposure", exposure_e8, cost_e10),
        ("sector", sector_e8, cost_e10),
        ("daily_loss", room_e8, sizing.worst_per_share_e10),
        ("plan_quantity", plan.quantity_e4 or None, RATIO_SCALE),
    )
