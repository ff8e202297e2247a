"""The agent in one process: how it is served, how it stops, how a demo runs around its session."""

import asyncio
import json
import os
import signal
from pathlib import Path

import httpx
import pytest

from finagent import app
from finagent.api.serving import bind
from finagent.app import AgentOptions, Application, DemoRequest, act_until_flat, make_app, run_agent, run_demo
from finagent.context import CommandResult, Commands, Document, ExitCode, SurfaceError, Views
from finagent.settings import load_settings
from tests.unit.api.home import memory_context


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own and an environment without ours."""
    for name in list(os.environ):
        if name.startswith("FINAGENT"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


class Lines(list[str]):
    """What was announced; a line can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._came = asyncio.Event()

    def append(self, line: str) -> None:
        super().append(line)
        self._came.set()

    async def told(self, beginning: str) -> str:
        """The first line that begins so, once it is there."""
        async with asyncio.timeout(30):
            while True:
                for line in self:
                    if line.startswith(beginning):
                        return line
                self._came.clear()
                await self._came.wait()


async def test_agent_serves_until_a_signal_and_says_what_rests(home: Path) -> None:
    lines = Lines()
    options = AgentOptions(port=0, announce=lines.append)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run_agent(load_settings(), home, options=options))
        url = (await lines.told("finagent runs at")).split()[3]
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            async with asyncio.timeout(10):
                while (await http.get("/readyz")).status_code != 200:
                    pass  # each question waits for its answer
            assert (await http.get("/livez")).status_code == 200
            assert "finagent_build_info" in (await http.get("/metrics")).text
            assert (await http.get("/api/v1/status")).status_code == 401
            token = (home / "token").read_text().strip()
            status = await http.get("/api/v1/status", headers={"Authorization": f"Bearer {token}"})
            assert status.json()["session"]["date"]
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(running, 10) == 0
    assert lines[-1] == "Nothing is open and nothing rests at the broker."
    assert not (home / "agent.json").exists()


async def test_port_in_use_is_told_and_another_taken(home: Path) -> None:
    taken, _ = bind("127.0.0.1", 0, is_fixed=False)
    port = taken.getsockname()[1]
    settings = load_settings()
    api = settings.api.model_copy(update={"port": port})
    lines = Lines()
    options = AgentOptions(announce=lines.append)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(
            run_agent(settings.model_copy(update={"api": api}), home, options=options)
        )
        await lines.told(f"port {port} is in use")
        await lines.told("finagent runs at")
        os.kill(os.getpid(), signal.SIGINT)
        assert await asyncio.wait_for(running, 10) == 130
    with pytest.raises(SurfaceError, match="cannot listen"):
        await run_agent(settings, home, options=AgentOptions(port=port, announce=lines.append))
    taken.close()


async def ignore(views: Views) -> None:
    """A narrator that says nothing."""


async def test_demo_asks_and_goes_on_by_policy_when_nobody_answers(home: Path) -> None:
    lines = Lines()
    reports: list[Document] = []
    request = DemoRequest(
        speed=50_000, hold_s=1.0, dashboard=False, approve="ask", port=0, announce=lines.append,
        narrate=ignore, report=reports.append,
    )  # fmt: skip
    assert await run_demo(load_settings(), home, request=request) == 0
    assert any(line.startswith("First plan: ") for line in lines)
    assert reports[0]["trades"]
    assert reports[0]["flat"] is True


async def test_demo_stops_at_once_when_it_is_interrupted(home: Path) -> None:
    lines = Lines()
    reports: list[Document] = []
    request = DemoRequest(
        speed=10, dashboard=False, port=0, announce=lines.append, narrate=ignore, report=reports.append
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run_demo(load_settings(), home, request=request))
        await lines.told("the demo's API")
        os.kill(os.getpid(), signal.SIGINT)
        assert await asyncio.wait_for(running, 10) == 130
    assert reports == []


