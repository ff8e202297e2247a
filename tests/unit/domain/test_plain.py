"""Plain data: what a domain value becomes in the journal's inputs, and back, exactly."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.errors import PlainDataError
from finagent.domain.gap import GapRules, GapStyle
from finagent.domain.journal import JsonData
from finagent.domain.market import MINUTE_MS, Bar, DailyBar, History, Instrument, Quote, Snapshot
from finagent.domain.plain import LONG, decoder, plain, typed
from finagent.domain.plan import PlanState
from tests.unit.domain.market_builders import OPEN_MS, bar, history, snapshot, view


class Named(NamedTuple):
    first: int
    second: str


@dataclass(frozen=True, kw_only=True)
class Mixed:
    state: PlanState
    bars: tuple[Bar, ...]
    pairs: Sequence[tuple[int, str]]
    counts: Mapping[str, int]
    either: int | str | None = None
    quote: Quote | None = None


@dataclass(frozen=True)
class Nested:
    quote: Quote
    number: int = 5


@dataclass(frozen=True, kw_only=True)
class Empty:
    pass


MIXED = Mixed(
    state=PlanState.OPEN,
    bars=(bar(0, "100"), bar(1, "101")),
    pairs=[(1, "a"), (2, "b")],
    counts={"x": 1},
    either="text",
    quote=Quote(OPEN_MS, 1, 2, 3, 4),
)


def test_fields_with_names_become_an_object_and_fields_with_places_an_array() -> None:
    assert plain(Instrument(symbol="AAA", sector="tech")) == {
        "symbol": "AAA",
        "sector": "tech",
        "float_shares": None,
        "shortable": None,
        "easy_to_borrow": None,
        "lot_e4": 10_000,
    }
    assert plain(Bar(1, 2, 3, 4, 5, 6)) == (1, 2, 3, 4, 5, 6)
    assert plain(Nested(Quote(1, 2, 3, 4, 5))) == [(1, 2, 3, 4, 5), 5]
    assert plain(Named(1, "x")) == [1, "x"]
    assert plain(Empty()) == {}


def test_a_frozen_set_of_texts_is_written_in_order() -> None:
    assert plain(frozenset({"b", "a"})) == ["a", "b"]
    assert decoder(frozenset[str])(["a", "b"]) == frozenset({"a", "b"})


def test_an_enumeration_is_its_value() -> None:
    assert plain(GapStyle.FADE) == "fade"
    assert typed(GapStyle, "fade") is GapStyle.FADE


@pytest.mark.parametrize(
    "value",
    [
        MIXED,
        Nested(Quote(1, 2, 3, 4, 5), 6),
        Empty(),
        GapRules(exclude=("A",)),
        history(),
        snapshot(bar(0, "9")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_comes_back_as_it_was(value: object) -> None:
    assert typed(type(value), plain(value)) == value


@given(
    st.builds(
        Bar, st.integers(), st.integers(), st.integers(), st.integers(), st.integers(), st.integers(0, 10**12)
    )
)
def test_any_bar_comes_back_as_it_was(any_bar: Bar) -> None:
    assert typed(Bar, plain(any_bar)) == any_bar


def test_a_whole_view_comes_back_as_it_was() -> None:
    whole = view(snapshot(bar(-5, "101"), bar(0, "104"), symbol="AAA"), snapshot(symbol="BBB"))
    assert typed(type(whole), plain(whole)) == whole


def test_a_long_run_of_bars_may_be_kept_apart_and_a_short_one_stays() -> None:
    bars = tuple(Bar(OPEN_MS + n * MINUTE_MS, 1, 1, 1, 1, n) for n in range(LONG))
    taken: list[list[JsonData]] = []

    def apart(items: list[JsonData]) -> JsonData:
        taken.append(items)
        return "elsewhere"

    told = plain(Snapshot(instrument=Instrument(symbol="A"), minutes=bars), apart=apart)
    assert isinstance(told, Mapping)
    assert told["minutes"] == "elsewhere"
    assert len(taken) == 1
    assert plain(bars[1:], apart=apart) == [plain(each) for each in bars[1:]]
    assert plain(bars) == [plain(each) for each in bars]
    assert plain([{"a": 1}] * LONG, apart=apart) == [{"a": 1}] * LONG


def test_defaults_stand_for_fields_that_are_missing() -> None:
    assert typed(Nested, [[1, 2, 3, 4, 5]]) == Nested(Quote(1, 2, 3, 4, 5))
    assert typed(History, {}) == History()


class Odd:
    pass


@pytest.mark.parametrize("bad", [1.5, b"x", {1}, {1: "a"}, [0.5], Odd(), {"a": Odd()}, frozenset({1.5})])
def test_what_has_no_plain_form_is_refused(bad: object) -> None:
    with pytest.raises(PlainDataError, match="use"):
        plain(bad)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (int, "1"),
        (int, True),
        (str, None),
        (Bar, {"start_ms": 1}),
        (Bar, [1, 2]),
        (Quote, [1, 2, 3, 4, "x"]),
        (Instrument, [1]),
        (Instrument, {"symbol": "A", "colour": "red"}),
        (GapRules, {"style": "sideways"}),
        (DailyBar, "x"),
    ],
)
def test_data_of_another_shape_are_refused(kind: type, data: JsonData) -> None:
    with pytest.raises(PlainDataError):
        typed(kind, data)


@pytest.mark.parametrize(
    "hint", [Bar | Quote, Callable[[], int], Odd, float], ids=["choice", "function", "class", "float"]
)
def test_a_type_without_one_meaning_is_refused(hint: object) -> None:
    with pytest.raises(PlainDataError, match="no one meaning"):
        decoder(hint)
