"""The paper broker through the agent's own writer and database file."""

from pathlib import Path

from finagent.adapters.brokers.paper import PaperBroker, VenueRules, match
from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.domain.market import MINUTE_MS, Bar
from finagent.domain.orders import OrderState
from finagent.queue.job import JobPolicy, JobTypes
from finagent.runtime.clock import SystemTicker, VirtualClock
from tests.integration.paper.venue import SESSION, SHARE, T0, Calendar, Market, bracket


async def test_orders_accepted_and_filled_through_the_writer_survive_its_end(tmp_path: Path):
    clock = VirtualClock(T0)
    rules = VenueRules()
    bars = {"XYZ": Bar(T0, 1_000_000, 1_010_000, 990_000, 1_000_000, 100_000)}
    for boot in (1, 2):
        async with await Database.open(tmp_path / "agent.db", clock=clock) as database:
            queue = SqliteJobQueue(database, JobTypes({"work": JobPolicy(priority=1)}), clock, SystemTicker())
            await queue.start()
            broker = PaperBroker(
                writer=queue, reader=database, market=Market(), calendar=Calendar(), clock=clock, rules=rules
            )
            if boot == 1:
                await broker.submit(bracket(10))
                clock.advance(T0 + MINUTE_MS)
                events = await queue.call(
                    lambda s: match(s.conn, rules=rules, bars=bars, now_ms=s.now_ms, session=SESSION)
                )
                assert [event.leg for event in events] == ["entry"]
            found = await broker.find("entry")
            assert found is not None
            assert found.state is OrderState.FILLED
            assert [p.quantity_e4 for p in await broker.positions()] == [10 * SHARE]
            await queue.close()
