"""Starting with a broker outside: keys, account, currency, consent, clock and hours, each told in one line."""

import asyncio
import os
from pathlib import Path

import pytest

from finagent.adapters.vendors.calendar import load_calendar
from finagent.bootstrap import doctor, start_agent
from finagent.bootstrap.agent import open_local
from finagent.bootstrap.brokers import BrokerWatch, Connection, connect, vet_account
from finagent.bootstrap.going_live import (
    allow_live,
    decide,
    grant,
    home_engine,
    live_status,
    revoke_live,
)
from finagent.context import ExitCode, SurfaceError
from finagent.runtime.clock import SystemClock, SystemTicker
from finagent.runtime.logs import SecretKeeper
from finagent.runtime.metrics import Metrics
from finagent.settings import Settings, SettingsError
from finagent.simulation.alpaca import KEY, SECRET, AlpacaServer, Day, Hours
from finagent.simulation.alpaca.hours import exchange_hours, local_date


@pytest.fixture(scope="session")
def hours(tmp_path_factory: pytest.TempPathFactory) -> Hours:
    """The exchange's own days: what the agent's calendar holds."""
    return exchange_hours(tmp_path_factory.mktemp("hours"))


@pytest.fixture
async def server(hours: Hours, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALPACA_API_KEY", KEY)
    monkeypatch.setenv("ALPACA_SECRET_KEY", SECRET)
    async with AlpacaServer(hours=Hours(dict(hours.days))) as found:
        yield found


def at(server: AlpacaServer, **account: object) -> Settings:
    return Settings(broker={"name": "alpaca", "endpoint": server.url}, account=account)  # type: ignore[arg-type]


async def refused(settings: Settings, home: Path) -> SurfaceError:
    """The one line with which a start ends."""
    with pytest.raises(SurfaceError) as error:
        await start_agent(settings, home)
    assert error.value.hint
    assert SECRET not in error.value.message
    return error.value


async def test_agent_starts_binds_its_database_and_starts_again(server, tmp_path):
    for _ in range(2):
        agent = await start_agent(at(server), tmp_path)
        try:
            assert (await agent.engine.store.binding()).account_id == "PA3SIMULATED"
            assert (await agent.engine.store.control()).gate_reason is None
            assert not agent.engine.broker.capabilities.has_attached_exits
        finally:
            await agent.stop()


async def test_another_account_is_refused(server, tmp_path):
    await (await start_agent(at(server), tmp_path)).stop()
    server.control.run("account", {"account_number": "PA3OTHER"})
    error = await refused(at(server), tmp_path)
    assert error.code == "account_mismatch"
    assert "PA3SIMULATED" in error.message
    assert "PA3OTHER" in error.message


async def test_a_home_of_the_paper_venue_takes_no_other_broker(server, tmp_path):
    await (await start_agent(Settings(), tmp_path)).stop()
    assert (await refused(at(server), tmp_path)).code == "account_mismatch"


async def test_a_home_of_alpaca_does_not_fall_back_to_the_paper_venue(server, tmp_path):
    await (await start_agent(at(server), tmp_path)).stop()
    assert (await refused(Settings(), tmp_path)).code == "account_mismatch"


async def test_keys_that_are_missing_or_wrong_are_told(server, tmp_path, monkeypatch):
    monkeypatch.setenv("ALPACA_SECRET_KEY", "wrong-secret-key")
    error = await refused(at(server), tmp_path)
    assert (error.code, error.exit_code) == ("broker_keys", ExitCode.ERROR)
    monkeypatch.delenv("ALPACA_SECRET_KEY")
    error = await refused(at(server), tmp_path)
    assert (error.code, error.message) == ("broker_keys", "ALPACA_SECRET_KEY is not set")


async def test_blocked_account_and_another_currency_are_told(server, tmp_path):
    server.control.run("account", {"trading_blocked": True})
    error = await refused(at(server), tmp_path)
    assert (error.code, "trading_blocked" in error.message) == ("account_blocked", True)
    server.control.run("account", {"trading_blocked": False, "currency": "EUR"})
    error = await refused(at(server), tmp_path)
    assert (error.code, "EUR" in error.message) == ("currency", True)


async def test_broker_that_does_not_answer_ends_with_five(server, tmp_path):
    await server.stop()
    error = await refused(at(server), tmp_path)
    assert (error.code, error.exit_code) == ("broker_unreachable", ExitCode.UNREACHABLE)


@pytest.mark.parametrize("endpoint", ["paper", "live"])
async def test_made_up_prices_never_meet_a_real_account(endpoint, tmp_path):
    settings = Settings(broker={"name": "alpaca", "endpoint": endpoint})  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="live prices are not built in yet"):
        await start_agent(settings, tmp_path)
    assert not list(tmp_path.iterdir())


