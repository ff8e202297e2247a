"""The gap scan: what gapped, which of it is tradable, and a reason for every symbol that is not."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from finagent.domain.market import NO_OTHERS, Bar, Direction, Instrument, OtherSymbols, Session, Snapshot
from finagent.domain.rows import maker, quick


class IndicationSource(StrEnum):
    """Where the indication comes from."""

    PREMARKET = "premarket"
    OPEN = "open"


class GapStyle(StrEnum):
    """Trade with the gap or against it."""

    GO = "gap_and_go"
    FADE = "fade"


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRules:
    """Limits of the scan; ratios in 1e-6, prices in 1e-4, ADV in whole dollars."""

    min_gap_e6: int = 40_000
    style: GapStyle = GapStyle.GO
    min_price_e4: int = 20_000
    max_price_e4: int = 3_000_000
    min_adv_usd: int = 5_000_000
    adv_sessions: int = 20
    min_premarket_volume: int = 100_000
    min_rvol_e6: int = 2_000_000
    rvol_min_sessions: int = 5
    max_spread_e6: int = 3_000
    min_premarket_trades: int = 5
    max_indication_age_ms: int = 300_000
    atr_sessions: int = 14
    top: int = 5
    keep_unknown: bool = True
    """A filter on an unknown value keeps the symbol (True) or drops it as ``unknown_<filter>`` (False)."""
    exclude: tuple[str, ...] = ()


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Prices a trader watches, in 1e-4; None where unknown."""

    premarket_high_e4: int | None = None
    premarket_low_e4: int | None = None
    prev_high_e4: int | None = None
    prev_low_e4: int | None = None
    half_gap_e4: int | None = None
    gap_fill_e4: int | None = None
    vwap_e4: int | None = None
    day_high_e4: int | None = None
    day_low_e4: int | None = None


new_levels = maker(Levels)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A symbol that passed the scan, with everything that was measured; unknown values are None, never 0."""

    instrument: Instrument
    session: str
    as_of_ms: int
    gap_e6: int
    """Floor of the exact gap ratio in 1e-6 (0.042 is 42_000); signed."""
    indication_e4: int
    indication_source: IndicationSource
    prev_close_e4: int
    prev_close_adjusted_e8: int
    """(previous close - dividend) / split ratio, in 1e-8 dollars, rounded half even for display only."""
    direction: Direction
    last_price_e4: int
    """Close of the last ended bar at the decision (the indication when there is none)."""
    volume: int | None = None
    premarket_volume: int | None = None
    adv_usd: int | None = None
    adv_shares: int | None = None
    rvol_e6: int | None = None
    atr_e4: int | None = None
    atr_pct_e6: int | None = None
    spread_e6: int | None = None
    move_from_open_e6: int | None = None
    is_short_restricted: bool | None = None
    feed: str = ""
    levels: Levels = Levels()
    flags: tuple[str, ...] = ()
    adjusted_numerator: int = 0
    """With the denominator the exact adjusted previous close in 1e-4, to decide ties; 0 where not kept."""
    adjusted_denominator: int = 1

    @property
    def symbol(self) -> str:
        """The instrument's ticker."""
        return self.instrument.symbol


new_candidate = maker(Candidate)


@quick
@dataclass(frozen=True, slots=True)
class Dropped:
    """A symbol the scan left out: the first filter that refused it and the value seen."""

    symbol: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class DataIssue:
    """A symbol that is not traded because its data contradict themselves."""

    symbol: str
    kind: str
    detail: str


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A symbol whose gap is large enough: what the first phase learnt, handed to the second.

    The adjusted previous close is ``adjusted_numerator / adjusted_denominator`` in 1e-4, exactly.
    ``premarket`` and ``regular`` are today's bars that had ended at ``as_of_ms``, in time order.
    """

    snapshot: Snapshot
    session: Session
    as_of_ms: int
    has_minutes: bool
    indication_e4: int
    indication_source: IndicationSource
    adjusted_numerator: int
    adjusted_denominator: int
    gap_e6: int
    premarket: tuple[Bar, ...] = ()
    regular: tuple[Bar, ...] = ()

    @property
    def symbol(self) -> str:
        """The instrument's ticker."""
        return self.snapshot.instrument.symbol


new_measured = maker(Measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredUniverse:
    """The first phase over a whole universe; every symbol is in exactly one of the three lists, by symbol."""

    session: Session
    as_of_ms: int
    feed: str
    universe: int
    measured: tuple[Measured, ...]
    dropped: tuple[Dropped, ...]
    data_issues: tuple[DataIssue, ...]
    spy_gap_e6: int | None
    breadth_e6: int | None
    readable: int = 0
    """Symbols with a readable gap, whatever its size; ``ups`` of them gap up."""
    ups: int = 0
    others: OtherSymbols = NO_OTHERS
    """Symbols that the view only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GapScan:
    """The result of one scan: every symbol of the universe is in exactly one of the three lists, or counted."""

    session: str
    as_of_ms: int
    universe: int
    candidates: tuple[Candidate, ...]
    dropped: tuple[Dropped, ...]
    data_issues: tuple[DataIssue, ...]
    market: Mapping[str, int | None]
    """``spy_gap_e6`` and ``breadth_e6`` (share of measured symbols that gap up); None where unknown."""
    readable: int = 0
    ups: int = 0
    others: OtherSymbols = NO_OTHERS

    def drop_counts(self) -> dict[str, int]:
        """How many symbols each reason left out, by reason."""
        counts = dict(self.others.dropped)
        for drop in self.dropped:
            counts[drop.reason] = counts.get(drop.reason, 0) + 1
        return dict(sorted(counts.items()))
