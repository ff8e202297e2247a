"""What a backtest runs with: the frozen values of the domain's rules, and the lines of each session."""

from collections.abc import Callable
from dataclasses import dataclass, field

from finagent.domain.approvals import MAX_PRICE_AGE_MS
from finagent.domain.costs import CostRules
from finagent.domain.fills import Ambiguity
from finagent.domain.gap import GapRules
from finagent.domain.market import Session
from finagent.domain.money import MONEY_SCALE, RATIO_SCALE
from finagent.domain.orders import Scope
from finagent.domain.planning_rules import PlanningRules
from finagent.domain.risk_profile import RiskProfile
from finagent.domain.scoring import ScoreWeights


@dataclass(frozen=True, slots=True)
class ScanLine:
    """A scan of a session: when, its name, what it leads to; ``skipped`` says why it does not run."""

    at_ms: int
    name: str
    kind: str
    skipped: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DayLines:
    """What is due in a session, instants in ms UTC; windows are entry windows, their ends excluded.

    In ``no_trade`` spans nothing is entered, whatever was planned.
    """

    scans: tuple[ScanLine, ...]
    flatten_ms: tuple[int, ...]
    day_open_ms: int
    day_close_ms: int
    windows: tuple[tuple[int, int], ...]
    no_trade: tuple[tuple[int, int], ...] = ()


Lines = Callable[[Session], DayLines]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The rules of one run; money in 1e-8, ratios in 1e-6.

    ``lookback_days`` None: no news and no earnings. ``open_slippage_e6`` is paid on entries at an open that only
    daily bars tell. ``buying_power_e6`` is gross exposure allowed per equity at the venue.
    """

    gap: GapRules = field(default_factory=GapRules)
    weights: ScoreWeights = field(default_factory=ScoreWeights)
    planning: PlanningRules = field(default_factory=PlanningRules)
    profile: RiskProfile = field(default_factory=RiskProfile)
    costs: CostRules = field(default_factory=CostRules)
    ambiguity: Ambiguity = Ambiguity.STOP_FIRST
    start_equity_e8: int = 100_000 * MONEY_SCALE
    top: int = 5
    lookback_days: int | None = 4
    approval_delay_ms: int = 0
    max_price_age_ms: int = MAX_PRICE_AGE_MS
    entry_ttl_ms: int = 300_000
    open_slippage_e6: int = 2_000
    buying_power_e6: int = RATIO_SCALE
    scope: Scope = field(default_factory=Scope)
    symbols: tuple[str, ...] | None = None
    """Only these symbols are looked at; None: all."""

    @property
    def slippage_bound_e6(self) -> int:
        """The most that an entry may slip, for sizing."""
        return self.costs.slippage_bound_e6
