"""The agent in one process: services of `bootstrap`, HTTP of `api`, the page beside; and the ASGI factory."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from finagent.api.build import create_api
from finagent.api.callers import Callers
from finagent.api.serving import address, announced, bind, free_port, serving, write_note
from finagent.api.token import local_token, page_token
from finagent.context import (
    ApplicationContext,
    CommandResult,
    Commands,
    Document,
    ExitCode,
    SurfaceError,
    Views,
)
from finagent.runtime import garbage
from finagent.runtime.clock import SystemClock
from finagent.runtime.denials import Denials
from finagent.runtime.metrics import Metrics
from finagent.runtime.tasks import spawn, wait_first
from finagent.runtime.tokens import TokenBook, hash_of
from finagent.settings import Settings, load_settings

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

    from finagent.bootstrap import Agent

INTERRUPTED = 130
PAGE_START_S = 20.0
PAGE_STOP_S = 3.0
LINGER_S = 600.0
POLL_S = 0.25
Announce = Callable[[str], None]


class Served(Protocol):
    """What can be served: an agent of `bootstrap`, or its demo."""

    context: ApplicationContext
    metrics: Metrics
    denials: Denials

    def health(self) -> Document: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """How `orchestrate` was called; ``ask`` runs beside the services and tells the plans that wait."""

    dashboard: bool = False
    port: int | None = None
    at: str | None = None
    pace: int = 1
    announce: Announce
    ask: Callable[[Views], Coroutine[object, object, None]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRequest:
    """How `demo` was called; ``narrate`` runs beside the session, ``report`` is given the day's document."""

    speed: float | None = None
    seed: int | None = None
    session: str | None = None
    hold_s: float = 30.0
    dashboard: bool = True
    approve: str = "policy"
    port: int | None = None
    is_attended: bool = False
    announce: Announce
    narrate: Callable[[Views], Coroutine[object, object, None]]
    report: Callable[[Document], None]


def http_surface(served: Served, settings: Settings, home: Path, *, shown_by: str | None = None) -> "FastAPI":
    """The HTTP application over a running agent: for the home's own token, those of its book, and a page's."""
    callers = Callers(
        local_hash=hash_of(local_token(home)),
        book=TokenBook(home),
        page_hash=hash_of(shown_by) if shown_by is not None else None,
    )
    return create_api(
        served.context,
        callers=callers,
        registry=served.metrics.registry,
        health=served.health,
        modules=settings.api.modules,
        allowed_hosts=settings.api.allowed_hosts,
        on_refused=served.denials.note,
    )


def make_app() -> "Application":
    """The ASGI factory for development: ``uvicorn --factory finagent.app:make_app --reload``.

    Settings come from ``settings.yaml`` under ``FINAGENT_ENV`` and the environment, the home from
    ``FINAGENT_HOME`` or ``./var``.
    """
    return Application(load_settings(None), Path(os.environ.get("FINAGENT_HOME") or "var"))


class Application:
    """An ASGI application whose lifespan starts and stops the agent."""

    def __init__(self, settings: Settings, home: Path) -> None:
        self._settings = settings
        self._home = home
        self._inner: FastAPI | None = None
        self._noted: object = None

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        assert self._inner is not None, "the server asked before the start was complete"
        self._note(scope)
        await self._inner(scope, receive, send)

    async def _live(self, receive: "Receive", send: "Send") -> None:
        from finagent.bootstrap import start_agent

        await receive()
        try:
            agent = await start_agent(self._settings, self._home)
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        self._inner = http_surface(agent, self._settings, self._home)
        self._note({"server": ("127.0.0.1", self._settings.api.port)})
        await send({"type": "lifespan.startup.complete"})
        await receive()
        (self._home / "agent.json").unlink(missing_ok=True)
        await agent.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def _note(self, scope: "Scope") -> None:
        """Say in agent.json where requests really arrive: the factory is not told the server's port."""
        server = scope.get("server")
        if not server or server[1] is None or self._noted == server[1]:
            return
        self._noted = server[1]
        url = f"http://127.0.0.1:{server[1]}"
        write_note(self._home / "agent.json", {"pid": os.getpid(), "url": url, "started_at": _now()})


