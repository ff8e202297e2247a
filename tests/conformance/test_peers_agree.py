"""Other engines on the same work of real prices: trade by trade the same, every difference counted under its reason."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.backtest.agreement import BOTH, CENT, GAP_TIE, THIN, TOUCH_TIE
from benchmarks.backtest.agreements import ROUNDED, agreed
from benchmarks.backtest.contest import AGREEING, Document, Place
from benchmarks.environments import is_ready


@pytest.fixture(scope="module")
def place(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The works, with the program's own trades; skipped where a peer has no environment."""
    absent = sorted({peer.name for peer in AGREEING.values() if not is_ready(peer.name)})
    if absent:
        pytest.skip(f"environments of {', '.join(absent)} absent: python -m benchmarks.backtest makes them")
    found = Place("real", tmp_path_factory.mktemp("peers"))
    found.fill(real_data)
    for name in ("daily", "quarter", "minutes"):
        found.child(name)
    return found


def compared(place: Place, peers: Sequence[str], works: Sequence[str]) -> Document:
    """The differences of these peers on these works."""
    found = {name: replace(AGREEING[name], repeats=0).run(place.works) for name in peers}
    return agreed(place, found, works)


@pytest.mark.full
def test_vectorbt_makes_the_same_trades(place: Place) -> None:
    """13 years on daily bars, and 20 sessions on minutes."""
    found = compared(place, ("vectorbt_daily", "vectorbt_minutes"), ("daily", "minutes"))
    assert found == {
        "daily": {"trades": 36_630, ROUNDED: 464, "finagent": {THIN: 2}, "vectorbt": {TOUCH_TIE: 40}},
        "minutes": {"trades": 406, ROUNDED: 116, "finagent": {}, "vectorbt": {GAP_TIE: 1}},
    }


@pytest.mark.full
def test_backtesting_py_makes_the_same_trades(place: Place) -> None:
    """13 years, without a single difference."""
    assert compared(place, ("backtesting_daily",), ("daily",)) == {
        "daily": {"trades": 36_630, ROUNDED: 464, "finagent": {THIN: 2}, "backtesting": {}}
    }


@pytest.mark.full
def test_event_driven_engines_make_the_same_trades(place: Place) -> None:
    """A quarter."""
    peers = ("backtesting_quarter", "nautilus_quarter", "backtrader_quarter")
    assert compared(place, peers, ("quarter",)) == {
        "quarter": {
            "trades": 723, ROUNDED: 5, "finagent": {}, "backtesting": {}, "nautilus": {CENT: 5, BOTH: 46},
            "backtrader": {},
        }
    }  # fmt: skip
