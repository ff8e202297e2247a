"""What the market is made of: instruments, sessions, bars, quotes, corporate actions, headlines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from finagent.domain.money import PRICE_SCALE, SHARE_E4
from finagent.domain.rows import maker, quick

MINUTE_MS = 60_000


class Direction(StrEnum):
    """Which way a position earns."""

    LONG = "long"
    SHORT = "short"

    sign: int
    """+1 for long, -1 for short."""

    def __init__(self, name: str) -> None:
        self.sign = 1 if name == "long" else -1


class Side(StrEnum):
    """Which way an order trades."""

    BUY = "buy"
    SELL = "sell"

    sign: int
    """+1 for buy, -1 for sell."""

    def __init__(self, name: str) -> None:
        self.sign = 1 if name == "buy" else -1


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One tradable stock; the price tick is 0.01 from 1 dollar and 0.0001 below."""

    symbol: str
    sector: str | None = None
    float_shares: int | None = None
    shortable: bool | None = None
    easy_to_borrow: bool | None = None
    lot_e4: int = SHARE_E4

    def tick_e4(self, price_e4: int) -> int:
        """The price increment at a price, in 1e-4 (SEC Rule 612)."""
        return 100 if price_e4 >= PRICE_SCALE else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A trading day of the exchange: local date, regular hours in ms UTC, the session before it."""

    date: str
    open_ms: int
    close_ms: int
    previous: str
    is_half_day: bool = False

    @property
    def minutes(self) -> int:
        """Length of the regular session in minutes."""
        return (self.close_ms - self.open_ms) // MINUTE_MS


@quick
@dataclass(frozen=True, slots=True)
class Bar:
    """A one-minute bar of raw prices: ``start_ms`` is its start, it is known from ``end_ms`` on; volume in shares."""

    start_ms: int
    open_e4: int
    high_e4: int
    low_e4: int
    close_e4: int
    volume: int

    @property
    def end_ms(self) -> int:
        """The instant from which the bar is known."""
        return self.start_ms + MINUTE_MS


new_bar = maker(Bar)


@quick
@dataclass(frozen=True, slots=True)
class DailyBar:
    """A session's raw open, high, low, close and volume in shares."""

    session: str
    open_e4: int
    high_e4: int
    low_e4: int
    close_e4: int
    volume: int


new_daily_bar = maker(DailyBar)


@quick
@dataclass(frozen=True, slots=True)
class DailyBars:
    """Daily bars by column, oldest first: averages over many of them are reckoned on these."""

    sessions: Sequence[str]
    opens_e4: Sequence[int]
    highs_e4: Sequence[int]
    lows_e4: Sequence[int]
    closes_e4: Sequence[int]
    volumes: Sequence[int]

    @classmethod
    def of(cls, bars: "Sequence[DailyBar] | DailyBars") -> "DailyBars":
        """The columns of some bars; columns are themselves."""
        if isinstance(bars, DailyBars):
            return bars
        return cls(
            [bar.session for bar in bars],
            [bar.open_e4 for bar in bars],
            [bar.high_e4 for bar in bars],
            [bar.low_e4 for bar in bars],
            [bar.close_e4 for bar in bars],
            [bar.volume for bar in bars],
        )

    def __len__(self) -> int:
        return len(self.sessions)

    def __getitem__(self, place: int) -> DailyBar:
        return DailyBar(
            self.sessions[place],
            self.opens_e4[place],
            self.highs_e4[place],
            self.lows_e4[place],
            self.closes_e4[place],
            self.volumes[place],
        )

    def before(self, session: str) -> "DailyBars":
        """Those of earlier sessions."""
        if not self.sessions or self.sessions[-1] < session:
            return self
        earlier = [place for place, each in enumerate(self.sessions) if each < session]
        return DailyBars.of([self[place] for place in earlier])


new_daily_bars = maker(DailyBars)


@quick
@dataclass(frozen=True, slots=True)
class Quote:
    """Best bid and offer known at an instant; sizes in shares."""

    at_ms: int
    bid_e4: int
    ask_e4: int
    bid_size: int
    ask_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CorporateAction:
    """Effective on ``ex_session``: cash dividend and split ratio (new per old) as an exact 6-decimal rational."""

    ex_session: str
    dividend_e4: int
    split_ratio_e6: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One text about a symbol; known from ``known_at_ms`` on (24 h late where the source's zone is unstated)."""

    symbol: str
    published_ms: int
    known_at_ms: int
    text: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Earnings:
    """An earnings date; ``timing`` is ``bmo``, ``amc`` or None where the source does not say."""

    symbol: str
    session: str
    timing: str | None = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is known of one symbol in a session as of an instant, enough to measure its gap.

    ``previous`` is the raw daily bar of the previous exchange session, ``action`` the corporate action whose ex-date is
    the session, ``official_open_e4`` the session's opening print once its first minute has ended, ``minutes`` today's
    ended one-minute bars (pre-market and regular) in time order.
    """

    instrument: Instrument
    previous: DailyBar | None = None
    action: CorporateAction | None = None
    official_open_e4: int | None = None
    minutes: tuple[Bar, ...] = ()
    quote: Quote | None = None
    is_halted: bool = False
    premarket_trades: int | None = None
    is_short_restricted: bool | None = None

    @property
    def symbol(self) -> str:
        """The instrument's ticker."""
        return self.instrument.symbol


new_snapshot = maker(Snapshot)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherSymbols:
    """Symbols of a universe that are counted and not shown.

    ``dropped`` counts them by the reason why they were left out; ``readable`` had a gap to read, ``ups`` of these up.
    """

    dropped: Mapping[str, int] = field(default_factory=dict)
    readable: int = 0
    ups: int = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.dropped.values())


NO_OTHERS = OtherSymbols()


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketView:
    """All snapshots of a session as of an instant, by symbol in order; ``has_minutes``: the session has minute data.

    In the journal the symbols that did not gap are only counted, as ``others``.
    """

    session: Session
    as_of_ms: int
    snapshots: tuple[Snapshot, ...]
    has_minutes: bool
    feed: str
    others: OtherSymbols = NO_OTHERS


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Daily bars of the sessions before one session, oldest first, with the corporate actions among them."""

    bars: tuple[DailyBar, ...] = ()
    actions: tuple[CorporateAction, ...] = ()
    volumes_to_now: tuple[int, ...] = ()
    """Volume up to the same time of day in earlier sessions, oldest first, like feed with like (for RVOL)."""
    premarket_volumes: tuple[int, ...] = ()


new_history = maker(History)
