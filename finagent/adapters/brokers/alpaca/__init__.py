"""Alpaca: orders over REST, updates over its stream; paper, live, or a server on this machine."""

from finagent.adapters.brokers.alpaca.broker import AlpacaBroker
from finagent.adapters.brokers.alpaca.endpoint import Endpoint, Keys, endpoint, keys_from
from finagent.adapters.brokers.alpaca.facts import AlpacaFacts
from finagent.adapters.brokers.alpaca.http import AlpacaHttp, Patience
from finagent.adapters.brokers.alpaca.stream import AlpacaStream

__all__ = [
    "AlpacaBroker",
    "AlpacaFacts",
    "AlpacaHttp",
    "AlpacaStream",
    "Endpoint",
    "Keys",
    "Patience",
    "endpoint",
    "keys_from",
]
