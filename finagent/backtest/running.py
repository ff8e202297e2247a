"""A backtest from end to end: which sessions run on which bars, what went wrong, and what the run is called."""

import gc
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from enum import StrEnum
from itertools import takewhile

import numpy as np

from finagent.backtest.dataset import ABSENT, Dataset
from finagent.backtest.drilling import Drilled, drilled
from finagent.backtest.errors import BacktestError, NothingStoredError
from finagent.backtest.going_on import Keeper, Standing
from finagent.backtest.ledger import DayRow, Ledger
from finagent.backtest.parameters import Lines, Parameters
from finagent.backtest.reference import Run
from finagent.backtest.stretches import Stretches
from finagent.domain.journal import JsonData, canonical_json, outcome_hash
from finagent.domain.market import Session
from finagent.domain.orders import BrokerFill, OrderIntent
from finagent.domain.positions import Trade, TradeExit

Told = Callable[[str, int, int], None]


class Bars(StrEnum):
    """On which bars sessions run: minutes where there are some, always daily bars, or only minutes."""

    AUTO = "auto"
    DAILY = "daily"
    MINUTE = "minute"


class Engine(StrEnum):
    """Who computes sessions: the reference all of them, the kernel those that it declares."""

    REFERENCE = "reference"
    KERNEL = "kernel"