async def run_agent(settings: Settings, home: Path, *, options: AgentOptions) -> int:
    """Run services, scheduler and HTTP until SIGTERM (status 0) or Ctrl-C (status 130).

    A stop never flattens: it leaves stops at the broker and says what rests there.
    """
    from finagent.bootstrap import resting, start_agent

    port = settings.api.port if options.port is None else options.port
    listening, is_other = bind(settings.api.host, port, is_fixed=options.port not in (None, 0))
    with contextlib.closing(listening), stop_signals() as stop:
        if is_other:
            options.announce(f"port {port} is in use: listening on another")
        agent = await start_agent(settings, home, at=options.at, pace=options.pace)
        garbage.settle()
        shown = page_token()
        try:
            async with serving(http_surface(agent, settings, home, shown_by=shown), listening):
                with announced(home, address(listening), _now()):
                    options.announce(f"finagent runs at {address(listening)} (process {os.getpid()})")
                    async with (
                        page(
                            settings,
                            home,
                            listening,
                            options.announce,
                            token=shown,
                            is_wanted=options.dashboard,
                        ),
                        _beside(options.ask, agent.context.views),
                    ):
                        await wait_first(stop.wait(), _until_failed(agent), name="agent")
            options.announce(await resting(agent.context))
        finally:
            await agent.stop()
    return stop.status


async def run_demo(settings: Settings, home: Path, *, request: DemoRequest) -> int:
    """Run one session of the built-in market with HTTP and the page around it, then report the day."""
    from finagent.bootstrap import DemoOptions, start_demo

    port = settings.api.port if request.port is None else request.port
    listening, _ = bind("127.0.0.1", port, is_fixed=request.port not in (None, 0))
    demo_options = DemoOptions(
        speed=request.speed,
        seed=request.seed,
        session=request.session,
        hold_s=request.hold_s if request.approve == "ask" else 0.0,
        approve=request.approve,
    )
    with contextlib.closing(listening), stop_signals() as stop:
        demo = await start_demo(settings, home, demo_options)
        shown = page_token()
        try:
            async with (
                serving(http_surface(demo, settings, home, shown_by=shown), listening),
                page(settings, home, listening, request.announce, token=shown, is_wanted=request.dashboard),
            ):
                request.announce(f"the demo's API: {address(listening)}")
                day = spawn(demo.run(), "demo")
                beside = [
                    spawn(ask_for_first(demo.context, request), "ask"),
                    spawn(request.narrate(demo.context.views), "narrate"),
                ]
                await wait_first(_ended(day), stop.wait(), name="demo-end")
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
                if not day.done():
                    day.cancel()
                    await asyncio.gather(day, return_exceptions=True)
                    return stop.status
                request.report(day.result())
                if request.is_attended and request.dashboard:
                    request.announce(
                        "The page stays up for you to look around: Enter or Ctrl-C ends the demo."
                    )
                    await wait_first(stop.wait(), read_line(), asyncio.sleep(LINGER_S), name="linger")
        finally:
            await demo.stop()
    return 0


async def act_until_flat(
    settings: Settings,
    home: Path,
    *,
    act: Callable[[Commands], Awaitable[CommandResult]],
    announce: Announce,
) -> CommandResult:
    """Start a headless agent, carry out a closing command, go on until all is closed or a signal comes."""
    from finagent.bootstrap import resting, start_agent

    with stop_signals() as stop:
        agent = await start_agent(settings, home)
        try:
            commands = agent.context.commands
            if commands is None:
                raise SurfaceError(
                    f"{home} can only be read here", hint="Mend its permissions", code="read_only"
                )
            result = await act(commands)
            if not result.is_done:
                return result
            announce(result.message)
            await wait_first(stop.wait(), _until_flat(agent.context), name="until-flat")
            rest = await resting(agent.context)
        finally:
            await agent.stop()
    if stop.is_set():
        return CommandResult(
            code="interrupted", message=f"stopped before all was closed. {rest}", exit_code=ExitCode.ERROR
        )
    return CommandResult(code=result.code, message=f"{result.message} {rest}", data=result.data)


class StopSignal(asyncio.Event):
    """Set by SIGTERM or SIGINT; remembers which."""

    status: int = 0


@contextlib.contextmanager
def stop_signals() -> Iterator[StopSignal]:
    """SIGTERM and Ctrl-C set the event; a second one ends the process as usual."""
    stop, loop = StopSignal(), asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)

    def hear(number: signal.Signals) -> None:
        stop.status = INTERRUPTED if number is signal.SIGINT else 0
        stop.set()
        for each in signals:
            loop.remove_signal_handler(each)

    for each in signals:
        loop.add_signal_handler(each, hear, each)
    try:
        yield stop
    finally:
        for each in signals:
            loop.remove_signal_handler(each)


