"""A small HTTP/1.1 and WebSocket listener of its own: a server that must misbehave needs the socket in its hands."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 1024 * 1024
REASONS = {
    200: "OK",
    204: "No Content",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, whole."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    head: bytes = b""

    def json(self) -> dict[str, object]:
        """The body as an object; empty when it is none."""
        try:
            document = json.loads(self.body or b"{}")
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What goes back. ``drop`` closes the connection without a byte, ``drip_s`` sends byte by byte, ``is_endless``
    never stops sending, ``hang`` never answers.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    drip_s: float | None = None
    is_endless: bool = False
    hang: bool = False
    delay_s: float = 0.0


DROP = Reply(drop=True)
Answer = Callable[[Request], Awaitable[Reply]]
Stream = Callable[[Request, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def reply(document: object, status: int = 200, **headers: str) -> Reply:
    """A JSON answer."""
    return Reply(status=status, body=json.dumps(document).encode(), headers=headers)


class Listener:
    """Serves requests one after the other on each connection, and hands upgrades to ``stream``."""

    def __init__(self, answer: Answer, stream: Stream) -> None:
        self._answer, self._stream = answer, stream
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[object]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; gives the port."""
        self._server = await asyncio.start_server(self._connected, host, port, limit=HEAD_LIMIT)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close the door and every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (
            ConnectionError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            asyncio.CancelledError,
        ):
            pass  # the other side went away, or the server stops
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; False when the connection is over."""
        request = await _read(reader)
        if request is None:
            return False
        if request.headers.get("upgrade", "").lower() == "websocket":
            await self._stream(request, reader, writer)
            return False
        answer = await self._answer(request)
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        if answer.hang:
            await reader.read()
            return False
        if answer.drop:
            return False
        await _write(writer, answer)
        return answer.drip_s is None and not answer.is_endless


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lines = head.decode("latin-1").split("\r\n")
    method, _, rest = lines[0].partition(" ")
    target = urlsplit(rest.rpartition(" ")[0])
    headers = {
        name.strip().lower(): value.strip()
        for name, found, value in (line.partition(":") for line in lines[1:])
        if found
    }
    length = int(headers.get("content-length", "0") or 0)
    if length > BODY_LIMIT:
        return None
    body = await reader.readexactly(length) if length else b""
    return Request(
        method=method,
        path=target.path,
        query=dict(parse_qsl(target.query, keep_blank_values=True)),
        headers=headers,
        body=body,
        head=head,
    )


async def _write(writer: asyncio.StreamWriter, answer: Reply) -> None:
    headers = {"content-type": "application/json; charset=UTF-8", **answer.headers}
    if answer.is_endless:
        headers["transfer-encoding"] = "chunked"
    elif answer.status != 204:
        headers["content-length"] = str(len(answer.body))
    lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    if answer.is_endless:
        chunk = b"[" + b" " * 65_535
        while True:
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
    if answer.drip_s is not None:
        for byte in answer.body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(answer.drip_s)
    elif answer.status != 204:
        writer.write(answer.body)
    await writer.drain()
