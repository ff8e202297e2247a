"""Many parameter sets over the same sessions: one pass of the kernel, by threads of this process or by workers.

Workers open tables by path and write their own rows of the result: nothing but numbers of sets is sent to them, and
neither how many threads or workers there are nor which of them comes first changes a bit.
"""

import hashlib
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from finagent.backtest.candidates import find_or_build_month, measured
from finagent.backtest.dataset import Dataset
from finagent.backtest.errors import BacktestError, CheckFailedError
from finagent.backtest.executors import Executor, LocalPool, WorkerDiedError
from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.engine import in_order
from finagent.backtest.kernel.gathering import Asked, Tables, gather
from finagent.backtest.kernel.minute_tables import lines_of, undeclared_on_minutes
from finagent.backtest.kernel.parts import play_part, play_sets
from finagent.backtest.kernel.tables import beyond, candidate_rows, set_row, undeclared
from finagent.backtest.kernel.threads import cuts, default_threads, play_at_once
from finagent.backtest.parameters import Lines, Parameters
from finagent.backtest.running import Bars, Engine, run_backtest
from finagent.backtest.scratch import scratch
from finagent.backtest.source import Ints
from finagent.domain.fills import Ambiguity
from finagent.domain.market import Session

MOST_BYTES = 4 << 30
"""A sweep whose gains would take more is refused."""
PARTS_A_WORKER = 4
SETS_A_BLOCK = 256


@dataclass(frozen=True, slots=True, eq=False)
class Swept:
    """What each set gained in each session, in 1e-8, and its counts over all of them (``trades``, ``wins``)."""

    gains_e8: Ints
    trades: Ints
    wins: Ints
    sweep_hash: str
    """Over gains and all counts: the same for any number of workers."""


def sweep(
    dataset: Dataset,
    sets: Sequence[Parameters],
    lines: Lines,
    sessions: Sequence[Session],
    *,
    threads: int | None = None,
    workers: int = 1,
    check: int = 0,
    bars: Bars = Bars.DAILY,
    executor: Executor | None = None,
) -> Swept:
    """Play every set over the sessions, each from its own account; ``bars`` as a run takes them.

    Machine code is played by so many ``threads`` of this process, None: as many as it has cores, but one in a worker.
    Where there are ``workers`` they play instead, a part each at a time: an ``executor`` runs them, without one they
    are processes of this machine.

    BacktestError for rules and sessions that the kernel does not declare and for more than fits; a worker that dies
    costs its part one more try. ``check``: so many random sets are played once more alone, a session of each by the
    reference too; CheckFailedError where they differ.
    """
    asked = _asked(dataset, lines, sessions, bars)
    _refuse(sets, asked)
    with _workers(executor, min(workers, len(sets))) as pool:
        groups = [_Group(sets, numbers) for numbers in _groups(sets)]
        if pool is None:
            gains, tallies = _by_threads(dataset, groups, lines, asked, threads or default_threads())
        else:
            gains, tallies = _by_workers(dataset, groups, lines, asked, workers, pool)
    dataset.check_unchanged()
    _check(dataset, sets, lines, sessions, gains, bars=bars, count=check)
    return Swept(gains, tallies[:, c.TRADES], tallies[:, c.WINS], _hash(gains, tallies))


def _hash(gains: Ints, tallies: Ints) -> str:
    """SHA-256 over the hashes of so many sets each and all counts; blocks are hashed outside the interpreter's lock."""
    starts = range(0, len(gains), SETS_A_BLOCK)
    blocks: list[bytes] = [b""] * len(starts)

    def take(number: int, start: int) -> None:
        blocks[number] = hashlib.sha256(gains[start : start + SETS_A_BLOCK].data).digest()

    play_at_once([partial(take, *each) for each in enumerate(starts)], default_threads())
    return hashlib.sha256(b"".join([*blocks, tallies.tobytes()])).hexdigest()


@contextmanager
def _workers(executor: Executor | None, count: int) -> Iterator[Executor | None]:
    """Who plays the parts, None for this process; workers of its own start while the tables are gathered."""
    if executor is not None or count <= 1:
        yield executor
        return
    pool = LocalPool(count)
    try:
        pool.start()
        yield pool
    finally:
        pool.close()


