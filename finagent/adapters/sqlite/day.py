"""The day's driver: the next instant, and one commit per instant with bars, the venue's fills, watches and cron."""

import logging
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from finagent.adapters.sqlite.codec import decode
from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.adapters.sqlite.session import WriteSession
from finagent.adapters.sqlite.store import (
    LIVE_ORDER,
    LIVE_PLAN,
    read_book,
    read_open_positions,
    read_orders_of,
)
from finagent.domain.book import OpenPosition
from finagent.domain.broker_event import ended_key, ended_payload, fill_payload
from finagent.domain.facts import Journalled
from finagent.domain.journal import JsonData
from finagent.domain.manual import MANUAL
from finagent.domain.market import MINUTE_MS, Bar, Session
from finagent.domain.orders import BrokerFill, OrderState, OwnOrder
from finagent.domain.plan import Plan
from finagent.domain.protection import ON_THE_WAY, is_attached, is_bare, live_exits
from finagent.domain.risk import RiskProfile
from finagent.domain.steps import Step
from finagent.domain.watch import ArmedWatch, LimitWatch, PositionWatch, Watch, watch_evidence
from finagent.ports import CalendarPort, Clock, JsonValue, MarketDataPort, NewJob, RetryError
from finagent.runtime.clock import VirtualClock
from finagent.runtime.failpoints import hit
from finagent.services.schedule import DaySchedule

LOG = logging.getLogger(__name__)
FEED = "tick"
FEED_AT = "SELECT at FROM feed WHERE source = ?"
SET_FEED = """
INSERT INTO feed (source, at) VALUES (?, ?) ON CONFLICT (source) DO UPDATE SET at = max(at, excluded.at)"""
IS_ARMED = f"{LIVE_PLAN} AND state = 'armed'"
WATCHED = f"""
SELECT symbol FROM broker_order WHERE {LIVE_ORDER}
UNION SELECT symbol FROM position WHERE quantity <> 0
UNION SELECT symbol FROM plan WHERE {IS_ARMED} ORDER BY 1"""
ARMED = f"SELECT body FROM plan WHERE {IS_ARMED} ORDER BY symbol, plan_id"
NOBODY_SENDS = """
SELECT NOT EXISTS (
    SELECT 1 FROM job_queue WHERE key = ? AND type IN ('send_exit', 'replace', 'broker_event')
    AND status IN ('ready', 'scheduled', 'leased'))"""
PLAN_OF_ORDER = "SELECT plan.body FROM broker_order JOIN plan USING (plan_id) WHERE client_order_id = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A fill, or an order that ended (``state`` and ``reason``), as the tick turns it into a job."""

    client_order_id: str
    plan_id: str
    fill: BrokerFill | None
    state: str
    reason: str
    is_final: bool


class VenueStep(Protocol):
    """The paper venue's part of a tick; a live broker has none, its stream leaves the same jobs."""

    def match(
        self,
        conn: sqlite3.Connection,
        *,
        bars: Mapping[str, Bar],
        now_ms: int,
        session: Session,
        is_last_bar: bool,
        spreads: Mapping[str, int],
        halted: Collection[str],
    ) -> Sequence[Event]:
        """Fills and ends of orders, in order (symbol, leg)."""


