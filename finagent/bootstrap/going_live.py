"""Going live: the second switch, which a person sets on this machine, for one account, while no agent runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from finagent.adapters.sqlite.store import SqliteStore
from finagent.bootstrap import rules
from finagent.bootstrap.binding import check_binding
from finagent.bootstrap.brokers import (
    Connection,
    asking,
    binding_of,
    connect,
    refuse_currency,
    refuse_made_up_prices,
)
from finagent.bootstrap.damaged import reading
from finagent.bootstrap.engine import Engine, EngineOptions, open_engine
from finagent.bootstrap.homes import DATABASE, generation_of, home_clock, openable, prepare_home, refuse_empty
from finagent.bootstrap.readers import open_stored
from finagent.bootstrap.world import load_world
from finagent.context import Document, ExitCode, SurfaceError
from finagent.domain.binding import LIVE, AccountBinding
from finagent.domain.facts import Journalled, LiveAllowed
from finagent.domain.money import money_text
from finagent.domain.orders import Scope
from finagent.queue.port import Tx
from finagent.runtime.clock import SystemTicker
from finagent.runtime.logs import SecretKeeper
from finagent.runtime.metrics import Metrics
from finagent.settings import Settings


async def live_status(settings: Settings, home: Path) -> Document:
    """``{endpoint, broker, allowed_account, bound: {...} | null, is_live}``, from settings and database alone."""
    bound, allowed = await stored_consent(home)
    is_set = settings.broker.is_outside and settings.broker.endpoint == LIVE
    return {
        "broker": settings.broker.name,
        "endpoint": settings.broker.endpoint,
        "allowed_account": allowed,
        "bound": None
        if bound is None
        else {"broker": bound.broker, "account": bound.account_id, "endpoint": bound.endpoint},
        "is_live": is_set and allowed is not None and bound is not None and bound.account_id == allowed,
    }


async def stored_consent(home: Path) -> tuple[AccountBinding | None, str | None]:
    """What the home's database is bound to and the account that it allows live; works beside a running agent."""
    if not (home / DATABASE).exists():
        return None, None
    database = await open_stored(home, home / DATABASE, None)
    try:
        store = SqliteStore(database, start_equity_e8=0)
        return await store.binding(), await store.live_account()
    finally:
        await database.close()


async def allow_live(settings: Settings, home: Path, *, account: str, identity: str) -> Document:
    """Allow live trading for the account that the keys open, which must be the one named; binds the database to it.

    SurfaceError: the setting is not live, no live prices, other keys, another account or currency, a bound database.
    """
    if not settings.broker.is_outside or settings.broker.endpoint != LIVE:
        raise SurfaceError(
            f"broker.name is {settings.broker.name}, broker.endpoint is {settings.broker.endpoint}:"
            " live trading is not set",
            hint="set broker.name: alpaca and broker.endpoint: live first; both switches are needed",
            code="live_refused",
            exit_code=ExitCode.REFUSED,
        )
    refuse_made_up_prices(settings)
    async with home_engine(settings, home) as engine, _connected(settings, engine) as connection:
        return await grant(engine, connection, account=account, identity=identity)


async def grant(engine: Engine, connection: Connection, *, account: str, identity: str) -> Document:
    """Record the consent for the account that answers, when it is the one named; binds the database to it."""
    with asking():
        found = await connection.broker.account()
    refuse_currency(found, engine.settings)
    if found.account_id != account:
        raise SurfaceError(
            f"the keys open account {found.account_id}, not {account}",
            hint="name the account that is to be traded, or use its keys",
            code="account_mismatch",
            exit_code=ExitCode.REFUSED,
        )
    await check_binding(engine, binding_of(connection, found), identity=identity)
    await decide(engine, account, is_allowed=True, identity=identity)
    return {"account": account, "equity": money_text(found.equity_e8), "currency": found.currency}


async def revoke_live(settings: Settings, home: Path, *, identity: str) -> Document:
    """Take the consent back: the next start refuses the live endpoint. Gives the account, null when there was none."""
    async with home_engine(settings, home) as engine:
        account = await engine.store.live_account()
        if account is not None:
            await decide(engine, account, is_allowed=False, identity=identity)
        return {"account": account}


async def decide(engine: Engine, account: str, *, is_allowed: bool, identity: str) -> None:
    """Record that live trading is allowed for an account, or no more."""
    tx = Tx()
    tx.put(LiveAllowed(account_id=account, is_allowed=is_allowed, by=identity))
    kind = "live_allowed" if is_allowed else "live_revoked"
    tx.put(Journalled(kind=kind, ref=account, data={"by": identity}))
    await engine.queue.commit(tx)


@asynccontextmanager
async def home_engine(settings: Settings, home: Path) -> AsyncIterator[Engine]:
    """The home's database under its lock: refused while an agent runs, so that nothing changes under its feet."""
    rules.checked(settings)
    prepare_home(home)
    refuse_empty(home / DATABASE, home)
    world = await asyncio.to_thread(load_world, settings, home)
    options = EngineOptions(
        path=home / DATABASE,
        scope=Scope(generation=generation_of(home), account=settings.account.name),
        approval_mode=lambda: settings.account.mode,
        is_virtual=False,
    )
    clock = home_clock(settings, home, None)
    with openable(home), reading(options.path):
        engine = await open_engine(settings, world, options, clock=clock, ticker=SystemTicker())
    try:
        with reading(options.path):
            yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def _connected(settings: Settings, engine: Engine) -> AsyncIterator[Connection]:
    connection = connect(
        settings,
        engine.world.calendar,
        clock=engine.clock,
        ticker=engine.ticker,
        metrics=Metrics(),
        keeper=SecretKeeper(),
    )
    assert connection is not None, "the paper venue was refused before"
    try:
        yield connection
    finally:
        await connection.close()
