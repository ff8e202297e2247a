"""Walk-forward: which sessions choose and judge, and that a choice rests on its own sessions alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.backtest.errors import BacktestError
from finagent.backtest.running import Bars
from finagent.backtest.search.measures import measure
from finagent.backtest.search.playing import Played, Player
from finagent.backtest.search.study import best, run
from finagent.backtest.search.trials import Journal, State, Trial
from finagent.backtest.search.walking import Walk, Window, walk, windows
from finagent.bootstrap.walk_forward import Walked, walk_document, walked
from finagent.domain.market import Session
from finagent.runtime.append_log import AppendLog
from tests.conformance.made_up import MadeUpCalendar
from tests.conformance.trading import DAY, NEXT_DAY, lines
from tests.kernel.test_engine import LATER, three_days
from tests.search.world import make, search

SESSIONS = tuple(MadeUpCalendar("2018-01-01", 60).all)
E8 = 10**8


def places(part: tuple[Session, ...]) -> list[int]:
    return [SESSIONS.index(session) for session in part]


def test_windows_by_hand() -> None:
    """Six choose, two judge, of eleven; one session is purged, two are embargoed after each judging part."""
    found = windows(SESSIONS[:11], Walk(train=6, test=2, purge=1, embargo=2))
    assert [(places(each.train), places(each.test)) for each in found] == [
        ([0, 1, 2, 3, 4], [6, 7]),
        ([2, 3, 4, 5, 6], [8, 9]),
        ([4, 5, 6, 7], [10]),
    ]


@given(st.integers(1, 20), st.integers(1, 9), st.integers(0, 5), st.integers(0, 4), st.integers(2, 60))
def test_no_window_chooses_by_what_judges_it_or_comes_later(
    train: int, test: int, purge: int, embargo: int, count: int
) -> None:
    """Nor by purged or embargoed sessions; all judging parts together are the rest of the range, once each."""
    asked = Walk(train=train, test=test, purge=min(purge, train - 1), embargo=embargo)
    try:
        found = windows(SESSIONS[:count], asked)
    except BacktestError:
        return
    judged = [place for each in found for place in places(each.test)]
    assert judged == list(range(train, count))
    ends: list[int] = []
    for each in found:
        chosen, first = places(each.train), places(each.test)[0]
        assert max(chosen) < first - asked.purge
        assert min(chosen) >= first - train
        assert not {end + 1 + at for end in ends for at in range(embargo)} & set(chosen)
        ends.append(places(each.test)[-1])


@pytest.mark.parametrize(
    ("text", "purge", "words"),
    [
        ("504", 0, "no two numbers"), ("0:5", 0, "no two numbers"), ("5:0", 0, "no two numbers"),
        ("a:b", 0, "no two numbers"), ("5:2", 5, "--purge 5 leaves nothing of 5 sessions"),
    ],
)  # fmt: skip
def test_what_is_no_walk_is_named(text: str, purge: int, words: str) -> None:
    """With the mend."""
    with pytest.raises(BacktestError, match=words) as caught:
        walk(text, purge=purge, embargo=0)
    assert caught.value.hint


def test_too_few_sessions_and_too_long_an_embargo_are_named() -> None:
    """Before anything is played."""
    assert walk(" 5:2 ", purge=1, embargo=3) == Walk(train=5, test=2, purge=1, embargo=3)
    with pytest.raises(BacktestError, match="5 sessions are no more than the 5 that choose"):
        windows(SESSIONS[:5], Walk(train=5, test=2))
    with pytest.raises(BacktestError, match="--embargo 9 leaves nothing to choose by before"):
        windows(SESSIONS, Walk(train=2, test=2, embargo=9))


def test_each_choice_is_the_best_of_its_own_sessions_and_is_judged_by_the_next(tmp_path: Path) -> None:
    """Two windows of one day each; the searches by themselves, and again from a journal that a kill cut."""
    dataset = three_days().dataset(tmp_path)
    days = dataset.between(DAY, LATER)
    parts = [Window((days[0],), (days[1],)), Window((days[1],), (days[2],))]
    player, asked = Player(dataset, lines, Bars.DAILY), search("sobol", 12)

    def journal_of(name: str) -> Journal:
        return Journal.open(AppendLog(tmp_path / f"{name}.jsonl"))

    found = walked(asked, make, player, parts, journal_of, lambda _: None)
    for number, row in enumerate(found):
        own = Journal.open(AppendLog(tmp_path / f"own-{number}.jsonl"))
        choice = best(run(asked, make, player, parts[number].train, own), "return")
        assert choice is not None
        assert row.choice is not None
        assert row.choice.values == choice.values
        assert row.played is not None
        alone = player.play([make(choice.values)], [days[number + 1]])[0]
        assert row.played.gains_e8.tolist() == alone.gains_e8.tolist()
    second = tmp_path / "window-002.jsonl"
    whole = second.read_bytes()
    second.write_bytes(whole[: len(whole) // 2])
    again = walked(asked, make, player, parts, journal_of, lambda _: None)
    assert second.read_bytes() == whole
    assert walk_document(again, 100_000 * E8) == walk_document(found, 100_000 * E8)
    assert (found[0].window.test[0].date, NEXT_DAY) == (NEXT_DAY, days[1].date)
    none = walked(replace(asked, requirements=search(requires=("trades>99",)).requirements), make, player, parts,
                  lambda name: Journal.open(AppendLog(tmp_path / f"none-{name}.jsonl")), lambda _: None)  # fmt: skip
    document = walk_document(none, 100_000 * E8)
    assert (document["inside_cagr"], document["efficiency"]) == (None, None)
    assert document["course"] == {"sessions": [NEXT_DAY, LATER], "return": [0.0, 0.0]}


def test_judging_parts_are_joined_as_returns() -> None:
    """Plus 10 % from a whole account, then minus 20 %: 0.88 of the start, whatever the gains in money were."""
    inside = measure(np.array([E8] * 252), 100 * E8, trades=9, wins=9)
    rows = [
        Walked(Window(SESSIONS[:1], SESSIONS[place : place + 1]), Trial(0, {}, State.DONE, inside), played)
        for place, played in ((1, Played(np.array([10 * E8]), 2, 1)), (2, Played(np.array([-20 * E8]), 3, 1)))
    ]
    found = walk_document(rows, 100 * E8)
    outside = found["outside"]
    assert isinstance(outside, dict)
    assert outside["return"] == pytest.approx(-0.12)
    assert outside["max_drawdown"] == pytest.approx(0.2)
    assert (outside["trades"], outside["win_rate"]) == (5, 0.4)
    assert found["inside_cagr"] == pytest.approx(2.52)
    assert found["efficiency"] == pytest.approx((0.88**126 - 1) / 2.52)