class _Group:
    """Sets that share candidates."""

    def __init__(self, sets: Sequence[Parameters], numbers: Sequence[int]) -> None:
        self.sets = [sets[number] for number in numbers]
        self.numbers = list(numbers)
        self.rows = np.asarray([set_row(each) for each in self.sets], np.int64)
        self.equity_e8 = [each.start_equity_e8 for each in self.sets]

    def put_in_order(self) -> None:
        """As they are played: those that share more stand together."""
        self.rows, order = in_order(self.rows)
        self.sets = [self.sets[place] for place in order.tolist()]
        self.numbers = [self.numbers[place] for place in order.tolist()]
        self.equity_e8 = [self.equity_e8[place] for place in order.tolist()]

    @property
    def rules(self) -> Parameters:
        """Rules that find the candidates of all of them, with the minutes inside their days where one asks for them."""
        asking = next((each for each in self.sets if each.ambiguity is Ambiguity.MINUTES), self.sets[0])
        return _widened(asking, min(each.gap.min_gap_e6 for each in self.sets))


def _by_threads(
    dataset: Dataset, groups: Sequence[_Group], lines: Lines, asked: Sequence[Asked], threads: int
) -> tuple[Ints, Ints]:
    """Gains and counts of all sets, played in this process."""
    count = sum(len(group.numbers) for group in groups)
    found: tuple[Ints, Ints] | None = None
    for group in groups:
        tables = _tables(dataset, group, lines, asked)
        played = play_sets(tables, group.rows, group.equity_e8, group.numbers, threads)
        if len(groups) == 1:  # nothing is copied
            return played.gains, played.tallies
        found = found or _empty(count, len(asked))
        for table, own in zip(found, (played.gains, played.tallies), strict=True):
            table[group.numbers] = own
    assert found is not None
    return found


def _by_workers(
    dataset: Dataset,
    groups: Sequence[_Group],
    lines: Lines,
    asked: Sequence[Asked],
    workers: int,
    pool: Executor,
) -> tuple[Ints, Ints]:
    """Gains and counts of all sets, played by workers."""
    count = sum(len(group.numbers) for group in groups)
    with scratch(dataset.path, "sweep") as folder:
        for name, width in (("gains", len(asked)), ("tallies", c.TALLY_WIDTH)):
            np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.int64, (count, width))
        for number, group in enumerate(groups):
            group.put_in_order()
            own = folder / str(number)
            own.mkdir()
            _write(own, _tables(dataset, group, lines, asked), group)
            _share(own, group, workers, pool)
        gains, tallies = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("gains", "tallies"))
        return gains, tallies


def _empty(sets: int, sessions: int) -> tuple[Ints, Ints]:
    return np.zeros((sets, sessions), np.int64), np.zeros((sets, c.TALLY_WIDTH), np.int64)


def _asked(dataset: Dataset, lines: Lines, sessions: Sequence[Session], bars: Bars) -> list[Asked]:
    """The sessions as the kernel is asked to play them; a day that it does not play is refused by name."""
    found = []
    for session in sessions:
        if bars is Bars.DAILY or not dataset.has_minutes(dataset.rows[session.date]):
            if bars is Bars.MINUTE:
                raise _not_played(session, "there are no minute bars")
            found.append(Asked(session))
            continue
        own = lines_of(dataset, session, lines(session))
        if own is None:
            raise _not_played(session, "it has quotes, or lines that the kernel does not declare")
        found.append(Asked(session, own))
    return found


def _not_played(session: Session, reason: str) -> BacktestError:
    return BacktestError(
        f"session {session.date}: {reason}",
        hint="leave it out, sweep on daily bars, or run each set alone: the reference plays it",
        code="undeclared",
    )


def _refuse(sets: Sequence[Parameters], sessions: Sequence[Asked]) -> None:
    if not sets or not sessions:
        raise BacktestError("a sweep needs a set and a session", hint="give at least one of each")
    size = len(sets) * len(sessions) * 8
    if size > MOST_BYTES:
        raise BacktestError(
            f"{len(sets)} sets over {len(sessions)} sessions take {size >> 20} MiB, more than {MOST_BYTES >> 20}",
            hint="sweep fewer sets at a time",
            code="too_many_sets",
        )
    has_minutes = any(each.lines is not None for each in sessions)
    for number, rules in enumerate(sets):
        reason = undeclared(rules) or (undeclared_on_minutes(rules) if has_minutes else "")
        if reason:
            raise BacktestError(
                f"set {number}: {reason}", hint="run it alone: the reference plays it", code="undeclared"
            )


