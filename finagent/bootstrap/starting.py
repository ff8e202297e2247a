"""The start order's checks: a clock that goes forward, an undamaged record, a broker that agrees."""

import logging
from collections.abc import Sequence

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

from finagent.adapters.sqlite.integrity import StartCheck, look, remember
from finagent.bootstrap.engine import Engine
from finagent.bootstrap.identity import code_identity
from finagent.bootstrap.recording import in_journal
from finagent.context import SurfaceError
from finagent.domain.facts import ControlChanged
from finagent.domain.market import Session
from finagent.domain.reconcile import Difference, DifferenceKind
from finagent.domain.steps import Step
from finagent.domain.told import told
from finagent.ports import JsonValue, NewJob, RetryError
from finagent.queue.errors import GuardFailedError
from finagent.queue.port import Tx

LOG = logging.getLogger(__name__)
CLOCK_SLACK_MS = 60_000
GUARD_TRIES = 20


async def catch_up_and_compare(engine: Engine) -> Sequence[Difference]:
    """The start order between an open engine and its services: what is missed is played before anything acts.

    Gives the differences with the broker. Raises SurfaceError where time has run back.
    """
    settings, clock = engine.settings, engine.clock
    await refuse_clock_behind(engine)
    await examine_damage(engine)
    await engine.driver.begin(clock.now_ms() - settings.schedule.misfire_minutes * 60_000)
    await engine.driver.catch_up(clock.now_ms())
    return await compare_with_broker(engine)


async def refuse_clock_behind(engine: Engine) -> None:
    """Time that runs back would date exits before their entries."""
    stored_ms, now_ms = await engine.database.clock_ms(), engine.clock.now_ms()
    if now_ms < stored_ms - CLOCK_SLACK_MS:
        behind_s = (stored_ms - now_ms) // 1000
        raise SurfaceError(
            f"the clock is {behind_s} s behind the last commit of this home",
            hint="set the system's clock (or the rehearsal's --at), or wait until it has passed",
            code="clock_behind",
        )


async def examine_damage(engine: Engine) -> StartCheck:
    """Damage shuts the entry gate for good; exits stay possible."""
    found = await engine.database.read_fn(lambda conn: look(conn, code=code_identity()))
    if found.fault is not None:
        await tell_damage(engine, found.fault)
    elif found.verified[0] > 0:
        await engine.queue.call(lambda ws: remember(ws, found.verified))
    return found


async def tell_damage(engine: Engine, fault: str) -> None:
    """Shut the entry gate for damage; no command opens it again."""
    await shut_gate(engine, "damage", fault)
    await engine.queue.note("damage", {"detail": fault})
    LOG.critical("start.damage", extra={"detail": fault})


async def compare_with_broker(engine: Engine) -> Sequence[Difference]:
    """Differences with the broker (given back) shut the entry gate until a reconcile job finds none.

    A broker that does not answer is one: nobody knows what it holds.
    """
    session = engine.world.calendar.session_at(engine.clock.now_ms())
    differences = await _agreed(engine, session)
    payload: dict[str, JsonValue] = {"session": session.date, "reason": "start"}
    await engine.queue.publish(
        NewJob(Step.RECONCILE, payload, idem_key=f"{session.date}/boot-{engine.queue.epoch}")
    )
    return differences


async def _agreed(engine: Engine, session: Session) -> Sequence[Difference]:
    """Compare and store what follows; who wrote in between (the broker's stream, a person) makes it compare again."""
    async for attempt in AsyncRetrying(
        stop=stop_after_attempt(GUARD_TRIES), retry=retry_if_exception_type(GuardFailedError), reraise=True
    ):
        with attempt:
            tx, reconciler = Tx(), in_journal(engine.reconciler())
            try:
                differences = await reconciler.compare(tx)
            except RetryError as error:
                tx, differences = Tx(), [Difference(DifferenceKind.UNREACHABLE, "broker", str(error))]
                await reconciler.keep_gate(session, differences, tx)
            if not tx.is_empty:
                await engine.queue.commit(tx)
    return differences


async def shut_gate(engine: Engine, reason: str, detail: str = "") -> None:
    """No entries; the journal says why."""
    tx = Tx()
    for fact in told("gate", reason, {"detail": detail}, [ControlChanged(gate_reason=reason)]):
        tx.put(fact)
    await engine.queue.commit(tx)
