"""Risk profiles: the limits of an account, and what a profile must be to work at all."""

from dataclasses import dataclass

from finagent.domain.errors import SettingsValueError
from finagent.domain.money import MONEY_SCALE, RATIO_SCALE, SHARE_E4

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


def _is_share(value: int | None) -> bool:
    return value is None or 0 < value <= RATIO_SCALE


def _is_positive(value: int | None) -> bool:
    return value is None or value > 0


def _is_ordered(first: int | None, second: int | None) -> bool:
    return first is None or second is None or first <= second
