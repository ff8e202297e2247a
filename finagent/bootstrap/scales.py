"""Decimals of the settings become the exact integers that the domain reckons with."""

from decimal import Decimal

from finagent.domain.money import RATIO_SCALE
from finagent.settings import SettingsError


def scaled(value: Decimal, scale: int) -> int:
    """Exact integer of a setting; more places than the scale has are a mistake."""
    scaled = value * scale
    if scaled != scaled.to_integral_value():
        raise SettingsError(f"a setting has more decimal places than 1/{scale}: {value}", "round it")
    return int(scaled)


def percent_e6(value: Decimal) -> int:
    """Percent as a ratio in 1e-6."""
    return scaled(value, RATIO_SCALE // 100)


def bps_e6(value: Decimal) -> int:
    """Basis points as a ratio in 1e-6."""
    return scaled(value, RATIO_SCALE // 10_000)