@dataclass(frozen=True, slots=True)
class Minute:
    """What the tick brings into its commit: the instant, its session, and what the market showed."""

    at_ms: int
    session: Session
    is_last_bar: bool
    bars: Mapping[str, Bar]
    marks_e4: Mapping[str, int]
    spreads_e4: Mapping[str, int]
    halted: tuple[str, ...]
    resumed: tuple[str, ...] = ()
    """Halted a minute before, and not any more."""
    is_blind: bool = False
    """The feed did not answer: what is missing says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRules:
    """How the driver runs: until which session, every minute or only watched ones."""

    last_session: str | None
    is_every_bar: bool
    start_equity_e8: int
    is_outside: bool = False
    """The account is at a broker outside."""
    watches_exits: bool = False
    """The broker takes no attached exits: targets and bare positions are watched here."""
    code: str = ""
    """The program that decides, as the journal names it."""


class DayDriver:
    """Steps of the timeline over one database: quiescence, next instant, tick.

    In replay and demo ``virtual`` is the clock it moves; live the clock is real and ticks happen at its pace.
    """

    def __init__(
        self,
        database: Database,
        queue: SqliteJobQueue,
        market: MarketDataPort,
        calendar: CalendarPort,
        schedule: DaySchedule,
        venue: VenueStep | None,
        profile: RiskProfile,
        rules: DayRules,
        clock: Clock,
    ) -> None:
        self._database = database
        self._queue = queue
        self._market = market
        self._calendar = calendar
        self._schedule = schedule
        self._venue = venue
        self._profile = profile
        self._rules = rules
        self._clock = clock
        self.at_ms = 0
        self._is_blind = False

    async def begin(self, at_ms: int) -> None:
        """Go on from the last committed tick, or from an instant in a new database."""
        rows = await self._database.read(FEED_AT, (FEED,))
        found = rows[0][0] if rows else None
        self.at_ms = found if isinstance(found, int) else at_ms
        if isinstance(self._clock, VirtualClock):
            self._clock.advance(max(self.at_ms, self._clock.now_ms()))

    async def wait_quiescent(self) -> None:
        """Nothing is ready, leased, queued or under way (virtual time only)."""
        if isinstance(self._clock, VirtualClock):
            await self._queue.wait_quiescent()

    async def next_instant(self) -> int | None:
        """The earliest of next bar, next cron tick and next scheduled job; None when the last session is over."""
        scheduled_ms = self._schedule.next_ms(self.at_ms)
        is_watching = self._rules.is_every_bar or bool(await self._database.read(WATCHED))
        if not is_watching and not isinstance(self._clock, VirtualClock):
            self._forget_unwatched(scheduled_ms)
        instants = [scheduled_ms, await self._next_bar_ms() if is_watching else None]
        last = self._rules.last_session
        future = [at for at in instants if at is not None and (last is None or self._date(at) <= last)]
        run_at_ms = self._queue.next_run_at_ms()
        if run_at_ms is not None and isinstance(self._clock, VirtualClock):
            future.append(max(run_at_ms, self.at_ms))
        return min(future, default=None)

    async def tick(self, T_ms: int) -> None:
        """One commit: the clock, the bars with the venue's fills, watches, cron."""
        before_ms, minute = self.at_ms, await self._minute(T_ms)
        if isinstance(self._clock, VirtualClock):
            self._clock.advance(max(T_ms, self._clock.now_ms()))
        await self._queue.call(lambda ws: self._commit(ws, minute, before_ms))
        hit("tick.committed")
        self.at_ms = T_ms

    async def catch_up(self, now_ms: int) -> int:
        """All instants that are due by now in one commit; gives their number.

        After a standstill the venue plays every missed bar before any job acts on what it believes to be open.
        """
        committed_ms = self.at_ms
        backlog: list[tuple[Minute, int]] = []
        try:
            while (due_ms := await self.next_instant()) is not None and due_ms <= now_ms:
                backlog.append((await self._minute(due_ms), self.at_ms))
                self.at_ms = due_ms
            if backlog:
                await self._queue.call(lambda ws: self._commit_all(ws, backlog))
                hit("tick.committed")
        except BaseException:
            self.at_ms = committed_ms
            raise
        return len(backlog)

    def _forget_unwatched(self, scheduled_ms: int | None) -> None:
        """Minutes nobody watched are past: a plan armed later must not be triggered by them."""
        now_ms = self._clock.now_ms()
        minute_ms = now_ms - now_ms % MINUTE_MS
        if scheduled_ms is None or scheduled_ms > minute_ms:
            self.at_ms = max(self.at_ms, minute_ms)

    def _date(self, at_ms: int) -> str:
        return self._calendar.session_at(at_ms).date

    def _is_of(self, session: Session, at_ms: int) -> bool:
        return session.open_ms - 12 * 3_600_000 < at_ms < session.close_ms + 12 * 3_600_000

    async def _next_bar_ms(self) -> int | None:
        session = self._calendar.session_at(self.at_ms)
        if not self._is_of(session, self.at_ms):
            return None
        try:
            await self._market.load(session)
            following = self._market.next_bar_end_ms(session, self.at_ms)
        except RetryError:  # the day goes on without the feed, minute by minute
            following = self.at_ms - self.at_ms % MINUTE_MS + MINUTE_MS
        if self.at_ms < session.close_ms:
            return session.close_ms if following is None else min(following, session.close_ms)
        return None

    async def _minute(self, T_ms: int) -> Minute:
        """What the market showed at an instant, for the symbols that are watched.

        While the feed does not answer it is a blind one: the flatten ladder and the schedule do not wait for prices.
        """
        session = self._calendar.session_at(T_ms)
        try:
            minute = await self._seen(session, T_ms)
        except RetryError as error:
            if not self._is_blind:
                LOG.error("feed.blind", extra={"error": str(error)})
            self._is_blind = True
            return Minute(T_ms, session, T_ms == session.close_ms, {}, {}, {}, (), is_blind=True)
        if self._is_blind:
            LOG.warning("feed.seen_again")
        self._is_blind = False
        return minute

    async def _seen(self, session: Session, T_ms: int) -> Minute:
        if self._is_of(session, T_ms):
            await self._market.load(session)
        symbols = [str(symbol) for (symbol,) in await self._database.read(WATCHED)]
        if not symbols or not self._is_of(session, T_ms):
            return Minute(T_ms, session, False, {}, {}, {}, ())
        before = await self._market.last_prices(symbols, session, T_ms - MINUTE_MS)
        now = await self._market.last_prices(symbols, session, T_ms)
        return Minute(
            at_ms=T_ms,
            session=session,
            is_last_bar=T_ms == session.close_ms,
            bars=self._market.bars_ending(session, T_ms, symbols),
            marks_e4={symbol: price.price_e4 for symbol, price in now.items()},
            spreads_e4={s: p.quote.ask_e4 - p.quote.bid_e4 for s, p in before.items() if p.quote is not None},
            halted=tuple(s for s in symbols if self._market.is_halted(session, s, T_ms)),
            resumed=tuple(
                s
                for s in symbols
                if self._market.is_halted(session, s, T_ms - MINUTE_MS)
                and not self._market.is_halted(session, s, T_ms)
            ),
        )

    def _commit_all(self, ws: WriteSession, backlog: Sequence[tuple[Minute, int]]) -> None:
        for minute, before_ms in backlog:
            self._commit(ws, minute, before_ms)

    def _commit(self, ws: WriteSession, minute: Minute, before_ms: int) -> None:
        ws.conn.execute(SET_FEED, (FEED, minute.at_ms))
        fills = self._match(ws, minute)
        hit("tick.in_commit")
        self._watch_plans(ws, minute)
        self._watch_positions(ws, minute)
        self._watch_limits(ws, minute, fills)
        for due in self._schedule.due(before_ms, minute.at_ms, now_ms=ws.now_ms):
            is_new = ws.fire(due.tick, due.jobs, skipped=due.skipped)
            if is_new and due.watch is not None:
                self._leave(ws, due.watch)

    def _match(self, ws: WriteSession, minute: Minute) -> list[BrokerFill]:
        """The venue's fills, one ``broker_event`` job each, in its order."""
        if self._venue is None or minute.at_ms <= minute.session.open_ms:
            return []
        events = self._venue.match(
            ws.conn,
            bars=minute.bars,
            now_ms=minute.at_ms,
            session=minute.session,
            is_last_bar=minute.is_last_bar,
            spreads=minute.spreads_e4,
            halted=minute.halted,
        )
        for event in events:
            if event.fill is not None:
                payload = dict(fill_payload(event.fill))
                key = event.fill.execution_id
                ws.publish(NewJob(Step.BROKER_EVENT, payload, idem_key=key, key=event.plan_id))
            elif event.is_final:
                order_id, state = event.client_order_id, OrderState(event.state)
                ended = ended_payload(order_id, state, event.reason)
                key = ended_key(order_id, state)
                ws.publish(NewJob(Step.BROKER_EVENT, dict(ended), idem_key=key, key=event.plan_id))
        return [event.fill for event in events if event.fill is not None]

    def _watch_plans(self, ws: WriteSession, minute: Minute) -> None:
        for (body,) in ws.conn.execute(ARMED).fetchall():
            plan = decode(Plan, body)
            bar = minute.bars.get(plan.symbol)
            self._leave(ws, ArmedWatch(plan=plan, bar=bar, at_ms=minute.at_ms, now_ms=ws.now_ms))

    def _watch_positions(self, ws: WriteSession, minute: Minute) -> None:
        watches_exits = self._rules.watches_exits
        for held in read_open_positions(ws.conn):
            bar, orders = minute.bars.get(held.plan.symbol), None
            if watches_exits and minute.at_ms < minute.session.close_ms:
                orders = tuple(order.own for order in read_orders_of(ws.conn, held.plan.plan_id))
                _send_orphans(ws, held.plan.plan_id, orders, minute.at_ms)
            watch = PositionWatch(
                held=held,
                bar=bar,
                bars=self._since_entry(held, minute) if bar is not None else (),
                at_ms=minute.at_ms,
                orders=orders,
                has_timed_keys=watches_exits,
                is_halt=_is_halt(ws, held, minute),
            )
            self._leave(ws, watch)

    def _since_entry(self, held: OpenPosition, minute: Minute) -> tuple[Bar, ...]:
        """The symbol's bars since the first fill."""
        opened_at_ms = held.position.opened_at_ms or 0
        bars = self._market.loaded_minutes(held.plan.symbol, minute.session, minute.at_ms)
        return tuple(bar for bar in bars if bar.start_ms >= opened_at_ms)

    def _watch_limits(self, ws: WriteSession, minute: Minute, fills: Sequence[BrokerFill]) -> None:
        """The day's loss after this minute's fills, marked from ended bars, and the breakers."""
        if minute.is_blind:
            return
        book = read_book(
            ws.conn,
            minute.session.date,
            start_equity_e8=self._rules.start_equity_e8,
            is_outside=self._rules.is_outside,
            now_ms=minute.at_ms,
        )
        planned = tuple((_plan_of(ws.conn, fill), fill) for fill in fills)
        watch = LimitWatch(book=book, fills=planned, marks_e4=minute.marks_e4, profile=self._profile)
        self._leave(ws, watch)

    def _leave(self, ws: WriteSession, watch: Watch) -> None:
        """The jobs of what is due, and a row that says why; what was left before is not said again."""
        due = watch.decide()
        if due is None:
            return
        published = [
            ws.publish(NewJob(job.step, payload_of(job.payload), idem_key=job.key, key=job.serial))
            for job in due.jobs
        ]
        if not published or any(each.created for each in published):
            evidence = watch_evidence(watch, due, code=self._rules.code)
            ws.apply(Journalled(kind=due.kind, ref=due.ref, data=due.data, evidence=evidence))


