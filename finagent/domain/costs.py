"""What trading costs, in exact fixed point: slippage, commission and the regulatory fees of each date."""

from bisect import bisect_right
from dataclasses import dataclass
from math import isqrt

from finagent.domain.errors import SettingsValueError
from finagent.domain.market import Side
from finagent.domain.money import RATIO_SCALE, SHARE_E4, div_ceil

CENT_E8 = 1_000_000
_BUY = Side.BUY

# SEC fee on sales under Section 31 of the Securities Exchange Act, in cents per million dollars, by the date
# from which it is charged. Source: the SEC's fee rate advisories and FINRA's information notices on them.
SEC_CENTS_PER_MILLION: tuple[tuple[str, int], ...] = (
    ("2001-12-28", 1_500),
    ("2002-04-01", 3_010),
    ("2003-03-22", 2_520),
    ("2003-04-01", 4_680),
    ("2004-02-22", 3_900),
    ("2004-04-01", 2_340),
    ("2005-01-07", 3_290),
    ("2005-04-01", 4_180),
    ("2005-12-22", 3_070),
    ("2007-03-17", 1_530),
    ("2008-01-25", 1_100),
    ("2008-04-01", 560),
    ("2009-04-10", 2_570),
    ("2010-01-15", 1_270),
    ("2010-04-01", 1_690),
    ("2011-01-21", 1_920),
    ("2012-02-21", 1_800),
    ("2012-04-01", 2_240),
    ("2013-05-25", 1_740),
    ("2014-03-18", 2_210),
    ("2015-02-14", 1_840),
    ("2016-02-16", 2_180),
    ("2017-07-04", 2_310),
    ("2018-05-22", 1_300),
    ("2019-04-16", 2_070),
    ("2020-02-18", 2_210),
    ("2021-02-25", 510),
    ("2022-05-14", 2_290),
    ("2023-02-27", 800),
    ("2024-05-22", 2_780),
    ("2025-05-14", 0),
    ("2026-04-04", 2_060),
)

# FINRA trading activity fee on sales of shares: per share, and the most per trade, both in 1e-8 dollars.
# Source: FINRA By-Laws, Schedule A, Section 1, and FINRA's fee increase schedule (SR-FINRA-2020-032).
TAF_E8: tuple[tuple[str, int, int], ...] = (
    ("2002-10-01", 5_000, 250_000_000),
    ("2004-11-01", 7_500, 375_000_000),
    ("2011-07-01", 9_000, 450_000_000),
    ("2012-03-01", 9_500, 475_000_000),
    ("2012-07-01", 11_900, 595_000_000),
    ("2022-01-01", 13_000, 649_000_000),
    ("2023-01-01", 14_500, 727_000_000),
    ("2024-01-01", 16_600, 830_000_000),
    ("2026-01-01", 19_500, 979_000_000),
)
_SEC_DATES = [date for date, _ in SEC_CENTS_PER_MILLION]
_TAF_DATES = [date for date, _, _ in TAF_E8]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRules:
    """What a fill costs; ratios in 1e-6, money in 1e-8.

    The commission, with its least and its most, is that of an order: each fill is charged what it adds to it.
    Slippage is half the quoted spread when it is known, else ``slippage_e6`` of the price, and
    ``open_multiplier`` times that in the first ``open_minutes`` of the session; on top come
    ``slippage_range_e6`` of the bar's range and, by the square root of the fill's share of the bar's volume,
    ``slippage_impact_e6`` of the price (``conceded_e16``), both off at 0. One symbol's orders share
    ``participation_e6`` of a minute's volume. A forced close pays ``close_penalty_e6`` instead of slippage.
    """

    slippage_e6: int = 500
    slippage_range_e6: int = 0
    slippage_impact_e6: int = 0
    open_multiplier: int = 3
    open_minutes: int = 5
    participation_e6: int = 50_000
    close_penalty_e6: int = 5_000
    commission_per_share_e8: int = 0
    commission_min_e8: int = 0
    commission_max_e6: int | None = None
    has_regulatory_fees: bool = True

    def __post_init__(self) -> None:
        for name in (
            "slippage_e6",
            "slippage_range_e6",
            "slippage_impact_e6",
            "open_minutes",
            "participation_e6",
            "close_penalty_e6",
            "commission_per_share_e8",
            "commission_min_e8",
        ):
            if getattr(self, name) < 0:
                raise SettingsValueError(f"costs.{name} is {getattr(self, name)}: give 0 or more")
        if self.open_multiplier < 1:
            raise SettingsValueError(f"costs.open_multiplier is {self.open_multiplier}: give 1 or more")
        dearest_e6 = self.slippage_e6 * self.open_multiplier + self.slippage_impact_e6
        if self.close_penalty_e6 >= RATIO_SCALE or dearest_e6 >= RATIO_SCALE:
            raise SettingsValueError("costs: slippage and close penalty must stay below the whole price")
        if self.commission_max_e6 is not None and self.commission_max_e6 < 0:
            raise SettingsValueError(f"costs.commission_max_e6 is {self.commission_max_e6}: give 0 or more")

    @property
    def slippage_bound_e6(self) -> int:
        """The most that an entry may slip, for sizing: in the first minutes, with the whole participation cap taken.

        A quoted spread and a bar's range have no bound before the bar is there; neither is in it.
        """
        share_e6 = volume_root_e6(self.participation_e6, RATIO_SCALE)
        return self.slippage_e6 * self.open_multiplier + div_ceil(
            self.slippage_impact_e6 * share_e6, RATIO_SCALE
        )


NO_COSTS = CostRules(
    slippage_e6=0, participation_e6=RATIO_SCALE, close_penalty_e6=0, has_regulatory_fees=False
)
"""Fills at the model price and free of charge, for tests and comparisons."""


