"""Short sales by their rules: who may, what must be known of the borrow, and what the short-sale restriction asks.

SEC Rule 201: once a stock trades 10 % below its previous close, that session and the next a short sale must be priced
above the best bid. FINRA Rule 4210 (b): a margin account holds at least 2,000 USD.
"""

from dataclasses import dataclass

from finagent.domain.grid import beyond
from finagent.domain.market import Direction, Instrument
from finagent.domain.money import MONEY_SCALE, RATIO_SCALE, div_ceil

MIN_MARGIN_EQUITY_E8 = 2_000 * MONEY_SCALE
YEAR_DAYS = 360


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortRules:
    """How shorts are treated; ``is_borrow_assumed`` where nobody can be asked (the past): a borrow that is not
    known is taken as there, and said so. The fee is a year's, in 1e-6 of the notional.
    """

    is_borrow_assumed: bool = False
    borrow_fee_e6: int = 3_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortTerms:
    """What a short plan was made under; ``restricted_at_e4``: at or below it the restriction begins."""

    is_restricted: bool
    restricted_at_e4: int
    is_borrow_assumed: bool
    borrow_fee_e6: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortNow:
    """What is known at the decision; None is unknown. ``bid_e4`` is the best bid where it is fresh."""

    is_easy_to_borrow: bool | None = None
    is_restricted: bool | None = None
    bid_e4: int | None = None


UNKNOWN = ShortNow()


def restriction_begins_e4(numerator: int, denominator: int) -> int:
    """The highest price in 1e-4 at which a trade starts the restriction: 0.9 of the previous close, a fraction."""
    return 9 * numerator // (10 * denominator)


def is_restricted_now(terms: ShortTerms | None, low_e4: int | None) -> bool | None:
    """Whether the restriction is on: since the plan was made the session's low may have reached it."""
    if terms is None:
        return None
    return terms.is_restricted or (low_e4 is not None and low_e4 <= terms.restricted_at_e4)


def short_refusals(
    terms: ShortTerms | None, now: ShortNow, *, rule: str, equity_e8: int
) -> tuple[tuple[str, bool], ...]:
    """The reasons that speak against a short, each with whether it applies."""
    is_assumed = terms is not None and terms.is_borrow_assumed
    needs_margin = rule == "intraday_margin" and equity_e8 < MIN_MARGIN_EQUITY_E8
    return (
        ("margin_account", rule == "cash_settled"),
        ("margin_minimum", needs_margin),
        ("not_borrowable", now.is_easy_to_borrow is False),
        ("borrow_unknown", now.is_easy_to_borrow is None and not is_assumed),
        ("short_restriction_unknown", terms is None or now.is_restricted is None),
        ("no_bid", now.is_restricted is True and now.bid_e4 is None),
    )


def entry_limit_e4(symbol: str, now: ShortNow, planned_limit_e4: int | None) -> int | None:
    """The limit a restricted short must have: a tick above the bid, or the plan's own where that is higher.

    None where nothing but the plan binds it.
    """
    if not now.is_restricted or now.bid_e4 is None:
        return None
    above_e4 = beyond(Instrument(symbol=symbol), now.bid_e4, Direction.LONG)
    return max(above_e4, planned_limit_e4 or 0)


def overnight_fee_e8(notional_e8: int, borrow_fee_e6: int) -> int:
    """What the borrow costs if the position is held over one night, in 1e-8, rounded up; nothing within the day."""
    return div_ceil(notional_e8 * borrow_fee_e6, RATIO_SCALE * YEAR_DAYS)
