"""Sessions of either kind, in order, as the tables that the kernel is given; as many as it plays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from finagent.backtest.candidates import CandidateMonth
from finagent.backtest.dataset import Dataset
from finagent.backtest.drilling import minutes_inside
from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.minute_tables import Line, MinuteTables
from finagent.backtest.kernel.tables import beyond, candidate_rows, day_rows, wanted_symbols
from finagent.backtest.market import Flags
from finagent.backtest.parameters import Lines, Parameters
from finagent.backtest.source import Ints
from finagent.domain.fills import Ambiguity
from finagent.domain.market import Session

Months = Mapping[tuple[str, int | None], CandidateMonth]
"""By calendar month and minute of the scan, None for daily bars."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A session, with its lines where it is played on minutes."""

    session: Session
    lines: tuple[Line, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """What the kernel is given of the sessions; ``names`` are those of the scans, by line."""

    days: Ints
    rows: Ints
    lines: Ints
    bars: Ints
    names: tuple[str, ...] = ()

    @property
    def most_plans(self) -> int:
        """By how many times the most plans of a scan a session may have plans."""
        counts = self._planning()
        return max([1, *(int(counts[day[c.FIRST] : day[c.LAST]].sum()) for day in self._on_minutes())])

    @property
    def most_daily(self) -> int:
        """The most candidates of one session on daily bars."""
        daily = self.days[self.days[:, c.IS_ON_MINUTES] == 0]
        return int((daily[:, c.LAST] - daily[:, c.FIRST]).max(initial=0))

    @property
    def most_candidates(self) -> int:
        """The most candidates of one scan on minutes."""
        return int((self.lines[:, c.L_LAST] - self.lines[:, c.L_FIRST]).max(initial=0))

    def room(self, top: int) -> int:
        """How many plans a set may send at most over all the sessions."""
        daily = self.days[self.days[:, c.IS_ON_MINUTES] == 0]
        counts = np.minimum(self.lines[:, c.L_LAST] - self.lines[:, c.L_FIRST], top)[self._planning()]
        return int(np.minimum(daily[:, c.LAST] - daily[:, c.FIRST], top).sum() + counts.sum())

    def _planning(self) -> Flags:
        found: Flags = self.lines[:, c.L_KIND] >= c.PLAN_LINE
        return found

    def _on_minutes(self) -> Ints:
        found: Ints = self.days[self.days[:, c.IS_ON_MINUTES] == 1]
        return found


def gather(
    dataset: Dataset,
    asked: Sequence[Asked],
    rules: Parameters,
    lines: Lines,
    months: Months,
    sold_before: Mapping[str, int],
) -> tuple[Tables, int]:
    """The tables of the first sessions that the kernel plays, and how many these are.

    It does not play a session in which a product could pass 2^62, nor an auction.
    """
    daily = [each.session for each in asked if each.lines is None]
    by_month = {month: found for (month, minute), found in months.items() if minute is None}
    rows, edges = candidate_rows(dataset, by_month, daily, rules)
    bad = beyond(rows)
    able = int((edges[1:] <= int(bad.argmax())).sum()) if bad.any() else len(daily)
    minutes = MinuteTables(dataset, wanted_symbols(dataset, rules), rules.gap.min_gap_e6)
    known = {(month, minute): found for (month, minute), found in months.items() if minute is not None}
    spans: list[tuple[int, int]] = []
    names: list[str] = []
    place = 0
    for each in asked:
        if each.lines is None:
            if place >= able:
                break
            spans.append((int(edges[place]), int(edges[place + 1])))
            place += 1
            continue
        first = minutes.line_count
        if not minutes.add(each.session, each.lines, known):
            break
        spans.append((first, minutes.line_count))
        names += [line.name for line in each.lines]
    played = [(each.session, each.lines is not None) for each in asked[: len(spans)]]
    days = day_rows(dataset, played, spans, lines, sold_before)
    bars = minutes.bars()
    if rules.ambiguity is Ambiguity.MINUTES:
        bars = _with_minutes_inside(dataset, rows, edges, daily[:place], bars)
    every = np.concatenate([rows, minutes.rows(len(rows))])
    return Tables(days, every, minutes.lines(len(rows)), bars, tuple(names)), len(spans)


def _with_minutes_inside(
    dataset: Dataset, rows: Ints, edges: Ints, sessions: Sequence[Session], bars: Ints
) -> Ints:
    """The bars, and behind them the minutes inside each candidate's day, written into its row where there are some."""
    parts, count = [bars], len(bars)
    for place, session in enumerate(sessions):
        row = dataset.rows[session.date]
        for candidate in rows[edges[place] : edges[place + 1]] if dataset.has_minutes(row) else ():
            inside, _ = minutes_inside(dataset, row, int(candidate[c.SYMBOL]))
            candidate[[c.DRILL_FIRST, c.DRILL_LAST]] = count, count + len(inside)
            parts.append(inside)
            count += len(inside)
    return np.concatenate(parts)
