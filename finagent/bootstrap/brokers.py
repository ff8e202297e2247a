"""A broker outside the database: connected, vetted at the start, watched while the agent runs."""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from finagent.adapters.brokers.alpaca import (
    AlpacaBroker,
    AlpacaFacts,
    AlpacaHttp,
    AlpacaStream,
    Keys,
    endpoint,
    keys_from,
)
from finagent.bootstrap.binding import check_binding
from finagent.bootstrap.engine import Engine
from finagent.context import ExitCode, SurfaceError
from finagent.domain.binding import LIVE, PAPER, AccountBinding, live_fault
from finagent.domain.facts import ControlChanged
from finagent.domain.orders import BrokerAccount
from finagent.ports import BrokerAccessError, CalendarPort, Clock, RetryError, Ticker
from finagent.queue.port import Tx
from finagent.runtime.logs import SecretKeeper
from finagent.runtime.metrics import Metrics
from finagent.runtime.service import sleep_or_stop
from finagent.settings import Settings, SettingsError

LOG = logging.getLogger(__name__)
MOST_SKEW_MS = 2_000
WATCH_PERIOD_S = 30.0
SKEW, HOURS, BLOCKED, KEYS = "clock_skew", "exchange_hours", "account_blocked", "broker_keys"
GATES = (SKEW, HOURS, BLOCKED, KEYS)
"""Why this file shuts the entry gate; it opens the gate again only for these reasons."""
MENDS = {
    SKEW: "set the system's clock by a time server",
    HOURS: "trade by hand today, or update finagent: its calendar is not the broker's",
    BLOCKED: "ask Alpaca, or end the suspension in its dashboard",
    KEYS: "make new ones in its dashboard and start the agent with them; what rests at the broker stays",
}


@dataclass(frozen=True, slots=True)
class Connection:
    """A broker that is reached over the network, what it tells by itself, and what it knows beside orders."""

    broker: AlpacaBroker
    stream: AlpacaStream
    facts: AlpacaFacts
    kind: str

    async def borrow(self, symbol: str) -> bool | None:
        """Whether the broker finds a stock easy to borrow now; no answer is None, which refuses a short."""
        try:
            return await self.facts.easy_to_borrow(symbol)
        except RetryError as error:
            LOG.warning("broker.borrow_unknown", extra={"symbol": symbol, "error": str(error)})
            return None

    async def close(self) -> None:
        """Close its connections."""
        await self.broker.close()


@dataclass(frozen=True, slots=True)
class Finding:
    """Why no entry may leave now: a gate's reason, what was seen."""

    reason: str
    detail: str


def refuse_made_up_prices(settings: Settings) -> None:
    """Orders at a real broker need real prices, and none are built in yet; SettingsError says so."""
    if not settings.broker.is_outside or settings.broker.is_local:
        return
    raise SettingsError(
        f"broker.name = {settings.broker.name} with data.vendor = {settings.data.vendor}: orders for a real account"
        " would follow made-up or past prices, and live prices are not built in yet",
        "set broker.name: paper, or broker.endpoint: http://127.0.0.1:PORT of a simulated broker",
    )


def connect(
    settings: Settings,
    calendar: CalendarPort,
    *,
    clock: Clock,
    ticker: Ticker,
    metrics: Metrics,
    keeper: SecretKeeper,
    needs_keys: bool = True,
) -> Connection | None:
    """The broker of the settings, None for one that lives in the database; nothing is sent yet.

    SurfaceError (``broker_keys``) when keys are missing. ``needs_keys`` False connects without them: whatever is asked
    then is refused.
    """
    if not settings.broker.is_outside:
        return None
    try:
        keys = keys_from(os.environ)
    except BrokerAccessError as error:
        if needs_keys:
            raise SurfaceError(str(error), hint=error.mend, code="broker_keys") from None
        keys = Keys("none", "none")
    keeper.register(keys.key)
    keeper.register(keys.secret)
    at = endpoint(settings.broker.endpoint)
    http = AlpacaHttp(at, keys, clock=clock, ticker=ticker, metrics=metrics)
    broker = AlpacaBroker(http, calendar=calendar)
    kind = LIVE if at.kind == LIVE else PAPER
    return Connection(broker, AlpacaStream(at, keys, broker.name_of), AlpacaFacts(http), kind)


@contextmanager
def asking() -> Iterator[None]:
    """What goes wrong while the broker is asked, as one line with the mend."""
    try:
        yield
    except BrokerAccessError as error:
        raise SurfaceError(str(error), hint=error.mend, code="broker_keys") from None
    except RetryError as error:
        raise SurfaceError(
            f"the broker cannot be reached: {error}",
            hint="try again; what rests there protects positions meanwhile",
            code="broker_unreachable",
            exit_code=ExitCode.UNREACHABLE,
        ) from None


def binding_of(connection: Connection, account: BrokerAccount) -> AccountBinding:
    """The account as a database is bound to it."""
    return AccountBinding(broker="alpaca", account_id=account.account_id, endpoint=connection.kind)


