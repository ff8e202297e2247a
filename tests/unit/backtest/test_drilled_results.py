"""What a result, its page and a comparison tell of ambiguous daily bars that were drilled into minutes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finagent.backtest.pages.result import result_page
from finagent.backtest.running import Bars, fill_rows
from finagent.bootstrap.backtest_compare import compare_results
from finagent.bootstrap.backtest_report import report
from finagent.cli.page import Page
from finagent.cli.render_backtest import backtested
from finagent.domain.fills import Ambiguity
from tests.conformance.test_drilling import DOWN, OPEN, RULES, UP, day
from tests.conformance.trading import DAY, NEXT_DAY, play


def told(root: Path, ambiguity: Ambiguity, bars: Bars = Bars.DAILY) -> dict[str, Any]:
    """A day decided at 11:00, and one without minutes."""
    stored = day(OPEN, UP, DOWN)
    stored.daily_bar(NEXT_DAY, "AAA", 112, 130, 105, 112, 10_000_000)
    found = play(stored, root / ambiguity, replace(RULES, ambiguity=ambiguity), last=NEXT_DAY, bars=bars)
    return dict(report(found.result, bars=bars, elapsed_ms=1))


def test_a_result_tells_how_many_were_drilled_and_the_minute_of_each(tmp_path: Path) -> None:
    """In words among the assumptions, in numbers, and with the trade; the other day is still ambiguous."""
    document = told(tmp_path, Ambiguity.MINUTES)
    words = "drilled 1 of 2 ambiguous bars into minutes; stop first in 1 without minutes"
    assert document["assumptions"][-1] == words
    assert document["drilled"] == {
        "bars": 2, "decided": 1, "no_minutes": 1, "identity_mismatch": 0, "incomplete": 0, "one_minute": 0,
    }  # fmt: skip
    assert document["totals"]["ambiguous"] == 1
    assert [trade.get("drilled") for trade in document["trades"]] == ["2018-02-06T16:00:00Z", None]
    assert words in " ".join(backtested(document, Page(100)).split())
    page = result_page(document)
    assert words in page
    assert "by its minute 11:00" in page


def test_without_the_rule_nothing_is_told(tmp_path: Path) -> None:
    """No key of a trade, no words; what other results are named by stays as it was."""
    document = told(tmp_path, Ambiguity.STOP_FIRST)
    assert (document["drilled"], document["totals"]["ambiguous"]) == (None, 2)
    assert not any("drilled" in words for words in document["assumptions"])
    assert not any("drilled" in trade for trade in document["trades"])


def test_sessions_on_minutes_say_that_theirs_is_stop_first(tmp_path: Path) -> None:
    """auto: the first day on its minutes, which nothing is inside of."""
    document = told(tmp_path, Ambiguity.MINUTES, Bars.AUTO)
    assert document["assumptions"][-2:] == [
        "drilled 0 of 1 ambiguous bar into minutes; stop first in 1 without minutes",
        "stop first where a minute bar holds stop and target",
    ]


def test_a_comparison_names_the_minute(tmp_path: Path) -> None:
    """Stopped at 103 in A, at the target in B: told by the minute of 11:00."""
    a, b = told(tmp_path, Ambiguity.STOP_FIRST), told(tmp_path, Ambiguity.MINUTES)
    found: Any = compare_results(a, b)
    first = next(each for each in found["different"] if each["session"] == DAY)
    assert first["because"] == [
        "left by stop at 103.00 in A, by target at 111.00 in B",
        "of the day's minutes none decided in A, 11:00 in B",
    ]


@pytest.mark.parametrize("ambiguity", [Ambiguity.STOP_FIRST, Ambiguity.MINUTES])
def test_fills_keep_the_minute_where_there_is_one(tmp_path: Path, ambiguity: Ambiguity) -> None:
    """And no key at all where there is none, so that hashes of other results stay."""
    found = play(day(OPEN, UP, DOWN), tmp_path, replace(RULES, ambiguity=ambiguity), bars=Bars.DAILY)
    keys = ["drilled_at_ms" in row for row in fill_rows(found.ledger) if isinstance(row, dict)]
    assert keys == [False, ambiguity is Ambiguity.MINUTES]
