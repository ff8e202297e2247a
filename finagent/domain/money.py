"""Integer prices, quantities and money, and the exact arithmetic between them.

Units, used by name everywhere: ``_e4`` prices in 1e-4 of the account's currency and quantities in 1e-4
shares; ``_e8`` money, so that price_e4 * quantity_e4 is exact; ``_e6`` ratios that are stored or shown.
"""

from decimal import Decimal

PRICE_SCALE = 10_000
SHARE_E4 = 10_000
MONEY_SCALE = 100_000_000
RATIO_SCALE = 1_000_000
MAX_INT64 = 2**62

_LONGEST_NUMBER = 64
"""Longer texts are no prices; the bound keeps hostile input from costing time."""


def div_ceil(numerator: int, denominator: int) -> int:
    """Integer quotient rounded towards plus infinity; the denominator is positive."""
    return -(-numerator // denominator)


def div_half_even(numerator: int, denominator: int) -> int:
    """Integer quotient rounded to the nearest, ties to even; the denominator is positive."""
    if denominator == 1:
        return numerator
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient % 2 == 1):
        return quotient + 1
    return quotient


def price_text(price_e4: int) -> str:
    """Decimal text of a price: at least two digits behind the point, four where they are needed."""
    return _text(price_e4, 4, 2)


def money_text(money_e8: int) -> str:
    """Decimal text of an amount: at least two digits behind the point, up to eight, nothing rounded."""
    return _text(money_e8, 8, 2)


def percent_text(ratio_e6: int) -> str:
    """Decimal text of a 1e-6 ratio in percent: 42_000 is '4.20', up to four digits, nothing rounded."""
    return _text(ratio_e6, 4, 2)


def quantity_number(quantity_e4: int) -> int | float:
    """A quantity as a JSON number: an int for whole shares, else a float with four digits."""
    whole, rest = divmod(quantity_e4, SHARE_E4)
    return whole if rest == 0 else quantity_e4 / SHARE_E4


def ratio_number(ratio_e6: int) -> float:
    """A stored 1e-6 ratio as a JSON number."""
    return ratio_e6 / RATIO_SCALE


def parse_scaled(text: str, digits: int) -> int:
    """The integer of a decimal text at ``digits`` places, exactly.

    ValueError when it is no number, has more places than ``digits`` or does not fit into 62 bits.
    """
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(
            f"{text[:20]!r}... is longer than {_LONGEST_NUMBER} characters: not a price or an amount"
        )
    try:
        value = Decimal(text)
    except ArithmeticError:
        raise ValueError(f"{text!r} is not a decimal number") from None
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError(f"{text!r} is not a finite number")
    if value == 0:
        return 0
    if value.adjusted() + digits > 18:
        raise ValueError(f"{text!r} is too large: at {digits} decimal places it does not fit into 62 bits")
    coefficient = int("".join(map(str, value.as_tuple().digits)))
    shift = exponent + digits
    if shift < 0:
        # as_tuple, not scaleb: the decimal context would round away digits behind the 28th
        divisor: int = 10 ** min(-shift, 2 * _LONGEST_NUMBER)
        coefficient, rest = divmod(coefficient, divisor)
        if rest:
            raise ValueError(f"{text!r} has more than {digits} decimal places")
    else:
        coefficient *= int(10**shift)
    if coefficient > MAX_INT64:
        raise ValueError(f"{text!r} is too large: at {digits} decimal places it does not fit into 62 bits")
    return -coefficient if value.is_signed() else coefficient


def _text(value: int, digits: int, least: int) -> str:
    sign = "-" if value < 0 else ""
    whole, rest = divmod(abs(value), 10**digits)
    fraction = str(rest).zfill(digits).rstrip("0").ljust(least, "0")
    return f"{sign}{whole}.{fraction}"