def fees_e8(
    rules: CostRules,
    *,
    side: Side,
    quantity_e4: int,
    price_e4: int,
    session: str,
    filled_e4: int = 0,
    filled_e8: int = 0,
) -> int:
    """What one fill adds to its order's commission, and the regulatory fees of its sale, in 1e-8.

    ``filled_e4`` and ``filled_e8`` are the shares and the notional of the order's fills before it. A commission grows
    with both, so no fill is ever paid back: what they pay sums up to the commission of the order, and nothing but its
    fills has to be known. Commission and each fee are rounded up by themselves.
    """
    notional_e8 = quantity_e4 * price_e4
    charge = commission_e8(rules, quantity_e4=filled_e4 + quantity_e4, notional_e8=filled_e8 + notional_e8)
    if filled_e4:
        charge -= commission_e8(rules, quantity_e4=filled_e4, notional_e8=filled_e8)
    if side is _BUY or not rules.has_regulatory_fees:
        return charge
    return charge + sec_fee_e8(notional_e8, session) + taf_e8(quantity_e4, session)


def commission_e8(rules: CostRules, *, quantity_e4: int, notional_e8: int) -> int:
    """The broker's commission of an order that has filled so much: per share, at least its minimum, at most the share
    of the notional.
    """
    charge = div_ceil(quantity_e4 * rules.commission_per_share_e8, SHARE_E4)
    charge = max(charge, rules.commission_min_e8)
    if rules.commission_max_e6 is None:
        return charge
    return min(charge, div_ceil(notional_e8 * rules.commission_max_e6, RATIO_SCALE))


def sec_fee_e8(notional_e8: int, session: str) -> int:
    """Section 31 fee on a sale of this notional on a session date, up to the cent; 0 before the table."""
    row = bisect_right(_SEC_DATES, session) - 1
    if row < 0:
        return 0
    # notional_e8 / 1e8 dollars, times cents, per 1e6 dollars
    return div_ceil(notional_e8 * SEC_CENTS_PER_MILLION[row][1], 10**14) * CENT_E8


def taf_e8(quantity_e4: int, session: str) -> int:
    """Trading activity fee on a sale of this quantity on a session date, up to the cent, at most the cap."""
    row = bisect_right(_TAF_DATES, session) - 1
    if row < 0:
        return 0
    _, rate_e8, cap_e8 = TAF_E8[row]
    return min(div_ceil(quantity_e4 * rate_e8, SHARE_E4 * CENT_E8) * CENT_E8, cap_e8)


def slipped_price_e4(
    rules: CostRules,
    *,
    side: Side,
    reference_e4: int,
    minutes_since_open: int,
    spread_e4: int | None,
    tick_e4: int,
    conceded_e16: int = 0,
) -> int:
    """The price after slippage, rounded against the trader to the tick grid and never below one tick.

    ``conceded_e16`` comes on top, see ``conceded_e16``; the first minutes do not multiply it.
    """
    times = rules.open_multiplier if minutes_since_open < rules.open_minutes else 1
    if spread_e4 is None:
        numerator, denominator = reference_e4 * rules.slippage_e6 * times, RATIO_SCALE
    else:
        numerator, denominator = spread_e4 * times, 2
    if conceded_e16:
        numerator = numerator * (10**12 // denominator) + conceded_e16
        denominator = 10**12
    return _against(side, reference_e4, numerator, denominator, tick_e4)


def conceded_e16(rules: CostRules, *, reference_e4: int, range_e4: int, quantity_e4: int, volume: int) -> int:
    """What a fill concedes to the bar's volatility and by its own size, in 1e-16 dollars a share; 0 where both are off.

    Volatility: a share of the bar's range, high less low, the range estimator of M. Parkinson, "The extreme value
    method for estimating the variance of the rate of return", Journal of Business 53 (1980). Size: the square-root
    law of market impact, impact = c x (quantity / volume)^(1/2), where c is what a fill of the bar's whole volume
    concedes; N. Torre, "BARRA Market Impact Model Handbook" (1997); R. Almgren, C. Thum, E. Hauptmann, H. Li,
    "Direct estimation of equity market impact", Risk 18 (2005), who test it and find an exponent of 0.6; J. Gatheral,
    "No-dynamic-arbitrage and market impact", Quantitative Finance 10 (2010). The root is rounded up.
    """
    conceded = range_e4 * rules.slippage_range_e6 * RATIO_SCALE
    if rules.slippage_impact_e6:
        root_e6 = volume_root_e6(quantity_e4, volume * SHARE_E4)
        conceded += reference_e4 * rules.slippage_impact_e6 * root_e6
    return conceded


def volume_root_e6(quantity: int, volume: int) -> int:
    """Square root of a quantity's share of a volume, in 1e-6, up; more than the volume counts as all of it."""
    if quantity >= volume:
        return RATIO_SCALE
    if quantity == 0:
        return 0
    return isqrt(div_ceil(quantity * RATIO_SCALE**2, volume) - 1) + 1


def penalised_price_e4(rules: CostRules, *, side: Side, close_e4: int, tick_e4: int) -> int:
    """The price of a forced close: the last price less the stated penalty, rounded against the trader."""
    return _against(side, close_e4, close_e4 * rules.close_penalty_e6, RATIO_SCALE, tick_e4)


def _against(side: Side, price_e4: int, numerator: int, denominator: int, tick_e4: int) -> int:
    step = denominator * tick_e4
    if side is _BUY:
        return div_ceil(price_e4 * denominator + numerator, step) * tick_e4
    return max((price_e4 * denominator - numerator) // step * tick_e4, tick_e4)