async def test_keys_never_stand_in_the_log(server, tmp_path):
    settings = Settings(broker={"name": "alpaca", "endpoint": server.url}, ops={"log_level": "debug"})  # type: ignore[arg-type]
    agent = await start_agent(settings, tmp_path)
    await agent.stop()
    assert '"logger": "httpx"' not in (tmp_path / "logs" / "finagent.log").read_text(encoding="utf-8")
    for path in (tmp_path / "logs").iterdir():
        assert KEY not in path.read_text(encoding="utf-8")
        assert SECRET not in path.read_text(encoding="utf-8")


async def test_commands_without_an_agent_need_no_keys(server, tmp_path, monkeypatch):
    await (await start_agent(at(server), tmp_path)).stop()
    monkeypatch.delenv("ALPACA_API_KEY")
    async with open_local(at(server), tmp_path) as context:
        assert (await context.commands.kill(reason="", identity="test")).code == "killed"


async def test_clock_hours_and_account_shut_the_gate_and_open_it_again(server, tmp_path):
    agent = await start_agent(at(server), tmp_path)
    engine = agent.engine
    watch = BrokerWatch(engine, agent._connection)
    now = SystemClock().now_ms()
    try:
        today = engine.world.calendar.session_at(now).date
        cases = [
            ("clock_skew", "clock", {"skew_ms": 3_500}, {"skew_ms": 0}),
            ("exchange_hours", "day", {"date": today, "open": "09:30", "close": "12:00"}, None),
            ("account_blocked", "account", {"account_blocked": True}, {"account_blocked": False}),
        ]
        for reason, command, wrong, right in cases:
            days = dict(server.venue.hours.days)
            server.control.run(command, wrong)
            assert [each.reason for each in await watch.run_once()] == [reason]
            assert (await engine.store.control()).gate_reason == reason
            if right is None:
                server.venue.hours.days = days
            else:
                server.control.run(command, right)
            assert await watch.run_once() == []
            assert (await engine.store.control()).gate_reason is None
    finally:
        await agent.stop()


async def test_keys_that_expire_shut_the_gate_until_they_are_good_again(server, tmp_path):
    agent = await start_agent(at(server), tmp_path)
    watch = BrokerWatch(agent.engine, agent._connection)
    try:
        server.control.run("clock", {"skew_ms": 9_000})
        await watch.run_once()
        server.control.run("keys", {"key": "renewed", "secret": "renewed"})
        for _ in range(2):
            assert [each.reason for each in await watch.run_once()] == ["broker_keys"]
            assert (await agent.engine.store.control()).gate_reason == "clock_skew, broker_keys"
        server.control.run("keys", {"key": KEY, "secret": SECRET})
        server.control.run("clock", {"skew_ms": 0})
        assert await watch.run_once() == []
        assert (await agent.engine.store.control()).gate_reason is None
        notes = await agent.engine.database.read(
            "SELECT data FROM operations_journal WHERE kind = 'broker_watch'"
        )
        assert SECRET not in str(notes)
    finally:
        await agent.stop()


async def test_clock_that_is_off_by_less_than_the_limit_or_a_slow_answer_is_no_skew(server, tmp_path):
    agent = await start_agent(at(server), tmp_path)
    watch = BrokerWatch(agent.engine, agent._connection)
    try:
        server.control.run("clock", {"skew_ms": 1_500})
        server.faults.add({"on": "GET /v2/clock", "action": "delay", "seconds": 1.5})
        assert await watch.run_once() == []
    finally:
        await agent.stop()