async def test_closing_verb_without_agent_ends_when_all_is_closed(home: Path) -> None:
    lines = Lines()

    async def flatten(commands: Commands) -> CommandResult:
        return await commands.flatten(symbol=None, identity="test")

    result = await act_until_flat(load_settings(), home, act=flatten, announce=lines.append)
    assert (result.code, result.exit_code) == ("flattening", ExitCode.DONE)
    assert "Nothing is open" in result.message

    async def refuse(commands: Commands) -> CommandResult:
        return CommandResult(code="no", message="no", exit_code=ExitCode.REFUSED)

    assert (await act_until_flat(load_settings(), home, act=refuse, announce=lines.append)).code == "no"


async def lifespan(
    application: Application,
) -> tuple[asyncio.Queue[dict[str, str]], asyncio.Queue[dict[str, str]]]:
    """Start an ASGI lifespan; what the server says and what it hears."""
    says: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    hears: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        hears.put_nowait(message)

    app.spawn(application({"type": "lifespan"}, says.get, send), "lifespan")
    says.put_nowait({"type": "lifespan.startup"})
    return says, hears


async def test_factory_starts_and_stops_the_agent_with_its_lifespan(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINAGENT_HOME", str(home))
    application = make_app()
    says, hears = await lifespan(application)
    assert (await asyncio.wait_for(hears.get(), 20))["type"] == "lifespan.startup.complete"
    second, refused = await lifespan(make_app())
    failure = await asyncio.wait_for(refused.get(), 20)
    assert failure["type"] == "lifespan.startup.failed"
    assert str(os.getpid()) in failure["message"]
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=application), base_url="http://127.0.0.1:8765"
    ) as http:
        assert (await http.get("/livez")).status_code == 200
    assert json.loads((home / "agent.json").read_text())["pid"] == os.getpid()
    says.put_nowait({"type": "lifespan.shutdown"})
    assert (await asyncio.wait_for(hears.get(), 20))["type"] == "lifespan.shutdown.complete"
    assert second.empty()


async def test_page_runs_beside_the_agent_and_ends_with_it(home: Path) -> None:
    """Its address is told once it answers; nothing of it is left."""
    lines = Lines()
    listening, _ = bind("127.0.0.1", 0, is_fixed=False)
    settings = load_settings()
    with listening:
        async with app.page(settings, home, listening, lines.append, token="t" * 43, is_wanted=True):
            url = (await lines.told("dashboard: ")).split()[1]
            async with httpx.AsyncClient(trust_env=False) as http:
                assert (await http.get(url)).status_code == 200
        async with httpx.AsyncClient(trust_env=False) as http:
            with pytest.raises(httpx.ConnectError):
                await http.get(url)


@pytest.mark.parametrize(("typed", "said"), [("y\n", "approved."), ("n\n", "rejected.")])
async def test_first_plan_may_be_answered_at_the_terminal(
    monkeypatch: pytest.MonkeyPatch, typed: str, said: str
) -> None:
    """The line typed decides; a plan that was answered elsewhere ends the question."""
    context, commands = memory_context()
    lines = Lines()
    request = DemoRequest(
        approve="ask", is_attended=True, announce=lines.append, narrate=ignore, report=lambda document: None
    )
    reading, writing = os.pipe()
    with os.fdopen(reading) as terminal, os.fdopen(writing, "w") as keys:
        monkeypatch.setattr("sys.stdin", terminal)
        keys.write(typed)
        keys.flush()
        await asyncio.wait_for(app.ask_for_first(context, request), 10)
        assert lines[-1] == said
        commands.views.rows[0] = {**commands.views.rows[0], "state": "pending"}
        lines.clear()
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(app.ask_for_first(context, request))
            await lines.told("Approve it on the page")
            commands.views.rows[0] = {**commands.views.rows[0], "state": "approved"}
            await asyncio.wait_for(asking, 10)
