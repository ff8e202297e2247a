"""A scan decided again from the symbols that gapped and counts of the others is the same scan."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.gap import GapRules
from finagent.domain.gap_evidence import NO_GAP, needed, trimmed
from finagent.domain.gap_scan import scan
from finagent.domain.market import OtherSymbols, Snapshot
from tests.unit.domain.market_builders import OPEN_MS, action, bar, history, quote, snapshot, view

RULES = GapRules(exclude=("EXC", "EXD"), min_premarket_volume=0)
KINDS = st.sampled_from(
    ["up", "down", "flat", "cheap", "none", "late", "halted", "stale", "doubtful", "premarket", "thin"]
)


def _snapshot(kind: str, symbol: str) -> Snapshot:
    made = {
        "up": snapshot(bar(-1, "107"), bar(0, "107"), symbol=symbol),
        "down": snapshot(bar(-1, "92"), bar(0, "92"), symbol=symbol),
        "flat": snapshot(bar(-1, "101"), bar(0, "101"), symbol=symbol),
        "cheap": snapshot(bar(-1, "1.50"), bar(0, "1.50"), symbol=symbol),
        "none": snapshot(symbol=symbol),
        "late": snapshot(bar(3, "108"), symbol=symbol),
        "halted": snapshot(bar(-1, "107"), bar(0, "107"), symbol=symbol, is_halted=True),
        "stale": replace(snapshot(bar(0, "107"), symbol=symbol), previous=None),
        "doubtful": snapshot(bar(-1, "300"), bar(0, "300"), symbol=symbol, ex=action("1")),
        "premarket": snapshot(bar(-1, "106"), symbol=symbol),
        "thin": snapshot(bar(-1, "106"), symbol=symbol, at_quote=quote("100", "101"), trades=1),
    }
    return made[kind]


@given(
    st.lists(KINDS, max_size=12),
    st.sampled_from(["up", "flat", "none", "doubtful"]),
    st.booleans(),
    st.booleans(),
)
def test_scan_of_what_is_needed_is_the_scan_of_all(
    kinds: list[str], spy: str, is_early: bool, has_minutes: bool
) -> None:
    symbols = ["EXC", "EXD", *(f"S{n:02}" for n in range(len(kinds)))]
    market = [_snapshot(kind, symbol) for kind, symbol in zip(["up", "flat", *kinds], symbols, strict=False)]
    whole = view(
        *sorted([*market, _snapshot(spy, "SPY")], key=lambda each: each.symbol),
        as_of_ms=OPEN_MS - 5 if is_early else OPEN_MS + 60_000,
        has_minutes=has_minutes,
    )

    def histories(wanted: object) -> dict[str, object]:
        return {each.symbol: history() for each in market}

    full = scan(whole, histories, RULES)  # type: ignore[arg-type]  # a history for each
    part = needed(whole, full)
    again = scan(part, histories, RULES)  # type: ignore[arg-type]
    assert trimmed(again) == trimmed(full)
    assert again.drop_counts() == full.drop_counts()
    assert (again.candidates, again.data_issues, again.market) == (
        full.candidates,
        full.data_issues,
        full.market,
    )
    assert again.universe == full.universe == len(whole.snapshots)
    left_out = {drop.symbol for drop in full.dropped if drop.reason in NO_GAP} - {"SPY"}
    assert {each.symbol for each in part.snapshots} == {each.symbol for each in whole.snapshots} - left_out
    assert part.others.count == len(left_out)


def test_symbols_that_did_not_gap_are_counted_by_their_reason() -> None:
    assert OtherSymbols().count == 0
    whole = view(_snapshot("flat", "AAA"), _snapshot("up", "BBB"), _snapshot("none", "CCC"))
    cut = needed(whole, scan(whole, lambda _: {}, RULES))
    assert cut.others == OtherSymbols(dropped={"gap_below_min": 1, "no_minutes": 1}, readable=1, ups=1)
