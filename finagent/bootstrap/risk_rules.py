"""The limits that settings give: the profile's own, what a key replaces, and the smaller ones of ``auto``."""

import dataclasses
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from finagent.bootstrap.scales import percent_e6, scaled
from finagent.context import Document, Json
from finagent.domain.accepted_limits import (
    RULES_BY_FREEDOM,
    RaisedLimit,
    in_force,
    limits_of,
    raised,
    with_limits,
)
from finagent.domain.errors import SettingsValueError
from finagent.domain.money import MONEY_SCALE
from finagent.domain.risk import RiskProfile, micro_profile, standard_profile, validate_profile
from finagent.domain.risk_profile import AutoLimits, auto_profile, micro_auto, standard_auto
from finagent.settings import Settings

if TYPE_CHECKING:
    from finagent.adapters.sqlite.database import Database

PERCENTS = {
    "risk_per_trade_pct": "risk_per_trade_e6",
    "max_position_pct": "max_position_e6",
    "max_exposure_pct": "max_exposure_e6",
    "max_sector_pct": "max_sector_e6",
    "pause_loss_pct": "pause_loss_e6",
    "flatten_loss_pct": "flatten_loss_e6",
    "max_adv_share_pct": "max_adv_share_e6",
    "max_spread_pct": "max_spread_e6",
    "max_spread_cost_pct": "max_spread_cost_e6",
    "price_band_pct": "price_band_e6",
    "borrow_fee_pct": "borrow_fee_e6",
}
"""Keys in percent, each with the limit of the profile that it replaces."""
AMOUNTS = {"max_order_usd": "max_order_notional_e8"}
COUNTS = (
    "max_open_positions",
    "max_trades_per_day",
    "max_orders_per_minute",
    "max_rejected_in_a_row",
    "max_losses_in_a_row",
)
KEYS = {name: key for key, name in (*PERCENTS.items(), *AMOUNTS.items())} | {name: name for name in COUNTS}
"""The key of settings.yaml by the limit that it replaces."""
AUTO = "auto_"


ACCEPTED = "SELECT name, value FROM accepted_limit ORDER BY name"


async def accepted_limits(database: "Database") -> dict[str, int | None]:
    """What a person accepted in this database; empty before its first start."""
    rows = await database.read(ACCEPTED)
    return {str(name): None if value is None else int(str(value)) for name, value in rows}


def profile_in_force(settings: Settings, accepted: Mapping[str, int | None]) -> RiskProfile:
    """The agent's limits: of each the stricter of settings and accepted; in mode ``auto`` its smaller ones."""
    full, auto = full_profile(settings), auto_limits(settings)
    full, auto = with_limits(full, auto, in_force(accepted, limits_of(full, auto)))
    return validate_profile(auto_profile(full, auto) if settings.account.mode == "auto" else full)


def standing_limits(settings: Settings, accepted: Mapping[str, int | None]) -> Document:
    """``{raised_limits: [{limit, profile, in_force}], waiting_limits: [{limit, accepted, wanted}]}``.

    Raised are those in force that allow more than the profile does by itself; waiting those that the settings raise
    and nobody has accepted. The limits of ``auto`` count as in force in that mode alone.
    """
    wanted, is_auto = (
        limits_of(full_profile(settings), auto_limits(settings)),
        settings.account.mode == "auto",
    )
    held = {
        name: value
        for name, value in in_force(accepted, wanted).items()
        if is_auto or not name.startswith(AUTO)
    }
    above: list[Json] = [
        {
            "limit": limit_key(e.name),
            "profile": shown_limit(e.name, e.accepted),
            "in_force": shown_limit(e.name, e.wanted),
        }
        for e in raised(limits_of(_base(settings), _auto_base(settings)), held)
    ]
    return {"raised_limits": above, "waiting_limits": waiting_rows(raised(accepted, wanted))}


def waiting_rows(found: Iterable[RaisedLimit]) -> list[Json]:
    """``{limit, accepted, wanted}`` of each, by the key of the settings and in its unit."""
    return [
        {
            "limit": limit_key(each.name),
            "accepted": shown_limit(each.name, each.accepted),
            "wanted": shown_limit(each.name, each.wanted),
        }
        for each in found
    ]


def limit_key(name: str) -> str:
    """The key of settings.yaml for a limit, in whose unit it is shown; a limit without one is named alike."""
    prefix, plain = (AUTO, name.removeprefix(AUTO)) if name.startswith(AUTO) else ("", name)
    return prefix + KEYS.get(plain, plain.replace("_e6", "_pct").replace("_e8", "_usd"))


def risk_profile(settings: Settings, *, is_run: bool = False) -> RiskProfile:
    """The limits in force: where nobody looks at a plan (``auto``) the smaller ones.

    A replay or demo (``is_run``) trades the profile's full limits, whoever approves.
    """
    profile = full_profile(settings)
    if settings.account.mode == "auto" and not is_run:
        profile = validate_profile(auto_profile(profile, auto_limits(settings)))
    return profile


def full_profile(settings: Settings) -> RiskProfile:
    """The limits of a plan that a person approves; SettingsValueError for a value that cannot work."""
    risk = settings.risk
    profile = dataclasses.replace(_base(settings), **_given(settings, ""), allow_shorts=risk.allow_shorts)  # type: ignore[arg-type]
    if risk.day_trade_rule is not None:
        profile = dataclasses.replace(profile, day_trade_rule=risk.day_trade_rule)
    if settings.universe.fractional:
        profile = dataclasses.replace(profile, lot_e4=1)
    return validate_profile(profile)


def auto_limits(settings: Settings) -> AutoLimits:
    """What ``auto`` may do at most; SettingsValueError where a key asks for more than a person may approve."""
    given, profile = _given(settings, AUTO), full_profile(settings)
    for name, value in given.items():
        most = getattr(profile, name)
        if most is not None and value > most:
            key, seen, bound = KEYS[name], shown(name, value), shown(name, most)
            raise SettingsValueError(f"risk.{AUTO}{key} is {seen}; set it to at most risk.{key} ({bound})")
    return dataclasses.replace(_auto_base(settings), **given)


def _base(settings: Settings) -> RiskProfile:
    return standard_profile() if settings.risk.profile == "standard" else micro_profile()


def _auto_base(settings: Settings) -> AutoLimits:
    return standard_auto() if settings.risk.profile == "standard" else micro_auto()


def shown(name: str, value: int) -> str:
    """A limit in the unit of its key: percent, USD or a count."""
    if name.endswith("_e6"):
        return f"{Decimal(value) / 10_000:f}"
    return f"{Decimal(value) / MONEY_SCALE:f}" if name.endswith("_e8") else str(value)


def shown_limit(name: str, value: int | None) -> str:
    """A limit as a person reads it."""
    if value is None:
        return "none"
    if name == "day_trade_rule":
        return RULES_BY_FREEDOM[value]
    return ("no", "yes")[value] if name == "allow_shorts" else shown(name, value)


def _given(settings: Settings, prefix: str) -> dict[str, int]:
    """Limits that a key with this prefix replaces, in the domain's integers."""
    values = settings.risk.model_dump()
    given: dict[str, int] = {}
    for key, name in PERCENTS.items():
        if values.get(prefix + key) is not None:
            given[name] = percent_e6(values[prefix + key])
    for key, name in AMOUNTS.items():
        if values.get(prefix + key) is not None:
            given[name] = scaled(values[prefix + key], MONEY_SCALE)
    for name in COUNTS:
        if values.get(prefix + name) is not None:
            given[name] = values[prefix + name]
    return given
