"""The broker that lives in the agent's own database: the paper venue or, where a person trades by hand, the desk."""

from finagent.adapters.brokers.manual import ManualBroker
from finagent.adapters.brokers.paper import PaperBroker, VenueRules
from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.bootstrap.world import World
from finagent.ports import Clock, OrderExecutionPort

MANUAL = "manual"


def own_broker(
    name: str, venue: VenueRules, world: World, *, queue: SqliteJobQueue, database: Database, clock: Clock
) -> OrderExecutionPort:
    """The broker of a name; a run that is played has the paper venue, whatever the settings name."""
    if name == MANUAL:
        return ManualBroker(
            writer=queue,
            reader=database,
            market=world.market,
            calendar=world.calendar,
            clock=clock,
            currency=venue.currency,
            start_equity_e8=venue.start_equity_e8,
            allow_shorts=venue.allow_shorts,
        )
    return PaperBroker(
        writer=queue,
        reader=database,
        market=world.market,
        calendar=world.calendar,
        clock=clock,
        rules=venue,
    )
