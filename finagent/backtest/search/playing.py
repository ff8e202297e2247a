"""Plays parameter sets: what the kernel declares in one sweep by threads, the rest one by one by workers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from finagent.backtest.dataset import Dataset, open_dataset
from finagent.backtest.errors import BacktestError
from finagent.backtest.executors import Executor, LocalPool
from finagent.backtest.parameters import DayLines, Lines, Parameters
from finagent.backtest.running import Bars, Engine, Result, run_backtest
from finagent.backtest.source import Ints
from finagent.domain.market import Session

WORTH_WORKERS = 20_000_000
"""Sets times sessions from which on the kernel's workers repay their start."""
Job = tuple[Parameters, Sequence[str], str]
"""Rules, dates of the sessions, and on which bars."""


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """What a set gained in each session, in 1e-8; with a ``failure`` (session and error) only until there."""

    gains_e8: Ints
    trades: int
    wins: int
    failure: str = ""


@dataclass(slots=True, eq=False)
class Player:
    """Plays sets over sessions of a dataset; close it, for its workers' sake.

    Without an ``executor`` so many ``workers`` are threads of this process in a sweep; for what is played set by
    set, and for large sweeps where there is no machine code, they are a pool of processes, kept from one batch of sets
    to the next. An executor runs all of it instead.
    """

    dataset: Dataset
    lines: Lines
    bars: Bars
    workers: int = 1
    executor: Executor | None = None
    _own: LocalPool | None = None
    _table: dict[str, DayLines] = field(default_factory=dict)
    _are_minutes_swept: bool | None = None
    """Whether the last sweep over minute bars was the kernel's; None before the first."""

    def play(self, sets: Sequence[Parameters], sessions: Sequence[Session]) -> list[Played]:
        """What each set comes to, each from its own account; the same for any number of workers.

        BacktestError for what concerns all sets: a dataset that changed, a worker that died twice, too many sets.
        """
        has_minutes = self.has_minutes(sessions)
        swept = [at for at, rules in enumerate(sets) if self._is_declared(rules, has_minutes)]
        found = dict(zip(swept, self._swept([sets[at] for at in swept], sessions), strict=False))
        rest = [at for at in range(len(sets)) if at not in found]
        found.update(zip(rest, self._alone([sets[at] for at in rest], sessions), strict=True))
        return [found[at] for at in range(len(sets))]

    def has_minutes(self, sessions: Sequence[Session]) -> bool:
        """Whether a session is played on minute bars."""
        rows = (self.dataset.rows[each.date] for each in sessions)
        return self.bars is not Bars.DAILY and any(map(self.dataset.has_minutes, rows))

    def is_swift(self, sessions: Sequence[Session]) -> bool:
        """Whether the kernel is known to play the sessions with many sets at once."""
        return self._are_minutes_swept is True or not self.has_minutes(sessions)

    def _is_declared(self, rules: Parameters, has_minutes: bool) -> bool:
        from finagent.backtest.kernel.minute_tables import undeclared_on_minutes
        from finagent.backtest.kernel.tables import undeclared

        if has_minutes and (self._are_minutes_swept is False or undeclared_on_minutes(rules)):
            return False
        return not undeclared(rules)

    def close(self) -> None:
        """End the workers."""
        for each in (self.executor, self._own):
            if each is not None:
                each.close()

    def _swept(self, sets: Sequence[Parameters], sessions: Sequence[Session]) -> list[Played]:
        """All of them by the kernel, or none: where one cannot be swept, each is played alone, which names it."""
        if not sets:
            return []
        from finagent.backtest.sweeping import sweep

        executor = self._sweeper(len(sets) * len(sessions))
        has_minutes = self.has_minutes(sessions)
        try:
            swept = sweep(
                self.dataset,
                sets,
                self.lines,
                sessions,
                threads=self.workers,
                workers=self.workers if executor else 1,
                bars=self.bars,
                executor=executor,
            )
        except BacktestError as error:
            if error.code != "undeclared":
                raise
            if has_minutes:  # a session that the kernel does not play: the next sets would meet it, too
                self._are_minutes_swept = False
            return []
        except Exception:  # a rule of the scan or a line of the schedule that fails on some day
            return []
        if has_minutes:
            self._are_minutes_swept = True
        rows = zip(swept.gains_e8, swept.trades.tolist(), swept.wins.tolist(), strict=True)
        return [Played(gains, trades, wins) for gains, trades, wins in rows]

    def _alone(self, sets: Sequence[Parameters], sessions: Sequence[Session]) -> Iterator[Played]:
        dates = [session.date for session in sessions]
        jobs: list[Job] = [(rules, dates, self.bars.value) for rules in sets]
        if (self.executor is None and self.workers <= 1) or len(jobs) <= 1 or not self._has_table():
            yield from (play_alone(self.dataset, self.lines, job) for job in jobs)
            return
        table = {date: self._table[date] for date in dates}
        yield from self._pool().run(play_by_path, [(str(self.dataset.path), table, job) for job in jobs])

    def _sweeper(self, size: int) -> Executor | None:
        """Who plays a sweep of so many sets times sessions instead of threads."""
        from finagent.backtest.kernel.compiling import can_compile

        if self.workers <= 1 or size < WORTH_WORKERS:
            return None
        return self.executor if can_compile() else self._pool()

    def _pool(self) -> Executor:
        if self.executor is not None:
            return self.executor
        if self._own is None:
            self._own = LocalPool(self.workers)
        return self._own

    def _has_table(self) -> bool:
        """The lines of all sessions, for workers; False where one cannot be told: the run itself meets and names it."""
        try:
            self._table = self._table or {each.date: self.lines(each) for each in self.dataset.sessions}
        except Exception:  # whatever the schedule does
            return False
        return True


def play_by_path(path: str, table: Mapping[str, DayLines], job: Job) -> Played:
    """A worker's whole task: the dataset is mapped once a process."""
    return play_alone(_opened(path), lines_of(table), job)


def play_alone(dataset: Dataset, lines: Lines, job: Job) -> Played:
    """One set by itself."""
    rules, dates, bars = job
    sessions = [dataset.sessions[dataset.rows[date]] for date in dates]
    return as_played(run_backtest(dataset, rules, lines, sessions, bars=Bars(bars), engine=Engine.KERNEL))


def as_played(result: Result) -> Played:
    """A backtest as what a sweep would say of it."""
    places = {session.date: place for place, session in enumerate(result.sessions)}
    failure = result.failure
    count = len(places) if failure is None else places[failure.session]
    gains = np.zeros(count, np.int64)
    ledger = result.ledger
    for trade, date in zip(ledger.trades, ledger.exit_sessions, strict=True):
        if places[date] < count:
            gains[places[date]] += trade.pnl_e8
    return Played(
        gains,
        len(ledger.trades),
        sum(trade.pnl_e8 > 0 for trade in ledger.trades),
        "" if failure is None else f"{failure.session}: {failure.error}",
    )


def lines_of(table: Mapping[str, DayLines]) -> Lines:
    """Lines that were asked for before."""
    return lambda session: table[session.date]


@cache
def _opened(path: str) -> Dataset:
    return open_dataset(Path(path))
