"""The simulated broker as a server on 127.0.0.1: an async context manager."""

import asyncio
import contextlib
import hmac
import json
from pathlib import Path
from types import TracebackType

from finagent.runtime.tasks import spawn
from finagent.simulation.alpaca.book import Asset, Book
from finagent.simulation.alpaca.control import Control
from finagent.simulation.alpaca.faults import BadOrderError, Fault, Faults
from finagent.simulation.alpaca.hours import Hours, VenueClock
from finagent.simulation.alpaca.keeping import Journal, Witness
from finagent.simulation.alpaca.rest import Rest
from finagent.simulation.alpaca.rules import RefusedError
from finagent.simulation.alpaca.stream import Streams
from finagent.simulation.alpaca.venue import Venue
from finagent.simulation.alpaca.wire import DROP, Listener, Reply, Request, reply

HOST = "127.0.0.1"
CONTROL = "/_control/"
TICK_S = 0.05
KEY, SECRET = "PKSIMULATED", "simulated-secret-key"


class AlpacaServer:
    """``async with AlpacaServer() as server``: ``server.url``, and ``server.control.run(name, {...})`` in process.

    ``state`` keeps the book over restarts, ``witness`` records every accepted order. Over HTTP the control door is
    ``POST /_control/<name>`` with ``authorization: Bearer <control_token>``; without a token it does not exist.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        state: Path | None = None,
        witness: Path | None = None,
        control_token: str | None = None,
        hours: Hours | None = None,
    ) -> None:
        self._port, self._token = port, control_token
        self.book = Book()
        self.venue = Venue(self.book, VenueClock(), hours or Hours())
        self.faults = Faults()
        self.streams = Streams(self._is_known, self.faults)
        self.rest = Rest(self.venue)
        self.control = Control(self.venue, self.rest, self.streams, self.faults, self.arrive)
        self.control.keys = {KEY: SECRET}
        self._journal = None if state is None else Journal(state)
        self._witness = None if witness is None else Witness(witness)
        self._listener = Listener(self._answer, self.streams.serve)
        self._ticking: asyncio.Task[None] | None = None
        self._late: list[Request] = []
        self._arriving: set[asyncio.Task[None]] = set()
        self.requests: list[tuple[str, str]] = []
        self._news = asyncio.Event()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self._port}"

    async def start(self) -> None:
        """Load what is kept and listen."""
        if self._journal is not None:
            self._journal.load(self.book)
        if self._witness is not None:
            self.venue.on_accepted = self._witness.accepted
        self.venue.on_change = self._keep
        self.venue.on_event = self.streams.tell
        self._port = await self._listener.start(HOST, self._port)
        self._ticking = spawn(self._tick(), "simulated-alpaca")

    async def stop(self) -> None:
        """Close every connection; late orders that have not arrived never will."""
        for task in (self._ticking, *self._arriving):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        await self._listener.stop()
        for file in (self._journal, self._witness):
            if file is not None:
                file.close()

    async def __aenter__(self) -> "AlpacaServer":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def add_asset(self, symbol: str, price: str, **more: object) -> None:
        """A stock to trade."""
        self.control.run("asset", {"symbol": symbol, "price": price, **more})

    async def asked(self, method: str, path: str, times: int = 1) -> None:
        """Wait until so many requests of a kind have come."""
        while self.requests.count((method, path)) < times:
            self._news.clear()
            await self._news.wait()

    @property
    def assets(self) -> dict[str, Asset]:
        """The stocks by symbol."""
        return self.book.assets

    async def _answer(self, request: Request) -> Reply:
        if request.path.startswith(CONTROL):
            return self._controlled(request)
        self.requests.append((request.method, request.path))
        self._news.set()
        self.venue.pass_time()
        if not self._is_known(
            request.headers.get("apca-api-key-id"), request.headers.get("apca-api-secret-key")
        ):
            return reply({"code": 40110000, "message": "request is not authorized"}, 401)
        fault = self.faults.next(request)
        return self.rest.answer(request) if fault is None else self._misbehave(fault, request)

    def _misbehave(self, fault: Fault, request: Request) -> Reply:
        if fault.action == "drop_before":
            return DROP
        if fault.action == "late":
            self._arrive_later(fault.seconds, request)
            return Reply(status=fault.status, body=fault.body.encode(), headers=fault.headers)
        if fault.action in ("answer", "hang") and not fault.is_done:
            body = fault.body.encode()
            return Reply(status=fault.status, body=body, headers=fault.headers, hang=fault.action == "hang")
        done = self.rest.answer(request)
        if fault.action == "drop_reply":
            return DROP
        if fault.action == "hang":
            return Reply(hang=True)
        if fault.action == "answer":
            return Reply(status=fault.status, body=fault.body.encode(), headers=fault.headers)
        if fault.action == "delay":
            return Reply(status=done.status, body=done.body, delay_s=fault.seconds)
        if fault.action == "drip":
            return Reply(status=done.status, body=done.body, drip_s=fault.seconds)
        if fault.action == "endless":
            return Reply(status=done.status, is_endless=True)
        return Reply(status=done.status, body=fault.body.encode() or b"<html>not json", headers=fault.headers)

    def _arrive_later(self, seconds: float, request: Request) -> None:
        """The order is under way while the client gives up on it; after ``seconds``, or by the command ``arrive``."""
        self._late.append(request)
        if seconds > 0:
            task = spawn(self._arrive_after(seconds), "late-order")
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    async def _arrive_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.arrive()

    def arrive(self) -> int:
        """Late orders come in; a rule may still refuse one, as a duplicate too. Gives how many were taken."""
        late, self._late, taken = self._late, [], 0
        for request in late:
            with contextlib.suppress(RefusedError):
                self.venue.submit(request.json())
                taken += 1
        return taken

    def _controlled(self, request: Request) -> Reply:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._token is None:
            return reply({"code": 40410000, "message": "endpoint not found."}, 404)
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return reply({"message": "this door opens with the control token only"}, 401)
        try:
            return reply(self.control.run(request.path.removeprefix(CONTROL), request.json()))
        except BadOrderError as error:
            return reply({"message": str(error)}, 400)
        except RefusedError as refusal:
            return reply(refusal.document(), refusal.status)

    def _is_known(self, key: object, secret: object) -> bool:
        known = self.control.keys.get(str(key))
        return known is not None and hmac.compare_digest(known.encode(), str(secret).encode())

    def _keep(self, kind: str, row: object) -> None:
        if self._journal is not None:
            self._journal.write(self.book, kind, row)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.venue.pass_time()


def ready_line(server: AlpacaServer) -> str:
    """What the process prints once it listens."""
    return json.dumps({"url": server.url})
