"""The score of a candidate: volatility, catalyst, sentiment and liquidity, each explained."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from finagent.domain.catalyst import (
    Catalyst,
    current_headlines,
    earnings_catalyst,
    headline_catalysts,
)
from finagent.domain.errors import SettingsValueError
from finagent.domain.gap import Candidate
from finagent.domain.lexicon import tone
from finagent.domain.market import Earnings, Headline
from finagent.domain.money import PRICE_SCALE, RATIO_SCALE, div_half_even, percent_text, ratio_number
from finagent.domain.rows import maker, quick

FULL_ATR_E6 = 60_000
"""A daily range of 6 % of the price or more counts in full."""
FULL_GAP_ATRS = 3
"""A gap of three average daily ranges or more counts in full."""
FURTHER_CATALYST_E6 = 50_000
"""Each further event beside the strongest."""
FULL_SPREAD_E6 = 3_000
"""A spread of 0.3 % or more is worth nothing."""
DOUBT = 4
"""Weight of two neutral words mixed into the tone, so that one word alone does not decide."""

_ADV_STEPS = (
    (1_000_000, 0),
    (5_000_000, 200_000),
    (20_000_000, 400_000),
    (100_000_000, 700_000),
    (500_000_000, 900_000),
    (1_000_000_000, 1_000_000),
)
"""Average daily dollars and what they are worth; straight lines between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreWeights:
    """Weights in 1e-6; they must sum to exactly 1_000_000."""

    volatility_e6: int = 400_000
    catalyst_e6: int = 300_000
    liquidity_e6: int = 200_000
    sentiment_e6: int = 100_000


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One factor of a score: value 0 to 1_000_000, its weight, why, and ``no_data`` where it had no input."""

    name: str
    value_e6: int
    weight_e6: int
    explanation: str
    has_data: bool = True


_factor = maker(Factor)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredCandidate:
    """A candidate with its score in 1e-6 and the factors that made it."""

    candidate: Candidate
    score_e6: int
    factors: tuple[Factor, ...]


_scored = maker(ScoredCandidate)


def validate_weights(weights: ScoreWeights) -> None:
    """Refuse negative weights and a sum that is not exactly 1. SettingsValueError says which and the mend."""
    parts = {
        "volatility": weights.volatility_e6,
        "catalyst": weights.catalyst_e6,
        "liquidity": weights.liquidity_e6,
        "sentiment": weights.sentiment_e6,
    }
    for name, value in parts.items():
        if value < 0:
            raise SettingsValueError(f"scoring.{name} is {ratio_number(value)}: set it between 0 and 1")
    total = sum(parts.values())
    if total != RATIO_SCALE:
        shown = ", ".join(f"{name} {ratio_number(value)}" for name, value in parts.items())
        raise SettingsValueError(f"scoring weights sum to {ratio_number(total)}, must sum to 1: mend {shown}")


def score(
    candidate: Candidate,
    *,
    headlines: Sequence[Headline],
    earnings: Sequence[Earnings],
    weights: ScoreWeights,
    as_of_ms: int,
    previous_close_ms: int,
    is_explained: bool = True,
) -> ScoredCandidate:
    """Score a candidate with what was known ``as_of_ms``; texts and reports count from the previous close.

    Every factor is 0 to 1_000_000. A factor without input is 0 with ``has_data`` False; the weights of the
    others stay as they are. Texts are untrusted: bounded in length and number, without control characters.
    Without ``is_explained`` the numbers are left without their words, which nobody reads in a backtest.
    """
    current: tuple[Headline, ...] = ()
    catalysts: tuple[Catalyst, ...] = ()
    report: Catalyst | None = None
    if headlines:
        current = current_headlines(
            headlines, candidate.symbol, previous_close_ms=previous_close_ms, as_of_ms=as_of_ms
        )
        catalysts = headline_catalysts(current)
    if earnings:
        report = earnings_catalyst(
            earnings, candidate.symbol, session=candidate.session, previous_close_ms=previous_close_ms
        )
    factors = (
        _volatility(candidate, weights.volatility_e6, is_explained),
        _catalyst(candidate, catalysts if report is None else (report, *catalysts), weights.catalyst_e6),
        _sentiment(candidate, current, weights.sentiment_e6),
        _liquidity(candidate, weights.liquidity_e6, is_explained),
    )
    total = sum([factor.value_e6 * factor.weight_e6 for factor in factors])
    return _scored(candidate=candidate, score_e6=div_half_even(total, RATIO_SCALE), factors=factors)


def rank_scored(scored: Iterable[ScoredCandidate]) -> tuple[ScoredCandidate, ...]:
    """Best score first, then by symbol."""
    return tuple(sorted(scored, key=lambda item: (-item.score_e6, item.candidate.instrument.symbol)))


def _volatility(candidate: Candidate, weight_e6: int, is_explained: bool) -> Factor:
    """Half from the daily range (ATR in percent of the price), half from the gap in such ranges."""
    atr_e4, atr_pct_e6 = candidate.atr_e4, candidate.atr_pct_e6
    if atr_e4 is None or atr_pct_e6 is None or atr_e4 <= 0:
        return _without_data("volatility", weight_e6, "too few daily bars for an average true range")
    range_e6 = min(RATIO_SCALE, atr_pct_e6 * RATIO_SCALE // FULL_ATR_E6)
    gap_e8 = abs(candidate.indication_e4 * PRICE_SCALE - candidate.prev_close_adjusted_e8)
    atrs_e6 = gap_e8 * RATIO_SCALE // (atr_e4 * PRICE_SCALE)
    gap_value_e6 = min(RATIO_SCALE, atrs_e6 // FULL_GAP_ATRS)
    explanation = ""
    if is_explained:
        range_text, gap_text = percent_text(atr_pct_e6), ratio_number(atrs_e6)
        explanation = f"ATR {range_text} % of the price, the gap is {gap_text} ATR"
    value_e6 = (range_e6 + gap_value_e6) // 2
    return _factor(name="volatility", value_e6=value_e6, weight_e6=weight_e6, explanation=explanation)


def _catalyst(candidate: Candidate, catalysts: Sequence[Catalyst], weight_e6: int) -> Factor:
    """The strongest event, a little more for each further one; an event against the trade counts half."""
    if not catalysts:
        return _without_data("catalyst", weight_e6, "no news and no earnings since the previous close")
    sign = candidate.direction.sign
    values = [item.value_e6 // 2 if item.sign * sign < 0 else item.value_e6 for item in catalysts]
    value_e6 = max(values) + FURTHER_CATALYST_E6 * (len(values) - 1)
    order = sorted(range(len(values)), key=lambda index: (-values[index], catalysts[index].name))
    return _factor(
        name="catalyst",
        value_e6=min(RATIO_SCALE, value_e6),
        weight_e6=weight_e6,
        explanation="; ".join(catalysts[index].detail for index in order[:3]),
    )


def _sentiment(candidate: Candidate, headlines: Sequence[Headline], weight_e6: int) -> Factor:
    """Tone of the texts towards the trade: 0 against it, 500_000 balanced, 1_000_000 all for it."""
    positive = negative = 0
    for item in headlines:
        found = tone(item.text)
        positive, negative = positive + found.positive, negative + found.negative
    if positive + negative == 0:
        return _without_data(
            "sentiment", weight_e6, "no text with a word of the lexicon since the previous close"
        )
    lean_e6 = div_half_even((positive - negative) * RATIO_SCALE, positive + negative + DOUBT)
    trade, texts = candidate.direction, len(headlines)
    return _factor(
        name="sentiment",
        value_e6=(RATIO_SCALE + trade.sign * lean_e6) // 2,
        weight_e6=weight_e6,
        explanation=f"tone of {texts} texts: {positive} good, {negative} bad, for a {trade.value} trade",
    )


def _liquidity(candidate: Candidate, weight_e6: int, is_explained: bool) -> Factor:
    """Average daily dollars, and where a quote is known the spread for a third of it."""
    adv_usd, spread_e6 = candidate.adv_usd, candidate.spread_e6
    if adv_usd is None and spread_e6 is None:
        return _without_data("liquidity", weight_e6, "neither daily volume nor a quote is known")
    adv_e6 = None if adv_usd is None else _adv_value(adv_usd)
    narrow_e6 = (
        None
        if spread_e6 is None
        else RATIO_SCALE - min(FULL_SPREAD_E6, spread_e6) * RATIO_SCALE // FULL_SPREAD_E6
    )
    if adv_e6 is None:
        value_e6 = narrow_e6 or 0
    elif narrow_e6 is None:
        value_e6 = adv_e6
    else:
        value_e6 = (2 * adv_e6 + narrow_e6) // 3
    explanation = ""
    if is_explained:
        volume = "daily volume unknown" if adv_usd is None else f"{adv_usd} $ a day"
        spread = "spread unknown" if spread_e6 is None else f"spread {percent_text(spread_e6)} %"
        explanation = f"{volume}, {spread}"
    return _factor(name="liquidity", value_e6=value_e6, weight_e6=weight_e6, explanation=explanation)


def _adv_value(adv_usd: int) -> int:
    low_usd, low_e6 = _ADV_STEPS[0]
    for high_usd, high_e6 in _ADV_STEPS:
        if adv_usd <= high_usd:
            span = max(1, high_usd - low_usd)
            return low_e6 + (high_e6 - low_e6) * max(0, adv_usd - low_usd) // span
        low_usd, low_e6 = high_usd, high_e6
    return RATIO_SCALE


@lru_cache(maxsize=64)
def _without_data(name: str, weight_e6: int, why: str) -> Factor:
    return _factor(name=name, value_e6=0, weight_e6=weight_e6, explanation=why, has_data=False)
