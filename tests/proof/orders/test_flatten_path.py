"""The flatten path alone: one position in each session of the exchange's own calendar, flat in each, both ways."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from finagent.adapters.sqlite.database import Database
from finagent.adapters.vendors.calendar import load_calendar
from finagent.bootstrap.engine import Engine, EngineOptions, open_engine
from finagent.bootstrap.storage import FolderStorage
from finagent.bootstrap.world import World
from finagent.domain.facts import IntentRecorded, PlanRecorded, PlanSized
from finagent.domain.legs import entry_intents
from finagent.domain.market import MINUTE_MS, Bar, Instrument, Session
from finagent.domain.orders import Scope, body_hash, plan_id
from finagent.domain.plan import Plan, PlanState
from finagent.domain.risk import RiskDecision
from finagent.domain.steps import Step
from finagent.ports import Clock, LastPrice, NewJob, Tx
from finagent.runtime.clock import SystemTicker, VirtualClock
from finagent.runtime.tasks import spawn
from tests.integration.services.market import ScriptedMarket, ScriptedNews
from tests.integration.services.world import memory_folder, settings_with
from tests.unit.domain.plan_builders import planned

SHARE, PRICE_E4 = 10_000, 1_000_000
HANG_S = 1_800
ENTERED_MS = 18 * MINUTE_MS
"""Before the close: the entry fills in the next minute, the ladder begins two minutes later."""


class FlatMarket(ScriptedMarket):
    """One symbol that stands at 100 in every minute of every session."""

    async def last_prices(
        self, symbols: Sequence[str], session: Session, as_of_ms: int
    ) -> Mapping[str, LastPrice]:
        return {symbol: LastPrice(symbol, PRICE_E4, as_of_ms) for symbol in symbols}

    def loaded_minutes(self, symbol: str, session: Session, as_of_ms: int) -> Sequence[Bar]:
        return [_bar(as_of_ms - as_of_ms % MINUTE_MS)]

    def bars_ending(self, session: Session, end_ms: int, symbols: Sequence[str]) -> Mapping[str, Bar]:
        return {symbol: _bar(end_ms) for symbol in symbols} if end_ms > session.open_ms else {}

    def instrument(self, symbol: str) -> Instrument | None:
        return Instrument(symbol=symbol)


def _bar(end_ms: int) -> Bar:
    return Bar(end_ms - MINUTE_MS, PRICE_E4, PRICE_E4, PRICE_E4, PRICE_E4, 1_000_000)


class InLineStorage(FolderStorage):
    """The same file and the same statements on the loop's own thread: no time goes into changing threads."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, is_virtual=True)
        self._file = path

    async def open_database(self, *, clock: Clock) -> Database:
        return await Database.open(self._file, clock=clock, threaded=False)


async def flatten_each(home: Path, first: str, last: str, exits: str) -> int:
    """Run the sessions; gives how many there were."""
    calendar = load_calendar(home)
    sessions = calendar.sessions(first, last)
    folder = memory_folder(home)
    settings = settings_with({"execution": {"exits": exits}, "schedule": {"scans": []}})
    market = FlatMarket(calendar)  # type: ignore[arg-type]
    world = World(calendar=calendar, market=market, news=ScriptedNews(), data_id="flat")
    options = EngineOptions(
        path=folder / "finagent.db",
        scope=Scope(),
        approval_mode=lambda: "policy",
        is_virtual=True,
        last_session=sessions[-1].date,
        storage=InLineStorage(folder / "finagent.db"),
    )
    clock = VirtualClock(sessions[0].open_ms - MINUTE_MS)
    engine = await open_engine(settings, world, options, clock=clock, ticker=SystemTicker())
    await engine.driver.begin(sessions[0].open_ms - MINUTE_MS)
    supervisor = engine.supervise()
    running = spawn(supervisor.run(), "supervisor")
    try:
        for session in sessions:
            await _one(engine, session)
        rows = await engine.database.read("SELECT count(*), sum(is_flat) FROM day")
        assert rows == [(len(sessions), len(sessions))]
        trades = await engine.database.read(
            "SELECT count(*), count(DISTINCT trade.session) FROM trade JOIN plan USING (plan_id)"
            " WHERE plan.reason = 'flatten'"
        )
        assert trades == [(len(sessions), len(sessions))], (
            "a session whose position was not closed by the ladder"
        )
        late = "SELECT count(*) FROM trade t JOIN day d USING (session) WHERE t.exit_at > d.closed_at"
        assert (await engine.database.read(late))[0][0] == 0
    finally:
        supervisor.request_stop()
        assert await running is None
        await engine.close()
    return len(sessions)


