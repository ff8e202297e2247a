"""The engine: one database, its queue, the services of the day, its time, under one supervisor."""

import logging
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from finagent.adapters.brokers.manual import ManualBroker
from finagent.adapters.brokers.paper import PaperBroker
from finagent.adapters.sqlite.ballast import BALLAST_BYTES
from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.day import DayDriver, DayRules
from finagent.adapters.sqlite.facts import apply_fact
from finagent.adapters.sqlite.faults import error_code, is_full
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.adapters.sqlite.store import SqliteStore
from finagent.bootstrap import rules
from finagent.bootstrap.backtest_jobs import BacktestDesk, job_types
from finagent.bootstrap.desk import risk_desk
from finagent.bootstrap.emergency import EmergencyDesk, HeldBack
from finagent.bootstrap.full_disk import MEND, FullDiskDesk, NoEntries
from finagent.bootstrap.identity import code_identity
from finagent.bootstrap.outflow import OutflowGuard
from finagent.bootstrap.own_broker import own_broker
from finagent.bootstrap.paper_step import PaperStep
from finagent.bootstrap.recording import in_journal
from finagent.bootstrap.risk_rules import accepted_limits, profile_in_force
from finagent.bootstrap.storage import FolderStorage, Storage
from finagent.bootstrap.timed import TimedHandler
from finagent.bootstrap.world import World
from finagent.context import SurfaceError
from finagent.domain.orders import Scope
from finagent.domain.risk import RiskProfile
from finagent.domain.shorts import ShortRules
from finagent.domain.told import with_rows
from finagent.ports import BrokerStreamPort, Clock, OrderExecutionPort, Ticker
from finagent.queue.handler import JobHandler
from finagent.queue.processor import EventLoopProcessor
from finagent.runtime.metrics import Metrics
from finagent.runtime.service import ServiceContract
from finagent.runtime.supervisor import Supervisor
from finagent.services import (
    approval,
    canceller,
    catch_up,
    execution,
    exits,
    external,
    flatten,
    halt,
    journal,
    planner,
    position,
    reconcile,
    risk,
    scanner,
    scoring,
    sender,
    stream,
    tie_out,
)
from finagent.services.schedule import DaySchedule
from finagent.services.stream import StreamTimes
from finagent.settings import Settings

