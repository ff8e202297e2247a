"""The report of a backtest in a real browser: every chart is drawn, from the file alone, and no script of data runs."""

from pathlib import Path
from typing import Any

import pytest

from finagent.backtest.pages.research import gaps_page
from finagent.backtest.pages.result import result_page
from tests.e2e.chromium import browser_path, chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        browser_path() is None, reason="NO BROWSER: apt-get install chromium, then run this again"
    ),
]
EVIL = "<img src=x onerror=document.title='struck'>"


def made_up() -> dict[str, Any]:
    """A result whose words are markup."""
    trade = {
        "trade_id": "t", "session": "2018-02-06", "symbol": EVIL, "setup": EVIL, "direction": "long", "quantity": 1,
        "entry_ts": "2018-02-06T14:31:00Z", "entry_price": "1.00", "exit_ts": "2018-02-06T15:31:00Z",
        "exit_price": "2.00", "exit_reason": EVIL, "r_multiple": 1.0, "mae_r": -0.5, "mfe_r": 1.5, "fees": "0.10",
        "pnl": "1.00", "ambiguous": True,
    }  # fmt: skip
    return {
        "result_id": "0123456789abcdef", "from": "2018-02-06", "to": "2018-03-07", "assumptions": [EVIL],
        "sessions": [{"session": "2018-02-06", "pnl": "1.00"}, {"session": "2018-03-07", "pnl": "-2.00"}],
        "trades": [trade, {**trade, "pnl": "-2.00", "session": "2018-03-07"}],
        "totals": {"start_equity": "100.00", "trades": 2, "ambiguous": 2, "pnl_best": "3.00", "pnl_worst": "-2.00"},
        "metrics": {"sharpe": 1.5}, "settings": {"scan": {"style": EVIL}},
    }  # fmt: skip


def test_every_chart_is_drawn_without_a_network(tmp_path: Path) -> None:
    """Four charts, their months and dots; what the data call a script is read, not run."""
    page = tmp_path / "report.html"
    page.write_text(result_page(made_up()), encoding="utf-8")
    with chromium(tmp_path) as tab:
        tab.size(1280, 2400)
        tab.go(page.as_uri())
        tab.wait_for("document.documentElement.dataset.drawn === 'yes'", timeout_s=60)
        assert tab.value("document.querySelectorAll('figure .main-svg').length >= 4") is True
        assert tab.value("document.querySelectorAll('.scatterlayer path.point').length") == 2
        assert tab.value("document.querySelectorAll('.barlayer .point').length > 0") is True
        assert tab.value("document.querySelectorAll('.heatmaplayer image').length") == 1
        assert tab.value("document.title") == "Backtest 2018-02-06 to 2018-03-07"
        assert tab.value("document.images.length") == 0
        assert EVIL in tab.text()
        assert tab.value("performance.getEntriesByType('resource').length") == 0
        tab.screenshot(tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 20_000


def test_a_table_of_gaps_is_not_cut_at_1280_pixels(tmp_path: Path) -> None:
    """With long intervals in each column the last column stands within the page."""
    rate, mean = {"rate": 0.15, "low": 0.1, "high": 0.19}, {"mean": -4.99, "low": -11.13, "high": 1.16}
    reached = {"at_least": 0.18, "at_most": 0.52, "low": 0.13, "high": 0.59, "undecided": 3}
    group = {
        "group": "20 % and more *", "n": 24, "sessions": 17, "is_small": False, "fill": rate, "half_fill": rate,
        "open_to_close_pct": mean, "with_gap_pct": mean, "before_stop": [{"r": r, **reached} for r in (1, 2, 3)],
    }  # fmt: skip
    page = tmp_path / "gaps.html"
    document = {"from": "2005-01-03", "to": "2018-03-16", "n": 10_796, "min_gap_pct": 4.0, "groups": [group]}
    page.write_text(gaps_page(document), encoding="utf-8")
    with chromium(tmp_path) as tab:
        tab.size(1280, 1600)
        tab.go(page.as_uri())
        tab.wait_for("document.documentElement.dataset.drawn === 'yes'", timeout_s=60)
        wide, seen = (
            tab.value(f"document.querySelector('.scroll').{each}Width") for each in ("scroll", "client")
        )
    assert wide <= seen
