"""The page over a real HTTP server: what a person sees, presses and is told."""

import asyncio
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from streamlit.testing.v1 import AppTest

from finagent.api.build import create_api
from finagent.api.serving import address, bind, serving
from finagent.api.token import local_token
from finagent.dashboard import look, plans_page, today_page
from finagent.dashboard.__main__ import arguments
from finagent.dashboard.client import AgentClient, AgentUnreachableError
from finagent.dashboard.connection import client
from tests.unit.api import documents as day
from tests.unit.api.home import MemoryCommands, callers_of, memory_context


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryCommands]:
    """A real local server in a thread that the page's environment names."""
    context, made = memory_context()
    app = create_api(
        context,
        callers=callers_of(local_token(tmp_path)),
        registry=CollectorRegistry(),
        health=lambda: {"live": True},
    )
    listening, _ = bind("127.0.0.1", 0, is_fixed=False)
    loop, stop, is_up = asyncio.new_event_loop(), asyncio.Event(), threading.Event()

    async def serve() -> None:
        async with serving(app, listening):
            is_up.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    is_up.wait(10)
    monkeypatch.setenv("FINAGENT_API_URL", address(listening))
    monkeypatch.setenv("FINAGENT_API_TOKEN_FILE", str(tmp_path / "token"))
    client.clear()
    yield made
    client().close()
    client.clear()
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()
    listening.close()


def today() -> AppTest:
    """The page Today."""

    def script() -> None:
        from finagent.dashboard import today_page

        today_page.show()

    return AppTest.from_function(script, default_timeout=20).run()


def plans() -> AppTest:
    """The page Plans."""

    def script() -> None:
        from finagent.dashboard import plans_page

        plans_page.show()

    return AppTest.from_function(script, default_timeout=20).run()


def words(page: AppTest) -> str:
    """All that the page says."""
    assert not page.exception, page.exception
    return "\n".join(str(getattr(node, "value", "") or getattr(node.proto, "body", "")) for node in page.main)


def test_today_puts_problems_before_figures(commands: MemoryCommands) -> None:
    seen = words(today())
    for part in ("GME has no resting stop", "100,253.33", "-743.67", "09:34:08", "entries open", "stop rests",
                 "unprotected", "Thu 12:15", "all is closed at -2,019.94"):  # fmt: skip
        assert part in seen, part
    assert seen.index("GME has no resting stop") < seen.index("100,253.33")


def test_plan_is_approved_by_its_button_and_the_answer_is_told(commands: MemoryCommands) -> None:
    page = plans()
    assert "6:52 left" in words(page)
    page.button(key=f"approve-{day.PLAN_ID}").click().run()
    assert [each.value for each in page.success] == ["NVDA: approved."]
    assert commands.calls == [("approved", day.PLAN_ID, "dashboard", "dashboard", None, None)]
    assert "No plan waits for you" in words(page)


def test_plan_is_rejected_by_its_button(commands: MemoryCommands) -> None:
    page = plans()
    page.button(key=f"reject-{day.PLAN_ID}").click().run()
    assert commands.calls[0][0] == "rejected"


def test_refusal_is_told_as_an_error(commands: MemoryCommands) -> None:
    page = plans()
    commands.views.rows[0] = {**commands.views.rows[0], "state": "expired"}
    page.button(key=f"approve-{day.PLAN_ID}").click().run()
    assert [each.value for each in page.error] == ["NVDA: the plan is expired"]
    assert commands.calls == []


def test_plan_whose_time_is_over_cannot_be_answered(commands: MemoryCommands) -> None:
    commands.views.rows[0] = {**commands.views.rows[0], "seconds_left": 0}
    page = plans()
    assert page.button(key=f"approve-{day.PLAN_ID}").disabled
    assert "expired" in words(page)


def test_entrance_opens_today(commands: MemoryCommands) -> None:
    home = Path(look.__file__).with_name("Home.py")
    page = AppTest.from_file(str(home), default_timeout=20).run()
    assert not page.exception


def test_agent_that_is_gone_is_said_in_plain_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("x" * 40)
    monkeypatch.setenv("FINAGENT_API_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("FINAGENT_API_TOKEN_FILE", str(tmp_path / "token"))
    client.clear()
    page = today()
    assert "The agent does not answer" in words(page)
    assert "127.0.0.1:9" in page.caption[0].value
    client().close()
    client.clear()


def test_client_says_why_it_is_not_heard(commands: MemoryCommands, tmp_path: Path) -> None:
    url = client().url
    (tmp_path / "other").write_text("w" * 40)
    for made, why in (
        (AgentClient(url, tmp_path / "other"), "bearer token"),
        (AgentClient(url, tmp_path / "nowhere"), "cannot read"),
        (AgentClient(f"{url}/docs?", tmp_path / "token"), "no finagent"),
    ):
        with pytest.raises(AgentUnreachableError, match=why):
            made.status()
        made.close()


def test_text_from_outside_is_never_markup() -> None:
    hostile = {**day.PENDING, "symbol": "<script>alert(1)</script>", "reasons": ["<img src=x onerror=1>"]}
    shown = plans_page.summary(hostile, Decimal(5)) + plans_page.history([{**hostile, "state": "<em>"}])
    shown += today_page.problems({"problems": [{"message": "<script>"}]})
    shown += today_page.head(
        {"session": {"phase": "<i>", "date": "<u>"}, "mode": "<s>", "clock": {"now": "<now>"}}
    )
    for tag in ("<script", "<img", "<em>", "<i>", "<u>", "<s>", "<now>"):
        assert tag not in shown


@pytest.mark.parametrize(
    "document", [{}, {"problems": None, "account": None, "session": 5, "next_jobs": [1]}]
)
def test_page_of_an_empty_document_is_no_crash(document: look.Document) -> None:
    made = today_page.head(document) + today_page.figures(document) + today_page.limit(document, document)
    assert look.UNKNOWN in made + today_page.upcoming(document) + today_page.problems(document)


@pytest.mark.parametrize(
    ("control", "said"),
    [
        ({"killed": True}, "killed"),
        ({"paused": True}, "paused"),
        ({"gate_reason": "reconcile"}, "entries closed"),
    ],
)
def test_head_says_why_no_entry_is_possible(control: look.Document, said: str) -> None:
    assert said in today_page.head({"control": control})


def test_page_stays_on_this_machine_and_tells_nobody() -> None:
    given = arguments(8501)
    assert "--server.address=127.0.0.1" in given
    assert "--browser.gatherUsageStats=false" in given
    assert "--server.port=8501" in given
