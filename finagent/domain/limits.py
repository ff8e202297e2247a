"""Limits of the day: the two tiers of the day's loss, and how much of each limit is used."""

from collections.abc import Mapping

from finagent.domain.account import AccountState, capital_of, share_of
from finagent.domain.money import RATIO_SCALE
from finagent.domain.risk_profile import RiskProfile


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
        ("flatten", flatten_limit_e8(account, profile)),
        ("pause", pause_limit_e8(account, profile)),
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
    exposure_e8 = share_of(capital_of(account, profile), profile.max_exposure_e6)
    used: tuple[tuple[str, int, int | None], ...] = (
        ("daily_loss_flatten", loss_e8, flatten_limit_e8(account, profile)),
        ("daily_loss_pause", loss_e8, pause_limit_e8(account, profile)),
        ("daily_worst_case", at_risk_e8, flatten_limit_e8(account, profile)),
        ("exposure", account.exposure_e8, exposure_e8),
        ("open_positions", account.open_positions, profile.max_open_positions),
        ("orders_per_minute", account.orders_last_minute, profile.max_orders_per_minute),
        ("trades_per_day", account.trades_today, profile.max_trades_per_day),
    )
    return {name: _used_e6(value, limit) for name, value, limit in used if limit is not None}


def flatten_limit_e8(account: AccountState, profile: RiskProfile) -> int | None:
    """The day's loss that closes everything, in 1e-8; None when that is off."""
    return loss_limit_e8(account, share_e6=profile.flatten_loss_e6, amount_e8=profile.flatten_loss_e8)


def pause_limit_e8(account: AccountState, profile: RiskProfile) -> int | None:
    """The day's loss that stops entries, in 1e-8; None when that is off."""
    return loss_limit_e8(account, share_e6=profile.pause_loss_e6, amount_e8=profile.pause_loss_e8)


def _used_e6(value: int, limit: int) -> int:
    if limit > 0:
        return value * RATIO_SCALE // limit
    return RATIO_SCALE if value > 0 else 0
