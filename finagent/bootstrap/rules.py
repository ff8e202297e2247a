"""Settings become the frozen values that domain and services work with."""

import csv
import dataclasses
from decimal import Decimal
from pathlib import Path

from finagent.adapters.brokers.paper import VenueRules
from finagent.domain.costs import CostRules
from finagent.domain.errors import SettingsValueError
from finagent.domain.fills import Ambiguity
from finagent.domain.gap import GapRules, GapStyle
from finagent.domain.gap_measure import validate_rules
from finagent.domain.money import MONEY_SCALE, PRICE_SCALE, RATIO_SCALE, SHARE_E4
from finagent.domain.planning_rules import PlanningRules, validate_planning
from finagent.domain.risk import RiskProfile, micro_profile, standard_profile, validate_profile
from finagent.domain.scoring import ScoreWeights, validate_weights
from finagent.domain.setups import Setup
from finagent.domain.steps import PRIORITY, Step
from finagent.queue.job import JobPolicy, JobTypes
from finagent.services.schedule import ScanTime, ScheduleRules
from finagent.settings import Settings, SettingsError

MOST_ATTEMPTS = 50
"""A kill counts as an attempt too, and an evening of kills must not bury a job that harmed nobody."""

AUTO_DIVISOR = 2
"""In ``auto`` mode nobody looks at a plan, so it may risk and hold half of what a person may approve."""


def _scaled(value: Decimal, scale: int) -> int:
    """Exact integer of a setting; more places than the scale has are a mistake."""
    scaled = value * scale
    if scaled != scaled.to_integral_value():
        raise SettingsError(f"a setting has more decimal places than 1/{scale}: {value}", "round it")
    return int(scaled)