def _is_halt(ws: WriteSession, held: OpenPosition, minute: Minute) -> bool:
    """Whether a halt, or its end, leaves a position to us: a venue that holds attached exits minds them itself."""
    is_looked_at = minute.at_ms < minute.session.close_ms and minute.at_ms % MINUTE_MS == 0
    if not is_looked_at or held.plan.symbol not in (*minute.halted, *minute.resumed):
        return False
    orders = [order.own for order in read_orders_of(ws.conn, held.plan.plan_id)]
    return is_bare(orders) or not is_attached(orders)


def _send_orphans(ws: WriteSession, plan_id: str, orders: Sequence[OwnOrder], at_ms: int) -> None:
    """Exits that are written, not known to be there, and whose job has died: they are looked up and sent again."""
    waiting = [
        order
        for order in live_exits(orders)
        if order.state in ON_THE_WAY and order.intent.parent_id is None and order.intent.leg != MANUAL
    ]
    if not waiting or not ws.conn.execute(NOBODY_SENDS, (plan_id,)).fetchone()[0]:
        return
    for order in waiting:
        order_id = order.intent.client_order_id
        key = f"{order_id}/watch@{at_ms}"
        ws.publish(NewJob(Step.SEND_EXIT, {"order": order_id, "try": 1}, idem_key=key, key=plan_id))


def payload_of(data: Mapping[str, JsonData]) -> dict[str, JsonValue]:
    """Plain data as a job's payload."""
    return cast("dict[str, JsonValue]", dict(data))


def _plan_of(conn: sqlite3.Connection, fill: BrokerFill) -> Plan:
    (body,) = conn.execute(PLAN_OF_ORDER, (fill.client_order_id,)).fetchone()
    return decode(Plan, body)
