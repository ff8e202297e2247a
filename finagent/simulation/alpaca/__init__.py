"""A broker that speaks Alpaca's documented API on 127.0.0.1, enforces its order rules and misbehaves on command."""

from finagent.simulation.alpaca.hours import Day, Hours, local_ms
from finagent.simulation.alpaca.keeping import read_witness
from finagent.simulation.alpaca.process import AlpacaProcess, ControlClient, ControlRefusedError
from finagent.simulation.alpaca.server import KEY, SECRET, AlpacaServer

__all__ = [
    "KEY",
    "SECRET",
    "AlpacaProcess",
    "AlpacaServer",
    "ControlClient",
    "ControlRefusedError",
    "Day",
    "Hours",
    "local_ms",
    "read_witness",
]
