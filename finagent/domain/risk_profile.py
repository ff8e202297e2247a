"""Risk profiles: the limits of an account, and what a profile must be to work at all."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from finagent.domain.errors import SettingsValueError
from finagent.domain.money import MONEY_SCALE, RATIO_SCALE, SHARE_E4

DAY_TRADE_RULES = ("intraday_margin", "cash_settled", "none")
_Check = tuple[str, object, bool, str]
"""Name, value seen, whether it works, and what to set it to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskProfile:
    """Limits of an account; ratios in 1e-6 of day-start equity, money in 1e-8; None switches a limit off."""

    name: str = "standard"
    risk_per_trade_e6: int = 5_000
    max_position_e6: int | None = 200_000
    max_position_notional_e8: int | None = None
    max_order_notional_e8: int | None = None
    """What one entry order may be worth at most, beside the caps of the position."""
    max_open_positions: int = 3
    max_trades_per_day: int = 5
    pause_loss_e6: int | None = 15_000
    flatten_loss_e6: int | None = 20_000
    pause_loss_e8: int | None = None
    flatten_loss_e8: int | None = None
    max_adv_share_e6: int = 5_000
    max_spread_e6: int | None = 3_000
    max_spread_cost_e6: int | None = 200_000
    """How much of the risk per trade crossing the quoted spread, in and out, may cost."""
    max_exposure_e6: int | None = 1_000_000
    max_sector_e6: int | None = 400_000
    """Positions and reservations of one sector together; a symbol of unknown sector counts in none."""
    max_orders_per_minute: int = 10
    max_rejected_in_a_row: int | None = 3
    """So many entries refused by the broker one after the other stop entries until a person rearms."""
    max_losses_in_a_row: int | None = None
    """So many losing trades of a session one after the other do the same."""
    lot_e4: int = 10_000
    allow_shorts: bool = False
    borrow_fee_e6: int = 3_000
    """What a borrow costs a year, in 1e-6 of the notional; due only for a short that is held over a night."""
    worst_case_extra_r_e6: int = 500_000
    day_trade_rule: str = "intraday_margin"
    bankroll_e8: int | None = None
    """Sizing and exposure count at most this much of the equity."""
    price_band_e6: int | None = 100_000
    """How far an entry's price may be from the last price."""


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
        max_sector_e6=None,
        max_open_positions=2,
        pause_loss_e6=None,
        flatten_loss_e6=None,
        pause_loss_e8=22 * MONEY_SCALE,
        flatten_loss_e8=33 * MONEY_SCALE,
        lot_e4=1,
        day_trade_rule="cash_settled",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoLimits:
    """What may be traded without anybody looking at a plan; a value of None adds no limit to the profile's own."""

    risk_per_trade_e6: int = 2_500
    max_position_e6: int | None = 100_000
    max_position_notional_e8: int | None = None
    max_open_positions: int = 2
    max_trades_per_day: int = 3


def standard_auto() -> AutoLimits:
    """0.25 % risk a trade, 10 % a position, 2 open, 3 a day."""
    return AutoLimits()


def micro_auto() -> AutoLimits:
    """0.75 % of the bankroll at risk a trade, at most 125 a symbol, 1 open, 3 a day."""
    return AutoLimits(
        risk_per_trade_e6=7_500,
        max_position_e6=None,
        max_position_notional_e8=125 * MONEY_SCALE,
        max_open_positions=1,
    )


def auto_profile(profile: RiskProfile, auto: AutoLimits) -> RiskProfile:
    """The profile as ``auto`` trades it: of each limit the smaller one."""
    return replace(
        profile,
        risk_per_trade_e6=min(profile.risk_per_trade_e6, auto.risk_per_trade_e6),
        max_position_e6=_smaller(profile.max_position_e6, auto.max_position_e6),
        max_position_notional_e8=_smaller(profile.max_position_notional_e8, auto.max_position_notional_e8),
        max_open_positions=min(profile.max_open_positions, auto.max_open_positions),
        max_trades_per_day=min(profile.max_trades_per_day, auto.max_trades_per_day),
    )


