"""The kinds of data file: recognised by their columns, never by their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OHLC = ("open", "high", "low", "close")
BID_ASK = tuple(f"{side}_{part}" for side in ("bid", "ask") for part in OHLC)

DAILY = "daily"
MINUTE = "minute"
QUOTES = "quotes"
ACTIONS = "actions"
EARNINGS = "earnings"
HEADLINES = "headlines"
TWEETS = "tweets"

REQUIRED: Mapping[str, tuple[str, ...]] = {
    DAILY: ("symbol", "date", *OHLC, "volume"),
    MINUTE: ("symbol", "ts", *OHLC, "volume"),
    QUOTES: ("symbol", "ts", *BID_ASK, "bid_size", "ask_size"),
    ACTIONS: ("symbol", "ex_date", "dividend", "split_ratio"),
    TWEETS: ("symbol", "published_at", "text"),
    HEADLINES: ("symbol", "published_at", "headline"),
    EARNINGS: ("symbol", "date"),
}
EARNINGS_EXTRA = frozenset({"timing", "source"})
LEFT: Sequence[tuple[str, tuple[str, ...], str]] = (
    ("adjusted_daily", ("symbol", "date", "adj_close"), "prices are adjusted; only raw prices are imported"),
    ("coarse_universe", ("symbol", "date", "close", "dollar_volume"), "a universe without opens, not bars"),
    ("factor_files", ("symbol", "date", "price_factor", "split_factor"), "factors of another vendor"),
    ("map_files", ("permtick", "last_date", "ticker"), "a ticker map of another vendor"),
)
MARKET = (DAILY, MINUTE)


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a file is: its kind, whether it is imported, and why not where it is left."""

    kind: str
    is_imported: bool
    detail: str = ""


def recognise(columns: Sequence[str], *, is_volume_whole: bool) -> Recognised:
    """The kind of a table with these columns; further columns do not matter."""
    have = set(columns)
    for kind, needed, why in LEFT:
        if have.issuperset(needed) and not (kind != "adjusted_daily" and have.issuperset(REQUIRED[DAILY])):
            return Recognised(kind, False, why)
    for kind, needed in REQUIRED.items():
        if not have.issuperset(needed):
            continue
        if kind in MARKET and not is_volume_whole:
            return Recognised("crypto", False, "volume is fractional; only whole shares are imported")
        if kind == EARNINGS and have - set(needed) - EARNINGS_EXTRA:
            continue
        return Recognised(kind, True)
    return Recognised("unknown", False, _nearest(have))


def _nearest(have: set[str]) -> str:
    """The imported kind that shares most columns, and which ones the file lacks."""
    lacking_some = {kind: needed for kind, needed in REQUIRED.items() if not have.issuperset(needed)}
    shared = {kind: len(have & set(needed)) / len(needed) for kind, needed in lacking_some.items()}
    kind = max(shared, key=lambda name: shared[name])
    lacking = [name for name in REQUIRED[kind] if name not in have]
    if shared[kind] < 0.5:
        return "no known kind has its columns"
    return f"nearest is {kind}, which needs {', '.join(lacking)} as well"