def _percent_e6(value: Decimal) -> int:
    return _scaled(value, RATIO_SCALE // 100)


def _bps_e6(value: Decimal) -> int:
    return _scaled(value, RATIO_SCALE // 10_000)


def gap_rules(settings: Settings) -> GapRules:
    """Limits of the scan."""
    scan = settings.scan
    rules = GapRules(
        min_gap_e6=_percent_e6(scan.min_gap_pct),
        style=GapStyle(scan.style),
        min_price_e4=_scaled(scan.min_price, PRICE_SCALE),
        max_price_e4=_scaled(scan.max_price, PRICE_SCALE),
        min_adv_usd=scan.min_adv_usd,
        min_premarket_volume=scan.min_premarket_volume,
        min_rvol_e6=_scaled(scan.min_rvol, RATIO_SCALE),
        max_spread_e6=_percent_e6(scan.max_spread_pct),
        min_premarket_trades=scan.min_premarket_trades,
        max_indication_age_ms=scan.max_indication_age_s * 1000,
        top=scan.top,
        keep_unknown=scan.unknown_value == "keep",
        exclude=tuple(sorted(settings.universe.exclude)),
    )
    validate_rules(rules)
    return rules


def score_weights(settings: Settings) -> ScoreWeights:
    """Weights of the score."""
    s = settings.scoring
    weights = ScoreWeights(
        volatility_e6=_scaled(s.volatility, RATIO_SCALE),
        catalyst_e6=_scaled(s.catalyst, RATIO_SCALE),
        liquidity_e6=_scaled(s.liquidity, RATIO_SCALE),
        sentiment_e6=_scaled(s.sentiment, RATIO_SCALE),
    )
    validate_weights(weights)
    return weights


def _optional_e6(value: Decimal | None) -> int | None:
    return None if value is None else _scaled(value, RATIO_SCALE)


def planning_rules(settings: Settings) -> PlanningRules:
    """How plans are made."""
    p = settings.planning
    defaults = PlanningRules()
    rules = PlanningRules(
        preset=p.preset,
        classic_entry=Setup(p.classic_entry),
        opening_range_minutes=p.opening_range_minutes,
        setup=Setup(p.structure_setup),
        stop_e6=_percent_e6(p.stop_pct),
        stop_atr_e6=_scaled(p.stop_atr, RATIO_SCALE),
        target_r_e6=_scaled(p.target_r, RATIO_SCALE),
        break_even_after_r_e6=_optional_e6(p.break_even_after_r) or defaults.break_even_after_r_e6,
        trail_after_r_e6=_optional_e6(p.trail_after_r),
        trail_distance_atr_e6=_optional_e6(p.trail_atr),
        time_stop_minutes=p.time_stop_minutes,
        time_stop_min_r_e6=_scaled(p.time_stop_min_r, RATIO_SCALE),
    )
    return validate_planning(rules)


def risk_profile(settings: Settings) -> RiskProfile:
    """The account's limits: the profile, what settings override, and half of it where nobody approves."""
    r = settings.risk
    base = standard_profile() if r.profile == "standard" else micro_profile()
    given: dict[str, int] = {}
    for name, percent in (
        ("risk_per_trade_e6", r.risk_per_trade_pct),
        ("max_position_e6", r.max_position_pct),
        ("pause_loss_e6", r.pause_loss_pct),
        ("flatten_loss_e6", r.flatten_loss_pct),
        ("max_adv_share_e6", r.max_adv_share_pct),
    ):
        if percent is not None:
            given[name] = _percent_e6(percent)
    for name, count in (
        ("max_open_positions", r.max_open_positions),
        ("max_trades_per_day", r.max_trades_per_day),
        ("max_orders_per_minute", r.max_orders_per_minute),
    ):
        if count is not None:
            given[name] = count
    profile = dataclasses.replace(base, **given)  # type: ignore[arg-type]  # names and types as above
    if settings.universe.fractional:
        profile = dataclasses.replace(profile, lot_e4=1)
    profile = dataclasses.replace(profile, allow_shorts=r.allow_shorts)
    if settings.account.mode == "auto":
        profile = dataclasses.replace(
            profile,
            risk_per_trade_e6=max(1, profile.risk_per_trade_e6 // AUTO_DIVISOR),
            max_position_e6=None
            if profile.max_position_e6 is None
            else profile.max_position_e6 // AUTO_DIVISOR,
        )
    return validate_profile(profile)


def cost_rules(settings: Settings) -> CostRules:
    """What fills cost at the paper venue."""
    e = settings.execution
    return CostRules(
        slippage_e6=_bps_e6(e.slippage_bps),
        participation_e6=_percent_e6(e.participation_pct),
        close_penalty_e6=_bps_e6(e.close_penalty_bps),
        commission_per_share_e8=_scaled(e.commission_per_share, MONEY_SCALE),
        commission_min_e8=_scaled(e.commission_min, MONEY_SCALE),
        has_regulatory_fees=e.regulatory_fees,
    )


def start_equity_e8(settings: Settings) -> int:
    """What the account holds before its first session; a micro account is its bankroll."""
    if settings.risk.profile == "micro":
        bankroll = micro_profile().bankroll_e8
        if bankroll is not None:
            return min(bankroll, _scaled(settings.account.start_equity, MONEY_SCALE))
    return _scaled(settings.account.start_equity, MONEY_SCALE)


def venue_rules(settings: Settings, profile: RiskProfile) -> VenueRules:
    """How the paper venue is set up."""
    return VenueRules(
        currency=settings.account.currency,
        start_equity_e8=start_equity_e8(settings),
        costs=cost_rules(settings),
        ambiguity=Ambiguity(settings.execution.ambiguity),
        lot_e4=min(profile.lot_e4, SHARE_E4),
        allow_shorts=profile.allow_shorts,
        strict_alpaca=settings.execution.exits == "separate",
    )


def schedule_rules(settings: Settings, *, at: str | None = None) -> ScheduleRules:
    """The day's lines; ``at`` puts one planning scan in the place of all scans."""
    s = settings.schedule
    scans = tuple(ScanTime(name=line.name, when=line.at, kind=line.kind) for line in s.scans)
    if at is not None:
        scans = (ScanTime(name="at-" + at.replace(":", ""), when=at, kind="plan"),)
    return ScheduleRules(
        zone=s.zone,
        scans=scans,
        flatten=s.flatten,
        day_close=s.day_close,
        misfire_ms=s.misfire_minutes * 60_000,
        min_before_flatten_ms=s.min_minutes_to_flatten * 60_000,
        no_trade_days=_no_trade_days(s.no_trade_days),
    )


def _no_trade_days(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        with path.open(newline="", encoding="utf-8") as file:
            days = [row[0].strip() for row in csv.reader(file) if row and not row[0].startswith("#")]
    except OSError as error:
        raise SettingsError(
            f"schedule.no_trade_days = {path}: {error.strerror}", "name a CSV with one date a line"
        ) from None
    bad = [day for day in days if not _is_date(day)]
    if bad:
        raise SettingsError(f"{path}: {bad[0]!r} is no date", "write YYYY-MM-DD in the first column")
    return tuple(sorted(days))


def _is_date(text: str) -> bool:
    parts = text.split("-")
    return [len(part) for part in parts] == [4, 2, 2] and all(part.isdigit() for part in parts)


def job_types() -> JobTypes:
    """Every step with its priority; what is at the broker keeps trying far longer than what only decides.

    A send must outlive its order's time to live, or a doubtful order would never be known as unknown.
    """
    patient = (
        *(Step.FLATTEN, Step.BROKER_EVENT, Step.EXIT, Step.SEND_EXIT, Step.REPLACE, Step.MOVE_STOP),
        *(Step.CATCH_UP, Step.PROTECT, Step.SEND, Step.CANCEL_ENTRY, Step.RECORD_TRADE, Step.LIMIT),
    )
    return JobTypes(
        {
            step: JobPolicy(
                priority=priority,
                max_attempts=MOST_ATTEMPTS,
                backoff_base_s=0.2,
                backoff_cap_s=5.0 if step in patient else 30.0,
                timeout_s=30.0,
                credits=1 if step in (Step.RISK, Step.LIMIT) else 8,
                reserve=4 if step in patient else 0,
            )
            for step, priority in PRIORITY.items()
        }
    )


def checked(settings: Settings) -> None:
    """Raise SettingsError for values that only the rules can judge."""
    try:
        gap_rules(settings), score_weights(settings), planning_rules(settings), risk_profile(settings)
        cost_rules(settings)
    except SettingsValueError as error:
        raise SettingsError(str(error), "mend it in the settings file or the environment") from None
