"""A locked database: shuts entries after 5 s, lets exits leave after 30 s through a log, and folds that log in."""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence

from finagent.adapters.sqlite import leases
from finagent.adapters.sqlite.codec import decode, encode
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.adapters.sqlite.session import WriteSession
from finagent.adapters.sqlite.store import SqliteStore
from finagent.bootstrap.storage import FOLDED_NAME, LineLog, Storage
from finagent.bootstrap.world import World
from finagent.context import SurfaceError
from finagent.domain.broker_event import fill_payload
from finagent.domain.facts import (
    ACCOUNT_ROW,
    ControlChanged,
    IntentRecorded,
    OrderMoved,
    ReservationReleased,
)
from finagent.domain.journal import JsonData
from finagent.domain.market import Session
from finagent.domain.orders import OrderIntent, OrderState, Scope
from finagent.domain.positions import ExitReason
from finagent.domain.steps import Step
from finagent.domain.told import told
from finagent.ports import Clock, HaltError, Job, NewJob, OrderExecutionPort, RetryError, Ticker, Tx
from finagent.queue.handler import JobHandler
from finagent.runtime.append_log import Line, LogDamagedError
from finagent.runtime.clock import SystemClock
from finagent.runtime.failpoints import hit
from finagent.runtime.tasks import spawn
from finagent.services.emergency import EmergencyService, Trigger

LOG = logging.getLogger(__name__)
SHUT_AFTER_S = 5.0
EXIT_AFTER_S = 30.0
FOLD_AGAIN_S = 5.0
COMPARE_AFTER_MS = 1_000
ENTRIES = (Step.EXECUTE, Step.SEND)


class ExitLog:
    """The emergency log's lines as they are written and read."""

    def __init__(self, log: LineLog) -> None:
        self._log = log

    def begun(self, plan_id: str, *, session: str, trigger: Trigger, reason: ExitReason, at_ms: int) -> None:
        """A position will be closed."""
        why = {"trigger": trigger.value, "reason": reason.value}
        self._log.append({"kind": "begun", "plan": plan_id, "session": session, "at_ms": at_ms, **why})

    def intent(self, intent: OrderIntent, *, session: str, digest: str, cancelled: Sequence[str]) -> None:
        """An exit will be sent."""
        body = {"intent": json.loads(encode(intent)), "digest": digest, "cancelled": list(cancelled)}
        self._log.append({"kind": "intent", "order": intent.client_order_id, "session": session, **body})
        hit("emergency.intent_written")

    def accepted(self, client_order_id: str, *, at_ms: int) -> None:
        """The broker has it."""
        hit("emergency.sent")
        self._log.append({"kind": "accepted", "order": client_order_id, "at_ms": at_ms})

    def rejected(self, client_order_id: str, *, reason: str) -> None:
        """The broker refused it."""
        self._log.append({"kind": "rejected", "order": client_order_id, "reason": reason})


