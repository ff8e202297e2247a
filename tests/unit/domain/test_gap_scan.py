"""The whole scan: order, completeness, the second look, and sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from finagent.domain.gap import Candidate, GapRules, Levels
from finagent.domain.gap_scan import explain, rank, scan, second_look_rank
from finagent.domain.market import Direction, History
from tests.unit.domain.market_builders import (
    FIRST_MINUTE_MS,
    OPEN_MS,
    RULES,
    action,
    bar,
    candidate,
    daily,
    e4,
    history,
    quote,
    snapshot,
    view,
)

ACTIVE = replace(history(), volumes_to_now=(1_000,) * 5, premarket_volumes=(50_000,) * 5)


def symbols(candidates: Sequence[Candidate]) -> list[str]:
    return [item.symbol for item in candidates]


def test_candidates_are_ranked_by_the_exact_gap_then_by_symbol() -> None:
    """Two gaps that floor to the same millionth are told apart; equal ones go by symbol."""
    larger = candidate("ZZZ", gap_e6=50_000, adjusted_numerator=30_000_001, adjusted_denominator=30)
    smaller = candidate("AAA", gap_e6=50_000, adjusted_numerator=30_000_002, adjusted_denominator=30)
    down = candidate("BBB", gap_e6=-60_000)
    equal = candidate("CCC", gap_e6=60_000)
    assert symbols(rank([smaller, equal, larger, down])) == ["BBB", "CCC", "ZZZ", "AAA"]


def test_a_scan_asks_history_once_for_those_that_gapped() -> None:
    asked: list[list[str]] = []

    def histories(wanted: Sequence[str]) -> Mapping[str, History]:
        asked.append(list(wanted))
        return {"UPP": ACTIVE, "LOW": replace(ACTIVE, bars=history(20, volume=1).bars)}

    result = scan(
        view(
            snapshot(bar(0, "106", volume=2_000), symbol="UPP"),
            snapshot(bar(0, "107", volume=2_000), symbol="LOW"),
            snapshot(bar(0, "108"), symbol="NEW"),
            snapshot(bar(0, "100"), symbol="AAA"),
            snapshot(bar(0, "100"), symbol="SPY"),
            snapshot(bar(0, "300"), symbol="BAD", ex=action("1")),
        ),
        histories,
        RULES,
    )
    assert asked == [["LOW", "NEW", "UPP"]]
    assert symbols(result.candidates) == ["NEW", "UPP"]
    assert result.candidates[0].feed == "test"
    assert [(item.symbol, item.reason) for item in result.dropped] == [
        ("AAA", "gap_below_min"),
        ("LOW", "adv_below_min"),
        ("SPY", "gap_below_min"),
    ]
    assert [item.symbol for item in result.data_issues] == ["BAD"]
    assert (result.session, result.as_of_ms, result.universe) == ("2018-02-16", FIRST_MINUTE_MS, 6)
    assert result.market == {"spy_gap_e6": 0, "breadth_e6": 600_000}


def test_each_symbol_can_be_explained() -> None:
    result = scan(
        view(
            snapshot(bar(0, "106", volume=2_000), symbol="UPP"),
            snapshot(bar(0, "100"), symbol="AAA"),
            snapshot(bar(0, "300"), symbol="BAD", ex=action("1")),
        ),
        lambda _: {"UPP": ACTIVE},
        RULES,
    )
    assert explain("AAA", result) == ("AAA was dropped by gap_below_min: gap 0.00 % is below 4.00 %",)
    assert explain("BAD", result)[0].startswith("BAD is a data issue (bad_action) and is not traded: gap ")
    assert explain("XYZ", result) == ("XYZ is not in the universe of 2018-02-16 (3 symbols)",)
    assert explain("UPP", result) == (
        "UPP passed every filter: place 1 of 1 by the size of the gap",
        "gap 6.00 % from 100.00 to 106.00 (open): long",
        "average daily volume 100000000 $",
        "relative volume 2.0",
        "flags: unknown_spread",
    )


def test_a_premarket_candidate_is_explained_with_its_volume_and_spread() -> None:
    known = snapshot(
        bar(-1, "105", volume=100_000), symbol="PRE", at_quote=quote("104.99", "105.01"), trades=50
    )
    result = scan(view(known, as_of_ms=OPEN_MS), lambda _: {"PRE": ACTIVE}, GapRules())
    told = explain("PRE", result)
    assert told[3:] == ("pre-market volume 100000 shares", "relative volume 2.0", "spread 0.0191 %")


def test_a_candidate_without_history_is_explained_by_what_is_known() -> None:
    known = snapshot(bar(0, "106"), symbol="NEW", at_quote=quote("105.99", "106.01"))
    told = explain("NEW", scan(view(known), lambda _: {}, RULES))
    assert told[2:] == ("spread 0.0189 %", "flags: unknown_adv, unknown_rvol")


# ---------------------------------------------------------------- the second look

HELD = Levels(
    gap_fill_e4=e4("100"),
    vwap_e4=e4("106"),
    day_high_e4=e4("108"),
    day_low_e4=e4("104"),
)


def at_noon(symbol: str, **changes: object) -> Candidate:
    facts: dict[str, object] = {
        "last_price_e4": e4("107"),
        "move_from_open_e6": 20_000,
        "rvol_e6": 3_000_000,
        "levels": HELD,
    }
    return candidate(symbol, **(facts | changes))


def test_the_second_look_prefers_the_stronger_in_each_respect() -> None:
    best = at_noon("ZZZ")
    worse = [
        at_noon("AAA", move_from_open_e6=10_000),
        at_noon("AAA", move_from_open_e6=None),
        at_noon("AAA", rvol_e6=2_999_999),
        at_noon("AAA", rvol_e6=None),
        at_noon("AAA", levels=replace(HELD, day_low_e4=e4("100"))),
        at_noon("AAA", levels=replace(HELD, vwap_e4=e4("105"))),
        at_noon("AAA", levels=replace(HELD, vwap_e4=e4("107.01"))),
        at_noon("AAA", levels=replace(HELD, vwap_e4=None)),
        at_noon("AAA", levels=replace(HELD, day_high_e4=e4("109"))),
        at_noon("AAA", levels=replace(HELD, day_high_e4=None)),
    ]
    for other in worse:
        assert symbols(second_look_rank([other, best])) == ["ZZZ", "AAA"], other


def test_the_second_look_of_shorts_is_mirrored() -> None:
    levels = Levels(gap_fill_e4=e4("100"), vwap_e4=e4("94"), day_high_e4=e4("96"), day_low_e4=e4("92"))
    down = {"gap_e6": -50_000, "direction": Direction.SHORT, "last_price_e4": e4("93"), "levels": levels}
    falling = at_noon("ZZZ", **down, move_from_open_e6=-20_000)
    rising = at_noon("AAA", **down, move_from_open_e6=20_000)
    assert symbols(second_look_rank([rising, falling])) == ["ZZZ", "AAA"]


def test_equal_places_go_by_gap_then_symbol() -> None:
    same = [at_noon("CCC"), at_noon("BBB"), at_noon("AAA", gap_e6=49_999), at_noon("DDD", gap_e6=50_001)]
    assert symbols(second_look_rank(same)) == ["DDD", "BBB", "CCC", "AAA"]
    assert second_look_rank([]) == ()


def test_a_daily_snapshot_has_a_second_look_too() -> None:
    result = scan(view(snapshot(official="106", previous=daily()), has_minutes=False), lambda _: {}, RULES)
    assert symbols(second_look_rank(result.candidates)) == ["AAA"]
