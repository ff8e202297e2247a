"""The replays that are judged: what each sets, what the checkers then expect, and what came out."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from finagent.context import Document
from tests.e2e.independent.account import Limits
from tests.e2e.independent.brackets import Manner
from tests.e2e.independent.fill_model import Costs
from tests.e2e.independent.run_file import Row, RunFile


@dataclass(frozen=True)
class Setting:
    """A way to run the replay: what the environment sets, and what the checkers then expect."""

    name: str
    environment: dict[str, str]
    least_trades: int
    min_gap: Fraction = Fraction(4, 100)
    manner: Manner = field(default_factory=Manner)
    costs: Costs = field(default_factory=Costs)
    limits: Limits = field(default_factory=Limits)
    start_equity: int = 100_000
    kinds: frozenset[str] = frozenset()
    """Exit reasons that the run must contain."""


GAP_2 = {"FINAGENT__SCAN__MIN_GAP_PCT": "2"}
TIGHT = {
    "FINAGENT__PLANNING__STOP_PCT": "0.3",
    "FINAGENT__PLANNING__TARGET_R": "1.5",
    "FINAGENT__PLANNING__TIME_STOP_MINUTES": "390",
}
TIGHT_MANNER = Manner(stop_share=Fraction(3, 1000), target_r=Fraction(3, 2), time_stop_minutes=390)
SETTINGS = (Setting("2%", GAP_2, 20, Fraction(2, 100), kinds=frozenset({"stop", "time", "flatten"})),)
HARDER = (
    Setting("4%", {}, 5, kinds=frozenset({"stop", "time", "flatten"})),
    Setting(
        "tight", {**GAP_2, **TIGHT}, 20, Fraction(2, 100), TIGHT_MANNER, kinds=frozenset({"stop", "target"})
    ),
    Setting(
        "thin",
        {
            **GAP_2,
            "FINAGENT__EXECUTION__PARTICIPATION_PCT": "0.05",
            "FINAGENT__EXECUTION__SLIPPAGE_BPS": "7.5",
        },
        20,
        Fraction(2, 100),
        costs=Costs(participation=Fraction(5, 10_000), slippage=Fraction(75, 100_000)),
        kinds=frozenset({"stop", "time", "flatten"}),
    ),
    Setting(
        "thin and tight",
        {**GAP_2, **TIGHT, "FINAGENT__EXECUTION__PARTICIPATION_PCT": "0.05"},
        20,
        Fraction(2, 100),
        TIGHT_MANNER,
        Costs(participation=Fraction(5, 10_000)),
        kinds=frozenset({"stop", "target"}),
    ),
    Setting(
        "bold",
        {
            **GAP_2,
            **TIGHT,
            "FINAGENT__RISK__RISK_PER_TRADE_PCT": "5",
            "FINAGENT__RISK__MAX_POSITION_PCT": "100",
            "FINAGENT__RISK__PAUSE_LOSS_PCT": "0.3",
            "FINAGENT__RISK__FLATTEN_LOSS_PCT": "0.5",
        },
        10,
        Fraction(2, 100),
        TIGHT_MANNER,
        limits=Limits(
            risk=Fraction(5, 100), position=Fraction(1), pause=Fraction(3, 1000), flatten=Fraction(5, 1000)
        ),
    ),
)


PLANNING, EXECUTION = "FINAGENT__PLANNING__", "FINAGENT__EXECUTION__"
OTHERS = (
    Setting("opening range", {**GAP_2, f"{PLANNING}CLASSIC_ENTRY": "opening_range_break"}, 10),
    Setting(
        "reclaim",
        {**GAP_2, f"{PLANNING}PRESET": "structure", f"{PLANNING}STRUCTURE_SETUP": "vwap_reclaim"},
        5,
    ),
    Setting("fade", {**GAP_2, "FINAGENT__SCAN__STYLE": "fade"}, 10),
    Setting("micro", {**GAP_2, "FINAGENT__RISK__PROFILE": "micro"}, 10, start_equity=500),
    Setting("trailing", {**GAP_2, f"{PLANNING}TRAIL_AFTER_R": "0.3", f"{PLANNING}TRAIL_ATR": "0.3"}, 20),
    Setting("late approval", {**GAP_2, "FINAGENT__APPROVAL__SIMULATED_DELAY_S": "150"}, 20),
    Setting(
        "hardly any volume",
        {**GAP_2, f"{EXECUTION}PARTICIPATION_PCT": "0.005", f"{PLANNING}STOP_PCT": "0.3"},
        20,
    ),
)
"""Judged only by what needs no fill model: flat, balanced, chained, approved, ended."""


@dataclass(frozen=True)
class Replayed:
    """One finished replay: its setting, home, document and file."""

    setting: Setting
    home: Path
    document: Document
    file: RunFile

    @property
    def sessions(self) -> list[Row]:
        """The document's sessions."""
        found: list[Row] = self.document["sessions"]  # type: ignore[assignment]
        return found

    @property
    def trades(self) -> list[Row]:
        """The document's trades."""
        found: list[Row] = self.document["trades"]  # type: ignore[assignment]
        return found
