"""Who is compared with what: every contestant of a round against the plain rule on its work."""

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.backtest.agreement import DisagreementError, allowances, compare, told_by
from benchmarks.backtest.contest import AGREEING, Document, Place
from benchmarks.backtest.plain import Trades, daily_trades, minute_trades
from benchmarks.backtest.sizes import SIZES, Size
from benchmarks.backtest.work import Arrays, Rule, read

ROUNDED = "fills rounded to a cent by finagent alone"
SPREAD = 6
"""So many sets of the sweep are compared, those that vectorbt plays too."""


def agreed(
    place: Place, found: Mapping[str, Document], works: Sequence[str] = ("daily", "quarter", "minutes")
) -> Document:
    """By work and contestant the differences under each reason; DisagreementError for one without a reason."""
    size = SIZES[place.size]
    told: dict[str, object] = {}
    for work in works:
        arrays, rule = read(place.works / work), size.minute_rule if work == "minutes" else size.daily_rule
        play = minute_trades if work == "minutes" else daily_trades
        exact, raw = play(arrays, rule, on_grid=True), play(arrays, rule, on_grid=False)
        told[work] = {
            "trades": len(exact),
            ROUNDED: sum(exact[at] != raw[at] for at in exact),
            **_of_work(place, work, found, arrays, rule, exact, raw),
        }
        if work == "daily" and "sweep" in found:
            told["sweep"] = _of_sweep(place, size, found, arrays)
    return told


def _of_work(
    place: Place,
    work: str,
    found: Mapping[str, Document],
    arrays: Arrays,
    rule: Rule,
    exact: Trades,
    raw: Trades,
) -> dict[str, dict[str, int]]:
    folder = place.works / work
    ours = compare(
        "finagent", exact, told_by(folder, "finagent"), allowances(arrays, rule, exact, name="finagent")
    )
    told = {"finagent": ours}
    for name, peer in AGREEING.items():
        if name in found and peer.work == work:
            part = {at: trade for at, trade in raw.items() if peer.part is None or at[1] < peer.part}
            allowed = allowances(arrays, rule, part, name=peer.name)
            told[peer.name] = compare(peer.name, part, told_by(folder, peer.name), allowed)
    return told


def _of_sweep(place: Place, size: Size, found: Mapping[str, Document], arrays: Arrays) -> dict[str, int]:
    """Sets spread over the sweep: number of trades and gain to the last digit, by the plain rule and by the program.

    vectorbt's gain of a set may differ by what its ties and its unrounded fills account for in the trades compared
    above: it is held to a thousandth of the turnover.
    """
    ours = np.load(place.works / "daily" / "of_finagent_sets.npy")
    places = np.linspace(0, len(size.sets) - 1, min(SPREAD, len(size.sets))).astype(int).tolist()
    for order, number in enumerate(places):
        gap, stop, target = size.sets[number]
        rule = Rule(gap=gap, stop=stop, target_r=target)
        trades = daily_trades(arrays, rule, on_grid=True)
        thin = allowances(arrays, rule, trades, name="finagent")
        gain = sum(trade[3] for trade in trades.values())
        room = sum(2 * trades[at][0] * trades[at][1] for at in thin)
        if ours[number, 0] != len(trades) or abs(int(ours[number, 1]) - gain) > room:
            raise DisagreementError(f"set {number}: {ours[number].tolist()} for {[len(trades), gain]}")
        if "vectorbt_daily" in found:
            theirs = found["vectorbt_daily"]["swept_e4"][order]
            turnover = sum(2 * trade[0] * trade[1] for trade in trades.values())
            if abs(theirs - gain) > turnover / 1000:
                raise DisagreementError(f"set {number}: vectorbt gained {theirs} for {gain}")
    return {"sets compared": len(places)}