def _groups(sets: Sequence[Parameters]) -> list[list[int]]:
    """The sets that share candidates; one index serves all gaps down to the smallest that any of them asks for."""
    found: dict[tuple[object, ...], list[int]] = {}
    for number, rules in enumerate(sets):
        found.setdefault((measured(rules), rules.symbols, rules.gap.exclude), []).append(number)
    return list(found.values())


def _widened(rules: Parameters, least_e6: int) -> Parameters:
    return replace(rules, gap=replace(rules.gap, min_gap_e6=least_e6))


def _tables(dataset: Dataset, group: _Group, lines: Lines, asked: Sequence[Asked]) -> Tables:
    """The sessions with their candidates, as the kernel reads them."""
    rules = group.rules
    keys = {(each.session.date[:7], minute) for each in asked for minute in _minutes(each)}
    months = {
        key: find_or_build_month(dataset, rules, key[0], minute=key[1])
        for key in sorted(keys, key=lambda key: (key[0], key[1] is not None, key[1] or 0))
    }
    tables, count = gather(dataset, asked, rules, lines, months, {})
    if count < len(asked):
        refused = asked[count].session
        if asked[count].lines is not None:
            raise _not_played(refused, "it has an opening auction, or a number beyond the kernel's integers")
        table, _ = candidate_rows(
            dataset, {refused.date[:7]: months[refused.date[:7], None]}, [refused], rules
        )
        symbol = dataset.symbols[int(table[int(beyond(table).argmax()), c.SYMBOL])]
        raise BacktestError(
            f"{symbol}: a price or volume that the kernel's integers do not hold",
            hint=f"leave it out of the universe: universe.exclude: [{symbol}]",
            code="undeclared",
        )
    return tables


def _write(folder: Path, tables: Tables, group: _Group) -> None:
    """What workers read of a group."""
    for name, table in (
        ("days", tables.days),
        ("rows", tables.rows),
        ("lines", tables.lines),
        ("bars", tables.bars),
        ("sets", group.rows),
        ("equity", np.asarray(group.equity_e8, np.int64)),
        ("numbers", np.asarray(group.numbers, np.int64)),
    ):
        np.save(folder / f"{name}.npy", table)


def _minutes(asked: Asked) -> set[int | None]:
    return {None} if asked.lines is None else {line.minute for line in asked.lines if line.name}


def _share(folder: Path, group: _Group, workers: int, pool: Executor) -> None:
    """All sets of a group by workers; a part whose worker died is tried once more."""
    count = len(group.numbers)
    parts = cuts(group.rows, -(-count // (max(1, workers) * PARTS_A_WORKER)))
    try:
        pool.run(play_part, [(str(folder), *part) for part in parts])
    except WorkerDiedError as error:
        first, last = parts[error.left[0]]
        raise BacktestError(
            f"a worker died twice over {last - first} of the sets, one of them set {group.numbers[first]}",
            hint=error.hint,
            code=error.code,
        ) from None


def _check(
    dataset: Dataset,
    sets: Sequence[Parameters],
    lines: Lines,
    sessions: Sequence[Session],
    gains: Ints,
    *,
    bars: Bars,
    count: int,
) -> None:
    """Random sets alone, and of each a random session by the reference."""
    chosen = random.Random(dataset.dataset_id).sample(range(len(sets)), min(count, len(sets)))
    for number in sorted(chosen):
        found = run_backtest(dataset, sets[number], lines, sessions, bars=bars, engine=Engine.KERNEL, check=1)
        alone = dict.fromkeys([session.date for session in sessions], 0)
        for trade in found.ledger.trades:
            alone[trade.session] += trade.pnl_e8
        for session, gained_e8 in zip(sessions, gains[number].tolist(), strict=True):
            if alone[session.date] != gained_e8:
                raise CheckFailedError(
                    f"set {number}, session {session.date}: gain is {gained_e8} in the sweep and"
                    f" {alone[session.date]} alone"
                )
