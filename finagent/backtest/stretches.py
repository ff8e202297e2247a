"""Stretches of sessions that the kernel plays within a run of the reference engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from finagent.backtest.candidates import CandidateMonth, Told, find_or_build_month
from finagent.backtest.cells import SETTLING, Cell
from finagent.backtest.dataset import Dataset
from finagent.backtest.errors import BacktestError
from finagent.backtest.ledger import DayRow, Tally
from finagent.backtest.parameters import Lines, Parameters
from finagent.backtest.reference import Run
from finagent.domain.book import Control
from finagent.domain.market import Session

if TYPE_CHECKING:  # the kernel is loaded where a session is given to it
    from finagent.backtest.kernel.engine import Played
    from finagent.backtest.kernel.gathering import Asked, Tables


@dataclass(slots=True, eq=False)
class Stretches:
    """Hands sessions to the kernel; ``cells`` are those it played."""

    dataset: Dataset
    rules: Parameters
    lines: Lines
    told: Told | None = None
    cells: list[Cell] = field(default_factory=list)
    is_beyond: bool = False
    """Whether a product could have passed 2^62: from then on the reference plays."""
    _months: dict[tuple[str, int | None], CandidateMonth] = field(default_factory=dict)
    _failed: set[tuple[str, int | None]] = field(default_factory=set)
    """Months whose scan fails: the reference names the rule."""

    def play(self, run: Run, sessions: Sequence[tuple[Session, bool]]) -> int:
        """Play as many of the sessions (each with whether on minutes) as the kernel can; gives how many, 0 where the
        first is the reference's.

        It cannot while a position or an order is open or entries are shut, where a product could pass 2^62, where the
        schedule or the scan of a session fails, and where a session on minutes has what it does not declare.
        """
        if run.ledger.is_watching or run.ledger.control != Control() or self.is_beyond:
            return 0
        able = self._able(sessions)
        if not able:
            return 0
        from finagent.backtest.kernel.gathering import gather

        recent = dict(sorted(run.ledger.sold_by_session().items())[-SETTLING:])
        tables, count = gather(self.dataset, able, self.rules, self.lines, self._months, recent)
        return self._played(run, able[:count], tables, recent) if count else 0

    def _played(self, run: Run, able: "Sequence[Asked]", tables: "Tables", recent: dict[str, int]) -> int:
        from finagent.backtest.kernel import columns as c
        from finagent.backtest.kernel.engine import play_one
        from finagent.backtest.kernel.tables import set_row

        equity_e8 = run.ledger.day_start_e8(able[0].session.date)
        played = play_one(tables, set_row(self.rules), equity_e8)
        how = int(played.states[0, c.IS_BEYOND])
        if how == c.BEYOND:
            self.is_beyond = True
            return 0
        if how == c.NOT_ITS_OWN:
            return self._played_before(run, able, recent, int(played.states[0, c.STOPPED]))
        self._tell(run, able, tables, recent, played, equity_e8)
        return len(able)

    def _tell(
        self,
        run: Run,
        able: "Sequence[Asked]",
        tables: "Tables",
        recent: Mapping[str, int],
        played: "Played",
        equity_e8: int,
    ) -> None:
        """Book what the kernel played, session by session."""
        from finagent.backtest.kernel import columns as c
        from finagent.backtest.kernel.tables import planned_scan
        from finagent.backtest.kernel.telling import told_days

        sessions = [each.session for each in able]
        scans = [
            self._scans(each) if each.lines is not None else planned_scan(each.session, self.lines)
            for each in able
        ]
        ticks = [name for name, _ in scans]
        told = told_days(played, tables, sessions, ticks, self.dataset.symbols, self.rules.scope)
        counts = zip(able, scans, played.tallies.tolist(), played.gains[0].tolist(), told, strict=True)
        for each, (_, skipped), tally, gained_e8, day in counts:
            date, has_minutes = each.session.date, each.lines is not None
            self.cells.append(Cell(each.session, has_minutes, equity_e8, recent))
            run.ledger.absorb(
                DayRow(date, True, (), tally[c.CANDIDATES], skipped, has_minutes),
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
            brought = {**recent, date: sum(each.sold_e8 for each in day.positions)}
            recent = dict(list(brought.items())[-SETTLING:])

    def _played_before(self, run: Run, able: "Sequence[Asked]", recent: dict[str, int], count: int) -> int:
        """The sessions before one that turned out not to be the kernel's."""
        from finagent.backtest.kernel.gathering import gather

        if not count:
            return 0
        tables, _ = gather(self.dataset, able[:count], self.rules, self.lines, self._months, recent)
        return self._played(run, able[:count], tables, recent)

    def _scans(self, asked: "Asked") -> tuple[str | None, tuple[str, ...]]:
        skipped = {scan.skipped for scan in self.lines(asked.session).scans if scan.skipped is not None}
        return None, tuple(sorted(skipped))

    def _able(self, sessions: Sequence[tuple[Session, bool]]) -> "list[Asked]":
        """The first sessions of which there are lines and an index, and on minutes lines that the kernel declares."""
        from finagent.backtest.kernel.gathering import Asked
        from finagent.backtest.kernel.minute_tables import lines_of, undeclared_on_minutes

        is_undeclared = bool(undeclared_on_minutes(self.rules))
        able: list[Asked] = []
        for session, has_minutes in sessions:
            try:
                due = self.lines(session)
            except (
                Exception
            ):  # whatever the schedule does, the reference meets it in its session and names it
                break
            own = lines_of(self.dataset, session, due) if has_minutes and not is_undeclared else None
            if has_minutes and own is None:
                break
            minutes = {None} if own is None else {line.minute for line in own if line.name}
            if not all(self._has_month(session.date[:7], minute) for minute in minutes):
                break
            able.append(Asked(session, own))
        return able

    def _has_month(self, month: str, minute: int | None) -> bool:
        """Whether there is an index of a month, on daily bars or at a minute of its sessions."""
        key = month, minute
        if key not in self._months and key not in self._failed:
            try:
                self._months[key] = find_or_build_month(
                    self.dataset, self.rules, month, minute=minute, told=self.told
                )
            except BacktestError:
                raise
            except Exception:  # whatever a rule of the scan does, the reference meets it and names it
                self._failed.add(key)
        return key in self._months
