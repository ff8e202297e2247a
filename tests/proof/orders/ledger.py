"""The real services and the real store on a database in memory, one event after the other."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.facts import apply_fact
from finagent.adapters.sqlite.session import WriteSession
from finagent.adapters.sqlite.store import SqliteStore
from finagent.bootstrap import rules
from finagent.domain.facts import IntentRecorded, OrderMoved, PlanRecorded, PlanSized
from finagent.domain.orders import OrderState, Scope, body_hash
from finagent.domain.plan import PlanState
from finagent.domain.risk import RiskDecision
from finagent.domain.steps import Step
from finagent.ports import Job, JobStatus, MarketDataPort, NewJob, RetryError, Tx
from finagent.queue.handler import JobHandler
from finagent.runtime.clock import VirtualClock
from finagent.services.journal import JournalService
from finagent.services.position import PositionService
from finagent.simulation.memory import Disk
from tests.integration.services.market import ScriptedCalendar, ScriptedMarket
from tests.proof.orders.history import OPEN_MS, History, Item

T = TypeVar("T")
TYPES = rules.job_types()
NOW_MS = OPEN_MS + 3_600_000


class Direct:
    """Reads of the store on the one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def read(self, sql: str, params: Sequence[object] = ()) -> list[tuple[object, ...]]:
        return self._connection.execute(sql, tuple(cast(Any, params))).fetchall()

    async def read_fn(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return work(self._connection)


class Ledger:
    """One plan's orders as the agent has them while it hears of them."""

    def __init__(self, history: History) -> None:
        self.disk = Disk()
        self.connection = self.disk.connection
        self.store = SqliteStore(cast(Database, Direct(self.connection)), start_equity_e8=0)
        calendar = ScriptedCalendar(history.plan.session)
        clock = VirtualClock(NOW_MS)
        self._position = PositionService(self.store, clock)
        market = cast(MarketDataPort, ScriptedMarket(calendar))
        self._journal = JournalService(self.store, market, calendar, clock, Scope(), True)
        self.waits = 0
        self._begin(history)

    def close(self) -> None:
        self.disk.close()

    async def hear(self, telling: Sequence[Item]) -> None:
        """Work through a telling; what must wait for something is heard again behind the rest."""
        waiting = list(telling)
        for _ in range(len(telling) + 2):
            later: list[Item] = []
            for item in waiting:
                if not await self._once(item):
                    self.waits += 1
                    later.append(item)
            if not later:
                return
            waiting = later
        raise AssertionError(f"never heard: {[item.key for item in waiting]}")

    async def _once(self, item: Item) -> bool:
        if item.event is None:
            self._apply([OrderMoved(
                client_order_id=item.order_id, to_state=OrderState.ACCEPTED, accepted_at_ms=item.at_ms
            )])  # fmt: skip
            return True
        try:
            await self._run(self._position, Step.BROKER_EVENT, item.event, item.key)
        except RetryError:
            return False
        return True

    async def _run(self, service: JobHandler, step: Step, payload: Any, key: str) -> None:
        tx = Tx()
        await service.handle(_job(step, payload, key), tx)
        self._apply(tx.facts)
        for job in tx.jobs:
            if job.type == Step.RECORD_TRADE:
                await self._run(self._journal, Step.RECORD_TRADE, job.payload, job.idem_key)

    def _apply(self, facts: Sequence[object]) -> None:
        session = WriteSession(
            self.connection, now_ms=NOW_MS, types=TYPES, apply_fact=apply_fact, ready_types=set()
        )
        self.connection.execute("BEGIN")
        for fact in facts:
            session.apply(fact)
        self.connection.execute("COMMIT")

    def _begin(self, history: History) -> None:
        plan = history.plan
        facts: list[object] = [PlanRecorded(plan=plan, state=PlanState.ENTERING)]
        decision = RiskDecision(
            plan_id=plan.plan_id,
            version=1,
            is_approved=True,
            quantity_e4=plan.quantity_e4,
            notional_e8=10**12,
            worst_case_e8=10**10,
        )
        facts.append(PlanSized(plan=plan, plan_hash="h", decision=decision))
        facts += [
            IntentRecorded(intent=intent, session=plan.session, body_hash=body_hash(intent))
            for intent in history.intents
        ]
        self._apply(facts)

    def state(self) -> dict[str, Any]:
        """Everything that must not depend on the order of hearing."""
        ask = self.connection.execute
        return {
            "orders": ask(
                "SELECT client_order_id, state, filled, accepted_at, reason FROM broker_order ORDER BY 1"
            ).fetchall(),
            "fills": ask(
                "SELECT execution_id, client_order_id, leg, reason, at, body FROM fill ORDER BY 1"
            ).fetchall(),
            "position": ask("SELECT quantity, stop, body FROM position").fetchall(),
            "plan": ask("SELECT state, CASE state WHEN 'open' THEN '' ELSE reason END FROM plan").fetchall(),
            "trade": [json.loads(body) for (body,) in ask("SELECT body FROM trade")],
            "is_reserved": ask("SELECT count(*) FROM reservation WHERE released_at IS NULL").fetchall(),
        }


def _job(step: Step, payload: Any, key: str) -> Job:
    new = NewJob(step, payload, idem_key=key)
    return Job(
        id=1, type=new.type, key=None, payload=dict(payload), payload_version=1, status=JobStatus.LEASED, priority=1,
        run_at_ms=0, deadline_at_ms=None, attempts=1, failures=0, max_attempts=50, lease=None, idem_key=key,
        trace_id=None, parent_id=None, created_at_ms=0, started_at_ms=0, finished_at_ms=None, error=None,
    )  # fmt: skip