class EmergencyDesk:
    """Hears from the writer how long its batch has been waiting, and acts where nothing can be committed.

    A broker that lives in the same file (the paper venue) is as locked as the agent: nothing is sent to it, and
    nothing fills there either until the lock is gone.
    """

    def __init__(
        self,
        storage: Storage,
        world: World,
        *,
        queue: SqliteJobQueue,
        store: SqliteStore,
        broker: OrderExecutionPort,
        is_broker_apart: bool,
        clock: Clock,
        ticker: Ticker,
        scope: Scope,
        flatten_from_ms: Callable[[Session], int],
    ) -> None:
        self.is_shut = False
        self._world, self._queue, self._store, self._broker = world, queue, store, broker
        self._is_broker_apart = is_broker_apart
        self._clock, self._ticker = clock, ticker
        self._log = storage.exit_log
        self._settled = asyncio.Event()
        self._settled.set()
        self._working: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None
        self.service = EmergencyService(
            store=store,
            broker=broker,
            market=world.market,
            calendar=world.calendar,
            clock=clock,
            scope=scope,
            flatten_from_ms=flatten_from_ms,
            stop_orders=storage.stop_orders,
            log=ExitLog(self._log),
        )

    def on_busy(self, waited_s: float) -> None:
        """The writer's batch has waited so long for the database's lock; 0.0 once it got through."""
        if waited_s == 0.0:
            self._unlocked()
            return
        if waited_s >= SHUT_AFTER_S and not self.is_shut:
            self.is_shut = True
            LOG.error("database.locked", extra={"waited_s": round(waited_s), "entries": "shut"})
        if waited_s >= EXIT_AFTER_S and self._is_broker_apart:
            self._settled.clear()
            if self._working is None or self._working.done():
                self._working = spawn(self._work(), "emergency")

    async def settled(self) -> None:
        """Return when everything that was done past the database is in it."""
        await self._settled.wait()

    async def fold_in(self) -> None:
        """Bring the log into the database: the rows that the usual way would have written, once.

        SurfaceError when the log is damaged.
        """
        try:
            while lines := self._log.lines():
                await self._queue.call(lambda ws, lines=lines: self._fold(ws, lines))  # type: ignore[misc]
                hit("emergency.folded")
                await self._tell_fills(lines)
                if len(self._log.lines()) == len(lines):
                    self._log.retire(FOLDED_NAME)
                    self.service.closing.clear()
                    LOG.warning("emergency.folded", extra={"lines": len(lines)})
        except LogDamagedError as error:
            message, _, hint = str(error).partition(": ")
            raise SurfaceError(message, hint=hint, code="damaged") from None

    async def close(self) -> None:
        """End what is under way; the log is on the disk, the next start folds it in."""
        tasks = [task for task in (self._working, self._settling) if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ------------------------------------------------------------ while it is locked
    async def _work(self) -> None:
        try:
            await self.service.remember()
        except Exception as error:
            LOG.error("emergency.blind", extra={"error": str(error)})
        for failure in await self.service.run_once():
            LOG.error("emergency.failed", extra={"error": f"{type(failure).__name__}: {failure}"})

    # ------------------------------------------------------------ when it is free again
    def _unlocked(self) -> None:
        if self._settled.is_set():
            self.is_shut = False
        elif self._settling is None or self._settling.done():
            self._settling = spawn(self._settle(), "emergency-fold")

    async def _settle(self) -> None:
        if self._working is not None:
            await asyncio.wait([self._working])
        while True:
            try:
                await self.fold_in()
                break
            except HaltError:
                return
            except Exception as error:
                LOG.error("emergency.not_folded", extra={"error": f"{type(error).__name__}: {error}"})
            await self._ticker.sleep(FOLD_AGAIN_S)
        self.is_shut = False
        self._settled.set()

    def _fold(self, ws: WriteSession, lines: Sequence[Line]) -> None:
        answered: set[str] = set()
        for line in lines:
            if line["kind"] == "intent":
                _fold_intent(ws, line)
            elif line["kind"] in ("accepted", "rejected"):
                answered.add(str(line["order"]))
                _fold_answer(ws, line)
        for line in lines:
            if line["kind"] == "intent" and line["order"] not in answered:
                _fold_doubt(ws, line)
            elif line["kind"] == "begun":
                plan_id, key = str(line["plan"]), f"{line['plan']}/emergency/{line['at_ms']}"
                payload = {"plan": plan_id, "reason": str(line["reason"])}
                ws.publish(NewJob(Step.EXIT, dict(payload), idem_key=key, key=plan_id))
        self._shut_gate(ws)
        data = json.dumps({"lines": [dict(line) for line in lines]}, sort_keys=True)
        leases.note(ws.conn, wall_ms=SystemClock().now_ms(), kind="emergency", data=data)

    def _shut_gate(self, ws: WriteSession) -> None:
        """No entries until broker and journal have been compared; the comparison opens the gate."""
        _tell(
            ws,
            "gate",
            "reconcile",
            {"detail": "the database was locked"},
            ControlChanged(gate_reason="reconcile"),
        )
        ws.touch(ACCOUNT_ROW)
        date = self._world.calendar.session_at(ws.now_ms).date
        payload = {"session": date, "reason": "unlocked"}
        key, run_at_ms = f"{date}/unlocked/{ws.now_ms}", ws.now_ms + COMPARE_AFTER_MS
        ws.publish(NewJob(Step.RECONCILE, dict(payload), idem_key=key, run_at_ms=run_at_ms))

    async def _tell_fills(self, lines: Sequence[Line]) -> None:
        """The broker's executions of the plans that were closed, as the jobs its stream would leave; told once."""
        plans = {str(line["plan"]) for line in lines if line["kind"] == "begun"}
        sessions = {str(line["session"]) for line in lines if "session" in line}
        sessions.add(self._world.calendar.session_at(self._clock.now_ms()).date)
        owners = {
            order.intent.client_order_id: plan_id
            for plan_id in sorted(plans)
            for order in await self._store.orders_of(plan_id)
        }
        for session in sorted(sessions):
            for fill in await self._broker.fills(session=session):
                plan_id = owners.get(fill.client_order_id)
                if plan_id is not None:
                    job = NewJob(
                        Step.BROKER_EVENT, dict(fill_payload(fill)), idem_key=fill.execution_id, key=plan_id
                    )
                    await self._queue.publish(job)


class HeldBack:
    """A handler that waits until the emergency log is in the database; an entry's is refused while entries are shut."""

    def __init__(self, handler: JobHandler, desk: EmergencyDesk) -> None:
        self._handler = handler
        self._desk = desk

    async def handle(self, job: Job, tx: Tx) -> None:
        """As the handler's own."""
        await self._desk.settled()
        if self._desk.is_shut and job.type in ENTRIES:
            raise RetryError("entries are shut: the database is locked by another program", retry_after_s=1)
        await self._handler.handle(job, tx)


STATE = "SELECT state FROM broker_order WHERE client_order_id = ?"
DOUBTFUL = (OrderState.INTENT.value, OrderState.UNKNOWN.value)


def _state(ws: WriteSession, order_id: str) -> str | None:
    row = ws.conn.execute(STATE, (order_id,)).fetchone()
    return None if row is None else str(row[0])


def _tell(ws: WriteSession, kind: str, ref: str, data: dict[str, JsonData], *facts: object) -> None:
    """Facts of the log with the row that says them."""
    for fact in told(kind, ref, data, facts):
        ws.apply(fact)


def _intent_of(line: Line) -> OrderIntent:
    return decode(OrderIntent, json.dumps(line["intent"]))


def _fold_intent(ws: WriteSession, line: Line) -> None:
    """The exit's commit, as ``ExitService`` makes it; its job may have made it meanwhile under the same id."""
    intent = _intent_of(line)
    if _state(ws, intent.client_order_id) is not None:
        return
    cancelled = line["cancelled"]
    ended = [
        OrderMoved(client_order_id=str(order_id), to_state=OrderState.CANCELLED, reason="exit")
        for order_id in (cancelled if isinstance(cancelled, list) else [])
    ]
    recorded = IntentRecorded(intent=intent, session=str(line["session"]), body_hash=str(line["digest"]))
    data: dict[str, JsonData] = {
        "order": intent.client_order_id,
        "reason": intent.reason,
        "quantity_e4": intent.quantity_e4,
    }
    _tell(ws, "exit", intent.plan_id, data, *ended, recorded, ReservationReleased(plan_id=intent.plan_id))


def _fold_answer(ws: WriteSession, line: Line) -> None:
    """The reply's commit, as ``SenderService`` makes it."""
    order_id = str(line["order"])
    if _state(ws, order_id) not in DOUBTFUL:
        return
    if line["kind"] == "accepted":
        at_ms = line["at_ms"] if isinstance(line["at_ms"], int) else ws.now_ms
        moved = OrderMoved(client_order_id=order_id, to_state=OrderState.ACCEPTED, accepted_at_ms=at_ms)
        _tell(ws, "accepted", order_id, {"broker_at_ms": at_ms}, moved)
    else:
        reason = str(line["reason"])
        moved = OrderMoved(client_order_id=order_id, to_state=OrderState.REJECTED, reason=reason)
        _tell(ws, "rejected", order_id, {"reason": reason}, moved)


def _fold_doubt(ws: WriteSession, line: Line) -> None:
    """Written and not answered: the sender looks the id up before it sends anything."""
    order_id = str(line["order"])
    if _state(ws, order_id) == OrderState.INTENT.value:
        moved = OrderMoved(client_order_id=order_id, to_state=OrderState.UNKNOWN, reason="database locked")
        _tell(ws, "in_doubt", order_id, {"reason": "database locked"}, moved)
        intent = _intent_of(line)
        payload = {"order": order_id}
        ws.publish(NewJob(Step.SEND_EXIT, dict(payload), idem_key=order_id, key=intent.plan_id))
