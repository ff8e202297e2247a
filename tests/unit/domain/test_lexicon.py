"""The tone of a text: our lexicon, negators, intensifiers, and hostile input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.lexicon import (
    INTENSIFIERS,
    LONGEST_TEXT,
    NEGATIVE,
    NEGATORS,
    POSITIVE,
    clean,
    tone,
)


def test_no_word_is_in_two_lists() -> None:
    lists = (POSITIVE, NEGATIVE, NEGATORS, INTENSIFIERS)
    assert len(frozenset().union(*lists)) == sum(len(words) for words in lists)
    assert len(POSITIVE) > 150
    assert len(NEGATIVE) > 150


@pytest.mark.parametrize(
    ("text", "positive", "negative"),
    [
        ("Shares SURGE after the company beats estimates", 4, 0),
        ("Stock plunges on fraud probe", 0, 6),
        ("Results did not beat", 0, 2),
        ("No losses this quarter", 2, 0),
        ("The firm can\u2019t grow", 0, 2),
        ("not in any way at all strong", 2, 0),
        ("sharply lower", 0, 3),
        ("very the strong", 2, 0),
        ("very not strong", 0, 2),
        ("the cost of taxes is a liability", 0, 0),
        ("", 0, 0),
    ],
)
def test_words_are_weighed(text: str, positive: int, negative: int) -> None:
    assert tone(text) == (positive, negative)


def test_a_text_is_read_no_further_than_its_bound() -> None:
    assert tone("x" * LONGEST_TEXT + " strong") == (0, 0)
    assert tone("strong " * 10**6).positive <= LONGEST_TEXT


def test_control_characters_do_not_reach_a_terminal() -> None:
    assert clean("a\x1b[31mred\x00\u202e\ud800\r\n\tb") == "a [31mred b"
    assert clean("  plain   text ") == "plain text"


@given(st.text(max_size=2_000))
def test_any_text_gives_bounded_tones_and_one_printable_line(text: str) -> None:
    assert clean(text).isprintable()
    assert 0 <= sum(tone(text)) <= 3 * LONGEST_TEXT
