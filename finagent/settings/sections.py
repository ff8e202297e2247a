"""The sections of settings.yaml: each key with its type, bounds and default, and what must fit together."""

from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from finagent.domain.risk import micro_profile, standard_profile
from finagent.settings.values import (
    BasisPoints,
    Factor,
    Percent,
    PositivePercent,
    Price,
    Ratio,
    Section,
    Symbol,
    TimeOfDay,
    When,
    account_name,
    after_close,
    broker_endpoint,
    minutes_before_close,
    scan_name,
)


class Account(Section):
    """The account finagent trades."""

    currency: Literal["USD"] = "USD"
    name: Annotated[str, AfterValidator(account_name)] = "paper"
    start_equity: Annotated[Decimal, Field(gt=0, le=1_000_000_000, decimal_places=4)] = Decimal("100000")
    mode: Literal["alert", "approve", "auto"] = "approve"


class Universe(Section):
    """Which symbols are looked at."""

    exclude: tuple[Symbol, ...] = ()
    fractional: bool = False


class Scan(Section):
    """The gap scan's filters."""

    min_gap_pct: PositivePercent = Decimal("4.0")
    style: Literal["gap_and_go", "fade"] = "gap_and_go"
    min_price: Price = Decimal("2")
    max_price: Price = Decimal("300")
    min_adv_usd: Annotated[int, Field(ge=0)] = 5_000_000
    min_premarket_volume: Annotated[int, Field(ge=0)] = 100_000
    min_rvol: Annotated[Decimal, Field(ge=0, le=1000, decimal_places=6)] = Decimal("2")
    max_spread_pct: Percent = Decimal("0.3")
    min_premarket_trades: Annotated[int, Field(ge=0)] = 5
    max_indication_age_s: Annotated[int, Field(ge=1, le=86_400)] = 300
    unknown_value: Literal["keep", "drop"] = "keep"
    top: Annotated[int, Field(ge=1, le=50)] = 5

    @model_validator(mode="after")
    def _price_range(self) -> "Scan":
        if self.min_price >= self.max_price:
            raise ValueError(f"min_price {self.min_price} must be below max_price {self.max_price}")
        return self


class Scoring(Section):
    """Weights of the score; they sum to 1."""

    volatility: Ratio = Decimal("0.40")
    catalyst: Ratio = Decimal("0.30")
    liquidity: Ratio = Decimal("0.20")
    sentiment: Ratio = Decimal("0.10")

    @model_validator(mode="after")
    def _sum_to_one(self) -> "Scoring":
        total = self.volatility + self.catalyst + self.liquidity + self.sentiment
        if total != 1:
            raise ValueError(f"the weights sum to {total}, they must sum to 1: change one of them")
        return self


def _opening_range(minutes: int) -> int:
    """A Literal of numbers would refuse the texts of the environment."""
    if minutes not in (1, 5, 15, 30):
        raise ValueError("must be 1, 5, 15 or 30")
    return minutes


class Planning(Section):
    """Entry, stop, target and management of a plan."""

    preset: Literal["classic", "structure"] = "classic"
    classic_entry: Literal["next_open", "opening_range_break"] = "next_open"
    opening_range_minutes: Annotated[int, AfterValidator(_opening_range)] = 5
    structure_setup: Literal[
        "premarket_break", "first_pullback", "vwap_pullback", "vwap_reclaim", "gap_fill_fade"
    ] = "premarket_break"
    stop_pct: Annotated[Decimal, Field(gt=0, le=50, decimal_places=4)] = Decimal("3")
    stop_atr: Factor = Decimal("2")
    target_r: Factor = Decimal("3")
    break_even_after_r: Factor | None = None
    trail_after_r: Factor | None = None
    trail_atr: Factor | None = None
    time_stop_minutes: Annotated[int, Field(ge=1, le=390)] | None = 60
    time_stop_min_r: Annotated[Decimal, Field(ge=-10, le=10, decimal_places=6)] = Decimal("0.5")

    @model_validator(mode="after")
    def _trailing_is_whole(self) -> "Planning":
        if (self.trail_after_r is None) != (self.trail_atr is None):
            raise ValueError(
                f"trail_after_r is {self.trail_after_r}, trail_atr is {self.trail_atr}: set both or neither"
            )
        return self


RiskPercent = Annotated[Decimal, Field(gt=0, le=5, decimal_places=4)]