LOG = logging.getLogger(__name__)
ENTRY_TIME_TO_LIVE_MS = 60_000
BY_HAND_MS = 24 * 3_600_000
"""A person types an entry when they get to it; it ends with its session."""
SENDS = ("exits", "flatten", "halt", "sender", "canceller")
HELD_BACK = (*SENDS, "position", "reconcile", "execution", "external")
PROVIDED = ("queue", "market_data", "news", "broker")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How an engine runs: whose ids it mints, who approves, whether time is virtual.

    ``broker`` is one outside the database; None is the paper venue, which lives in it. ``stream`` is what that broker
    tells by itself; without one it is polled. ``storage`` is the folder of
    ``path`` unless another is given. ``borrow`` says whether the broker finds a stock easy to borrow now; without it
    the instrument data do.
    """

    path: Path
    scope: Scope
    approval_mode: Callable[[], str]
    is_virtual: bool
    last_session: str | None = None
    is_every_bar: bool = False
    at: str | None = None
    broker: OrderExecutionPort | None = None
    stream: BrokerStreamPort | None = None
    stream_times: StreamTimes = field(default_factory=StreamTimes)
    storage: Storage | None = None
    borrow: Callable[[str], Awaitable[bool | None]] | None = None

    def opened_storage(self) -> Storage:
        """Where the engine keeps what must survive it."""
        return self.storage or FolderStorage(self.path, is_virtual=self.is_virtual)


class Engine:
    """Everything of one database that runs; built by ``open_engine``."""

    supervisor: Supervisor | None = None
    backtests: BacktestDesk | None = None

    def __init__(
        self,
        settings: Settings,
        world: World,
        options: EngineOptions,
        *,
        profile: RiskProfile,
        storage: Storage,
        database: Database,
        clock: Clock,
        ticker: Ticker,
        metrics: Metrics,
    ) -> None:
        self.settings, self.world, self.options, self._storage = settings, world, options, storage
        self.database, self.clock, self.ticker, self.metrics = database, clock, ticker, metrics
        self.emergency: EmergencyDesk | None = None
        self.full_disk: FullDiskDesk | None = None
        self.types, self.profile = job_types(settings, is_virtual=options.is_virtual), profile
        self.start_equity_e8 = rules.start_equity_e8(settings)
        self.queue = SqliteJobQueue(
            database,
            self.types,
            clock,
            ticker,
            apply_fact=apply_fact,
            complete=with_rows,
            on_halt=self._halt,
            on_busy=self._busy,
            on_full=self._full,
            metrics=metrics,
            ballast=storage.ballast,
        )
        self.store = SqliteStore(database, start_equity_e8=self.start_equity_e8, is_outside=self.is_outside)
        venue = rules.venue_rules(settings, self.profile)
        self.broker = options.broker or own_broker(
            "" if options.is_virtual else settings.broker.name,
            venue,
            world,
            queue=self.queue,
            database=database,
            clock=clock,
        )
        self.schedule = DaySchedule(world.calendar, rules.schedule_rules(settings, at=options.at))
        self.desk = risk_desk(
            settings, world, self.store, clock, self.schedule, profile=self.profile, borrow=options.borrow
        )
        self.approvals = self._approvals()
        self.driver = DayDriver(
            database,
            self.queue,
            world.market,
            world.calendar,
            self.schedule,
            PaperStep(venue) if isinstance(self.broker, PaperBroker) else None,
            self.profile,
            DayRules(
                last_session=options.last_session,
                is_every_bar=options.is_every_bar,
                start_equity_e8=self.start_equity_e8,
                is_outside=self.is_outside,
                watches_exits=not self.broker.capabilities.has_attached_exits,
                code=code_identity(),
            ),
            clock,
        )
        self.processor = self._processor()
        if not options.is_virtual:
            self.emergency = self._desk()
            self.full_disk = self._full_disk_desk()
            self.backtests = BacktestDesk(self.queue, settings, options.path, ticker)

    @property
    def is_outside(self) -> bool:
        """Whether the account is at a broker outside the database."""
        return self.options.broker is not None

    @property
    def is_by_hand(self) -> bool:
        """Whether orders are tickets that a person types elsewhere."""
        return isinstance(self.broker, ManualBroker)

    def _processor(self) -> EventLoopProcessor:
        options, queue = self.options, self.settings.queue
        return EventLoopProcessor(
            self.queue,
            self.types,
            clock=self.clock,
            ticker=self.ticker,
            on_halt=self._halt,
            serial=options.is_virtual,
            poll=not options.is_virtual,
            poll_s=queue.poll_ms / 1000,
            keep_days=queue.retention_days,
            metrics=self.metrics,
        )

    def supervise(self, *extra: object) -> Supervisor:
        """The supervisor over processor, services and what the caller adds (a timeline, a live feed)."""
        workers = [
            self.processor.worker(contract, self._held_back(contract, self._recorded(handler)))
            for contract, handler in self._services()
        ]
        if self.backtests is not None:
            extra = (*extra, *self.backtests.services(self.processor))
        unserved = self.processor.unserved_types()
        if unserved:
            raise RuntimeError(f"no service consumes {', '.join(unserved)}: wire one in engine.py")
        self.supervisor = Supervisor(
            [self.processor, *workers, *self._listeners(), *extra],
            ticker=self.ticker,
            provided=PROVIDED,
            stage_timeout_s=max(1.0, self.settings.ops.stop_timeout_s / 4),
        )
        if self.full_disk is not None:
            self.full_disk.attend()
        return self.supervisor

    def catch_up(self) -> catch_up.CatchUpService:
        """What the broker's listings show and the journal does not know."""
        return catch_up.CatchUpService(self.store, self.broker, self.world.calendar, self.clock)

    def _listeners(self) -> list[object]:
        """Who hears from a broker outside, or looks at the desk; the paper venue tells within the tick."""
        if isinstance(self.broker, PaperBroker) or self.options.is_virtual:
            return []
        known = self.catch_up()
        if self.options.stream is None:
            return [stream.PollingService(known.missing, self.store, self.queue, self.ticker)]
        return [
            stream.StreamService(
                self.options.stream,
                known.missing,
                known.told,
                self.store,
                self.queue,
                self.ticker,
                self.options.stream_times,
            )
        ]

    async def close(self) -> None:
        """Commit what is queued, mark the boot clean, free the lock."""
        try:
            if self.emergency is not None:
                await self.emergency.close()
            if self.full_disk is not None:
                await self.full_disk.close()
            await self.queue.close()
        finally:
            await self.database.close()

    def _halt(self, reason: str) -> None:
        if self.supervisor is not None:
            self.supervisor.halt(reason)

    def _desk(self) -> EmergencyDesk:
        return EmergencyDesk(
            self._storage,
            self.world,
            queue=self.queue,
            store=self.store,
            broker=self.broker,
            is_broker_apart=self.options.broker is not None,
            clock=self.clock,
            ticker=self.ticker,
            scope=self.options.scope,
            flatten_from_ms=self.schedule.flatten_start_ms,
        )

    def _busy(self, waited_s: float) -> None:
        """The writer waits for the database's lock."""
        if self.emergency is not None:
            self.emergency.on_busy(waited_s)

    def _full_disk_desk(self) -> FullDiskDesk:
        return FullDiskDesk(
            queue=self.queue,
            store=self.store,
            calendar=self.world.calendar,
            clock=self.clock,
            ticker=self.ticker,
            flatten_from_ms=self.schedule.flatten_start_ms,
            on_end=self._halt,
        )

    def _full(self) -> None:
        """The queue has given the ballast up."""
        if self.full_disk is not None:
            self.full_disk.on_full()

    def _held_back(self, contract: ServiceContract, handler: JobHandler) -> JobHandler:
        """What speaks to the broker, or hears from it, waits until the emergency log is in the database."""
        if contract.name not in HELD_BACK or self.emergency is None or self.full_disk is None:
            return handler
        return HeldBack(NoEntries(handler, self.full_disk), self.emergency)

    def _recorded(self, handler: JobHandler) -> JobHandler:
        """Steps go into the journal with all that they rested on; the approvals are recorded already."""
        if isinstance(handler, TimedHandler):
            return replace(handler, handler=self._recorded(handler.handler))
        return handler if handler is self.approvals else in_journal(handler)

    def _approvals(self) -> approval.ApprovalService:
        settings = self.settings.approval
        service = approval.ApprovalService(
            self.store,
            self.queue,
            self.clock,
            self.desk,
            self.options.scope,
            self.options.approval_mode,
            settings.ttl_minutes * 60_000,
            settings.max_quote_age_s * 1000,
        )
        return in_journal(service)

    def reconciler(self) -> reconcile.ReconcileService:
        """What compares broker and journal: a service of the day, asked once before the services start."""
        return reconcile.ReconcileService(
            self.store,
            self.queue,
            self.broker,
            self.world.market,
            self.world.calendar,
            self.clock,
            self.options.scope,
            self.is_outside,
        )

    def _services(self) -> list[tuple[ServiceContract, JobHandler]]:
        """The day, left to right; each service's contract names what it consumes and needs."""
        s, world, scope, clock = self.settings, self.world, self.options.scope, self.clock
        delay_ms = s.approval.simulated_delay_s * 1000 if self.options.is_virtual else 0
        return [
            (
                scanner.CONTRACT,
                TimedHandler(
                    scanner.ScannerService(world.market, world.calendar, clock, rules.gap_rules(s)),
                    self.ticker,
                    self.metrics.scan_duration_seconds.observe,
                ),
            ),
            (
                scoring.CONTRACT,
                scoring.ScoringService(
                    self.store,
                    world.news,
                    world.calendar,
                    rules.score_weights(s),
                    s.scan.top,
                    s.news.lookback_days,
                    self.profile.allow_shorts,
                ),
            ),
            (
                planner.CONTRACT,
                planner.PlannerService(
                    self.store,
                    world.market,
                    world.calendar,
                    clock,
                    rules.planning_rules(s),
                    self.schedule.entry_windows,
                    scope,
                    self.profile.allow_shorts,
                    self.profile.lot_e4,
                    ShortRules(
                        is_borrow_assumed=self.options.is_virtual, borrow_fee_e6=self.profile.borrow_fee_e6
                    ),
                ),
            ),
            (risk.CONTRACT, risk.RiskService(self.queue, self.desk, delay_ms)),
            (approval.CONTRACT, self.approvals),
            *self._order_services(),
            (
                journal.CONTRACT,
                journal.JournalService(
                    self.store, world.market, world.calendar, clock, scope, self.options.is_virtual
                ),
            ),
            (reconcile.CONTRACT, self.reconciler()),
            (
                tie_out.CONTRACT,
                tie_out.TieOutService(
                    self.store,
                    self.broker,
                    world.calendar,
                    clock,
                    None if self.is_outside else self.start_equity_e8,
                ),
            ),
        ]

    def _order_services(self) -> list[tuple[ServiceContract, JobHandler]]:
        """What speaks to the broker, or hears from it."""
        store, broker, clock, scope = self.store, self.broker, self.clock, self.options.scope
        entry_ttl_ms = BY_HAND_MS if self.is_by_hand else self.settings.execution.entry_ttl_s * 1000
        is_attached = broker.capabilities.has_attached_exits
        guarded = OutflowGuard(broker, store=store, queue=self.queue)
        return [
            (
                execution.CONTRACT,
                execution.ExecutionService(
                    store, self.queue, clock, self.desk, scope, ENTRY_TIME_TO_LIVE_MS, is_attached
                ),
            ),
            (sender.CONTRACT, sender.SenderService(store, guarded, clock, entry_ttl_ms)),
            (canceller.CONTRACT, canceller.CancelService(store, broker)),
            (flatten.CONTRACT, flatten.FlattenService(store, clock)),
            (exits.CONTRACT, exits.ExitService(store, broker, clock, scope)),
            (
                halt.CONTRACT,
                halt.HaltService(store, broker, self.world.market, self.world.calendar, clock),
            ),
            (position.CONTRACT, position.PositionService(store, clock)),
            (catch_up.CONTRACT, self.catch_up()),
            (
                external.CONTRACT,
                external.ExternalService(store, broker, self.world.calendar, clock, scope),
            ),
        ]


