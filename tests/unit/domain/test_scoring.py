"""The score: four explained factors in 1e-6, weights that sum to 1, hostile texts bounded."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.errors import SettingsValueError
from finagent.domain.gap import Candidate
from finagent.domain.market import Direction, Earnings, Headline
from finagent.domain.scoring import (
    Factor,
    ScoredCandidate,
    ScoreWeights,
    rank_scored,
    score,
    validate_weights,
)
from tests.unit.domain.market_builders import FIRST_MINUTE_MS, PREVIOUS_CLOSE_MS, candidate, e4

FULL = candidate(atr_e4=e4("2"), atr_pct_e6=20_000, adv_usd=60_000_000, spread_e6=1_000)


def headline(text: str, known_at_ms: int = FIRST_MINUTE_MS) -> Headline:
    return Headline(symbol="AAA", published_ms=known_at_ms, known_at_ms=known_at_ms, text=text, source="wire")


def scored(
    given_candidate: Candidate = FULL,
    *texts: str,
    earnings: tuple[Earnings, ...] = (),
    weights: ScoreWeights | None = None,
) -> ScoredCandidate:
    return score(
        given_candidate,
        headlines=[headline(text) for text in texts],
        earnings=earnings,
        weights=weights or ScoreWeights(),
        as_of_ms=FIRST_MINUTE_MS,
        previous_close_ms=PREVIOUS_CLOSE_MS,
    )


def factor(result: ScoredCandidate, name: str) -> Factor:
    return next(item for item in result.factors if item.name == name)


# ---------------------------------------------------------------- weights


def test_the_default_weights_sum_to_one() -> None:
    validate_weights(ScoreWeights())


def test_weights_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(
        SettingsValueError, match=r"scoring weights sum to 0\.95, must sum to 1: mend volatility"
    ):
        validate_weights(ScoreWeights(volatility_e6=350_000))


def test_a_negative_weight_is_refused_though_the_sum_is_one() -> None:
    with pytest.raises(SettingsValueError, match=r"scoring\.catalyst is -0\.1: set it between 0 and 1"):
        validate_weights(ScoreWeights(volatility_e6=800_000, catalyst_e6=-100_000))


# ---------------------------------------------------------------- factors


def test_the_score_is_the_weighted_sum_of_its_factors() -> None:
    result = scored(FULL, "Acme beats estimates, raises guidance")
    assert [item.name for item in result.factors] == ["volatility", "catalyst", "sentiment", "liquidity"]
    assert [item.weight_e6 for item in result.factors] == [400_000, 300_000, 100_000, 200_000]
    total = sum(item.value_e6 * item.weight_e6 for item in result.factors)
    assert result.score_e6 == round(total / 10**6)
    assert all(item.has_data and item.explanation for item in result.factors)


def test_a_factor_without_input_is_zero_and_the_other_weights_stay() -> None:
    result = scored(candidate())
    assert [(item.value_e6, item.has_data) for item in result.factors] == [(0, False)] * 4
    assert [item.weight_e6 for item in result.factors] == [400_000, 300_000, 100_000, 200_000]
    assert all(item.explanation for item in result.factors)
    assert result.score_e6 == 0
    assert not factor(scored(replace(FULL, atr_e4=0)), "volatility").has_data


@pytest.mark.parametrize(
    ("atr", "atr_pct_e6", "indication", "value_e6"),
    [
        ("2", 20_000, "105", (333_333 + 833_333) // 2),
        ("6", 60_000, "118", 1_000_000),
        ("9", 90_000, "200", 1_000_000),
        ("6", 60_000, "82", 1_000_000),
        ("6", 60_000, "100", 500_000),
    ],
)
def test_volatility_is_range_and_gap_in_ranges(
    atr: str, atr_pct_e6: int, indication: str, value_e6: int
) -> None:
    given_candidate = replace(FULL, atr_e4=e4(atr), atr_pct_e6=atr_pct_e6, indication_e4=e4(indication))
    assert factor(scored(given_candidate), "volatility").value_e6 == value_e6


def test_volatility_is_explained() -> None:
    explained = factor(scored(), "volatility").explanation
    assert explained == "ATR 2.00 % of the price, the gap is 2.5 ATR"


@pytest.mark.parametrize(
    ("texts", "value_e6"),
    [
        (("A quiet day",), 150_000),
        (("Acme merger",), 1_000_000),
        (("Acme announces buyback", "Broker upgrades Acme"), 550_000),
        (("Acme prices public offering",), 350_000),
        (("Acme merger", "Acme guidance", "Acme buyback"), 1_000_000),
    ],
)
def test_the_strongest_event_counts_and_one_against_the_trade_half(
    texts: tuple[str, ...], value_e6: int
) -> None:
    assert factor(scored(FULL, *texts), "catalyst").value_e6 == value_e6


def test_an_offering_helps_a_short() -> None:
    short = replace(FULL, direction=Direction.SHORT)
    assert factor(scored(short, "Acme prices public offering"), "catalyst").value_e6 == 700_000


def test_an_untimed_report_counts_and_is_marked() -> None:
    result = factor(scored(earnings=(Earnings(symbol="AAA", session="2018-02-15"),)), "catalyst")
    assert (result.value_e6, result.has_data) == (800_000, True)
    assert result.explanation == "earnings of 2018-02-15, time of day unknown"


def test_the_catalyst_names_its_three_strongest_events() -> None:
    texts = ("Acme buyback", "Acme merger", "CEO out", "Acme prices public offering")
    explained = factor(scored(FULL, *texts), "catalyst").explanation
    assert [part.split(":")[0] for part in explained.split("; ")] == ["merger", "buyback", "management"]


def test_sentiment_leans_towards_the_trade() -> None:
    good = factor(scored(FULL, "Shares surge"), "sentiment")
    bad = factor(scored(FULL, "Shares plunge"), "sentiment")
    both = factor(scored(FULL, "Shares surge", "Shares plunge"), "sentiment")
    assert (good.value_e6, bad.value_e6, both.value_e6) == (666_666, 333_333, 500_000)
    short = replace(FULL, direction=Direction.SHORT)
    assert factor(scored(short, "Shares plunge"), "sentiment").value_e6 == 666_666
    assert both.explanation == "tone of 2 texts: 2 good, 2 bad, for a long trade"


def test_texts_without_a_word_of_the_lexicon_are_no_input() -> None:
    assert not factor(scored(FULL, "Acme opens a shop"), "sentiment").has_data


@pytest.mark.parametrize(
    ("adv_usd", "spread_e6", "value_e6"),
    [
        (0, None, 0),
        (1_000_000, None, 0),
        (3_000_000, None, 100_000),
        (5_000_000, None, 200_000),
        (60_000_000, None, 550_000),
        (1_000_000_000, None, 1_000_000),
        (10**12, None, 1_000_000),
        (None, 0, 1_000_000),
        (None, 3_000, 0),
        (None, 90_000, 0),
        (1_000_000_000, 1_500, 833_333),
    ],
)
def test_liquidity_is_daily_dollars_and_spread(
    adv_usd: int | None, spread_e6: int | None, value_e6: int
) -> None:
    result = factor(scored(replace(FULL, adv_usd=adv_usd, spread_e6=spread_e6)), "liquidity")
    assert (result.value_e6, result.has_data) == (value_e6, True)
    assert ("unknown" in result.explanation) is (adv_usd is None or spread_e6 is None)


# ---------------------------------------------------------------- robust and repeatable


def test_texts_known_later_change_nothing() -> None:
    args = {
        "earnings": (),
        "weights": ScoreWeights(),
        "as_of_ms": FIRST_MINUTE_MS,
        "previous_close_ms": PREVIOUS_CLOSE_MS,
    }
    now = headline("Shares surge")
    later = headline("Acme merger, shares plunge", FIRST_MINUTE_MS + 1)
    assert score(FULL, headlines=[later, now], **args) == score(FULL, headlines=[now], **args)


def test_the_order_of_texts_changes_nothing() -> None:
    texts = ("Acme merger", "Shares plunge", "Acme buyback", "Acme merger again", "No losses")
    assert scored(FULL, *texts) == scored(FULL, *reversed(texts))


def test_ranking_is_by_score_then_symbol() -> None:
    low = ScoredCandidate(candidate=candidate("AAA"), score_e6=1, factors=())
    tie = [ScoredCandidate(candidate=candidate(name), score_e6=2, factors=()) for name in ("CCC", "BBB")]
    assert [item.candidate.symbol for item in rank_scored([low, *tie])] == ["BBB", "CCC", "AAA"]


def test_hostile_texts_are_bounded() -> None:
    hostile = ["\x1b[2J" + "not very strong merger " * 200_000, "\ud800\u202e" * 10**5, "(" * 10**6]
    result = scored(FULL, *hostile)
    for item in result.factors:
        assert 0 <= item.value_e6 <= 1_000_000
        assert item.explanation.isprintable()
        assert len(item.explanation) < 500


@given(
    atr_e4=st.one_of(st.none(), st.integers(1, 10**7)),
    atr_pct_e6=st.integers(0, 10**7),
    adv_usd=st.one_of(st.none(), st.integers(0, 10**13)),
    spread_e6=st.one_of(st.none(), st.integers(0, 10**6)),
    indication_e4=st.integers(1, 10**8),
    texts=st.lists(
        st.one_of(st.text(max_size=80), st.sampled_from(["merger", "shares surge", "fraud"])), max_size=6
    ),
    parts=st.tuples(*[st.integers(0, 10**6)] * 3),
)
def test_every_factor_and_score_is_between_zero_and_one(
    atr_e4: int | None,
    atr_pct_e6: int,
    adv_usd: int | None,
    spread_e6: int | None,
    indication_e4: int,
    texts: list[str],
    parts: tuple[int, int, int],
) -> None:
    cuts = [0, *sorted(parts), 10**6]
    shares = [right - left for left, right in pairwise(cuts)]
    weights = ScoreWeights(
        volatility_e6=shares[0], catalyst_e6=shares[1], liquidity_e6=shares[2], sentiment_e6=shares[3]
    )
    validate_weights(weights)
    given_candidate = candidate(
        atr_e4=atr_e4,
        atr_pct_e6=None if atr_e4 is None else atr_pct_e6,
        adv_usd=adv_usd,
        spread_e6=spread_e6,
        indication_e4=indication_e4,
    )
    result = scored(given_candidate, *texts, weights=weights)
    assert 0 <= result.score_e6 <= 10**6
    for item in result.factors:
        assert 0 <= item.value_e6 <= 10**6
        assert item.has_data or item.value_e6 == 0
    assert result == scored(given_candidate, *texts, weights=weights)
