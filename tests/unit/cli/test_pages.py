"""Documents as pages: what a person reads, at any width, with and without colour."""

import io
import re
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.cli import render_day, render_jobs, render_ops, render_risk, report
from finagent.cli.fields import flag, number, rows, section, text, words
from finagent.cli.page import Column, Page, shortened, sparkline, visible, wrap
from finagent.cli.values import left, moment, money, multiple, percent, price, quantity, seconds, short
from finagent.context import Document
from tests.unit.api import documents as day

Render = Callable[[Document, Page], str]
PAGES: list[tuple[str, Render, Document, list[str]]] = [
    ("scan", render_day.scan, day.SCAN, ["NVDA", "+4.2 %", "3.2", "gap_too_small 7100", "JCI"]),
    (
        "plans",
        render_day.plans,
        day.PLANS,
        ["7f3a9c21", "241.50", "235.12", "6:52", "finagent approve 7f3a9c21"],
    ),
    ("orders", render_day.orders, day.ORDERS, ["entry-1", "buy", "filled"]),
    ("positions", render_day.positions, day.POSITIONS, ["MU", "+273.34", "yes", "NO"]),
    ("trades", render_day.trades, day.TRADES, ["SQ", "+499.74", "target", "-1.02 R", "2 trades, 1 won"]),
    ("pnl", render_day.pnl, day.PNL, ["2018-02-28", "-120.50", "Win rate", "40 %"]),
    (
        "risk",
        render_risk.risk,
        day.RISK_IN_FULL,
        [
            "profile standard",
            "flatten loss    1,987.30  2,000.00  12.70",
            "trades per day         2         5",
            "losses_in_a_row",
            "the pause limit is reached",
            "max_open_positions 5 (profile 3)",
            "risk_per_trade_pct 0.5 -> 1 (finagent limits accept",
            "AMD",
            "450.00",
        ],
    ),
    ("explanation", render_day.explanation, day.EXPLANATION, ["AAPL", "1.6 % is below 4 %", "7:1"]),
    (
        "plan",
        render_day.plan,
        {"plan": day.PENDING, "journal": []},
        ["NVDA long next_open: pending", "241.50"],
    ),
    (
        "status",
        render_ops.status,
        day.STATUS,
        ["09:34 ET  session", "critical: GME", "100,253.33", "-743.67", "GME", "Thu 12:15"],
    ),
    ("journal", render_ops.journal, day.JOURNAL, ["scan", "More: --after 2"]),
    ("jobs", render_jobs.jobs, day.JOBS, ["12", "send", "done"]),
    ("job", render_jobs.job, day.JOB, ["dead", "boom"]),
    ("stats", render_jobs.jobs_stats, day.STATS, ["120 done, 1 dead", "send"]),
    ("doctor", render_ops.doctor, day.DOCTOR, ["OK", "WARN", "Free some space"]),
    ("import", render_ops.imported, day.IMPORT, ["daily/a.csv", "99", "negative_price", "12 symbols"]),
    ("replay", render_ops.replayed, day.REPLAY, ["2018-03-01", "+3.99", "812 done", "2.4 s"]),
    (
        "report",
        report.day_report,
        day.DAY,
        ["Day report 2018-03-01", "AMZN", "price_above_limit", "nothing is held"],
    ),
    (
        "job in full",
        render_jobs.job,
        day.JOB_IN_FULL,
        [
            "leased",
            "2 of 5, 1 failed",
            "process 42",
            "12.0 s left",
            "3 send dead",
            '"order": "x"',
            "and 7 more",
            "4 older",
        ],
    ),
    (
        "watch",
        render_jobs.watched,
        day.WATCH,
        ["done 12.5/s", "dead 0.5/s", "oldest ready 4.2 s", "3.0 MiB", "boom"],
    ),
    (
        "issues",
        render_ops.imported,
        day.ISSUES,
        ["ohlc", "1,010", "JCI, CZR", "3 issues of 2 kinds", "x.csv"],
    ),
    (
        "no minutes",
        render_ops.replayed,
        day.NO_MINUTES,
        ["2014-06-09 (DG, NCLH)", "Import minute bars (finagent data"],
    ),
    (
        "listing",
        render_ops.listing,
        {"daily": [{"symbol": "X", "rows": 3}], "n": 1, "d": {"a": 2}},
        ["X", "a"],
    ),
]