def validate_profile(profile: RiskProfile) -> RiskProfile:
    """The profile itself; SettingsValueError names the first value that cannot work."""
    for name, value, is_good, wanted in (*_single_checks(profile), *_joint_checks(profile)):
        if not is_good:
            raise SettingsValueError(f"risk.{name} is {value}; set it to {wanted}")
    return profile


def _single_checks(profile: RiskProfile) -> Iterator[_Check]:
    """Each value against its own bounds."""
    shares = {
        "risk_per_trade_e6": profile.risk_per_trade_e6,
        "max_adv_share_e6": profile.max_adv_share_e6,
        "max_spread_cost_e6": profile.max_spread_cost_e6,
        "pause_loss_e6": profile.pause_loss_e6,
        "flatten_loss_e6": profile.flatten_loss_e6,
    }
    positives = {
        "max_position_e6": profile.max_position_e6,
        "max_position_notional_e8": profile.max_position_notional_e8,
        "max_order_notional_e8": profile.max_order_notional_e8,
        "max_exposure_e6": profile.max_exposure_e6,
        "max_sector_e6": profile.max_sector_e6,
        "bankroll_e8": profile.bankroll_e8,
        "max_spread_e6": profile.max_spread_e6,
        "price_band_e6": profile.price_band_e6,
        "pause_loss_e8": profile.pause_loss_e8,
        "flatten_loss_e8": profile.flatten_loss_e8,
        "max_rejected_in_a_row": profile.max_rejected_in_a_row,
        "max_losses_in_a_row": profile.max_losses_in_a_row,
        "max_open_positions": profile.max_open_positions,
        "max_trades_per_day": profile.max_trades_per_day,
        "max_orders_per_minute": profile.max_orders_per_minute,
    }
    for name, value in shares.items():
        is_share = value is None or 0 < value <= RATIO_SCALE
        yield name, value, is_share, "more than 0 and at most 1000000 (100 %)"
    for name, value in positives.items():
        yield name, value, value is None or value > 0, "more than 0"
    lot_e4, extra_e6, rule = profile.lot_e4, profile.worst_case_extra_r_e6, profile.day_trade_rule
    fee_e6 = profile.borrow_fee_e6
    yield "borrow_fee_e6", fee_e6, 0 <= fee_e6 <= 10 * RATIO_SCALE, "0 to 10000000 (1000 % a year)"
    yield "lot_e4", lot_e4, 0 < lot_e4 <= SHARE_E4, "1 (fractions) to 10000 (whole shares)"
    yield "worst_case_extra_r_e6", extra_e6, extra_e6 >= 0, "0 or more"
    yield "day_trade_rule", rule, rule in DAY_TRADE_RULES, ", ".join(DAY_TRADE_RULES)


def _joint_checks(profile: RiskProfile) -> Iterator[_Check]:
    """Values that must fit together."""
    pause, flatten = profile.pause_loss_e6, profile.flatten_loss_e6
    pause_e8, flatten_e8 = profile.pause_loss_e8, profile.flatten_loss_e8
    yield "pause_loss_e6", pause, _is_ordered(pause, flatten), f"at most flatten_loss_e6 ({flatten})"
    yield (
        "pause_loss_e8",
        pause_e8,
        _is_ordered(pause_e8, flatten_e8),
        f"at most flatten_loss_e8 ({flatten_e8})",
    )
    is_margin = profile.day_trade_rule != "cash_settled"
    wanted = "false, or day_trade_rule to intraday_margin: shorts need a margin account"
    yield "allow_shorts", profile.allow_shorts, is_margin or not profile.allow_shorts, wanted


def _smaller(first: int | None, second: int | None) -> int | None:
    """The smaller of two limits of which each may be off."""
    return min((limit for limit in (first, second) if limit is not None), default=None)


def _is_ordered(first: int | None, second: int | None) -> bool:
    return first is None or second is None or first <= second
