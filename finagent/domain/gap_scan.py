"""The gap scan over a universe: both phases, the order of the candidates, the second look and the reasons."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from finagent.domain.gap import Candidate, Dropped, GapRules, GapScan, MeasuredUniverse
from finagent.domain.gap_filters import is_gap_filled, screen
from finagent.domain.gap_measure import measure_all
from finagent.domain.market import Direction, History, MarketView
from finagent.domain.money import RATIO_SCALE, percent_text, price_text, ratio_number

_NO_HISTORY = History()


def rank(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Largest gap first, compared exactly; then by symbol."""
    return tuple(sorted(candidates, key=lambda each: (-_gap_order(each), each.instrument.symbol)))


def screen_all(universe: MeasuredUniverse, histories: Mapping[str, History], rules: GapRules) -> GapScan:
    """The second phase for all that were measured; a symbol without history is screened with an empty one."""
    candidates: list[Candidate] = []
    dropped = list(universe.dropped)
    for measured in universe.measured:
        outcome = screen(
            measured, histories.get(measured.symbol, _NO_HISTORY), rules=rules, feed=universe.feed
        )
        if isinstance(outcome, Dropped):
            dropped.append(outcome)
        else:
            candidates.append(outcome)
    return GapScan(
        session=universe.session.date,
        as_of_ms=universe.as_of_ms,
        universe=universe.universe,
        candidates=rank(candidates),
        dropped=tuple(sorted(dropped, key=lambda drop: drop.symbol)),
        data_issues=universe.data_issues,
        market={"spy_gap_e6": universe.spy_gap_e6, "breadth_e6": universe.breadth_e6},
        readable=universe.readable,
        ups=universe.ups,
        others=universe.others,
    )


def scan(
    view: MarketView, histories: Callable[[Sequence[str]], Mapping[str, History]], rules: GapRules
) -> GapScan:
    """Both phases at once; ``histories`` is asked once, for the symbols that passed the first."""
    universe = measure_all(view, rules)
    return screen_all(universe, histories([measured.symbol for measured in universe.measured]), rules)


def second_look_rank(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The order of the midday look: the least sum of five places, then the larger gap, then the symbol.

    Each candidate takes a place (1 best, equals share, unknown comes last) in: move from the open in the
    trade's direction; gap held before filled; RVOL; distance to VWAP, the right side of it first; distance to
    the day's high (short: low). Places, not weights: no scale has to be guessed and one extreme value cannot
    decide alone.
    """
    listed = sorted(candidates, key=lambda candidate: candidate.symbol)
    totals = [sum(places[:-1]) for places in second_look_places(listed)]
    order = sorted(
        range(len(listed)),
        key=lambda index: (totals[index], -_gap_order(listed[index]), listed[index].symbol),
    )
    return tuple(listed[index] for index in order)


def second_look_places(candidates: Sequence[Candidate]) -> list[tuple[int, ...]]:
    """Each candidate's place, the best 0, by each of the five keys of the second look, and by the size of its gap."""
    keys = [(*_second_look_keys(each), -_gap_order(each)) for each in candidates]
    columns = [{key: place for place, key in enumerate(sorted(set(own)))} for own in zip(*keys, strict=True)]
    return [tuple(places[key] for places, key in zip(columns, row, strict=True)) for row in keys]


def explain(symbol: str, gap_scan: GapScan) -> tuple[str, ...]:
    """Why a symbol was kept or left out, in sentences."""
    for issue in gap_scan.data_issues:
        if issue.symbol == symbol:
            return (f"{symbol} is a data issue ({issue.kind}) and is not traded: {issue.detail}",)
    for drop in gap_scan.dropped:
        if drop.symbol == symbol:
            return (f"{symbol} was dropped by {drop.reason}: {drop.detail}",)
    for place, candidate in enumerate(gap_scan.candidates, start=1):
        if candidate.symbol == symbol:
            return _explain_candidate(candidate, place, len(gap_scan.candidates))
    return (f"{symbol} is not in the universe of {gap_scan.session} ({gap_scan.universe} symbols)",)


def _gap_order(candidate: Candidate) -> int:
    """The gap's size as an integer that orders as the exact fraction does.

    Two different fractions of numbers below 2^62 lie at least 2^-124 apart, so that their floors in 2^-128 differ too.
    """
    numerator = candidate.adjusted_numerator
    if numerator <= 0:
        return (abs(candidate.gap_e6) << 128) // RATIO_SCALE
    return (abs(candidate.indication_e4 * candidate.adjusted_denominator - numerator) << 128) // numerator


def _second_look_keys(candidate: Candidate) -> tuple[tuple[int, int], ...]:
    """Five sort keys, smaller is better; the first part is 1 where the value is unknown."""
    levels, last_e4, sign = candidate.levels, candidate.last_price_e4, candidate.direction.sign
    move, filled, rvol = (
        candidate.move_from_open_e6,
        is_gap_filled(candidate.gap_e6, levels),
        candidate.rvol_e6,
    )
    extreme_e4 = levels.day_high_e4 if candidate.direction is Direction.LONG else levels.day_low_e4
    return (
        (1, 0) if move is None else (0, -sign * move),
        (1, 0) if filled is None else (0, int(filled)),
        (1, 0) if rvol is None else (0, -rvol),
        _vwap_key(levels.vwap_e4, last_e4, sign),
        (1, 0)
        if extreme_e4 is None or last_e4 <= 0
        else (0, abs(extreme_e4 - last_e4) * RATIO_SCALE // last_e4),
    )


def _vwap_key(vwap_e4: int | None, last_e4: int, sign: int) -> tuple[int, int]:
    if vwap_e4 is None or vwap_e4 <= 0:
        return 2, 0
    distance_e6 = abs(last_e4 - vwap_e4) * RATIO_SCALE // vwap_e4
    return (0 if (last_e4 - vwap_e4) * sign >= 0 else 1), distance_e6


def _explain_candidate(candidate: Candidate, place: int, count: int) -> tuple[str, ...]:
    gap, close = percent_text(candidate.gap_e6), price_text(candidate.prev_close_e4)
    indication, source = price_text(candidate.indication_e4), candidate.indication_source.value
    reasons = [
        f"{candidate.symbol} passed every filter: place {place} of {count} by the size of the gap",
        f"gap {gap} % from {close} to {indication} ({source}): {candidate.direction.value}",
    ]
    if candidate.adv_usd is not None:
        reasons.append(f"average daily volume {candidate.adv_usd} $")
    if candidate.premarket_volume is not None:
        reasons.append(f"pre-market volume {candidate.premarket_volume} shares")
    if candidate.rvol_e6 is not None:
        reasons.append(f"relative volume {ratio_number(candidate.rvol_e6)}")
    if candidate.spread_e6 is not None:
        reasons.append(f"spread {percent_text(candidate.spread_e6)} %")
    if candidate.flags:
        reasons.append("flags: " + ", ".join(candidate.flags))
    return tuple(reasons)
