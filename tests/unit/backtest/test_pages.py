"""A result as a page: whole, drawn by plotly's own schema, and harmless whatever stands in the data."""

import base64
import hashlib
import json
import re
import zlib
from typing import Any

import pytest
from plotly.offline import get_plotlyjs

from finagent.backtest.pages import shell
from finagent.backtest.pages.charts import monthly, months
from finagent.backtest.pages.result import result_page
from finagent.bootstrap.backtest_report import report
from tests.conformance.trading import NEXT_DAY, play
from tests.unit.backtest.test_running import two_days

EVIL = '<img src=x onerror=alert(1)></script><script>alert(2)</script>"&'


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A real result of two days."""
    from finagent.backtest.running import Bars

    found = play(two_days(), tmp_path_factory.mktemp("market"), last=NEXT_DAY)
    return dict(report(found.result, bars=Bars.AUTO, elapsed_ms=7))


def own_part(page: str) -> str:
    """The page without plotly.js."""
    return page.replace(packed(page), "")


def packed(page: str) -> str:
    """plotly.js as the page holds it."""
    found = re.search(r'<script type="text/plain" id="library">(.*?)</script>', page, re.DOTALL)
    assert (found is not None) is ("<figure>" in page)
    return "no library" if found is None else found[1]


def figures(page: str) -> list[dict[str, Any]]:
    """The charts of a page."""
    return [
        json.loads(text)
        for text in re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    ]


def test_every_part_stands_on_the_page(document: dict[str, Any]) -> None:
    """Account, months, R, MAE and MFE, figures with the assumptions, doubt with its bounds, each trade."""
    page = own_part(result_page(document))
    for words in (
        "Equity after each session",
        "Return of each month",
        "Results of trades in R",
        "The worst and the best that each trade saw",
        "exits attached to the entry",
        "In 1 trade a bar does not tell the order of its events: the P&amp;L lies between -380.00 and +1,140.00.",
        "Sharpe",
        "AAA",
        "exit stop",
    ):
        assert words in page, words
    assert page.count("<tr>") > 2 * len(document["trades"])
    assert "PARTIAL" not in page


def test_a_partial_result_is_marked(document: dict[str, Any]) -> None:
    """Where it stopped and with what."""
    page = result_page({**document, "partial": {"session": NEXT_DAY, "error": "ZeroDivisionError: x"}})
    assert f"PARTIAL: stopped in {NEXT_DAY} (ZeroDivisionError: x)" in page


def test_a_result_without_trades_is_a_page_too(document: dict[str, Any]) -> None:
    """No plan is a result; an old or broken document says what it can."""
    assert "No session traded" in result_page({**document, "trades": [], "sessions": []})
    assert "No session traded" in result_page({"result_id": "x"})


def test_charts_are_what_plotly_takes(document: dict[str, Any]) -> None:
    """Its own schema refuses an unknown property and a wrong value."""
    from plotly.graph_objects import Figure

    found = figures(result_page(document))
    assert len(found) == 4
    for figure in found:
        Figure(figure)
    with pytest.raises(ValueError, match="Invalid property"):
        Figure({"data": [{"type": "scatter", "colour": "red"}]})


def test_nothing_is_loaded_from_anywhere(document: dict[str, Any]) -> None:
    """No address, no foreign file; only the two scripts whose hashes the policy names may run."""
    page = result_page(document)
    assert not re.search(r'(?:src|href)="|url\(|@import|://', own_part(page))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    own = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    library = zlib.decompress(base64.b64decode(packed(page))).decode()
    assert library == get_plotlyjs()
    hashes = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in (library, *own)]
    assert re.findall(r"'sha256-([^']+)'", policy[1]) == hashes
    assert len(hashes) == 2
    assert "default-src 'none'" in policy[1]


def test_what_stands_in_the_data_stays_text(document: dict[str, Any]) -> None:
    """A symbol, a setting, an error and a reason that are markup are shown as they are written."""
    trade = {**document["trades"][0], "symbol": EVIL, "setup": EVIL, "exit_reason": EVIL, "direction": EVIL}
    page = result_page(
        {
            **document,
            "trades": [trade],
            "result_id": EVIL,
            "from": EVIL,
            "assumptions": [EVIL],
            "symbols": [EVIL],
            "settings": {EVIL: {EVIL: EVIL, "list": [EVIL]}},
            "partial": {"session": EVIL, "error": EVIL},
        }
    )
    assert "<img" not in own_part(page)
    assert page.count("<script") == 2 + 4
    texts = [text for figure in figures(page) for trace in figure["data"] for text in trace.get("text", [])]
    assert any("&lt;img" in str(text) for text in texts)
    assert not any("<img" in str(text) for text in texts)


def test_a_text_of_a_chart_cannot_end_its_script() -> None:
    """Even one that went through no ``label``."""
    chart = shell.chart([{"type": "scatter", "name": "</script><script>alert(1)</script>&"}], {})
    assert (chart.count("<script"), chart.count("</script>")) == (1, 1)
    (figure,) = figures(chart)
    assert figure["data"][0]["name"] == "</script><script>alert(1)</script>&"


def test_months_are_over_the_equity_before_them() -> None:
    """Two months, the second from a lower account, and one after ruin."""
    days = [
        ("2018-01-30", "-10"),
        ("2018-01-31", "-10"),
        ("2018-02-01", "8"),
        ("2018-03-01", "-88"),
        ("2018-04-02", "1"),
    ]
    found = monthly(
        {
            "totals": {"start_equity": "100"},
            "sessions": [{"session": session, "pnl": pnl} for session, pnl in days],
        }
    )
    assert [month for month, _ in found] == ["2018-01", "2018-02", "2018-03", "2018-04"]
    assert [value for _, value in found[:3]] == pytest.approx([-0.2, 0.1, -1.0])
    assert found[3][1] is None


def test_a_long_table_shows_its_end_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest rows are kept."""
    monkeypatch.setattr(shell, "ROWS_SHOWN", 2)
    shown = shell.table((shell.Column("A"),), [["one"], ["two"], [None]])
    assert "one" not in shown
    assert "<td>–<" in shown
    assert "The last 2 of 3 rows." in shown


