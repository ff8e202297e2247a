"""Sessions with minutes as the kernel's tables: their lines, the candidates of each scan, and these symbols' bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from finagent.backtest.candidates import CandidateMonth
from finagent.backtest.dataset import Dataset
from finagent.backtest.kernel import columns as c
from finagent.backtest.market import Flags
from finagent.backtest.parameters import DayLines, Parameters, ScanLine
from finagent.backtest.source import Ints
from finagent.domain.market import MINUTE_MS, Session
from finagent.domain.money import RATIO_SCALE

KINDS = {"watchlist": c.WATCH_LINE, "plan": c.PLAN_LINE, "second_look": c.LOOK_LINE}
Key = tuple[str, int]
"""A month, and a minute since the open at which its sessions are scanned."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a session: ``name`` of a scan, empty for the ladder; ``is_early``: a plan would be for the auction."""

    minute: int
    kind: int
    name: str = ""
    is_open: bool = False
    is_no_trade: bool = False
    is_early: bool = False


def undeclared_on_minutes(rules: Parameters) -> str:
    """Which rule the kernel does not declare on minutes, beside those it does not declare at all."""
    planning, costs = rules.planning, rules.costs
    if rules.approval_delay_ms:
        return "approval.simulated_delay_s: the kernel's yes comes at once"
    bounds = (
        ("time_stop_minutes", planning.time_stop_minutes or 0, 10_000),
        ("time_stop_min_r_e6", abs(planning.time_stop_min_r_e6), c.MOST_RATIO_E6),
        ("trail_after_r_e6", planning.trail_after_r_e6 or 0, c.MOST_RATIO_E6),
        ("trail_atr_e6", planning.trail_distance_atr_e6 or 0, c.MOST_RATIO_E6),
        ("pause_loss_e6", rules.profile.pause_loss_e6 or 0, RATIO_SCALE),
        ("pause_loss_e8", rules.profile.pause_loss_e8 or 0, c.MOST_EQUITY_E8),
        ("close_penalty_e6", costs.close_penalty_e6, RATIO_SCALE),
        ("max_price_age_ms", rules.max_price_age_ms, 10**12),
        ("entry_ttl_ms", rules.entry_ttl_ms, 10**12),
    )
    for name, value, most in bounds:
        if not 0 <= value <= most:
            return f"{name} {value}: the kernel's integers hold 0 to {most}"
    return ""


def lines_of(dataset: Dataset, session: Session, due: DayLines) -> tuple[Line, ...] | None:
    """What is due in a session with minutes, in order; None where the kernel does not play such a day.

    It knows no quotes, no instant within a minute and no scan that has to wait for its entry window.
    """
    if dataset.quotes.rows_of[dataset.rows[session.date]] >= 0 or due.day_close_ms <= session.close_ms:
        return None
    found: list[Line] = []
    for scan in due.scans:
        if scan.skipped is None:
            line = _scan_line(session, due, scan)
            if line is None:
                return None
            found.append(line)
    for at_ms in due.flatten_ms:
        if (at_ms - session.open_ms) % MINUTE_MS:
            return None
        minute = (at_ms - session.open_ms) // MINUTE_MS
        if 0 < minute < session.minutes:
            found.append(Line(minute, c.FLATTEN_LINE))
    planning = [line.minute for line in found if line.kind in (c.PLAN_LINE, c.LOOK_LINE)]
    names = [line.name for line in found if line.name]
    if len(set(planning)) < len(planning) or len(set(names)) < len(names):
        return None
    return tuple(sorted(found, key=lambda line: (line.minute, line.kind)))


def _scan_line(session: Session, due: DayLines, scan: ScanLine) -> Line | None:
    after_ms = scan.at_ms - session.open_ms
    minute = after_ms // MINUTE_MS
    if after_ms % MINUTE_MS or minute >= session.minutes or scan.kind not in KINDS:
        return None
    kind = KINDS[scan.kind]
    if kind == c.WATCH_LINE:
        return Line(minute, kind, scan.name)
    if minute < 1:
        return Line(minute, c.WATCH_LINE, scan.name, is_early=True)
    window = next((each for each in sorted(due.windows) if max(scan.at_ms, each[0]) < each[1]), None)
    if window is not None and window[0] > scan.at_ms:
        return None
    is_no_trade = any(start <= scan.at_ms < end for start, end in due.no_trade)
    return Line(minute, kind, scan.name, window is not None, is_no_trade)


