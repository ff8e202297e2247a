"""What happened since the previous close, read from texts and earnings dates."""

import pytest

from finagent.domain.catalyst import (
    EARNINGS_E6,
    EARNINGS_UNTIMED_E6,
    EVENT_CLASSES,
    MOST_HEADLINES,
    current_headlines,
    earnings_catalyst,
    headline_catalysts,
)
from finagent.domain.market import Earnings, Headline
from tests.unit.domain.market_builders import FIRST_MINUTE_MS, PREVIOUS_CLOSE_MS


def headline(
    text: str, *, known_at_ms: int = FIRST_MINUTE_MS, symbol: str = "AAA", source: str = "w"
) -> Headline:
    return Headline(
        symbol=symbol, published_ms=known_at_ms - 5, known_at_ms=known_at_ms, text=text, source=source
    )


def current(*headlines: Headline) -> tuple[Headline, ...]:
    return current_headlines(headlines, "AAA", previous_close_ms=PREVIOUS_CLOSE_MS, as_of_ms=FIRST_MINUTE_MS)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Acme to be acquired by Bigco", "merger"),
        ("Bigco to buy Acme for $2 billion", "merger"),
        ("FDA clears the pill", "trial"),
        ("Phase 3 study met its endpoint", "trial"),
        ("Acme raises full-year outlook", "guidance"),
        ("Acme Q3 EPS of $1.10", "earnings"),
        ("Acme files for Chapter 11", "bankruptcy"),
        ("Acme prices public offering of common stock", "offering"),
        ("Acme awarded Navy order", "contract"),
        ("Broker upgrades Acme", "upgrade"),
        ("Broker initiates Acme at Buy", "upgrade"),
        ("Broker cuts price target", "downgrade"),
        ("Acme to join the S&P 500", "index"),
        ("Class action against Acme", "lawsuit"),
        ("Acme announces $1B share repurchase", "buyback"),
        ("Acme slashes dividend", "dividend cut"),
        ("Acme CEO steps down", "management"),
        ("A quiet day at Acme", "news"),
        ("contractual acquirements forecasted", "news"),
    ],
)
def test_events_are_recognised_by_whole_words(text: str, name: str) -> None:
    assert name in [item.name for item in headline_catalysts((headline(text),))]


def test_events_come_strongest_first_and_once() -> None:
    texts = ("Acme in buyback", "Quiet day", "Acme merger talks", "Acme merger confirmed")
    found = headline_catalysts([headline(text) for text in texts])
    assert [item.name for item in found] == ["merger", "buyback", "news"]
    assert found[0].detail == "merger: 'Acme merger talks'"


def test_every_class_has_its_own_name_and_a_weight_within_one() -> None:
    assert len({event.name for event in EVENT_CLASSES}) == len(EVENT_CLASSES)
    assert all(0 < event.value_e6 <= 1_000_000 and event.sign in (-1, 0, 1) for event in EVENT_CLASSES)


def test_texts_count_from_the_previous_close_to_the_decision() -> None:
    before = headline("before", known_at_ms=PREVIOUS_CLOSE_MS)
    first = headline("first", known_at_ms=PREVIOUS_CLOSE_MS + 1)
    last = headline("last", known_at_ms=FIRST_MINUTE_MS)
    after = headline("after", known_at_ms=FIRST_MINUTE_MS + 1)
    other = headline("other", symbol="BBB")
    assert [item.text for item in current(before, first, last, after, other)] == ["last", "first"]


def test_a_repeated_text_counts_once_and_an_empty_one_never() -> None:
    early = headline("Acme  WINS", known_at_ms=FIRST_MINUTE_MS - 9)
    assert current(headline("acme wins\x00"), early, headline(" \x1b ")) == (early,)


def test_a_flood_of_texts_is_cut_to_the_newest() -> None:
    flood = [headline(f"text {number}", known_at_ms=FIRST_MINUTE_MS - number) for number in range(1_000)]
    kept = current(*reversed(flood))
    assert kept == tuple(flood[:MOST_HEADLINES])


@pytest.mark.parametrize(
    ("session", "timing", "value_e6"),
    [
        ("2018-02-16", "bmo", EARNINGS_E6),
        ("2018-02-15", "amc", EARNINGS_E6),
        ("2018-02-16", None, EARNINGS_UNTIMED_E6),
        ("2018-02-15", None, EARNINGS_UNTIMED_E6),
        ("2018-02-16", "amc", None),
        ("2018-02-15", "bmo", None),
        ("2018-02-14", None, None),
        ("2018-02-17", None, None),
    ],
)
def test_a_report_counts_where_the_previous_close_could_not_know_it(
    session: str, timing: str | None, value_e6: int | None
) -> None:
    report = Earnings(symbol="AAA", session=session, timing=timing)
    found = earnings_catalyst(
        [report, Earnings(symbol="BBB", session="2018-02-16", timing="bmo")],
        "AAA",
        session="2018-02-16",
        previous_close_ms=PREVIOUS_CLOSE_MS,
    )
    assert (None if found is None else found.value_e6) == value_e6
    if found is not None:
        assert ("unknown" in found.detail) is (timing is None)


def test_a_timed_report_outweighs_an_untimed_one() -> None:
    reports = [
        Earnings(symbol="AAA", session="2018-02-15"),
        Earnings(symbol="AAA", session="2018-02-16", timing="bmo"),
    ]
    found = earnings_catalyst(reports, "AAA", session="2018-02-16", previous_close_ms=PREVIOUS_CLOSE_MS)
    assert found is not None
    assert found.detail == "earnings of 2018-02-16 before the open"