class Risk(Section):
    """Limits of the account; the profile's own values hold where a key is null."""

    profile: Literal["standard", "micro"] = "standard"
    day_trade_rule: Literal["intraday_margin", "cash_settled", "none"] | None = None
    risk_per_trade_pct: RiskPercent | None = None
    max_position_pct: PositivePercent | None = None
    max_order_usd: Annotated[Decimal, Field(gt=0, le=1_000_000_000, decimal_places=4)] | None = None
    max_exposure_pct: PositivePercent | None = None
    max_sector_pct: PositivePercent | None = None
    max_open_positions: Annotated[int, Field(ge=1, le=50)] | None = None
    max_trades_per_day: Annotated[int, Field(ge=1, le=100)] | None = None
    pause_loss_pct: Annotated[Decimal, Field(gt=0, le=50, decimal_places=4)] | None = None
    flatten_loss_pct: Annotated[Decimal, Field(gt=0, le=50, decimal_places=4)] | None = None
    max_adv_share_pct: Annotated[Decimal, Field(gt=0, le=10, decimal_places=4)] | None = None
    max_spread_pct: Annotated[Decimal, Field(gt=0, le=10, decimal_places=4)] | None = None
    max_spread_cost_pct: PositivePercent | None = None
    price_band_pct: Annotated[Decimal, Field(gt=0, le=50, decimal_places=4)] | None = None
    max_orders_per_minute: Annotated[int, Field(ge=1, le=200)] | None = None
    max_rejected_in_a_row: Annotated[int, Field(ge=1, le=50)] | None = None
    max_losses_in_a_row: Annotated[int, Field(ge=1, le=50)] | None = None
    auto_risk_per_trade_pct: RiskPercent | None = None
    auto_max_position_pct: PositivePercent | None = None
    auto_max_open_positions: Annotated[int, Field(ge=1, le=50)] | None = None
    auto_max_trades_per_day: Annotated[int, Field(ge=1, le=100)] | None = None
    allow_shorts: bool = False
    borrow_fee_pct: Annotated[Decimal, Field(ge=0, le=1000, decimal_places=4)] | None = None

    @model_validator(mode="after")
    def _tiers_in_order(self) -> "Risk":
        base = standard_profile() if self.profile == "standard" else micro_profile()
        pause = _percent_in_force(self.pause_loss_pct, base.pause_loss_e6)
        flatten = _percent_in_force(self.flatten_loss_pct, base.flatten_loss_e6)
        if pause is not None and flatten is not None and pause >= flatten:
            raise ValueError(
                f"flatten_loss_pct {flatten} must be above pause_loss_pct {pause}"
                f" (a key that is null has the value of profile {self.profile})"
            )
        if self.allow_shorts and (self.day_trade_rule or base.day_trade_rule) == "cash_settled":
            what = f"profile {self.profile}" if self.day_trade_rule is None else "day_trade_rule"
            raise ValueError(f"allow_shorts needs a margin account, {what} is cash settled")
        return self


class Approval(Section):
    """How a plan gets its yes."""

    ttl_minutes: Annotated[int, Field(ge=1, le=240)] = 10
    simulated_delay_s: Annotated[int, Field(ge=0, le=3600)] = 0
    max_quote_age_s: Annotated[int, Field(ge=1, le=3600)] = 90


class Execution(Section):
    """Orders and their costs."""

    exits: Literal["attached", "separate", "alpaca"] = "attached"
    entry_ttl_s: Annotated[int, Field(ge=60, le=7200)] = 300
    slippage_bps: Annotated[Decimal, Field(ge=0, le=500, decimal_places=2)] = Decimal("5")
    slippage_range_pct: Percent = Decimal("0")
    slippage_impact_bps: Annotated[Decimal, Field(ge=0, le=500, decimal_places=2)] = Decimal("0")
    participation_pct: PositivePercent = Decimal("5")
    close_penalty_bps: BasisPoints = Decimal("50")
    commission_per_share: Annotated[Decimal, Field(ge=0, le=1, decimal_places=6)] = Decimal("0")
    commission_min: Annotated[Decimal, Field(ge=0, le=100, decimal_places=6)] = Decimal("0")
    commission_max_pct: PositivePercent | None = None
    regulatory_fees: bool = True
    ambiguity: Literal["stop_first", "target_first", "path", "minutes"] = "stop_first"


class ScanLine(Section):
    """One scheduled scan: name, instant (``09:31``, ``open+1m``, five cron fields), what it leads to."""

    name: Annotated[str, AfterValidator(scan_name)]
    at: When
    kind: Literal["watchlist", "plan", "second_look"] = "plan"


class EntryWindow(Section):
    """A span of exchange time in which entries are allowed."""

    start: TimeOfDay
    end: TimeOfDay

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> "EntryWindow":
        if self.start >= self.end:
            raise ValueError(f"start {self.start} must be before end {self.end}")
        return self