@dataclass(slots=True, eq=False)
class MinuteTables:
    """Grows session by session: ``add`` it, then take the arrays."""

    dataset: Dataset
    wanted: Flags
    least_gap_e6: int
    _rows: list[Ints] = field(default_factory=list)
    _lines: list[list[int]] = field(default_factory=list)
    _bars: list[Ints] = field(default_factory=list)
    _counts: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, session: Session, lines: Sequence[Line], months: Mapping[Key, CandidateMonth]) -> bool:
        """Add a session; False, and nothing is added, where the kernel does not play it.

        It plays no auction, and no number whose product could pass 2^62.
        """
        row = self.dataset.rows[session.date]
        found = [
            self._found(row, months[session.date[:7], line.minute]) if line.name else None for line in lines
        ]
        if any(
            line.is_early and own is not None and len(own) for line, own in zip(lines, found, strict=True)
        ):
            return False
        bars = _Bars(self.dataset, session, self._counts[1])
        tables: list[Ints] = []
        places: dict[int, int] = {}
        due: list[list[int]] = []
        first = self._counts[0]
        for line, own in zip(lines, found, strict=True):
            count = 0 if own is None else len(own)
            if own is not None and count:
                tables.append(bars.rows(own, places, first))
            due.append(
                [line.minute, line.kind, first, first + count, int(line.is_open), int(line.is_no_trade)]
            )
            first += count
        if bars.is_beyond or any(_is_beyond(table) for table in tables):
            return False
        self._rows += tables
        self._lines += due
        self._bars += bars.parts
        self._counts = [first, bars.count]
        return True

    def _found(self, row: int, month: CandidateMonth) -> Ints:
        place = row - month.first_row
        found = month.columns[int(month.offsets[place]) : int(month.offsets[place + 1])]
        return found[self.wanted[found[:, c.SYMBOL]] & (found[:, c.GAP] >= self.least_gap_e6)]

    @property
    def line_count(self) -> int:
        """How many lines there are so far."""
        return len(self._lines)

    def rows(self, offset: int) -> Ints:
        """The candidates, numbered from ``offset``."""
        table = np.concatenate(self._rows) if self._rows else np.empty((0, c.ROW_WIDTH), np.int64)
        table[:, c.BEFORE] += np.where(table[:, c.BEFORE] >= 0, offset, 0)
        return table

    def lines(self, offset: int) -> Ints:
        """The lines, with their candidates numbered from ``offset``."""
        table = np.asarray(self._lines, np.int64).reshape(-1, c.LINE_WIDTH)
        table[:, [c.L_FIRST, c.L_LAST]] += offset
        return table

    def bars(self) -> Ints:
        """The bars of the candidates' symbols."""
        return np.concatenate(self._bars) if self._bars else np.empty((0, c.BAR_WIDTH), np.int64)


class _Bars:
    """The bars of a session's candidates, each symbol's once."""

    def __init__(self, dataset: Dataset, session: Session, first: int) -> None:
        self._dataset, self._session = dataset, session
        minutes = dataset.minutes
        self._offsets = minutes.offsets[int(minutes.rows_of[dataset.rows[session.date]])]
        self._known: dict[int, tuple[int, int, int]] = {}
        self.parts: list[Ints] = []
        self.count = first
        self.is_beyond = False

    def rows(self, found: Ints, places: dict[int, int], first: int) -> Ints:
        """Candidates of one scan as the kernel reads them; ``places`` are the symbols' rows in the scan before."""
        table = np.zeros((len(found), c.ROW_WIDTH), np.int64)
        known = found.shape[1] - 1 - (c.LOOKS_GAP + 1 - c.LOOKS_FIRST)
        table[:, :known] = found[:, :known]
        table[:, c.AGE] = found[:, known]
        for key in range(c.LOOKS_FIRST, c.LOOKS_GAP + 1):  # places among those that are left
            table[:, key] = np.unique(found[:, known + 1 + key - c.LOOKS_FIRST], return_inverse=True)[1]
        for number, symbol in enumerate(found[:, c.SYMBOL].tolist()):
            start, end, highest = self._bars(symbol)
            table[number, [c.BAR_FIRST, c.BAR_LAST]] = start, end
            highest = max(highest, int(table[number, c.LAST_PRICE]))
            table[number, c.HIGHEST] = -highest if self._is_halted(symbol) else highest
            table[number, c.BEFORE] = places.get(symbol, c.OFF)
            places[symbol] = first + number
        return table

    def _is_halted(self, symbol: int) -> bool:
        return self._dataset.is_halted(self._dataset.symbols[symbol], self._session.close_ms)

    def _bars(self, symbol: int) -> tuple[int, int, int]:
        """First and last (excluded) of the symbol's regular bars, and their highest price."""
        if symbol not in self._known:
            minutes = self._dataset.minutes
            start, end = int(self._offsets[symbol]), int(self._offsets[symbol + 1])
            low, high = np.searchsorted(minutes.minute[start:end], (0, self._session.minutes)).tolist()
            own = slice(start + low, start + high)
            prices = (minutes.open_e4, minutes.high_e4, minutes.low_e4, minutes.close_e4)
            table = np.stack(
                [column[own].astype(np.int64) for column in (minutes.minute, *prices, minutes.volume)], 1
            )
            values, volume = table[:, c.B_OPEN : c.B_VOLUME], table[:, c.B_VOLUME]
            highest = int(values.max(initial=0))
            self.is_beyond |= bool(values.min(initial=1) <= 0) or highest > c.MOST_PRICE_E4
            self.is_beyond |= bool(volume.min(initial=0) < 0) or int(volume.max(initial=0)) > c.MOST_VOLUME
            self.parts.append(table)
            self._known[symbol] = (self.count, self.count + len(table), highest)
            self.count += len(table)
        return self._known[symbol]


def _is_beyond(table: Ints) -> bool:
    prices = table[:, [c.INDICATION, c.LAST_PRICE, c.ATR]]
    is_bad = bool((table[:, [c.INDICATION, c.LAST_PRICE]] <= 0).any()) or bool(
        (prices > c.MOST_PRICE_E4).any()
    )
    return is_bad or bool((table[:, c.ADV_SHARES] > c.MOST_VOLUME).any())
