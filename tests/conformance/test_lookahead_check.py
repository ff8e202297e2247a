"""The check that a user runs over his own result: silent where no rule looks ahead, and it sees each one that does."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finagent.backtest.dataset import Dataset
from finagent.backtest.errors import LookAheadError
from finagent.backtest.lookahead import with_other_future
from finagent.backtest.market import SessionMarket
from finagent.backtest.parameters import Parameters
from finagent.backtest.running import Bars, Engine, Result, run_backtest
from finagent.domain.market import MINUTE_MS
from tests.conformance.made_up import ms
from tests.conformance.test_no_lookahead import RULES, USUAL, walk
from tests.conformance.trading import DAY, NEXT_DAY, lines


def looked(
    root: Path, rules: Parameters, *, bars: Bars = Bars.AUTO, engine: Engine = Engine.REFERENCE, seed: int = 3
) -> Result:
    """Two sessions, both checked."""
    dataset = walk(seed).dataset(root)
    sessions = dataset.between(DAY, NEXT_DAY)
    return run_backtest(dataset, rules, lines, sessions, bars=bars, engine=engine, lookahead=5)


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_looks_ahead(tmp_path: Path, rule: str) -> None:
    """Every entry and exit, on minutes."""
    found = looked(tmp_path, RULES[rule])
    assert found.looked_ahead == sum(bool(day.candidates) for day in found.ledger.days) > 0


@pytest.mark.parametrize("engine", Engine)
def test_daily_bars_and_the_kernel(tmp_path: Path, engine: Engine) -> None:
    """Sessions that the kernel played are looked at, too."""
    found = looked(tmp_path, USUAL, bars=Bars.DAILY, engine=engine)
    assert (found.looked_ahead, bool(found.ledger.tallies)) == (2, engine is Engine.KERNEL)


def minute_ahead(found: Callable[..., Any]) -> Callable[..., Any]:
    """The newest bar closes where the next one will."""

    def peeked(self: SessionMarket, symbol: str, as_of_ms: int) -> Any:
        bars, more = found(self, symbol, as_of_ms), found(self, symbol, as_of_ms + MINUTE_MS)
        return (*bars[:-1], replace(bars[-1], close_e4=more[-1].close_e4)) if bars else bars

    return peeked


def days_ahead(days: int) -> Callable[..., Any]:
    """The close of today, or of a day behind it, for the one before."""

    def ahead(found: Callable[..., Any]) -> Callable[..., Any]:
        def peeked(self: SessionMarket, symbols: Sequence[str], as_of_ms: int) -> Any:
            bars = self.daily_bars(symbols, min(self.row + days, len(self.dataset.sessions) - 1))
            return [
                own if bar is None else replace(own, previous=replace(bar, session=self.session.previous))
                for own, bar in zip(found(self, symbols, as_of_ms), bars, strict=True)
            ]

        return peeked

    return ahead


@pytest.mark.parametrize(
    ("method", "ahead", "bars"),
    [
        ("bars", minute_ahead, Bars.AUTO),
        ("snapshots", days_ahead(0), Bars.DAILY),
        ("snapshots", days_ahead(1), Bars.DAILY),
    ],
    ids=["the next minute", "today's close", "tomorrow's close"],
)
def test_a_rule_that_looks_ahead_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, ahead: Callable[..., Any], bars: Bars
) -> None:
    """With the session, the instant and what was decided."""
    monkeypatch.setattr(SessionMarket, method, ahead(getattr(SessionMarket, method)))
    with pytest.raises(
        LookAheadError, match=rf"^session {DAY}, \d+ minutes after the open: .* is (another|no more)$"
    ) as caught:
        looked(tmp_path, USUAL, bars=bars)
    assert caught.value.code == "look_ahead"
    assert caught.value.hint


def test_a_rule_that_fails_on_another_future_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named, and no traceback."""
    volumes: list[int] = []

    def fails(self: SessionMarket, symbols: Sequence[str], as_of_ms: int) -> Any:
        volumes.extend(0 if bar is None else bar.volume for bar in self.daily_bars(symbols, self.row))
        if any(volume != volumes[0] for volume in volumes):
            raise ValueError("an odd volume")
        return kept(self, symbols, as_of_ms)

    kept = SessionMarket.snapshots
    monkeypatch.setattr(SessionMarket, "snapshots", fails)
    with pytest.raises(LookAheadError, match="a rule fails: ValueError: an odd volume"):
        looked(tmp_path, USUAL, bars=Bars.DAILY)


def test_only_what_came_later_is_altered_and_nothing_on_the_disk(tmp_path: Path) -> None:
    """Minutes that had ended, days before, the open of the day: the same; all behind them is other."""
    dataset: Dataset = walk(3).dataset(tmp_path)
    before = hashes(dataset.path)
    session, row = dataset.sessions[dataset.rows[DAY]], dataset.rows[DAY]
    other = with_other_future(dataset, session, ms(DAY, "09:40"), seed=7)
    number = int(dataset.minutes.rows_of[row])
    own = slice(int(dataset.minutes.offsets[number, 0]), int(dataset.minutes.offsets[number, -1]))
    ended = dataset.minutes.minute[own] < 10
    for name in ("open_e4", "high_e4", "low_e4", "close_e4", "volume"):
        ours, theirs = getattr(dataset.minutes, name), getattr(other.minutes, name)
        assert (ours[: own.start] == theirs[: own.start]).all()
        assert (ours[own][ended] == theirs[own][ended]).all()
        assert np.mean(ours[own][~ended] != theirs[own][~ended]) > 0.9
        days, others = getattr(dataset.daily, name), getattr(other.daily, name)
        assert (days[:row] == others[:row]).all()
        assert (days[row] == others[row]).all() == (name == "open_e4")
    assert (dataset.daily.close_e4[row + 1] != other.daily.close_e4[row + 1]).any()
    assert (other.minutes.low_e4 <= other.minutes.open_e4).all()
    early = with_other_future(dataset, session, session.open_ms, seed=7)
    assert (dataset.daily.open_e4[row] != early.daily.open_e4[row]).any()
    dataset.check_unchanged()
    assert hashes(dataset.path) == before


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.col")}