@pytest.mark.parametrize(("name", "render", "document", "expected"), PAGES, ids=[page[0] for page in PAGES])
@pytest.mark.parametrize("width", [60, 80, 200])
def test_page_fits_its_width_and_says_what_matters(
    name: str, render: Render, document: Document, expected: list[str], width: int
) -> None:
    written = render(document, Page(width=width))
    assert "\x1b" not in written
    assert max(visible(line) for line in written.splitlines()) <= width, written
    if width >= 80:
        for part in expected:
            assert part in written, f"{part} is not in\n{written}"


@pytest.mark.parametrize(("name", "render", "document", "expected"), PAGES, ids=[page[0] for page in PAGES])
def test_colour_changes_nothing_but_colour(
    name: str, render: Render, document: Document, expected: list[str]
) -> None:
    plain = render(document, Page(width=100))
    coloured = render(document, Page(width=100, is_coloured=True))
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


@pytest.mark.parametrize(("name", "render", "document", "expected"), PAGES, ids=[page[0] for page in PAGES])
def test_page_of_an_empty_document_is_no_crash(
    name: str, render: Render, document: Document, expected: list[str]
) -> None:
    assert isinstance(render({}, Page()), str)
    hollow: Document = {key: [{}] if isinstance(value, list) else None for key, value in document.items()}
    assert isinstance(render(hollow, Page()), str)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_no_document_crashes_a_page_or_moves_the_cursor(data: st.DataObject) -> None:
    """Whatever the values are: no exception, and no control character reaches the terminal."""
    _, render, document, _ = data.draw(st.sampled_from(PAGES[:18]))
    key = data.draw(st.sampled_from(sorted(document)))
    value = document[key]
    changed = data.draw(JSON)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        inner = data.draw(st.sampled_from(sorted(value[0])))
        changed = [{**value[0], inner: changed}, *value[1:]]
    written = render({**document, key: changed}, Page(width=80))
    assert all(letter.isprintable() or letter == "\n" for letter in written)


def test_text_from_outside_cannot_write_escape_codes() -> None:
    assert "\x1b" not in render_ops.journal(day.JOURNAL, Page())
    assert "\x1b" not in render_risk.risk({**day.RISK_IN_FULL, "limits": {"\x1b[2J": {}}}, Page())


def test_empty_lists_are_said_in_words() -> None:
    page = Page()
    assert render_day.plans({"plans": []}, page) == "No plans."
    assert render_day.positions({"positions": []}, page).startswith("Flat")
    assert render_day.trades({"trades": []}, page) == "No trades."
    assert render_ops.status({}, page).startswith("finagent")


@pytest.mark.parametrize(
    ("control", "said"),
    [
        ({"gate_reason": None}, "open"),
        ({"gate_reason": "unknown_orders"}, "closed: unknown_orders"),
        (
            {"paused": True, "paused_by": "person", "gate_reason": "paused"},
            "paused: paused (finagent resume)",
        ),
        (
            {"paused": True, "paused_by": "risk", "gate_reason": "paused"},
            "paused: paused (until the next session)",
        ),
        (
            {
                "paused": True,
                "paused_by": "restore",
                "needs_rearm": True,
                "pause_reason": "restored from a backup",
                "gate_reason": "rearm_needed, paused",
            },
            "closed: restored from a backup (finagent rearm)",
        ),
        ({"needs_rearm": True, "gate_reason": "rearm_needed"}, "closed: rearm_needed (finagent rearm)"),
        ({"needs_rearm": True, "killed": True}, "killed (finagent rearm opens them again)"),
    ],
)
def test_status_names_the_verb_that_opens_entries_again(control: Document, said: str) -> None:
    line = next(
        line for line in render_ops.status({"control": control}, Page()).splitlines() if "Entries" in line
    )
    assert line.split(maxsplit=1)[1] == said