async def open_engine(
    settings: Settings,
    world: World,
    options: EngineOptions,
    *,
    clock: Clock,
    ticker: Ticker,
    metrics: Metrics | None = None,
) -> Engine:
    """Lock, migrate and open the database, boot the queue: leases of dead boots are ready again.

    What left past a locked database is folded in before anything else. Raises HomeInUseError, DatabaseTooNewError,
    ForeignDatabaseError, SurfaceError while another program holds the write lock or without room to begin.
    """
    try:
        return await _opened(settings, world, options, clock=clock, ticker=ticker, metrics=metrics)
    except sqlite3.OperationalError as error:
        if is_full(error):
            raise SurfaceError(f"the disk of {options.path} is full", hint=MEND, code="disk_full") from error
        if error_code(error) != sqlite3.SQLITE_BUSY:
            raise
        hint = "end the other program's transaction (lsof names it), then start again"
        raise SurfaceError(
            f"{options.path} is locked by another program", hint=hint, code="locked"
        ) from error


async def _opened(
    settings: Settings,
    world: World,
    options: EngineOptions,
    *,
    clock: Clock,
    ticker: Ticker,
    metrics: Metrics | None,
) -> Engine:
    storage = options.opened_storage()
    database = await storage.open_database(clock=clock)
    profile = rules.risk_profile(settings, is_run=True)
    if not options.is_virtual:
        profile = profile_in_force(settings, await accepted_limits(database))
    engine = Engine(
        settings,
        world,
        options,
        profile=profile,
        storage=storage,
        database=database,
        clock=clock,
        ticker=ticker,
        metrics=metrics if metrics is not None else Metrics(),
    )
    try:
        await engine.queue.start()
    except BaseException:
        await database.close()
        raise
    try:
        if engine.emergency is not None:
            await engine.emergency.fold_in()
        if not await storage.make_room():
            LOG.error("ballast.none", extra={"mend": MEND, "bytes": BALLAST_BYTES})
    except BaseException:
        await engine.close()
        raise
    return engine