class Schedule(Section):
    """When things happen, in the exchange's zone."""

    zone: Literal["America/New_York"] = "America/New_York"
    scans: tuple[ScanLine, ...] = (
        ScanLine(name="watchlist", at="09:00", kind="watchlist"),
        ScanLine(name="reprice", at="09:25", kind="plan"),
        ScanLine(name="open", at="09:31", kind="plan"),
        ScanLine(name="second-look", at="12:15", kind="second_look"),
    )
    entry_windows: tuple[EntryWindow, ...] = (
        EntryWindow(start="09:30", end="11:00"),
        EntryWindow(start="12:15", end="14:00"),
    )
    flatten: Annotated[tuple[str, ...], Field(min_length=1, max_length=16)] = (
        "close-15m",
        "close-10m",
        "close-5m",
        "close-2m",
    )
    day_close: Annotated[str, AfterValidator(after_close)] = "close+2m"
    misfire_minutes: Annotated[int, Field(ge=0, le=120)] = 10
    min_minutes_to_flatten: Annotated[int, Field(ge=0, le=390)] = 60
    no_trade_days: Path | None = None

    @field_validator("flatten")
    @classmethod
    def _ladder_goes_down_to_the_close(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        minutes = [minutes_before_close(line) for line in lines]
        if any(first <= then for first, then in pairwise(minutes)) or minutes[-1] < 1:
            raise ValueError("each line must be nearer to the close than the one before, and before it")
        return lines

    @model_validator(mode="after")
    def _lines_are_distinct(self) -> "Schedule":
        names = [scan.name for scan in self.scans]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two scans are called {twice[0]}: rename one of them")
        for first, then in pairwise(self.entry_windows):
            if then.start < first.end:
                raise ValueError(
                    f"the entry window from {then.start} begins before the one until {first.end} ends:"
                    " put them in order, without overlap"
                )
        return self


class Data(Section):
    """Where prices come from."""

    vendor: Literal["simulated", "replay"] = "simulated"
    seed: Annotated[int, Field(ge=0)] = 7
    symbols: Annotated[int, Field(ge=20, le=400)] = 200


class News(Section):
    """Where texts come from."""

    enabled: bool = True
    lookback_days: Annotated[int, Field(ge=1, le=30)] = 4


class Broker(Section):
    """Where orders go."""

    name: Literal["paper", "manual", "alpaca"] = "paper"
    endpoint: Annotated[str, AfterValidator(broker_endpoint)] = "paper"

    @property
    def is_outside(self) -> bool:
        """Whether orders leave over the network; the paper venue and the manual desk live in the database."""
        return self.name == "alpaca"

    @property
    def is_local(self) -> bool:
        """Whether a server on this machine stands for the broker."""
        return self.endpoint.startswith("http://")

    @model_validator(mode="after")
    def _paper_venue_has_no_endpoint(self) -> "Broker":
        if self.name != "alpaca" and self.endpoint != "paper":
            raise ValueError(
                f"endpoint {self.endpoint} belongs to another broker than {self.name}: set name as well"
            )
        return self


class Queue(Section):
    """The durable queue's machinery."""

    poll_ms: Annotated[int, Field(ge=10, le=60_000)] = 250
    retention_days: Annotated[int, Field(ge=1, le=3650)] = 30


class Backtest(Section):
    """Assumptions of research runs."""

    open_slippage_bps: BasisPoints = Decimal("20")
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    memory_mb: Annotated[int, Field(ge=128, le=1_048_576)] = 1_024


class Notify(Section):
    """Messages to a person."""

    enabled: bool = False


class Api(Section):
    """The HTTP surface, on this machine only."""

    host: Literal["127.0.0.1", "0.0.0.0"] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    modules: tuple[
        Literal["health", "metrics", "reads", "approvals", "tickets", "control", "jobs", "backtests"], ...
    ] = (
        "health",
        "metrics",
        "reads",
        "approvals",
        "tickets",
        "control",
        "jobs",
        "backtests",
    )
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost")


class Dashboard(Section):
    """The page."""

    enabled: bool = False
    port: Annotated[int, Field(ge=0, le=65_535)] = 8501


class Ops(Section):
    """Running it."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    stop_timeout_s: Annotated[int, Field(ge=1, le=120)] = 8
    demo_speed: Annotated[int, Field(ge=1, le=100_000)] = 900


def _percent_in_force(given: Decimal | None, of_profile_e6: int | None) -> Decimal | None:
    if given is not None:
        return given
    return None if of_profile_e6 is None else Decimal(of_profile_e6) / 10_000