async def test_gate_of_another_reason_is_left_alone(server, tmp_path):
    from finagent.bootstrap.starting import shut_gate

    agent = await start_agent(at(server), tmp_path)
    watch = BrokerWatch(agent.engine, agent._connection)
    try:
        await shut_gate(agent.engine, "damage")
        server.control.run("clock", {"skew_ms": 9_000})
        await watch.run_once()
        assert (await agent.engine.store.control()).gate_reason == "damage, clock_skew"
        server.control.run("clock", {"skew_ms": 0})
        await watch.run_once()
        assert (await agent.engine.store.control()).gate_reason == "damage"
    finally:
        await agent.stop()


async def test_comparison_that_agrees_leaves_the_gate_shut_for_the_clock(server, tmp_path):
    from finagent.bootstrap.starting import compare_with_broker, shut_gate

    agent = await start_agent(at(server), tmp_path)
    watch = BrokerWatch(agent.engine, agent._connection)
    try:
        await shut_gate(agent.engine, "reconcile")
        server.control.run("clock", {"skew_ms": 9_000})
        await watch.run_once()
        assert await compare_with_broker(agent.engine) == []
        assert (await agent.engine.store.control()).gate_reason == "clock_skew"
    finally:
        await agent.stop()


async def test_comparison_that_is_overtaken_by_other_commits_compares_again(server, tmp_path):
    from finagent.bootstrap.starting import compare_with_broker, shut_gate

    agent = await start_agent(at(server), tmp_path)

    try:
        for _ in range(5):
            await shut_gate(agent.engine, "reconcile")
            looks = await asyncio.gather(*(compare_with_broker(agent.engine) for _ in range(3)))
            assert looks == [[], [], []]
    finally:
        await agent.stop()


async def test_start_with_a_clock_that_differs_shuts_entries_and_goes_on(server, tmp_path):
    server.control.run("clock", {"skew_ms": -60_000})
    agent = await start_agent(at(server), tmp_path)
    try:
        assert (await agent.engine.store.control()).gate_reason == "clock_skew"
    finally:
        await agent.stop()


async def test_live_needs_both_switches_and_this_very_account(server, tmp_path):
    agent = await start_agent(at(server), tmp_path / "first")
    try:
        live = Connection(agent._connection.broker, agent._connection.stream, agent._connection.facts, "live")
        engine = agent.engine
        with pytest.raises(SurfaceError) as error:
            await vet_account(engine, live, identity="test")
        assert (error.value.code, error.value.exit_code) == ("live_refused", ExitCode.REFUSED)
        await allow(engine, "ANOTHER")
        with pytest.raises(SurfaceError, match="live trading is allowed for account ANOTHER"):
            await vet_account(engine, live, identity="test")
        await allow(engine, "PA3SIMULATED")
        with pytest.raises(SurfaceError) as error:
            await vet_account(engine, live, identity="test")
        assert error.value.code == "account_mismatch", "a home of a paper account never goes live"
    finally:
        await agent.stop()


def connected_as_live(server, engine) -> Connection:
    """The address is this machine's, the kind is live: what is asked is who may trade, not where."""
    made = connect(
        at(server), engine.world.calendar, clock=engine.clock, ticker=SystemTicker(), metrics=Metrics(),
        keeper=SecretKeeper(),
    )  # fmt: skip
    return Connection(made.broker, made.stream, made.facts, "live")


async def engine_journal(engine) -> list[dict[str, str]]:
    rows = await engine.database.read("SELECT kind FROM journal ORDER BY seq")
    return [{"kind": str(kind)} for (kind,) in rows]


async def allow(engine, account: str) -> None:
    await decide(engine, account, is_allowed=True, identity="test")


async def test_live_account_is_traded_with_both_switches_and_no_more_once_one_is_off(server, tmp_path):
    async with home_engine(at(server), tmp_path) as engine:
        live = connected_as_live(server, engine)
        with pytest.raises(SurfaceError, match="the keys open account PA3SIMULATED, not 937"):
            await grant(engine, live, account="937", identity="ann")
        assert await engine.store.binding() is None
        assert (await grant(engine, live, account="PA3SIMULATED", identity="ann"))["currency"] == "USD"
        await vet_account(engine, live, identity="test")
        assert (await engine.store.binding()).endpoint == "live"
        await live.close()
    settings = Settings(broker={"name": "alpaca", "endpoint": "live"})  # type: ignore[arg-type]
    assert (await live_status(settings, tmp_path))["is_live"] is True
    assert await revoke_live(settings, tmp_path, identity="ann") == {"account": "PA3SIMULATED"}
    assert (await live_status(settings, tmp_path))["is_live"] is False
    async with home_engine(at(server), tmp_path) as engine:
        live = connected_as_live(server, engine)
        with pytest.raises(SurfaceError, match="nobody has allowed it"):
            await vet_account(engine, live, identity="test")
        await live.close()
        kinds = [row["kind"] for row in (await engine_journal(engine))]
        assert [kind for kind in kinds if kind.startswith("live")] == ["live_allowed", "live_revoked"]


