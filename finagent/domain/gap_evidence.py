"""What of a whole market a scan can be decided with again: the symbols that gapped, and counts of the others."""

from collections.abc import Iterable
from dataclasses import replace

from finagent.domain.gap import Dropped, GapScan
from finagent.domain.gap_measure import MARKET_SYMBOL, readable_and_up
from finagent.domain.market import MarketView, OtherSymbols

NO_GAP = frozenset(
    {
        *("excluded", "halted", "gap_below_min"),
        *("no_prev_close", "no_minutes", "no_print", "no_premarket", "no_indication"),
    }
)
"""Reasons of symbols whose gap was never large enough to look further, or that had none to read."""


def needed(view: MarketView, scan: GapScan) -> MarketView:
    """The view cut to the symbols at or above the gap threshold, those whose data contradict themselves, and SPY.

    Scanned again with the same rules and histories it gives the same scan, but for ``trimmed``.
    """
    uncounted = {drop.symbol for drop in scan.dropped if drop.reason in NO_GAP} - {MARKET_SYMBOL}
    kept = replace(view, snapshots=tuple(each for each in view.snapshots if each.symbol not in uncounted))
    excluded = {drop.symbol for drop in scan.dropped if drop.reason == "excluded"}
    readable, ups = readable_and_up(_without(kept, excluded))
    dropped = _counts(drop for drop in scan.dropped if drop.symbol in uncounted)
    return replace(
        kept, others=OtherSymbols(dropped=dropped, readable=scan.readable - readable, ups=scan.ups - ups)
    )


def trimmed(scan: GapScan) -> GapScan:
    """The scan with the symbols that did not gap counted by their reason instead of listed."""
    counts = dict(scan.others.dropped)
    for reason, count in _counts(drop for drop in scan.dropped if drop.reason in NO_GAP).items():
        counts[reason] = counts.get(reason, 0) + count
    return replace(
        scan,
        dropped=tuple(drop for drop in scan.dropped if drop.reason not in NO_GAP),
        others=OtherSymbols(dropped=dict(sorted(counts.items()))),
    )


def _without(view: MarketView, symbols: set[str]) -> MarketView:
    return replace(view, snapshots=tuple(each for each in view.snapshots if each.symbol not in symbols))


def _counts(dropped: Iterable[Dropped]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for drop in dropped:
        counts[drop.reason] = counts.get(drop.reason, 0) + 1
    return dict(sorted(counts.items()))
