"""Serving on this machine: the token, the port, the note."""

import json
import os
import stat
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from finagent.api.build import create_api
from finagent.api.serving import address, announced, bind, free_port, serving
from finagent.api.token import local_token
from finagent.context import SurfaceError
from tests.unit.api.home import callers_of, memory_context


def test_token_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    token = local_token(tmp_path)
    assert local_token(tmp_path) == token
    assert len(token) >= 32
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600


def test_token_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("short")
    assert len(local_token(tmp_path)) >= 32


def test_port_in_use_is_left_for_a_free_one_unless_it_was_asked_for() -> None:
    taken, is_other = bind("127.0.0.1", 0, is_fixed=False)
    port = taken.getsockname()[1]
    try:
        assert not is_other
        free, is_other = bind("127.0.0.1", port, is_fixed=False)
        assert is_other
        assert free.getsockname()[1] != port
        free.close()
        with pytest.raises(SurfaceError, match=f"127.0.0.1:{port}"):
            bind("127.0.0.1", port, is_fixed=True)
        assert free_port(port) != port
    finally:
        taken.close()


def test_note_says_where_the_agent_is_while_it_runs(tmp_path: Path) -> None:
    note = tmp_path / "agent.json"
    with announced(tmp_path, "http://127.0.0.1:1", "2018-03-01T00:00:00+00:00"):
        assert stat.S_IMODE(note.stat().st_mode) == 0o600
        assert json.loads(note.read_text())["pid"] == os.getpid()
    assert not note.exists()


async def test_server_answers_inside_the_block_and_is_gone_after(tmp_path: Path) -> None:
    context, _ = memory_context()
    app = create_api(
        context, callers=callers_of("x"), registry=CollectorRegistry(), health=lambda: {"live": True}
    )
    listening, _ = bind("127.0.0.1", 0, is_fixed=False)
    url = address(listening)
    async with httpx.AsyncClient(trust_env=False) as http:
        async with serving(app, listening):
            assert (await http.get(f"{url}/livez")).status_code == 200
        listening.close()
        with pytest.raises(httpx.ConnectError):
            await http.get(f"{url}/livez")
