"""Serving in this process: a socket, a server that leaves signals alone, a note that says where it is."""

import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from finagent.context import SurfaceError

AGENT_FILE = "agent.json"
GRACE_S = 2
KEEP_ALIVE_S = 30
"""Longer than clients keep an idle connection (httpx: 5 s), or one is asked on just as it is closed."""


class QuietServer(uvicorn.Server):
    """A server without access log whose owner handles the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the agent."""
        yield


def bind(host: str, port: int, *, is_fixed: bool) -> tuple[socket.socket, bool]:
    """A listening socket and whether another port than asked was taken, because that one is in use.

    SurfaceError when a fixed port is in use.
    """
    try:
        return _listening(host, port), False
    except OSError as error:
        if is_fixed:
            raise SurfaceError(
                f"cannot listen on {host}:{port}: {error.strerror}",
                hint="Choose another with --port, or --port 0 for a free one",
                code="port_in_use",
            ) from None
    return _listening(host, 0), True


def free_port(preferred: int) -> int:
    """The preferred port of the loopback where nobody has it, else a free one."""
    for port in (preferred, 0):
        with contextlib.suppress(OSError), _listening("127.0.0.1", port) as found:
            return int(found.getsockname()[1])
    raise SurfaceError("no free port on 127.0.0.1", hint="End some of what listens there", code="no_port")


def address(listening: socket.socket) -> str:
    """Where a person or a program on this machine reaches it."""
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, listening: socket.socket) -> AsyncIterator[QuietServer]:
    """Serve while the block runs, then stop within a few seconds."""
    import asyncio

    server = QuietServer(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=GRACE_S,
            timeout_keep_alive=KEEP_ALIVE_S,
            ws="none",
        )
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[listening]), name="http")
        try:
            yield server
        finally:
            server.should_exit = True


@contextlib.contextmanager
def announced(home: Path, url: str, started_at: str) -> Iterator[None]:
    """``agent.json`` (mode 0600) says where the agent answers while the block runs."""
    path = home / AGENT_FILE
    write_note(path, {"pid": os.getpid(), "url": url, "started_at": started_at})
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def write_note(path: Path, note: dict[str, str | int]) -> None:
    """Replace a small JSON file of mode 0600 in one step."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(note, file)
    fresh.replace(path)


def _listening(host: str, port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(128)
    except OSError:
        found.close()
        raise
    found.setblocking(False)
    return found
