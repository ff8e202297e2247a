"""The paper broker: a venue of its own in the agent's database file, filled by the shared fill model."""

from finagent.adapters.brokers.paper.broker import (
    PaperBroker,
    VenueReader,
    VenueSession,
    VenueWriter,
    account_of,
)
from finagent.adapters.brokers.paper.matching import match
from finagent.adapters.brokers.paper.rules import VenueEvent, VenueRules

__all__ = [
    "PaperBroker",
    "VenueEvent",
    "VenueReader",
    "VenueRules",
    "VenueSession",
    "VenueWriter",
    "account_of",
    "match",
]
