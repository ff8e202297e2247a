"""Settings become the frozen values that domain and services work with."""

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from finagent.bootstrap.risk_rules import auto_limits, risk_profile
from finagent.bootstrap.scales import bps_e6, percent_e6, scaled
from finagent.domain.costs import CostRules
from finagent.domain.errors import SettingsValueError
from finagent.domain.fills import Ambiguity
from finagent.domain.gap import GapRules, GapStyle
from finagent.domain.gap_measure import validate_rules
from finagent.domain.money import MONEY_SCALE, PRICE_SCALE, RATIO_SCALE, SHARE_E4
from finagent.domain.planning_rules import PlanningRules, validate_planning
from finagent.domain.risk import RiskProfile, micro_profile
from finagent.domain.scoring import ScoreWeights, validate_weights
from finagent.domain.setups import Setup
from finagent.domain.steps import PRIORITY, Step
from finagent.queue.job import JobPolicy, JobTypes
from finagent.services.schedule import ScanTime, ScheduleRules
from finagent.settings import Settings, SettingsError
from finagent.settings.no_trade import read_no_trade

if TYPE_CHECKING:
    from finagent.adapters.brokers.paper import VenueRules

__all__ = [
    "checked",
    "cost_rules",
    "gap_rules",
    "job_types",
    "planning_rules",
    "risk_profile",
    "schedule_rules",
    "score_weights",
    "start_equity_e8",
    "venue_rules",
]

MOST_ATTEMPTS = 50
"""A kill counts as an attempt too, and an evening of kills must not bury a job that harmed nobody."""


def gap_rules(settings: Settings) -> GapRules:
    """Limits of the scan."""
    scan = settings.scan
    rules = GapRules(
        min_gap_e6=percent_e6(scan.min_gap_pct),
        style=GapStyle(scan.style),
        min_price_e4=scaled(scan.min_price, PRICE_SCALE),
        max_price_e4=scaled(scan.max_price, PRICE_SCALE),
        min_adv_usd=scan.min_adv_usd,
        min_premarket_volume=scan.min_premarket_volume,
        min_rvol_e6=scaled(scan.min_rvol, RATIO_SCALE),
        max_spread_e6=percent_e6(scan.max_spread_pct),
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
        volatility_e6=scaled(s.volatility, RATIO_SCALE),
        catalyst_e6=scaled(s.catalyst, RATIO_SCALE),
        liquidity_e6=scaled(s.liquidity, RATIO_SCALE),
        sentiment_e6=scaled(s.sentiment, RATIO_SCALE),
    )
    validate_weights(weights)
    return weights


def _optional_e6(value: Decimal | None) -> int | None:
    return None if value is None else scaled(value, RATIO_SCALE)


def planning_rules(settings: Settings) -> PlanningRules:
    """How plans are made."""
    p = settings.planning
    defaults = PlanningRules()
    rules = PlanningRules(
        preset=p.preset,
        classic_entry=Setup(p.classic_entry),
        opening_range_minutes=p.opening_range_minutes,
        setup=Setup(p.structure_setup),
        stop_e6=percent_e6(p.stop_pct),
        stop_atr_e6=scaled(p.stop_atr, RATIO_SCALE),
        target_r_e6=scaled(p.target_r, RATIO_SCALE),
        break_even_after_r_e6=_optional_e6(p.break_even_after_r) or defaults.break_even_after_r_e6,
        trail_after_r_e6=_optional_e6(p.trail_after_r),
        trail_distance_atr_e6=_optional_e6(p.trail_atr),
        time_stop_minutes=p.time_stop_minutes,
        time_stop_min_r_e6=scaled(p.time_stop_min_r, RATIO_SCALE),
    )
    return validate_planning(rules)


def cost_rules(settings: Settings) -> CostRules:
    """What fills cost at the paper venue."""
    e = settings.execution
    return CostRules(
        slippage_e6=bps_e6(e.slippage_bps),
        slippage_range_e6=percent_e6(e.slippage_range_pct),
        slippage_impact_e6=bps_e6(e.slippage_impact_bps),
        participation_e6=percent_e6(e.participation_pct),
        close_penalty_e6=bps_e6(e.close_penalty_bps),
        commission_per_share_e8=scaled(e.commission_per_share, MONEY_SCALE),
        commission_min_e8=scaled(e.commission_min, MONEY_SCALE),
        commission_max_e6=None if e.commission_max_pct is None else percent_e6(e.commission_max_pct),
        has_regulatory_fees=e.regulatory_fees,
    )


def start_equity_e8(settings: Settings) -> int:
    """What the account holds before its first session; a micro account is its bankroll."""
    if settings.risk.profile == "micro":
        bankroll = micro_profile().bankroll_e8
        if bankroll is not None:
            return min(bankroll, scaled(settings.account.start_equity, MONEY_SCALE))
    return scaled(settings.account.start_equity, MONEY_SCALE)


def venue_rules(settings: Settings, profile: RiskProfile) -> "VenueRules":
    """How the paper venue is set up."""
    from finagent.adapters.brokers.paper import (
        VenueRules,  # brings the whole venue, which a backtest has no use for
    )

    return VenueRules(
        currency=settings.account.currency,
        start_equity_e8=start_equity_e8(settings),
        costs=cost_rules(settings),
        ambiguity=Ambiguity(settings.execution.ambiguity),
        lot_e4=min(profile.lot_e4, SHARE_E4),
        allow_shorts=profile.allow_shorts,
        has_separate_exits=settings.execution.exits == "separate",
        strict_alpaca=settings.execution.exits == "alpaca",
    )


def schedule_rules(settings: Settings, *, at: str | None = None) -> ScheduleRules:
    """The day's lines; ``at`` puts one planning scan in the place of all scans."""
    s = settings.schedule
    scans = tuple(ScanTime(name=line.name, when=line.at, kind=line.kind) for line in s.scans)
    if at is not None:
        scans = (ScanTime(name="at-" + at.replace(":", ""), when=at, kind="plan"),)
    no_trade = read_no_trade(s.no_trade_days)
    return ScheduleRules(
        zone=s.zone,
        scans=scans,
        flatten=s.flatten,
        day_close=s.day_close,
        misfire_ms=s.misfire_minutes * 60_000,
        min_before_flatten_ms=s.min_minutes_to_flatten * 60_000,
        entry_windows=tuple((window.start, window.end) for window in s.entry_windows),
        no_trade_days=no_trade.days,
        no_trade_windows=no_trade.windows,
    )


def job_types(others: Mapping[str, JobPolicy] | None = None) -> JobTypes:
    """Every step with its priority, and ``others`` that are none of the day.

    What is at the broker keeps trying far longer than what only decides.
    A send must outlive its order's time to live, or a doubtful order would never be known as unknown.
    """
    patient = (
        *(Step.FLATTEN, Step.BROKER_EVENT, Step.EXIT, Step.SEND_EXIT, Step.REPLACE, Step.MOVE_STOP),
        *(
            Step.CATCH_UP,
            Step.PROTECT,
            Step.HALT_CHECK,
            Step.SEND,
            Step.CANCEL_ENTRY,
            Step.RECORD_TRADE,
            Step.LIMIT,
        ),
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
        | dict(others or {})
    )


def checked(settings: Settings) -> None:
    """Raise SettingsError for values that only the rules can judge."""
    try:
        gap_rules(settings), score_weights(settings), planning_rules(settings), risk_profile(settings)
        auto_limits(settings), cost_rules(settings), schedule_rules(settings)
    except SettingsValueError as error:
        raise SettingsError(str(error), "mend it in the settings file or the environment") from None