async def _one(engine: Engine, session: Session) -> None:
    """Enter 18 minutes before the session's own close, and let the ladder do the rest."""
    await _until(engine, session.close_ms - ENTERED_MS)
    tx = Tx()
    _enter(tx, _plan(session), session, is_alone=not engine.broker.capabilities.has_attached_exits)
    await engine.queue.commit(tx)
    await _until(engine, session.close_ms - 16 * MINUTE_MS)
    assert await engine.store.open_positions(), f"{session.date}: nothing was entered"
    await _until(engine, session.close_ms - 13 * MINUTE_MS)
    assert not await engine.store.open_positions(), f"{session.date} is not flat two minutes into the ladder"
    await _until(engine, session.close_ms + 3 * MINUTE_MS)


async def _until(engine: Engine, at_ms: int) -> None:
    driver = engine.driver
    while True:
        await driver.wait_quiescent()
        following = await driver.next_instant()
        if following is None or following > at_ms:
            break
        await driver.tick(following)
    if engine.clock.now_ms() < at_ms:
        await driver.tick(at_ms)
        await driver.wait_quiescent()


def _plan(session: Session) -> Plan:
    made = planned()
    assert isinstance(made, Plan)
    identity = plan_id(Scope(), session=session.date, scan_tick="t", symbol="AAA", version=1)
    return replace(
        made, plan_id=identity, session=session.date, scan_tick="t", symbol="AAA", quantity_e4=100 * SHARE,
        management=replace(made.management, time_stop_minutes=None),
        entry_from_ms=session.open_ms, entry_until_ms=session.close_ms,
    )  # fmt: skip


def _enter(tx: Tx, plan: Plan, session: Session, *, is_alone: bool) -> None:
    decision = RiskDecision(
        plan_id=plan.plan_id, version=1, is_approved=True, quantity_e4=plan.quantity_e4, notional_e8=10**12,
        worst_case_e8=10**10,
    )  # fmt: skip
    intents = entry_intents(
        plan,
        plan.quantity_e4,
        scope=Scope(),
        now_ms=session.close_ms - ENTERED_MS,
        time_to_live_ms=60_000,
        is_alone=is_alone,
    )
    tx.put(PlanRecorded(plan=plan, state=PlanState.ENTERING))
    tx.put(PlanSized(plan=plan, plan_hash="h", decision=decision))
    for intent in intents:
        tx.put(
            IntentRecorded(intent=intent, session=plan.session, body_hash=body_hash(intents[0], intents[1:]))
        )
    entry_id = intents[0].client_order_id
    tx.enqueue(NewJob(Step.SEND, {"order": entry_id}, idem_key=entry_id, key=plan.plan_id))


def years(home: Path, first: str, last: str, exits: str) -> tuple[int, float]:
    """Run the sessions in this process; gives how many and the seconds of CPU."""
    began = time.process_time()
    count = asyncio.run(flatten_each(home, first, last, exits))
    return count, time.process_time() - began


@pytest.mark.parametrize("exits", ["attached", "separate"])
async def test_each_session_around_clock_changes_and_half_days_is_flat(tmp_path: Path, exits: str) -> None:
    """Both changes of the clock of 2018, and the half days of November and December."""
    for first, last in (
        ("2018-03-08", "2018-03-14"),
        ("2018-11-01", "2018-11-27"),
        ("2018-12-20", "2018-12-27"),
    ):
        await flatten_each(tmp_path, first, last, exits)


@pytest.mark.full
@pytest.mark.parametrize("exits", ["attached", "separate"])
def test_ten_years_of_sessions_are_flat(tmp_path: Path, exits: str) -> None:
    """About 2,515 sessions in two processes of five years; the aim is 60 s, the figure is printed."""
    halves = [("2016-01-04", "2020-12-31"), ("2021-01-04", "2025-12-31")]
    homes = [tmp_path / first for first, _ in halves]
    for home in homes:
        home.mkdir()
        load_calendar(home)  # worked out once, then read from its file
    began = time.perf_counter()
    with ProcessPoolExecutor(len(halves), mp_context=get_context("spawn")) as pool:
        asked = [
            pool.submit(years, home, first, last, exits)
            for home, (first, last) in zip(homes, halves, strict=True)
        ]
        counts, used = zip(*(each.result(HANG_S) for each in asked), strict=True)
    took, count = time.perf_counter() - began, sum(counts)
    each_ms = 1000 * sum(used) / count
    print(f"{exits}: {count} sessions flat in {took:.1f} s in two processes, {each_ms:.1f} ms of CPU each")
    assert count > 2_500