@dataclass(frozen=True, slots=True)
class Failure:
    """A rule that failed: in which session, and with what."""

    session: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a backtest came to; with a ``failure`` only the sessions before it count."""

    result_id: str
    dataset_id: str
    rules: Parameters
    engine: Engine
    """KERNEL where it played at least one session: of its sessions there are fills and trades, no decisions."""
    ledger: Ledger
    sessions: tuple[Session, ...]
    failure: Failure | None
    checked: int = 0
    """Sessions of the kernel that the reference played again, with the same result."""
    looked_ahead: int = 0
    """Sessions played again with other futures, of which no decision changed."""
    drilled: Drilled | None = None
    """What the minutes decided of daily bars; None where they were not asked."""


def run_backtest(
    dataset: Dataset,
    rules: Parameters,
    lines: Lines,
    sessions: Sequence[Session],
    *,
    bars: Bars = Bars.AUTO,
    engine: Engine = Engine.REFERENCE,
    check: int = 0,
    lookahead: int = 0,
    version: str = "",
    schedule: JsonData = None,
    told: Told | None = None,
    keeper: Keeper | None = None,
) -> Result:
    """Run the sessions in order; ``engine`` KERNEL: through the kernel those that it declares.

    BacktestError for symbols the dataset does not know and for sessions without any bars of the kind asked for;
    DatasetChangedError when a file changed meanwhile; CheckFailedError when one of ``check`` sessions that the kernel
    played comes to something else in the reference; LookAheadError when a decision of one of ``lookahead`` sessions
    changes with what came after it. A rule that fails ends the run at its session: what was done before is kept, and
    the failure says where and why. ``schedule``, what the lines are made of, is part of the result's name. With a
    ``keeper`` it goes on where an earlier try of the same question stood, and comes to the same.
    """
    refuse_unknown(dataset.symbols, rules.symbols)
    refuse_empty(dataset, sessions, bars)
    asked = keeper and result_id(
        dataset, rules, sessions, bars=bars, engine=engine, version=version, schedule=schedule
    )
    stood = keeper.kept(asked) if keeper and asked else None
    run = Run.begin(dataset, rules) if stood is None else stood.run(dataset, rules)
    stretches = _stretches(run, lines, sessions, told) if engine is Engine.KERNEL else None
    if stood is not None and stretches is not None:
        stood.hand_over(stretches)

    def keep(done: int) -> None:
        if keeper and asked:
            keeper.keep(asked, Standing.of(run, stretches, done))

    begun = 0 if stood is None else stood.sessions
    with _uncollected():
        failure = _play_all(run, lines, sessions, bars, stretches, told, keep, begun)
    dataset.check_unchanged()
    used = Engine.KERNEL if run.ledger.tallies else Engine.REFERENCE
    name = result_id(dataset, rules, sessions, bars=bars, engine=used, version=version, schedule=schedule)
    checked = 0
    if stretches is not None and check and failure is None:
        from finagent.backtest.checking import check as check_cells

        checked = check_cells(dataset, rules, lines, run.ledger, stretches.cells, count=check, seed=name)
    looked_ahead = 0
    if lookahead and failure is None:
        from finagent.backtest.lookahead import check_lookahead

        looked_ahead = check_lookahead(
            dataset, rules, lines, run.ledger, count=lookahead, seed=name, told=told
        )
    return Result(
        result_id=name,
        dataset_id=dataset.dataset_id,
        rules=rules,
        engine=used,
        ledger=run.ledger,
        sessions=tuple(sessions),
        failure=failure,
        checked=checked,
        looked_ahead=looked_ahead,
        drilled=drilled(dataset, rules, run.ledger),
    )


def _stretches(run: Run, lines: Lines, sessions: Sequence[Session], told: Told | None) -> Stretches | None:
    """None where the kernel does not declare the rules; sessions of an index that is built first are told."""
    from finagent.backtest.kernel.tables import undeclared

    places = {session.date: place for place, session in enumerate(sessions, 1)}

    def show(date: str) -> None:
        if told is not None and date in places:
            told(date, places[date], len(sessions))

    return None if undeclared(run.rules) else Stretches(run.dataset, run.rules, lines, show)


def _play_all(
    run: Run,
    lines: Lines,
    sessions: Sequence[Session],
    bars: Bars,
    stretches: Stretches | None,
    told: Told | None,
    keep: Callable[[int], None],
    done: int,
) -> Failure | None:
    """Session by session, or as many at once as the kernel can; ``done`` are played already."""
    dataset, number = run.dataset, done
    while number < len(sessions):
        if number > done:
            keep(number)
        session = sessions[number]
        if told is not None:
            told(session.date, number + 1, len(sessions))
        use_minutes = bars is not Bars.DAILY and dataset.has_minutes(dataset.rows[session.date])
        reason = _without_bars(dataset, session, bars)
        if reason:
            run.ledger.days.append(DayRow(session.date, True, (), 0, (reason,), use_minutes))
            number += 1
            continue
        if stretches is not None:
            played = stretches.play(run, _with_bars(dataset, sessions[number:], bars))
            number += played
            if played:
                continue
        try:
            run.play(session, lines(session), use_minutes=use_minutes)
        except (
            Exception
        ) as error:  # whatever a rule does, what was done before it is kept and the rule is named
            return Failure(session.date, f"{type(error).__name__}: {error}")
        number += 1
    return None


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for cycles meanwhile: a run makes many rows that stay, and none that point in a circle.

    Frozen for an instant they count among the oldest rows, and so are not all looked at as soon as searching is on.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def _with_bars(dataset: Dataset, sessions: Sequence[Session], bars: Bars) -> list[tuple[Session, bool]]:
    """The first sessions that have bars, each with whether it is played on minutes."""
    able = takewhile(lambda session: not _without_bars(dataset, session, bars), sessions)
    return [
        (session, bars is not Bars.DAILY and dataset.has_minutes(dataset.rows[session.date]))
        for session in able
    ]


def result_id(
    dataset: Dataset,
    rules: Parameters,
    sessions: Sequence[Session],
    *,
    bars: Bars,
    engine: Engine,
    version: str,
    schedule: JsonData = None,
) -> str:
    """16 hex digits over code version, data, parameters, schedule and engine: the same ask has the same name."""
    dates = [session.date for session in sessions]
    parts = [version, dataset.dataset_id, asdict(rules), dates, bars.value, engine.value, schedule]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def outcome_of(ledger: Ledger) -> str:
    """The hash over decisions, orders, fills and trades, in business order."""
    return outcome_hash(journal_rows(ledger), order_rows(ledger), fill_rows(ledger), trade_rows(ledger))


def trades_hash(ledger: Ledger) -> str:
    """The hash over fills and trades alone, which both engines keep: equal where they agree."""
    return outcome_hash((), (), fill_rows(ledger), trade_rows(ledger))


def journal_rows(ledger: Ledger) -> Iterator[JsonData]:
    """Decisions as they came."""
    for entry in ledger.journal:
        yield [entry.at_ms, entry.kind, entry.ref, entry.data]


def order_rows(ledger: Ledger) -> Iterator[JsonData]:
    """Orders by id: body, state, instants."""
    for order_id in sorted(ledger.orders):
        row = ledger.orders[order_id]
        yield {
            **_fields(row.intent),
            "state": row.state.value,
            "filled_e4": row.filled_e4,
            "accepted_at_ms": row.accepted_at_ms,
            "ended_at_ms": row.ended_at_ms,
            "end_reason": row.reason,
        }


def fill_rows(ledger: Ledger) -> Iterator[JsonData]:
    """Fills as they were booked, with the bounds where a bar did not tell the order of its events, or the minute that
    told it.
    """
    for row in ledger.fills:
        bounds = {"best_e4": row.model.best_e4, "worst_e4": row.model.worst_e4}
        yield {
            **_fields(row.fill),
            **bounds,
            **({} if row.model.drilled_ms is None else {"drilled_at_ms": row.model.drilled_ms}),
            "leg": row.leg,
            "reason": None if row.reason is None else row.reason.value,
        }


def trade_rows(ledger: Ledger) -> Iterator[JsonData]:
    """Trades by session, exit, symbol."""
    order = sorted(
        ledger.trades, key=lambda trade: (trade.session, trade.exit_at_ms, trade.symbol, trade.trade_id)
    )
    for trade in order:
        yield {**_fields(trade), "exits": [_fields(each) for each in trade.exits]}


def _fields(row: OrderIntent | BrokerFill | Trade | TradeExit) -> dict[str, JsonData]:
    """The fields of a flat row by name; ``asdict`` would copy each value, which takes longer than all the rest."""
    return {field.name: getattr(row, field.name) for field in fields(row)}


def as_lines(rows: Iterator[JsonData]) -> str:
    """Rows as JSON, one a line."""
    return "".join(f"{canonical_json(row)}\n" for row in rows)


def _without_bars(dataset: Dataset, session: Session, bars: Bars) -> str:
    """Why a session cannot run: empty when it can."""
    row = dataset.rows[session.date]
    if dataset.has_minutes(row) and bars is not Bars.DAILY:
        return ""
    if bars is Bars.MINUTE:
        return "no minute bars"
    return "" if np.count_nonzero(dataset.daily.volume[row] != ABSENT) else "no bars"


def refuse_unknown(stored: Collection[str], symbols: Sequence[str] | None) -> None:
    """BacktestError for a symbol that is none of those that are stored, NothingStoredError where none is."""
    known = frozenset(stored)
    if symbols and not known:
        raise NothingStoredError
    for symbol in symbols or ():
        if symbol not in known:
            near = get_close_matches(symbol, sorted(known), n=3, cutoff=0.0)
            raise BacktestError(
                f"no symbol {symbol} among the {len(known)} that are stored",
                hint=f"the nearest are {', '.join(near)}",
                code="unknown_symbol",
            )


def refuse_empty(dataset: Dataset, sessions: Sequence[Session], bars: Bars) -> None:
    """BacktestError for sessions of which some are not in the dataset, or none has bars of the kind."""
    known = [session for session in sessions if session.date in dataset.rows]
    if len(known) == len(sessions) and any(not _without_bars(dataset, each, bars) for each in known):
        return
    what = "minute bars" if bars is Bars.MINUTE else "bars"
    raise _unstored(
        sessions, (dataset.sessions[0].date, dataset.sessions[-1].date), what, 0 < len(known) < len(sessions)
    )


def refuse_unstored(stored: tuple[str, str] | None, sessions: Sequence[Session]) -> None:
    """BacktestError for sessions beside the dates that are stored: what can be told before a dataset is built."""
    if stored is None:
        raise NothingStoredError
    known = [session for session in sessions if stored[0] <= session.date <= stored[1]]
    if len(known) < len(sessions):
        raise _unstored(sessions, stored, "bars", bool(known))


def _unstored(
    sessions: Sequence[Session], stored: tuple[str, str], what: str, is_part_known: bool
) -> BacktestError:
    asked = f"{sessions[0].date} to {sessions[-1].date}" if sessions else "no session"
    return BacktestError(
        f"{asked}: there are no {what} for {'some of it' if is_part_known else 'it'}",
        hint=f"the store holds {stored[0]} to {stored[1]}; finagent data list shows what is there",
        code="no_data",
    )