async def vet(engine: Engine, connection: Connection | None) -> "list[object]":
    """The start's word with the broker; gives what watches it while the agent runs.

    The paper venue's account is its name in the settings: a database of its trades takes no other broker's.
    """
    if connection is None:
        name = engine.settings.account.name
        await check_binding(
            engine,
            AccountBinding(broker=engine.settings.broker.name, account_id=name, endpoint=PAPER),
            identity="start",
        )
        return []
    with asking():
        await vet_account(engine, connection, identity="start")
        watch = BrokerWatch(engine, connection)
        await watch.run_once()
    return [watch]


async def vet_account(engine: Engine, connection: Connection, *, identity: str) -> BrokerAccount:
    """The account that answers, once it is known to be the one this database may trade; binds a new database to it.

    SurfaceError: another currency, a blocked account, live trading that nobody allowed, another account.
    """
    account = await connection.broker.account()
    refuse_currency(account, engine.settings)
    if account.is_blocked:
        why = ", ".join(await connection.facts.blocks()) or "no reason given"
        raise SurfaceError(
            f"the broker lets account {account.account_id} trade no more: {why}",
            hint=MENDS[BLOCKED],
            code=BLOCKED,
        )
    found = binding_of(connection, account)
    fault = live_fault(found, await engine.store.live_account())
    if fault is not None:
        raise SurfaceError(
            fault,
            hint=f"finagent live allow --account {account.account_id} allows it, on this machine only",
            code="live_refused",
            exit_code=ExitCode.REFUSED,
        )
    await check_binding(engine, found, identity=identity)
    return account


def refuse_currency(account: BrokerAccount, settings: Settings) -> None:
    """Every amount is in the currency of the settings; SurfaceError for an account in another one."""
    if account.currency != settings.account.currency:
        raise SurfaceError(
            f"account {account.account_id} is in {account.currency}, account.currency is {settings.account.currency}",
            hint=f"use keys of an account in {settings.account.currency}",
            code="currency",
        )


async def examine(connection: Connection, calendar: CalendarPort, clock: Clock) -> list[Finding]:
    """What speaks against entries now: clocks that differ, another close today, a blocked account.

    A clock differs when it does so by more than the limit whatever the answer's way took.
    """
    asked_ms = clock.now_ms()
    exchange = await connection.facts.clock()
    answered_ms = clock.now_ms()
    findings: list[Finding] = []
    skew_ms = exchange.now_ms - (asked_ms + answered_ms) // 2
    if abs(skew_ms) - (answered_ms - asked_ms + 1) // 2 > MOST_SKEW_MS:
        ahead = "behind" if skew_ms > 0 else "ahead of"
        findings.append(Finding(SKEW, f"this clock is {abs(skew_ms) / 1000:.1f} s {ahead} the broker's"))
    session = calendar.session_at(answered_ms)
    days = await connection.facts.calendar(session.date, session.date)
    theirs = [(day.open_ms, day.close_ms) for day in days if day.date == session.date]
    if theirs != [(session.open_ms, session.close_ms)]:
        seen = f"{(theirs[0][1] - theirs[0][0]) // 60_000} minutes" if theirs else "no session"
        findings.append(
            Finding(HOURS, f"{session.date}: {session.minutes} minutes here, {seen} at the broker")
        )
    account = await connection.broker.account()
    if account.is_blocked:
        findings.append(Finding(BLOCKED, f"account {account.account_id}"))
    return findings


class BrokerWatch:
    """Asks the broker each half minute whether clocks, hours and account still fit; shuts the gate where not."""

    name = "broker_watch"
    needs = ("processor", "broker")

    def __init__(self, engine: Engine, connection: Connection) -> None:
        self._engine, self._connection = engine, connection
        self._told: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped; a broker that does not answer is the reconciliation's to judge."""
        while not stop.is_set():
            await sleep_or_stop(self._engine.ticker, WATCH_PERIOD_S, stop)
            if not stop.is_set():
                try:
                    await self.run_once()
                except RetryError as error:
                    LOG.warning("broker.watch_failed", extra={"error": str(error)})

    async def run_once(self) -> list[Finding]:
        """Look, and shut or open the gate."""
        engine = self._engine
        try:
            findings = await examine(self._connection, engine.world.calendar, engine.clock)
        except BrokerAccessError as error:
            findings = [Finding(KEYS, str(error))]
        shut, wanted = (await engine.store.control()).gate_reasons, [each.reason for each in findings]
        tx = Tx()
        for reason in wanted:
            if reason not in shut:
                tx.put(ControlChanged(gate_reason=reason))
        for reason in shut if KEYS not in wanted else ():  # whom it lets in no more it tells nothing
            if reason in GATES and reason not in wanted:
                tx.put(ControlChanged(gate_opened=reason))
        if not tx.is_empty:
            await engine.queue.commit(tx)
        for each in findings:
            if each.reason not in self._told:
                await engine.queue.note("broker_watch", {"reason": each.reason, "detail": each.detail})
                words = {"reason": each.reason, "detail": each.detail, "mend": MENDS[each.reason]}
                LOG.critical("broker.entries_shut", extra=words)
        self._told = {each.reason for each in findings}
        return findings