async def test_live_is_refused_where_the_settings_do_not_say_it(server, tmp_path):
    with pytest.raises(SurfaceError) as error:
        await allow_live(at(server), tmp_path, account="PA3SIMULATED", identity="test")
    assert (error.value.code, error.value.exit_code) == ("live_refused", ExitCode.REFUSED)
    settings = Settings(broker={"name": "alpaca", "endpoint": "live"})  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="live prices"):
        await allow_live(settings, tmp_path, account="937", identity="test")
    assert (await live_status(settings, tmp_path))["is_live"] is False
    assert await revoke_live(Settings(), tmp_path, identity="test") == {"account": None}


async def checks(settings: Settings, home: Path) -> dict[str, tuple[str, str]]:
    """Doctor's word on the broker by name."""
    document = await doctor(settings, home)
    return {
        c["name"]: (c["status"], c["detail"]) for c in document["checks"] if c["name"].startswith("broker")
    }


async def test_doctor_looks_at_keys_account_clock_and_hours(server, tmp_path, monkeypatch):
    found = await checks(at(server), tmp_path)
    assert {name: status for name, (status, _) in found.items()} == {
        "broker prices": "warn", "broker keys": "ok", "broker account": "ok", "broker clock": "ok",
        "broker hours": "ok",
    }  # fmt: skip
    assert "PA3SIMULATED" in found["broker account"][1]
    server.control.run("clock", {"skew_ms": 5_000})
    assert (await checks(at(server), tmp_path))["broker clock"][0] == "fail"
    server.control.run("account", {"status": "ACCOUNT_CLOSED"})
    assert (await checks(at(server), tmp_path))["broker account"][0] == "fail"
    server.control.run("account", {"status": "ACTIVE", "currency": "EUR"})
    assert "EUR" in (await checks(at(server), tmp_path))["broker account"][1]
    monkeypatch.setenv("ALPACA_SECRET_KEY", "wrong-secret-key")
    assert "refuses the keys" in (await checks(at(server), tmp_path))["broker"][1]
    await server.stop()
    assert "cannot be reached" in (await checks(at(server), tmp_path))["broker"][1]
    monkeypatch.delenv("ALPACA_API_KEY")
    assert (await checks(at(server), tmp_path))["broker keys"] == ("fail", "ALPACA_API_KEY is not set")
    assert await checks(Settings(), tmp_path) == {"broker": ("ok", "the paper venue, in the database")}


async def test_doctor_tells_of_a_home_that_belongs_to_another_account(server, tmp_path):
    await (await start_agent(at(server), tmp_path)).stop()
    server.control.run("account", {"account_number": "PA3OTHER"})
    status, detail = (await checks(at(server), tmp_path))["broker account"]
    assert (status, "this database belongs to" in detail) == ("fail", True)


def test_exchange_hours_are_those_of_the_agent_s_calendar(hours, tmp_path):
    calendar = load_calendar(tmp_path)
    session = calendar.session("2026-11-27")
    assert hours.day("2026-11-27") == Day(date="2026-11-27", open="09:30", close="13:00")
    assert hours.day("2026-11-27").close_ms == session.close_ms
    assert hours.day("2026-11-26") is None
    assert local_date(session.open_ms) == "2026-11-27"


async def test_paper_venue_has_no_connection(tmp_path):
    assert connect(
        Settings(), load_calendar(tmp_path), clock=SystemClock(), ticker=SystemTicker(), metrics=Metrics(),
        keeper=SecretKeeper(),
    ) is None  # fmt: skip
    assert "ALPACA_API_KEY" not in os.environ
