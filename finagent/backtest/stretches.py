"""Stretches of sessions that the kernel plays within a run of the reference engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from finagent.backtest.candidates import CandidateMonth, Told, find_or_build_month
from finagent.backtest.dataset import Dataset
from finagent.backtest.errors import BacktestError
from finagent.backtest.ledger import DayRow, Tally
from finagent.backtest.parameters import Lines, Parameters
from finagent.backtest.reference import Run
from finagent.backtest.source import Ints
from finagent.domain.market import Session

SETTLING = 3
"""Sales of more sessions before have settled."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A session that the kernel played, with the account it began with: enough to play it again."""

    session: Session
    equity_e8: int
    sold_before: Mapping[str, int]
    """By date what the sales of the last sessions before brought."""


@dataclass(slots=True, eq=False)
class Stretches:
    """Hands sessions on daily bars to the kernel; ``cells`` are those it played."""

    dataset: Dataset
    rules: Parameters
    lines: Lines
    told: Told | None = None
    cells: list[Cell] = field(default_factory=list)
    _months: dict[str, CandidateMonth] = field(default_factory=dict)
    _failed: set[str] = field(default_factory=set)
    """Months whose scan fails: the reference names the rule."""
    _is_beyond: bool = False

    def play(self, run: Run, sessions: Sequence[Session]) -> int:
        """Play as many of the sessions as the kernel can; gives how many, 0 where the first is the reference's.

        It cannot while a position or an order is open, where a product could pass 2^62, or where the schedule or the
        scan of a session fails.
        """
        able = [] if run.ledger.is_watching or self._is_beyond else self._able(sessions)
        if not able:
            return 0
        from finagent.backtest.kernel.tables import beyond, candidate_rows

        rows, edges = candidate_rows(self.dataset, self._months, able, self.rules)
        bad = beyond(rows)
        if bad.any():
            able = able[: int((edges[1:] <= int(bad.argmax())).sum())]
        return self._played(run, able, rows, edges) if able else 0

    def _played(self, run: Run, able: Sequence[Session], rows: Ints, edges: Ints) -> int:
        from finagent.backtest.kernel import columns as c
        from finagent.backtest.kernel.engine import play_one
        from finagent.backtest.kernel.tables import day_rows, planned_scan, set_row
        from finagent.backtest.kernel.telling import told_days

        recent = dict(sorted(run.ledger.sold_by_session().items())[-SETTLING:])
        days = day_rows(self.dataset, able, edges, self.lines, recent)
        equity_e8 = run.ledger.day_start_e8(able[0].date)
        played = play_one(days, rows, set_row(self.rules), equity_e8)
        if played.states[0, c.IS_BEYOND]:
            self._is_beyond = True
            return 0
        scans = [planned_scan(session, self.lines) for session in able]
        ticks = [name for name, _ in scans]
        told = told_days(played, rows, able, ticks, self.dataset.symbols, self.rules.scope)
        counts = zip(able, scans, played.tallies.tolist(), played.gains[0].tolist(), told, strict=True)
        for session, (_, skipped), tally, gained_e8, day in counts:
            self.cells.append(Cell(session, equity_e8, recent))
            run.ledger.absorb(
                DayRow(session.date, True, (), tally[c.CANDIDATES], skipped, False),
                Tally(
                    plans=tally[c.PLANS],
                    approved=tally[c.APPROVED],
                    orders=tally[c.ORDERS],
                    shorts=tally[c.SHORT_PLANS],
                ),
                fills=day.fills,
                positions=day.positions,
                trades=day.trades,
            )
            run.venue.cash_e8 += gained_e8
            equity_e8 += gained_e8
            brought = {**recent, session.date: sum(each.sold_e8 for each in day.positions)}
            recent = dict(list(brought.items())[-SETTLING:])
        return len(able)

    def _able(self, sessions: Sequence[Session]) -> list[Session]:
        """The first sessions of which there are lines and an index."""
        able: list[Session] = []
        for session in sessions:
            month = session.date[:7]
            if month in self._failed:
                break
            try:
                self.lines(session)
            except (
                Exception
            ):  # whatever the schedule does, the reference meets it in its session and names it
                break
            try:
                if month not in self._months:
                    self._months[month] = find_or_build_month(self.dataset, self.rules, month, told=self.told)
            except BacktestError:
                raise
            except Exception:  # the same for a rule of the scan
                self._failed.add(month)
                break
            able.append(session)
        return able
