"""Small builders of market facts for the tests of the domain; every price is in dollars text or 1e-4."""

from finagent.domain.gap import Candidate, GapRules, IndicationSource
from finagent.domain.market import (
    MINUTE_MS,
    Bar,
    CorporateAction,
    DailyBar,
    Direction,
    History,
    Instrument,
    MarketView,
    Quote,
    Session,
    Snapshot,
)
from finagent.domain.money import parse_scaled

OPEN_MS = 1_518_791_400_000
"""2018-02-16 09:30 New York."""
FIRST_MINUTE_MS = OPEN_MS + MINUTE_MS
SESSION = Session(
    date="2018-02-16", open_ms=OPEN_MS, close_ms=OPEN_MS + 390 * MINUTE_MS, previous="2018-02-15"
)
RULES = GapRules()
PREVIOUS_CLOSE_MS = OPEN_MS - 17 * 3_600_000 - 30 * MINUTE_MS


def e4(text: str) -> int:
    return parse_scaled(text, 4)


def daily(
    close: str = "100", *, session: str = "2018-02-15", high: str = "", low: str = "", volume: int = 1_000_000
) -> DailyBar:
    return DailyBar(session, e4(close), e4(high or close), e4(low or close), e4(close), volume)


def bar(
    offset: int, open_: str, close: str = "", *, high: str = "", low: str = "", volume: int = 1_000
) -> Bar:
    """A minute bar ``offset`` minutes after the open (negative: pre-market)."""
    close = close or open_
    prices = sorted((e4(open_), e4(close)))
    return Bar(
        OPEN_MS + offset * MINUTE_MS,
        e4(open_),
        e4(high) if high else prices[1],
        e4(low) if low else prices[0],
        e4(close),
        volume,
    )


def action(dividend: str = "0", ratio_e6: int = 1_000_000, *, ex: str = "2018-02-16") -> CorporateAction:
    return CorporateAction(ex_session=ex, dividend_e4=e4(dividend), split_ratio_e6=ratio_e6)


def quote(bid: str, ask: str, *, at_ms: int = OPEN_MS - MINUTE_MS) -> Quote:
    return Quote(at_ms, e4(bid), e4(ask), 100, 100)


def snapshot(
    *minutes: Bar,
    symbol: str = "AAA",
    previous: DailyBar | None = None,
    ex: CorporateAction | None = None,
    official: str | None = None,
    at_quote: Quote | None = None,
    is_halted: bool = False,
    trades: int | None = None,
    ssr: bool | None = None,
) -> Snapshot:
    return Snapshot(
        instrument=Instrument(symbol=symbol),
        previous=previous or daily(),
        action=ex,
        official_open_e4=None if official is None else e4(official),
        minutes=minutes,
        quote=at_quote,
        is_halted=is_halted,
        premarket_trades=trades,
        is_short_restricted=ssr,
    )


def view(*snapshots: Snapshot, as_of_ms: int = FIRST_MINUTE_MS, has_minutes: bool = True) -> MarketView:
    return MarketView(
        session=SESSION, as_of_ms=as_of_ms, snapshots=snapshots, has_minutes=has_minutes, feed="test"
    )


def history(
    count: int = 20, *, close: str = "100", volume: int = 1_000_000, high: str = "101", low: str = "99"
) -> History:
    bars = tuple(
        daily(close, session=f"2018-01-{day:02}", high=high, low=low, volume=volume)
        for day in range(1, count + 1)
    )
    return History(bars=bars)


def candidate(symbol: str = "AAA", **changes: object) -> Candidate:
    facts: dict[str, object] = {
        "instrument": Instrument(symbol=symbol),
        "session": SESSION.date,
        "as_of_ms": FIRST_MINUTE_MS,
        "gap_e6": 50_000,
        "indication_e4": e4("105"),
        "indication_source": IndicationSource.OPEN,
        "prev_close_e4": e4("100"),
        "prev_close_adjusted_e8": e4("100") * 10_000,
        "direction": Direction.LONG,
        "last_price_e4": e4("105"),
    }
    return Candidate(**(facts | changes))  # type: ignore[arg-type]
