"""Parity: a session as the agent played it against the reference engine on stored bars, by the rules of that day."""

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from finagent.adapters.sqlite.database import connect_reader
from finagent.adapters.sqlite.journal_reader import JournalReader
from finagent.adapters.sqlite.views_parity import StoredDay, known_sessions, read_day
from finagent.adapters.sqlite.views_values import instant
from finagent.backtest.dataset import Dataset
from finagent.backtest.market import SessionMarket, open_session
from finagent.backtest.parameters import DayLines, Parameters, ScanLine
from finagent.backtest.parity import Answer, Difference, Told, compare, counts
from finagent.backtest.parity_rows import (
    DayFacts,
    Event,
    FillFact,
    Key,
    OrderFact,
    PlanFact,
    Row,
    facts_of,
    rows_of,
)
from finagent.backtest.reference import Run
from finagent.backtest.running import Bars, refuse_empty
from finagent.backtest.scanning import scan_session, score_candidates
from finagent.bootstrap import rules
from finagent.bootstrap.backtests import DATASETS, day_lines, parameters, refused
from finagent.bootstrap.damaged import reading
from finagent.bootstrap.journal_proof import stored_journal
from finagent.bootstrap.parity_evidence import DayEvidence, read_evidence, told_otherwise
from finagent.bootstrap.sessions import chosen_sessions
from finagent.context import Document, Json, SurfaceError
from finagent.domain.market import Session
from finagent.domain.money import money_text, price_text, quantity_number, ratio_number
from finagent.domain.scoring import ScoredCandidate
from finagent.runtime.clock import SystemTicker
from finagent.services.schedule import local_ms
from finagent.settings import Settings

