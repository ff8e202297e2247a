"""Real time: the feed that ticks the day at its pace."""

import asyncio

from finagent.adapters.sqlite.day import DayDriver
from finagent.adapters.sqlite.views_orders import read_guarded
from finagent.bootstrap.engine import Engine
from finagent.domain.book import OpenPosition
from finagent.domain.day_start import is_due
from finagent.domain.facts import Journalled
from finagent.domain.journal import JsonData
from finagent.domain.market import MINUTE_MS, Session
from finagent.domain.positions import ExitReason
from finagent.domain.steps import Step
from finagent.ports import Clock, JsonValue, NewJob, Ticker, Tx
from finagent.runtime.service import sleep_or_stop

LONGEST_WAIT_S = 0.5
RECONCILE_PERIOD_S = 30.0
PROTECTION_PERIOD_S = 5.0
BARE_MS = 15_000
"""How long a position may be without a resting stop before somebody sees to it."""


class LiveFeed:
    """Ticks at each next instant once real time has reached it.

    What is watched may change in between, so it looks again after ``longest_wait_s``.
    """

    name = "feed"
    needs = ("processor", "market_data")

    def __init__(
        self, driver: DayDriver, clock: Clock, ticker: Ticker, *, longest_wait_s: float = LONGEST_WAIT_S
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._ticker = ticker
        self._longest_wait_s = longest_wait_s

    async def run_once(self) -> bool:
        """Bring everything that is due into one commit; False when there was nothing to do yet."""
        return await self._driver.catch_up(self._clock.now_ms()) > 0

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped; a backlog is worked off without waiting."""
        while not stop.is_set():
            if not await self.run_once():
                await sleep_or_stop(self._ticker, self._wait_s(), stop)

    def _wait_s(self) -> float:
        """No longer than until a minute ends: that is when bars and the schedule's lines are due."""
        return min(self._longest_wait_s, (MINUTE_MS - self._clock.now_ms() % MINUTE_MS) / 1000)


class ReconcileTimer:
    """Leaves a reconcile job every half minute while anything is open, a difference shuts the gate, or the session's
    capital at a broker outside is not known yet.
    """

    name = "reconcile_timer"
    needs = ("processor",)

    def __init__(self, engine: Engine, *, period_s: float = RECONCILE_PERIOD_S) -> None:
        self._engine = engine
        self._period_s = period_s

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped."""
        while not stop.is_set():
            await sleep_or_stop(self._engine.ticker, self._period_s, stop)
            if not stop.is_set():
                await self.run_once()

    async def run_once(self) -> bool:
        """Publish the job if there is something to compare."""
        engine = self._engine
        is_shut = "reconcile" in (await engine.store.control()).gate_reasons
        now_ms = engine.clock.now_ms()
        session = engine.world.calendar.session_at(now_ms)
        is_open = await engine.store.open_positions() or await engine.store.live_orders()
        if not is_shut and not is_open and not await self._needs_day_start(session, now_ms):
            return False
        payload: dict[str, JsonValue] = {"session": session.date, "reason": "timer"}
        key = f"{session.date}/{engine.queue.epoch}/{now_ms}"
        await engine.queue.publish(NewJob(Step.RECONCILE, payload, idem_key=key))
        return True

    async def _needs_day_start(self, session: Session, now_ms: int) -> bool:
        engine = self._engine
        if not engine.is_outside or not is_due(session, now_ms):
            return False
        return not (await engine.store.book(session.date, now_ms=now_ms)).has_day_start


class ProtectionWatch:
    """Sees every few seconds that a stop rests at the broker for each share held, and mends what stays bare.

    After 15 s without one a stop is asked for again (where exits are orders of their own), 15 s later, or at once
    elsewhere, the position is closed. It is journalled once each time; the gauge and the alert follow the tables.
    """

    name = "protection_watch"
    needs = ("processor",)

    def __init__(self, engine: Engine, *, period_s: float = PROTECTION_PERIOD_S) -> None:
        self._engine = engine
        self._period_s = period_s
        self._bare_since_ms: dict[str, int] = {}
        self._asked: set[tuple[str, Step]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped."""
        while not stop.is_set():
            await sleep_or_stop(self._engine.ticker, self._period_s, stop)
            if not stop.is_set():
                await self.run_once()

    async def run_once(self) -> int:
        """Look once; gives the number of positions that are bare for too long while the market is open."""
        engine, now_ms = self._engine, self._engine.clock.now_ms()
        session = engine.world.calendar.session_at(now_ms)
        guarded = await engine.database.read_fn(read_guarded)
        bare = [each.held for each in guarded if not each.is_protected and not each.is_exiting]
        ids = {held.plan.plan_id for held in bare}
        self._bare_since_ms = {i: self._bare_since_ms.get(i, now_ms) for i in sorted(ids)}
        self._asked = {each for each in self._asked if each[0] in ids}
        if not session.open_ms <= now_ms < session.close_ms:
            return 0
        overdue = [h for h in bare if now_ms - self._bare_since_ms[h.plan.plan_id] >= BARE_MS]
        for held in overdue:
            await self._mend(held, now_ms - self._bare_since_ms[held.plan.plan_id], now_ms)
        return len(overdue)

    async def _mend(self, held: OpenPosition, bare_ms: int, now_ms: int) -> None:
        plan_id = held.plan.plan_id
        is_attached = self._engine.broker.capabilities.has_attached_exits
        step = Step.EXIT if is_attached or bare_ms >= 2 * BARE_MS else Step.PROTECT
        if (plan_id, step) in self._asked:
            return
        self._asked.add((plan_id, step))
        tx = Tx()
        payload: dict[str, JsonValue] = {"plan": plan_id}
        if step is Step.EXIT:
            payload["reason"] = ExitReason.FLATTEN.value
        tx.enqueue(NewJob(step, payload, idem_key=f"{plan_id}/bare@{now_ms}", key=plan_id))
        data: dict[str, JsonData] = {
            "symbol": held.plan.symbol,
            "quantity_e4": held.position.quantity_e4,
            "next": step.value,
        }
        tx.put(Journalled(kind="unprotected", ref=plan_id, data=data))
        await self._engine.queue.commit(tx)