def test_a_missing_plotly_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and the mend."""
    shell._library.cache_clear()
    monkeypatch.setattr(shell, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="no package plotly, which draws the charts"):
        shell.page("x", shell.chart([], {}))
    assert "<script" not in shell.page("x")  # without a chart there is nothing to draw


def test_a_page_is_small(document: dict[str, Any]) -> None:
    """The library packed; what a day of trades adds is little, and a trade of thousands stays under 400 bytes."""
    page = result_page(document)
    assert len(packed(page)) < 2_200_000
    assert len(own_part(page)) < 60_000
    many = 2_000
    longer = result_page({**document, "trades": document["trades"] * many})
    assert (len(longer) - len(page)) / (len(document["trades"]) * (many - 1)) < 400


def test_numbers_stand_to_the_right_without_a_word_in_each_cell() -> None:
    """The table's class names their columns, and the page's style knows the class."""
    shown = shell.table((shell.Column("A"), shell.Column("B", right=True)), [["a", 1]])
    assert shown.startswith('<div class="scroll"><table class="r2"><thead>')
    assert "right" not in shown
    assert ".r2 :is(th,td):nth-child(2)," in shell.page("x")


def test_the_market_stands_beside_the_account(document: dict[str, Any]) -> None:
    """As a course of the same start, and by its figures; a document of an older version has none."""
    market = {
        "symbol": "SPY", "missing": 0, "dividends": 0, "cagr": 0.0712, "correlation": 0.13, "beta": 0.07,
        "returns": [0.1, -0.5],
    }  # fmt: skip
    page = result_page({**document, "market": market})
    assert "SPY held over the same sessions, from close to close: its price alone" in page
    assert "7.1 %" in page
    account = figures(page)[0]["data"]
    assert [(trace["name"], trace["y"]) for trace in account[:1]] == [("SPY held", [110_000.0, 55_000.0])]
    assert "SPY" not in own_part(result_page(document))
    other = figures(result_page({**document, "market": {**market, "returns": [0.1]}}))
    assert [trace["name"] for trace in other[0]["data"]] == ["Equity", "Drawdown"]


def test_drawdowns_and_few_sessions_are_told(document: dict[str, Any]) -> None:
    """A fall that lasts says so; the figures of a year out of two days are no figures."""
    page = result_page(document)
    assert "not yet" in page
    assert "Figures of a year (CAGR, volatility, Sharpe, Sortino, Calmar) are drawn from 2 sessions:" in page
    longer = result_page({**document, "metrics": {**document["metrics"], "sessions": 63}})
    assert "are drawn from" not in longer


def test_trades_stand_in_exchange_time(document: dict[str, Any]) -> None:
    """As the command prints them; another day than the session's is told with its date."""
    (trade, *_) = document["trades"]
    assert trade["entry_ts"].endswith(("T14:31:00Z", "T14:30:00Z")), trade["entry_ts"]
    page = result_page({**document, "trades": [{**trade, "exit_ts": "2018-07-03T13:30:00Z"}]})
    assert re.search(r"<td>09:3[01]<td>", page)
    assert "<td>2018-07-03 09:30<td>" in page
    assert "<td>soon<td>" in result_page({**document, "trades": [{**trade, "exit_ts": "soon"}]})


def test_a_year_is_its_months_together() -> None:
    """10 % and -10 % are -1 %; a year without any known month is unknown."""
    days = [("2018-01-31", "10"), ("2018-02-28", "-11"), ("2019-01-31", "-99"), ("2020-01-31", "1")]
    chart = months(
        {
            "totals": {"start_equity": "100"},
            "sessions": [{"session": session, "pnl": pnl} for session, pnl in days],
        }
    )
    (trace,) = figures(chart)[0]["data"]
    assert (trace["x"][-1], trace["y"]) == ("Year", ["2020", "2019", "2018"])
    assert [row[-1] for row in trace["z"]] == [None, -1.0, pytest.approx(-0.01)]