@contextlib.asynccontextmanager
async def page(
    settings: Settings,
    home: Path,
    listening: socket.socket,
    announce: Announce,
    *,
    token: str,
    is_wanted: bool,
) -> AsyncIterator[None]:
    """The dashboard as a process beside the agent while the block runs; its failure is told, never ours."""
    if not is_wanted:
        yield
        return
    port = free_port(settings.dashboard.port)
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "FINAGENT_API_URL": address(listening),
        "FINAGENT_API_TOKEN": token,
        "FINAGENT_PAGE_PORT": str(port),
    }
    with (logs / "dashboard.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "finagent.dashboard", env=environment,
            stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log,
        )  # fmt: skip
        teller = spawn(_tell_page(port, announce, log_path=logs / "dashboard.log"), "page")
        try:
            yield
        finally:
            teller.cancel()
            await _end(process)


@contextlib.asynccontextmanager
async def _beside(
    watcher: Callable[[Views], Coroutine[object, object, None]] | None, views: Views
) -> AsyncIterator[None]:
    """A watcher of the views while the block runs; its failure never is the agent's."""
    if watcher is None:
        yield
        return
    task = spawn(watcher(views), "ask")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask_for_first(context: ApplicationContext, request: DemoRequest) -> None:
    """Show the first plan that waits and, at a terminal, take the answer there as well as on the page."""
    if request.approve != "ask":
        return
    waiting: list[Document] = []
    while not waiting:
        await asyncio.sleep(POLL_S)
        waiting = await _pending(context)
    plan = waiting[0]
    plan_id = str(plan.get("plan_id"))
    request.announce(
        f"First plan: {plan.get('symbol')} {plan.get('setup')}, {plan.get('quantity')} shares, "
        f"entry {plan.get('entry')}, stop {plan.get('stop')}, target {plan.get('target')}. "
        f"The clock waits up to {request.hold_s:.0f} s."
    )
    if not request.is_attended or context.commands is None:
        return
    request.announce("Approve it on the page, or here: y or n, then Enter")
    answer = spawn(read_line(), "answer")
    try:
        while not answer.done() and any(row.get("plan_id") == plan_id for row in await _pending(context)):
            await asyncio.wait([answer], timeout=POLL_S)
        if not answer.done():
            return
        if answer.result().strip().lower().startswith("y"):
            result = await context.commands.approve(plan_id, channel="cli", identity="cli:demo")
        else:
            result = await context.commands.reject(plan_id, channel="cli", identity="cli:demo")
        request.announce(result.message)
    finally:
        answer.cancel()


async def read_line() -> str:
    """The next line of the terminal, without a thread that would outlive the wait."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def take() -> None:
        if not line.done():
            line.set_result(sys.stdin.readline())

    loop.add_reader(sys.stdin, take)
    try:
        return await line
    finally:
        loop.remove_reader(sys.stdin)


async def _pending(context: ApplicationContext) -> list[Document]:
    found = (await context.views.plans(state="pending")).get("plans")
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


async def _until_flat(context: ApplicationContext) -> None:
    while True:
        held = (await context.views.positions()).get("positions")
        closing = (await context.views.external()).get("closing")
        if not held and not closing and not (await context.views.orders(open_only=True)).get("orders"):
            return
        await asyncio.sleep(POLL_S)


async def _until_failed(agent: "Agent") -> None:
    """Raise SurfaceError when the services have ended by themselves."""
    while True:
        if agent.is_failed:
            reason = agent.halt_reason or "its services ended"
            raise SurfaceError(
                f"the agent halted: {reason}", hint="the log says more; mend it, start again", code="halted"
            )
        await asyncio.sleep(POLL_S)


async def _ended(task: asyncio.Task[Document]) -> None:
    await asyncio.wait([task])


async def _tell_page(port: int, announce: Announce, *, log_path: Path) -> None:
    """Announce the page once it answers."""
    for _ in range(int(PAGE_START_S / POLL_S)):
        await asyncio.sleep(POLL_S)
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            announce(f"dashboard: http://127.0.0.1:{port}")
            return
    announce(f"the dashboard did not start; {log_path} says why")


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process: closing its stdin asks it to go, then signals."""
    if process.stdin is not None:
        process.stdin.close()
    for force in (process.terminate, process.kill):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), PAGE_STOP_S)
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            force()
    await process.wait()


def _now() -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(SystemClock().now_ms() / 1000, UTC).isoformat(timespec="seconds")
