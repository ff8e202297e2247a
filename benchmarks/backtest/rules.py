"""The contestants' rule as the program's own parameters: every gap is traded, nothing else limits, fees are exact."""

from benchmarks.backtest.work import FLATTEN_MINUTES, Rule
from finagent.backtest.parameters import DayLines, Parameters, ScanLine
from finagent.domain.costs import CostRules
from finagent.domain.gap import GapRules
from finagent.domain.market import MINUTE_MS, Session
from finagent.domain.money import MAX_INT64, MONEY_SCALE, RATIO_SCALE
from finagent.domain.planning_rules import PlanningRules
from finagent.domain.risk_profile import RiskProfile

MANY = 1_000
EQUITY_E8 = 100_000_000 * MONEY_SCALE
"""So much that no trade of the work is ever refused or made smaller for want of money."""


def parameters(rule: Rule) -> Parameters:
    """Long `next_open` for every candidate, sized by notional alone; limits that would choose among them are open."""
    return Parameters(
        gap=GapRules(
            min_gap_e6=round(rule.gap * RATIO_SCALE),
            min_price_e4=0,
            max_price_e4=MAX_INT64,
            min_adv_usd=0,
            min_premarket_volume=0,
            min_rvol_e6=0,
            max_spread_e6=RATIO_SCALE,
        ),
        planning=PlanningRules(
            stop_e6=round(rule.stop * RATIO_SCALE),
            stop_atr_e6=100 * RATIO_SCALE,
            target_r_e6=round(rule.target_r * RATIO_SCALE),
            break_even_after_r_e6=None,
            time_stop_minutes=None,
        ),
        profile=_open_profile(rule),
        costs=CostRules(
            slippage_e6=0,
            participation_e6=RATIO_SCALE,
            close_penalty_e6=0,
            commission_per_share_e8=round(rule.fee * MONEY_SCALE),
            has_regulatory_fees=False,
        ),
        start_equity_e8=EQUITY_E8,
        top=MANY,
        lookback_days=None,
        open_slippage_e6=0,
    )


def _open_profile(rule: Rule) -> RiskProfile:
    return RiskProfile(
        risk_per_trade_e6=RATIO_SCALE,
        max_position_e6=None,
        max_position_notional_e8=round(rule.notional * MONEY_SCALE),
        max_open_positions=MANY,
        max_trades_per_day=MANY,
        pause_loss_e6=None,
        flatten_loss_e6=None,
        max_adv_share_e6=RATIO_SCALE,
        max_spread_e6=None,
        max_spread_cost_e6=None,
        max_exposure_e6=None,
        max_sector_e6=None,
        max_orders_per_minute=100 * MANY,
        max_rejected_in_a_row=None,
        worst_case_extra_r_e6=0,
        day_trade_rule="none",
        price_band_e6=None,
    )


def lines(session: Session) -> DayLines:
    """One scan when the first minute has ended; what is left leaves 15 minutes before the close."""
    return DayLines(
        scans=(ScanLine(session.open_ms + MINUTE_MS, "open", "plan"),),
        flatten_ms=(session.close_ms - FLATTEN_MINUTES * MINUTE_MS,),
        day_open_ms=session.open_ms,
        day_close_ms=session.close_ms + 5 * MINUTE_MS,
        windows=((session.open_ms, session.close_ms),),
    )
