"""The drill's broker: the simulated Alpaca in a process of its own, its faults, and what it saw."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from finagent.domain.money import price_text
from finagent.simulation.alpaca.keeping import read_witness
from finagent.simulation.alpaca.process import AlpacaProcess
from finagent.simulation.alpaca.server import KEY, SECRET
from finagent.simulation.drill.judge import Accepted, Evidence, Execution

EQUITY = "1000000"
ORDER_FAULTS: tuple[dict[str, object], ...] = (
    {"on": "POST /v2/orders", "action": "drop_reply"},
    {"on": "POST /v2/orders", "action": "answer", "status": 504, "is_done": True},
    {"on": "POST /v2/orders", "action": "drop_before"},
    {"on": "POST /v2/orders", "action": "answer", "status": 429, "headers": {"retry-after": "soon"}},
    {"on": "DELETE /v2/orders", "action": "drop_reply"},
    {"on": "PATCH /v2/orders", "action": "drop_reply"},
    {"on": "GET /v2/orders", "action": "answer", "status": 500},
)
STREAM_FAULTS = ("duplicate", "shuffle", "close", "mute")


class Venue:
    """The hand on the broker's process; every call is a request to its control door."""

    def __init__(self, broker: AlpacaProcess, witness: Path, chance: random.Random) -> None:
        self._broker, self._witness, self._chance = broker, witness, chance

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, folder: Path, *, seed: int) -> "AsyncIterator[Venue]":
        """A broker with a rich account; it ends with the block."""
        witness = folder / "witness-broker.log"
        broker = AlpacaProcess(state=folder / "broker-state.jsonl", witness=witness, calendar="exchange")
        await asyncio.to_thread(broker.start)
        try:
            venue = cls(broker, witness, random.Random(seed))
            await venue._run("account", {"cash": EQUITY, "last_equity": EQUITY, "multiplier": 2})
            await venue._run("mode", {"immediate": True})
            yield venue
        finally:
            await asyncio.to_thread(broker.stop)

    @property
    def url(self) -> str:
        """Where its API listens."""
        return self._broker.url

    @property
    def environment(self) -> dict[str, str]:
        """The keys, as a user's environment has them."""
        return {"ALPACA_API_KEY": KEY, "ALPACA_SECRET_KEY": SECRET}

    async def set_clock(self, numbers: Mapping[str, int]) -> None:
        """Go with the agent's clock."""
        await self._run("clock", dict(numbers))

    async def set_prices(self, prices_e4: Mapping[str, int]) -> None:
        """Every stock trades at its price."""
        await self._run("market", {"prices": {name: price_text(price) for name, price in prices_e4.items()}})

    async def misbehave(self) -> None:
        """The next order, or the stream, goes wrong in some way; one at a time, else every order would."""
        await self.behave()
        if self._chance.random() < 0.25:
            await self._run("stream", {"action": self._chance.choice(STREAM_FAULTS), "count": 1})
        else:
            await self._run("fault", self._chance.choice(ORDER_FAULTS))

    async def behave(self) -> None:
        """Nothing goes wrong any more."""
        await self._run("clear", {})

    async def faults(self) -> dict[str, int]:
        """How often each kind of fault has happened."""
        fired = (await self._run("look", {}))["fired"]
        return (
            {str(kind): int(str(count)) for kind, count in fired.items()} if isinstance(fired, dict) else {}
        )

    async def evidence(self, acknowledged: Sequence[str]) -> Evidence:
        """Everything the broker accepted and filled, and what it still has."""
        seen = await self._run("look", {})
        orders, fills, positions = seen["orders"], seen["fills"], seen["positions"]
        assert isinstance(orders, list)
        assert isinstance(fills, list)
        assert isinstance(positions, dict)
        names = {str(order["id"]): str(order["client_order_id"]) for order in orders}
        ended = ("filled", "canceled", "expired", "rejected", "replaced", "done_for_day")
        accepted = await asyncio.to_thread(read_witness, self._witness)
        return Evidence(
            accepted=[
                Accepted(client_order_id=str(line["client_order_id"]), symbol=str(line["symbol"]))
                for line in accepted
            ],
            executions=[
                Execution(
                    client_order_id=names[str(fill["order_id"])],
                    symbol=str(fill["symbol"]),
                    side=str(fill["side"]),
                    quantity=Decimal(str(fill["qty"])),
                )
                for fill in fills
            ],
            open_ids=[str(order["client_order_id"]) for order in orders if order["status"] not in ended],
            positions={str(k): Decimal(str(v)) for k, v in positions.items() if Decimal(str(v)) != 0},
            acknowledged=list(acknowledged),
        )

    async def _run(self, name: str, order: Mapping[str, object]) -> dict[str, object]:
        return await asyncio.to_thread(self._broker.control.run, name, order)