DAY_MS = 86_400_000
SEQS = "SELECT min(seq), max(seq) FROM journal WHERE at >= ? AND at < ?"
BINDING = "SELECT broker FROM account_binding"
RULES = (
    "gap",
    "weights",
    "planning",
    "profile",
    "top",
    "approval_delay_ms",
    "max_price_age_ms",
    "entry_ttl_ms",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Played:
    """The agent's side."""

    day: StoredDay
    evidence: DayEvidence
    reader: JournalReader
    is_paper: bool
    is_live: bool


def parity(settings: Settings, home: Path, date: str, *, run: str | None = None) -> Document:
    """Every decision of a session held against its backtest, each difference with its cause.

    SurfaceError for a date without a session, bars, or a scan in the database.
    """
    from finagent.adapters.vendors.calendar import load_calendar
    from finagent.backtest.building import find_or_build
    from finagent.bootstrap.stored import StoredMarket

    started_ms = SystemTicker().monotonic_ms()
    rules.checked(settings)
    calendar = load_calendar(home)
    (session,) = chosen_sessions(calendar, date, date)
    path = stored_journal(home, run)
    begin_ms = local_ms(date, "00:00", settings.schedule.zone)
    with reading(path), contextlib.closing(connect_reader(path)) as connection:
        day = read_day(connection, date, begin_ms=begin_ms, end_ms=begin_ms + DAY_MS)
        if not any(kind in ("scan", "scan_skipped") for _, kind, _, _ in day.journal):
            known = ", ".join(known_sessions(connection)) or "none"
            raise SurfaceError(
                f"{path} holds no scan of {date}",
                hint=f"its newest sessions: {known}; --run names a replay",
                code="no_session",
            )
        reader = JournalReader(connection)
        first, last = connection.execute(SEQS, (begin_ms, begin_ms + DAY_MS)).fetchone()
        evidence = read_evidence(reader, first_seq=first, last_seq=last)
        bound = connection.execute(BINDING).fetchone()
        is_paper = run is not None or (bound is None and not settings.broker.is_outside)
        played = _Played(day=day, evidence=evidence, reader=reader, is_paper=is_paper, is_live=run is None)
        with refused():
            dataset = find_or_build(StoredMarket(home), calendar, home / DATASETS)
            refuse_empty(dataset, [session], Bars.AUTO)
            today = parameters(settings)
            ruled = evidence.rules(today)
            lines = _as_scanned(day_lines(settings, calendar)(session), day, is_run=run is not None)
            tested = _backtest(settings, dataset, session, ruled, day, lines)
            document = _compared(played, tested, open_session(dataset, session), today, ruled)
    return {
        "session": date,
        "source": {
            "kind": "agent" if run is None else "run",
            "id": None if run is None else path.parent.name,
        },
        **document,
        "dataset_id": dataset.dataset_id,
        "elapsed_ms": SystemTicker().monotonic_ms() - started_ms,
    }


def _as_scanned(lines: DayLines, day: StoredDay, *, is_run: bool) -> DayLines:
    """The lines of the session with its scans as they ran; a run has no others, an agent may have missed some."""
    ran = [ScanLine(at_ms, name, kind) for name, at_ms, kind in day.scans]
    names = {line.name for line in ran}
    missed = [] if is_run else [line for line in lines.scans if line.name not in names]
    return replace(lines, scans=tuple(sorted((*ran, *missed), key=lambda line: line.at_ms)))


def _backtest(
    settings: Settings,
    dataset: Dataset,
    session: Session,
    ruled: Parameters,
    day: StoredDay,
    lines: DayLines,
) -> DayFacts:
    """The session once more by the reference engine, from the account that the agent began with."""
    started_e8 = rules.start_equity_e8(settings) + day.earned_e8 if day.equity_e8 is None else day.equity_e8
    run = Run.begin(dataset, replace(ruled, start_equity_e8=started_e8))
    run.ledger.carry_sales(day.sold_before)
    run.play(session, lines, use_minutes=dataset.has_minutes(dataset.rows[session.date]))
    market = open_session(dataset, session)
    scored: dict[str, list[tuple[int, ScoredCandidate]]] = {}
    for entry in run.ledger.journal:
        if entry.kind == "scan":
            tick, kind = entry.ref.partition("/")[2], entry.data["kind"]
            scored[tick] = _scored(market, entry.at_ms, str(kind), ruled)
    return facts_of(run.ledger, session.date, scored)


def _scored(
    market: SessionMarket, at_ms: int, kind: str, ruled: Parameters
) -> list[tuple[int, ScoredCandidate]]:
    """The candidates of one scan in their rank, which the engine does not keep."""
    is_second = kind == "second_look"
    found = scan_session(market, at_ms, ruled.gap, is_second_look=is_second).candidates
    scored = score_candidates(market, found, ruled.weights, as_of_ms=at_ms, lookback_days=ruled.lookback_days)
    if is_second:
        places = {candidate.symbol: place for place, candidate in enumerate(found)}
        scored = tuple(sorted(scored, key=lambda item: places[item.candidate.symbol]))
    return list(enumerate(scored, 1))


def _compared(
    played: _Played, tested: DayFacts, market: SessionMarket, today: Parameters, ruled: Parameters
) -> Document:
    day, evidence = played.day, played.evidence
    with_exits = evidence.has_attached_exits
    agent = rows_of(_facts(day), with_exits=with_exits)
    model = rows_of(tested, with_exits=with_exits)
    told = _told(played)
    first = compare(agent, model, told)
    symbols = sorted({each.key.symbol for each in first if each.key.symbol})
    symbols += sorted(
        {s for each in first if each.key.stage == "scan" for s in _moved(day, tested, each.key)}
    )
    prices = told_otherwise(evidence, played.reader.fetch, market, symbols) if symbols else {}
    found = compare(agent, model, replace(told, prices=prices)) if prices else first
    unexplained = sum(each.is_unexplained for each in found)
    causes = Counter(each.cause.code for each in found if each.cause is not None)
    return {
        "rows": {stage: count for stage, count in counts({**model, **agent}) if count},
        "equal": len({*agent, *model}) - len(found),
        "differences": [_shown(each) for each in found],
        "causes": dict(sorted(causes.items())),
        "follow": sum(each.follows is not None for each in found),
        "unexplained": unexplained,
        "settings": [*_settings(today, ruled)],
        "notes": [*_notes(played, with_exits=with_exits)],
    }


def _moved(day: StoredDay, tested: DayFacts, key: Key) -> set[str]:
    """Symbols that are candidates of a scan on one side only."""
    sides = (
        {item.candidate.symbol for _, item in found.get(key.tick, ())}
        for found in (day.scored, tested.scored)
    )
    one, other = sides
    return one ^ other


def _facts(day: StoredDay) -> DayFacts:
    approved = {ref: at for at, kind, ref, _ in day.journal if kind == "approved"}
    return DayFacts(
        events=[Event(*entry) for entry in day.journal],
        scored=day.scored,
        plans=[
            PlanFact(row.plan, row.state, row.reason, row.decision, approved.get(row.plan.plan_id))
            for row in day.plans
        ],
        orders=[OrderFact(*row) for row in day.orders],
        fills=[FillFact(fill, plan_id, leg, reason or "") for fill, plan_id, leg, reason in day.fills],
        trades=day.trades,
    )


def _told(played: _Played) -> Told:
    day = played.day
    revised = {str(data.get("of")) for _, kind, _, data in day.journal if kind == "plan_revised"}
    answers = {
        (row.plan.scan_tick, row.plan.symbol, row.plan.version): Answer(
            state=row.answer[0],
            channel=row.answer[1],
            at_ms=row.answer[2],
            is_revised=row.plan.plan_id in revised,
        )
        for row in day.plans
        if row.answer is not None
    }
    missed = {
        ref.partition("/")[2]: str(data.get("reason", ""))
        for _, kind, ref, data in day.journal
        if kind == "scan_skipped"
    }
    return Told(
        is_closed=day.is_closed,
        is_paper=played.is_paper,
        is_live=played.is_live,
        answers=answers,
        acts=day.acts,
        missed=missed,
        settings=played.evidence.changed,
        carried=f"held over from before: {', '.join(day.carried)}" if day.carried else "",
    )


def _settings(today: Parameters, ruled: Parameters) -> list[Json]:
    """Values of that day that are others today, as the journal has them and as the settings have them."""
    found: list[Json] = []
    for name in RULES:
        then, now = (_flat(name, getattr(side, name)) for side in (ruled, today))
        found += [
            {"name": key, "then": str(then[key]), "today": str(now.get(key))}
            for key in then
            if then[key] != now.get(key)
        ]
    return found


def _flat(name: str, value: object) -> Mapping[str, object]:
    if isinstance(value, int):
        return {name: value}
    return {f"{name}.{key}": each for key, each in asdict(value).items()}  # type: ignore[call-overload]


def _notes(played: _Played, *, with_exits: bool) -> Sequence[str]:
    notes = []
    if not played.evidence.values:
        notes.append("the journal holds no evidence of this session: today's settings were used")
    if not with_exits:
        notes.append("exits were orders of their own there: exit orders are not compared, their fills are")
    if not played.day.is_closed:
        notes.append("the agent has not closed this session")
    return notes


def _shown(difference: Difference) -> Document:
    key, agent, tested = difference.key, difference.agent, difference.tested
    kind = "only_agent" if tested is None else "only_backtest" if agent is None else "differs"
    cause = difference.cause
    names = difference.fields or [*(agent or tested or Row(0, {})).values]
    return {
        "stage": key.stage,
        "tick": key.tick or None,
        "symbol": key.symbol or None,
        "version": key.version or None,
        "leg": key.leg or None,
        "number": key.number or None,
        "kind": kind,
        "fields": {
            _bare(name): {"agent": _value(name, agent), "backtest": _value(name, tested)} for name in names
        },
        "cause": None if cause is None else {"code": cause.code, "words": cause.words},
        "follows": difference.follows,
        "unexplained": difference.is_unexplained,
    }


SCALES: Mapping[str, Callable[[int], Json]] = {"_e4": price_text, "_e6": ratio_number, "_e8": money_text}


def _bare(name: str) -> str:
    return name.removesuffix("_e4").removesuffix("_e6").removesuffix("_e8").removesuffix("_ms")


def _value(name: str, row: Row | None) -> Json:
    """A value as documents have it: prices and money as texts, ratios as numbers, instants in ISO 8601."""
    value = None if row is None else row.values.get(name)
    if isinstance(value, str | bool | float | None):
        return value
    if isinstance(value, list):
        return [str(each) for each in value]
    if not isinstance(value, int):
        return str(value)
    if name.endswith("shares_e4"):
        return quantity_number(value)
    if name.endswith("_ms"):
        return instant(value)
    scale = SCALES.get(name[-3:])
    return value if scale is None else scale(value)