def test_narrow_table_drops_the_least_columns_first_and_keeps_the_first() -> None:
    columns = (Column("Symbol"), Column("Note", rank=2), Column("Price", right=True, rank=1))
    cells = [["NVDA", "x" * 30, "241.50"]]
    assert "241.50" in Page(width=30).table(columns, cells)
    assert "xxx" not in Page(width=30).table(columns, cells)
    assert Page(width=8).table(columns, cells).split() == ["Symbol", "NVDA"]


def test_money_stands_to_the_right() -> None:
    lines = Page().table((Column("P&L", right=True),), [["1.00"], ["1,000.00"]]).splitlines()
    assert lines == ["     P&L", "    1.00", "1,000.00"]


def test_cut_column_stays_on_one_line() -> None:
    columns = (Column("A"), Column("B", flexible=True, is_cut=True))
    table = Page(width=40).table(columns, [["x", "word " * 20]])
    assert [len(line) <= 40 for line in table.splitlines()] == [True, True]
    assert table.endswith("…")
    assert (shortened("short", 5), shortened("longer", 5), shortened("\x1b[31mlonger\x1b[0m", 4)) == (
        "short", "long…", "lon…",
    )  # fmt: skip


def test_flexible_column_wraps_at_words() -> None:
    lines = Page(width=30).table(
        (Column("A"), Column("B", flexible=True)), [["x", "one two three four five six seven eight"]]
    )
    assert len(lines.splitlines()) > 2
    assert all(len(line) <= 30 for line in lines.splitlines())


def test_page_of_a_pipe_has_no_colour_and_obeys_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert Page.of(io.StringIO()) == Page(100, False)
    monkeypatch.setenv("COLUMNS", "60")
    assert Page.of(io.StringIO()) == Page(60, False)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_terminal_has_colour_unless_no_color_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert Page.of(Terminal()).is_coloured
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Page.of(Terminal()).is_coloured


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (money(Decimal("-1234.5"), signed=True), "-1,234.50"),
        (money(Decimal(0), signed=True), "0.00"),
        (money(None), "–"),
        (price(Decimal("241.5")), "241.50"),
        (price(Decimal("1.2345")), "1.2345"),
        (quantity(Decimal("1000")), "1,000"),
        (quantity(Decimal("0.2500")), "0.25"),
        (percent(Decimal("4.23"), signed=True), "+4.2 %"),
        (multiple(Decimal("-1.005")), "-1.00 R"),
        (short(Decimal(3_400_000_000)), "3.4B"),
        (short(Decimal(950)), "950"),
        (left(Decimal(65)), "1:05"),
        (left(Decimal(-1)), "over"),
        (left(None), ""),
        (seconds(Decimal(90)), "1.5 min"),
        (seconds(Decimal(7200)), "2.0 h"),
        (moment("2018-03-01T14:31:00Z"), "09:31"),
        (moment("2018-07-02T13:31:00+00:00"), "09:31"),
        (moment("soon"), "soon"),
        (moment(""), "–"),
        (sparkline([Decimal(0), Decimal(7)]), "▁█"),
        (sparkline([Decimal(2), Decimal(2)]), "▄▄"),
        (sparkline([Decimal(1)]), ""),
        (wrap("a b", 80)[0], "a b"),
        (Page().bar(Decimal("0.5"), cells=4), "██░░"),
        (Page().bar(None), ""),
    ],
)
def test_value_reads_as_a_trader_writes_it(shown: str, expected: str) -> None:
    assert shown == expected


def test_fields_of_nonsense_are_unknown() -> None:
    document: Document = {"a": "x", "b": [1, "y"], "c": True, "d": "Infinity"}
    assert section(document, "a") == {}
    assert rows(document, "b") == []
    assert words(document, "b") == ["1", "y"]
    assert words(document, "a") == ["x"]
    assert words(document, "zz") == []
    assert [number(document, key) for key in "abcd"] == [None, None, None, None]
    assert flag(document, "c")
    assert text(document, "zz", "a") == "x"
