"""Small builders of candidates, bars and plans for the tests of planning."""

from dataclasses import replace

from finagent.domain.gap import Candidate, IndicationSource, Levels
from finagent.domain.market import MINUTE_MS, Bar, Direction, Instrument, Session
from finagent.domain.orders import Scope
from finagent.domain.planning import NoPlan, NotYet, Plan, PlanningRules, make_plan

OPEN_MS = 1_519_137_000_000
"""2018-02-20 09:30 New York."""
SESSION = Session(
    date="2018-02-20", open_ms=OPEN_MS, close_ms=OPEN_MS + 390 * MINUTE_MS, previous="2018-02-16"
)
SCOPE = Scope()
WINDOWS = ((OPEN_MS, OPEN_MS + 90 * MINUTE_MS), (OPEN_MS + 165 * MINUTE_MS, OPEN_MS + 270 * MINUTE_MS))
"""09:30 to 11:00 and 12:15 to 14:00."""


def at(minutes: int) -> int:
    """The instant ``minutes`` after the open."""
    return OPEN_MS + minutes * MINUTE_MS


def bar(minute: int, open_e4: int, high_e4: int, low_e4: int, close_e4: int, volume: int = 1_000) -> Bar:
    return Bar(at(minute), open_e4, high_e4, low_e4, close_e4, volume)


def cents(*prices: tuple[int, int, int, int]) -> list[Bar]:
    """Bars from the open on, each (open, high, low, close) in cents."""
    return [bar(index, *(100 * price for price in each)) for index, each in enumerate(prices)]


def candidate(direction: Direction = Direction.LONG, **changes: object) -> Candidate:
    base = Candidate(
        instrument=Instrument(symbol="WMT", shortable=True, easy_to_borrow=True),
        session=SESSION.date,
        as_of_ms=at(1),
        gap_e6=50_000,
        indication_e4=100_0000,
        indication_source=IndicationSource.OPEN,
        prev_close_e4=95_2500,
        prev_close_adjusted_e8=95_2500_0000,
        direction=direction,
        last_price_e4=100_0000,
        atr_e4=2_0000,
        adv_shares=1_000_000,
        spread_e6=500,
        is_short_restricted=False,
        levels=Levels(premarket_high_e4=100_5000, premarket_low_e4=99_5000, gap_fill_e4=95_2500),
    )
    return replace(base, **changes)


def planned(
    rules: PlanningRules | None = None,
    *,
    of: Candidate | None = None,
    bars: list[Bar] | tuple[Bar, ...] = (),
    now_ms: int = at(1),
    **changes: object,
) -> Plan | NoPlan | NotYet:
    context = {
        "score_e6": 700_000,
        "rank": 1,
        "session": SESSION,
        "scan_tick": "09:31",
        "windows": WINDOWS,
        "scope": SCOPE,
        "allow_shorts": True,
        **changes,
    }
    return make_plan(of or candidate(), rules=rules or PlanningRules(), bars=bars, now_ms=now_ms, **context)


def mirrored(prices: list[Bar], around_e4: int) -> list[Bar]:
    """The same bars upside down around a price."""
    return [
        Bar(
            each.start_ms,
            2 * around_e4 - each.open_e4,
            2 * around_e4 - each.low_e4,
            2 * around_e4 - each.high_e4,
            2 * around_e4 - each.close_e4,
            each.volume,
        )
        for each in prices
    ]
