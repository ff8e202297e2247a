"""finagent gaps on real data: the same counts by code of its own over the raw files; one clear line for a mistake."""

import json
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from finagent.bootstrap.gap_research import GapRequest, gap_research
from finagent.cli.root import run
from finagent.settings import load_settings
from tests.e2e.independent.market import RawMarket

STOP = Fraction(3, 100)
SPRING, MINUTES = ("2009-03-02", "2009-04-09"), ("2018-02-16", "2018-03-16")


def asked(home: Path, span: tuple[str, str], **more: Any) -> dict[str, Any]:
    """The document, in this process."""
    return gap_research(load_settings(), home, GapRequest(first=span[0], last=span[1], **more))


def counts(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By group what can be counted again."""
    return {
        group["group"]: {
            "n": group["n"],
            "filled": round(group["fill"]["rate"] * group["n"]),
            "half": round(group["half_fill"]["rate"] * group["n"]),
            "move": pytest.approx(group["open_to_close_pct"]["mean"]),
            "reached": [
                (round(each["at_least"] * group["n"]), round(each["at_most"] * group["n"]))
                for each in group["before_stop"]
            ],
        }
        for group in document["groups"]
    }


def again(raw: RawMarket, span: tuple[str, str], least: Fraction, way: str) -> dict[str, dict[str, Any]]:
    """The same, day by day and symbol by symbol with fractions."""
    found: defaultdict[str, list[tuple[bool, bool, float, list[tuple[bool, bool]]]]] = defaultdict(list)
    for session in raw.sessions(*span):
        for symbol, gap in raw.opening_gaps(session).at_least(least).items():
            level = raw.adjusted_close(symbol, session)
            assert level is not None
            bars = raw.regular(session, symbol)
            if raw.minute_symbols(session):
                path = [(bar.open, bar.high, bar.low, bar.close) for bar in bars]
            else:
                day = raw.daily(session)[symbol]
                path = [(day.open, day.high, day.low, day.close)]
            entry, up = path[0][0], gap > 0
            worst = min(bar[2] for bar in path) if up else max(bar[1] for bar in path)
            half = (entry + level) / 2
            found[("up" if up else "down") if way == "direction" else way].append(
                (
                    worst <= level if up else worst >= level,
                    worst <= half if up else worst >= half,
                    100 * (path[-1][3] / entry - 1),
                    [came_first(path, up, multiple) for multiple in (1, 2, 3)],
                )
            )
    return {
        name: {
            "n": len(rows),
            "filled": sum(row[0] for row in rows),
            "half": sum(row[1] for row in rows),
            "move": sum(row[2] for row in rows) / len(rows),
            "reached": [
                (sum(row[3][place][0] for row in rows), sum(row[3][place][1] for row in rows))
                for place in range(3)
            ],
        }
        for name, rows in found.items()
    }


def came_first(path: list[tuple[int, int, int, int]], up: bool, multiple: int) -> tuple[bool, bool]:
    """Whether the target surely, and whether it may have come before the stop."""
    entry, sign = path[0][0], 1 if up else -1
    target, stop = entry * (1 + sign * multiple * STOP), entry * (1 - sign * STOP)
    for opened, high, low, _ in path:
        if sign * (opened - target) >= 0:
            return True, True
        if sign * (opened - stop) <= 0:
            return False, False
        hit = high >= target if up else low <= target
        stopped = low <= stop if up else high >= stop
        if hit or stopped:
            return hit and not stopped, hit
    return False, False


@pytest.mark.parametrize(("span", "least"), [(SPRING, "4"), (MINUTES, "2")], ids=["daily", "minute"])
def test_gaps_are_those_of_the_raw_files(
    home: Path, raw_market: RawMarket, span: tuple[str, str], least: str
) -> None:
    """A wild spring on daily bars, a month of minutes: counts, fills, moves and what came first, up and down."""
    found = asked(home, span, by="direction", min_gap_pct=Decimal(least), stop_pct=Decimal(3))
    wanted = again(raw_market, span, Fraction(int(least), 100), "direction")
    assert wanted == counts(found)
    assert found["n"] >= 60


def test_all_years_are_quick_and_every_way_sorts_the_same_gaps(home: Path) -> None:
    """Thirteen years of 494 symbols: each grouping holds every gap once, in at most a few seconds."""
    years = ("2005-01-03", "2018-03-16")
    whole = asked(home, years)
    assert 17_000 < whole["n"] < 18_500
    assert whole["groups"][0]["n"] == whole["n"]
    for way in ("size", "direction", "rvol", "day-rvol", "catalyst", "weekday", "market"):
        found = asked(home, years, by=way)
        assert sum(group["n"] for group in found["groups"]) == whole["n"], way
        assert all(group["is_small"] is (group["n"] < 30) for group in found["groups"])
        filled = sum(group["fill"]["rate"] * group["n"] for group in found["groups"])
        assert filled == pytest.approx(whole["groups"][0]["fill"]["rate"] * whole["n"])


def told(home: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status and what one command line prints, in this process."""
    status = run(["--home", str(home), "gaps", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_page_fits_a_narrow_terminal_and_marks_what_is_small(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty columns; few gaps are marked, what is known only after the close is said."""
    monkeypatch.setenv("COLUMNS", "40")
    status, page, err = told(home, capsys, "--from", MINUTES[0], "--to", MINUTES[1], "--by", "day-rvol")
    assert status == 0, err
    assert max(map(len, page.splitlines())) <= 40
    assert "* fewer than 30" in page
    assert "nothing to choose" in page.replace("\n", " ")


def test_a_page_is_written_where_it_is_asked_for(
    home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Beside the answer; a file that cannot be written is one line."""
    page = tmp_path / "gaps.html"
    asked_for = ("--from", MINUTES[0], "--to", MINUTES[1], "--by", "direction", "--html")
    assert told(home, capsys, *asked_for, str(page), "--json")[0] == 0
    assert "Gaps 2018-02-16 to 2018-03-16" in page.read_text()
    status, _, err = told(home, capsys, *asked_for, str(tmp_path / "none" / "gaps.html"))
    assert (status, err.count("\n")) == (1, 1)
    assert "cannot be written" in err


def test_no_gap_is_a_result_too(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A quiet session: one line, exit 0, and a document without groups."""
    quiet = ("--from", "2018-03-12", "--min-gap", "60")
    status, page, _ = told(home, capsys, *quiet)
    assert (status, page.splitlines()[0]) == (
        0,
        "No gap of 60 % or more from 2018-03-12 to 2018-03-12. --min-gap looks for smaller ones.",
    )
    assert json.loads(told(home, capsys, *quiet, "--json")[1])["groups"] == []


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--from", "2018-02-24"), 2, "2018-02-24 is no session of the exchange"),
        (("--from", "2018-03-01", "--to", "2018-02-01"), 2, "--to 2018-02-01 is before"),
        (("--from", "2026-03-02"), 1, "there are no bars"),
        (("--from", "2018-03-01", "--bars", "weekly"), 2, "--bars weekly is none of"),
        (("--from", "2018-03-01", "--by", "moon"), 2, "--by moon is none of size"),
        (("--from", "2018-03-01", "--min-gap", "0"), 2, "--min-gap 0 is no percentage"),
        (("--from", "2018-03-01", "--stop", "NaN"), 2, "--stop NaN is no percentage"),
        (("--from", "2018-03-01", "--stop", "much"), 2, "--stop much is no percentage"),
        (("--from", "2018-03-01", "--symbol", "NXPX"), 1, "no symbol NXPX"),
    ],
)
def test_a_mistake_is_one_line_with_its_mend(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int, words: str
) -> None:
    """No traceback, the exit code of its kind, and the same as a document."""
    ended, out, err = told(home, capsys, *arguments, "--json")
    assert ended == status
    assert words in json.loads(out)["error"]["message"]
    assert err.count("\n") == 1
