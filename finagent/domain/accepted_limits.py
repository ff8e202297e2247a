"""Limits that a person accepted: lowering one is free, a raised one is not in force until somebody accepts it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from finagent.domain.risk_profile import DAY_TRADE_RULES, AutoLimits, RiskProfile

RULES_BY_FREEDOM = ("cash_settled", "intraday_margin", "none")
Limits = Mapping[str, int | None]
"""Limits by name; a higher value allows more, None is a limit that is off."""


@dataclass(frozen=True, slots=True)
class RaisedLimit:
    """A limit that the settings ask to be looser than what was accepted."""

    name: str
    accepted: int | None
    wanted: int | None


def limits_of(profile: RiskProfile, auto: AutoLimits) -> dict[str, int | None]:
    """Every limit of the settings, those of ``auto`` too, so that a change of mode raises none in silence."""
    return {
        "allow_shorts": int(profile.allow_shorts),
        "bankroll_e8": profile.bankroll_e8,
        "day_trade_rule": RULES_BY_FREEDOM.index(profile.day_trade_rule),
        "flatten_loss_e6": profile.flatten_loss_e6,
        "flatten_loss_e8": profile.flatten_loss_e8,
        "max_adv_share_e6": profile.max_adv_share_e6,
        "max_exposure_e6": profile.max_exposure_e6,
        "max_losses_in_a_row": profile.max_losses_in_a_row,
        "max_open_positions": profile.max_open_positions,
        "max_order_notional_e8": profile.max_order_notional_e8,
        "max_orders_per_minute": profile.max_orders_per_minute,
        "max_position_e6": profile.max_position_e6,
        "max_position_notional_e8": profile.max_position_notional_e8,
        "max_rejected_in_a_row": profile.max_rejected_in_a_row,
        "max_sector_e6": profile.max_sector_e6,
        "max_spread_cost_e6": profile.max_spread_cost_e6,
        "max_spread_e6": profile.max_spread_e6,
        "max_trades_per_day": profile.max_trades_per_day,
        "pause_loss_e6": profile.pause_loss_e6,
        "pause_loss_e8": profile.pause_loss_e8,
        "price_band_e6": profile.price_band_e6,
        "risk_per_trade_e6": profile.risk_per_trade_e6,
        "auto_max_open_positions": auto.max_open_positions,
        "auto_max_position_e6": auto.max_position_e6,
        "auto_max_position_notional_e8": auto.max_position_notional_e8,
        "auto_max_trades_per_day": auto.max_trades_per_day,
        "auto_risk_per_trade_e6": auto.risk_per_trade_e6,
    }


def raised(accepted: Limits, wanted: Limits) -> tuple[RaisedLimit, ...]:
    """What is looser than accepted, by name. A limit that nobody was ever asked about is no raise."""
    return tuple(
        RaisedLimit(name, accepted[name], value)
        for name, value in sorted(wanted.items())
        if name in accepted and stricter(accepted[name], value) != value
    )


def in_force(accepted: Limits, wanted: Limits) -> dict[str, int | None]:
    """Of each limit the stricter one."""
    return {name: stricter(accepted.get(name, value), value) for name, value in wanted.items()}


def stricter(first: int | None, second: int | None) -> int | None:
    """The stricter of two values of a limit."""
    return min((value for value in (first, second) if value is not None), default=None)


def with_limits(profile: RiskProfile, auto: AutoLimits, limits: Limits) -> tuple[RiskProfile, AutoLimits]:
    """A profile and its limits of ``auto`` with these limits in place of their own."""
    own = {name: value for name, value in limits.items() if not name.startswith("auto_")}
    shorts, rule = own.pop("allow_shorts"), own.pop("day_trade_rule")
    bound = replace(
        profile,
        **own,  # type: ignore[arg-type]  # each is its own limit back again
        allow_shorts=bool(shorts),
        day_trade_rule=RULES_BY_FREEDOM[rule or 0],
    )
    of_auto = {
        name.removeprefix("auto_"): value for name, value in limits.items() if name.startswith("auto_")
    }
    return bound, replace(auto, **of_auto)  # type: ignore[arg-type]


assert set(RULES_BY_FREEDOM) == set(DAY_TRADE_RULES)
