"""Integer money is exact, and refuses what does not fit."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.money import (
    MAX_INT64,
    div_ceil,
    div_half_even,
    money_text,
    parse_scaled,
    percent_text,
    price_text,
    quantity_number,
    ratio_number,
)

whole = st.integers(-(10**20), 10**20)
positive = st.integers(1, 10**12)


@given(whole, positive)
def test_quotients_round_as_their_names_say(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)
    assert div_ceil(numerator, denominator) == exact.__ceil__()
    assert div_half_even(numerator, denominator) == round(exact)


@pytest.mark.parametrize(
    ("numerator", "expected"), [(1, 0), (3, 2), (5, 2), (-1, 0), (-3, -2), (-5, -2), (7, 4)]
)
def test_halves_go_to_the_even_neighbour(numerator: int, expected: int) -> None:
    assert div_half_even(numerator, 2) == expected


@pytest.mark.parametrize(
    ("price_e4", "text"),
    [
        (0, "0.00"),
        (1, "0.0001"),
        (10_000, "1.00"),
        (-12_345, "-1.2345"),
        (1_040_000, "104.00"),
        (12_500, "1.25"),
    ],
)
def test_price_text_has_two_to_four_digits(price_e4: int, text: str) -> None:
    assert price_text(price_e4) == text


def test_money_text_shows_every_digit_that_is_there() -> None:
    assert money_text(1) == "0.00000001"
    assert money_text(-250_000_000) == "-2.50"


def test_percent_text_of_a_ratio() -> None:
    assert percent_text(42_000) == "4.20"
    assert percent_text(-39_999) == "-3.9999"


def test_whole_shares_are_ints_and_fractions_floats() -> None:
    assert quantity_number(30_000) == 3
    assert isinstance(quantity_number(30_000), int)
    assert quantity_number(12_500) == 1.25
    assert ratio_number(42_000) == 0.042


@given(st.integers(-MAX_INT64 // 10**5, MAX_INT64 // 10**5), st.integers(0, 8))
def test_a_written_number_is_read_back(value: int, digits: int) -> None:
    text = str(Decimal(value).scaleb(-digits))
    assert parse_scaled(text, digits) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.50", 15_000),
        ("-0.0001", -1),
        ("1e2", 1_000_000),
        (" 7 ", 70_000),
        ("1.00000", 10_000),
        ("0e99", 0),
    ],
)
def test_decimal_texts_are_read(text: str, expected: int) -> None:
    assert parse_scaled(text, 4) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abc", "not a decimal number"),
        ("", "not a decimal number"),
        ("NaN", "not a finite number"),
        ("sNaN", "not a finite number"),
        ("-Infinity", "not a finite number"),
        ("1.00001", "more than 4 decimal places"),
        ("1.00000000000000000000000000000000001", "more than 4 decimal places"),
        ("1e-999999", "more than 4 decimal places"),
        ("1e999999", "too large"),
        ("999999999999999", "too large"),
        ("1e15", "too large"),
        ("9" * 65, "longer than 64"),
    ],
)
def test_what_is_no_amount_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_scaled(text, 4)
