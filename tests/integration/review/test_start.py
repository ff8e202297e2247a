"""A start looks before it trades: damage and differences shut the entry gate, what was left over night is closed."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from finagent.bootstrap.agent import Agent, start_agent
from finagent.bootstrap.homes import DATABASE
from finagent.bootstrap.live import ReconcileTimer
from finagent.domain.steps import Step
from finagent.ports import NewJob
from finagent.settings import Settings
from tests.integration.services.market import local
from tests.integration.services.world import DAY, NEXT, PATIENCE_S, Stage

REPRICE: dict[str, Any] = {
    "schedule": {"scans": [{"name": "reprice", "at": "09:25", "kind": "plan"}]},
    "scan": {"min_premarket_volume": 0, "min_premarket_trades": 1, "max_indication_age_s": 3600},
    "planning": {"time_stop_minutes": None},
}


async def gate(agent: Agent) -> str | None:
    return (await agent.engine.store.control()).gate_reason


async def quiet(agent: Agent) -> None:
    """Every job that is due is done."""
    await asyncio.wait_for(agent.engine.queue.wait_quiescent(), PATIENCE_S)


async def compare(agent: Agent) -> bool:
    """What the timer does every half minute."""
    is_left = await ReconcileTimer(agent.engine).run_once()
    await quiet(agent)
    return is_left


def edit(home: Path, *statements: str) -> None:
    """Somebody else's hand on the file of an agent that is down."""
    connection = sqlite3.connect(home / DATABASE)
    with connection:
        for sql in statements:
            connection.execute(sql)
    connection.close()


async def test_start_on_a_broken_journal_shuts_the_gate_and_rearm_does_not_open_it(home: Path) -> None:
    agent = await start_agent(Settings(), home)
    try:
        await agent.control.note("all is well", ref="", identity="ann")
        assert await gate(agent) is None
    finally:
        await agent.stop()
    edit(
        home,
        "DROP TRIGGER journal_no_update",
        "UPDATE journal SET data = replace(data, 'all is well', 'all is bad') WHERE kind = 'note'",
    )
    agent = await start_agent(Settings(), home)
    try:
        await quiet(agent)
        assert await gate(agent) == "damage"
        await agent.control.rearm(identity="ann")
        await quiet(agent)
        assert await gate(agent) == "damage"
    finally:
        await agent.stop()


async def test_start_with_a_position_of_nobody_shuts_the_gate_until_it_is_gone(home: Path) -> None:
    agent = await start_agent(Settings(), home)
    await agent.stop()
    edit(
        home, "INSERT INTO venue_position (symbol, quantity, mark, mark_at) VALUES ('EXK', 10000, 100000, 1)"
    )
    agent = await start_agent(Settings(), home)
    try:
        assert await gate(agent) == "reconcile"
        await quiet(agent)
        assert await gate(agent) == "reconcile"
        assert await compare(agent) is True
        assert await gate(agent) == "reconcile"
        sql = "DELETE FROM venue_position WHERE symbol = 'EXK'"
        await agent.engine.queue.call(lambda ws: ws.conn.execute(sql).rowcount)
        assert await compare(agent) is True
        assert await gate(agent) is None
        assert await compare(agent) is False
    finally:
        await agent.stop()


async def test_start_after_a_mended_difference_opens_the_gate(home: Path) -> None:
    agent = await start_agent(Settings(), home)
    await agent.stop()
    edit(
        home, "INSERT INTO venue_position (symbol, quantity, mark, mark_at) VALUES ('EXK', 10000, 100000, 1)"
    )
    agent = await start_agent(Settings(), home)
    await agent.stop()
    edit(home, "DELETE FROM venue_position")
    agent = await start_agent(Settings(), home)
    try:
        await quiet(agent)
        assert await gate(agent) is None
    finally:
        await agent.stop()


async def test_stranded_position_is_closed_at_the_next_open_and_todays_plans_stay(home: Path) -> None:
    """Halted to the close, held over night; the start is at 09:26 of the next day, after its plan was asked for."""
    async with Stage(home, dates=(DAY, NEXT), mode="approve", settings=REPRICE, is_live=True) as stage:
        stage.market.day("AAA", DAY, silent_from="15:30")
        stage.market.day("AAA", NEXT, previous=100)
        stage.market.premarket("AAA", DAY, high=100.5, low=99.5, close=100)
        stage.market.day("BBB", NEXT)
        stage.market.premarket("BBB", NEXT, high=100.5, low=99.5, close=100)
        stage.market.halts.append(("AAA", local(DAY, "15:30"), local(NEXT, "09:30")))
        await stage.until("09:26")
        await stage.answer((await stage.plan()).plan.plan_id)
        await stage.until("09:26", NEXT)
        assert await stage.states() == {"AAA": "open"}
        assert (await stage.states(NEXT))["BBB"] == "pending"
        start = {"session": NEXT, "reason": "start"}
        await stage.publish(NewJob(Step.RECONCILE, dict(start), idem_key="boot"))
        assert (await stage.engine.store.control()).gate_reason == "reconcile"
        await stage.until("09:29", NEXT)
        assert await stage.states() == {"AAA": "open"}
        await stage.until("09:32", NEXT)
        assert await stage.states() == {"AAA": "closed flatten"}
        assert (await stage.states(NEXT))["BBB"] == "pending"
        again = {"session": NEXT, "reason": "timer"}
        await stage.publish(NewJob(Step.RECONCILE, dict(again), idem_key="later"))
        assert (await stage.engine.store.control()).gate_reason is None
