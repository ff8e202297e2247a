"""A limit raised in the settings waits for a person; a lowered one holds from the next start on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from finagent.bootstrap import open_reader, start_agent
from finagent.bootstrap.agent import open_local
from finagent.bootstrap.going_live import home_engine
from finagent.bootstrap.limits import accept_limits, limits_document
from finagent.domain.facts import ControlChanged
from finagent.domain.risk import standard_profile
from finagent.runtime.clock import VirtualClock
from finagent.settings import Settings
from tests.integration.views_world import Desk, a_plan, closed, codes

ROW = "SELECT ref, data FROM journal WHERE kind = 'limits_accepted' ORDER BY seq"


def settings(**risk: Any) -> Settings:
    return Settings(risk=risk, data={"symbols": 20}, api={"port": 0})  # type: ignore[arg-type]


async def profile_of_a_start(home: Path, given: Settings) -> tuple[Any, list[str]]:
    """The limits in force of an agent that was started and stopped, and who accepted any so far."""
    agent = await start_agent(given, home)
    try:
        rows = await agent.engine.database.read(ROW)
        return agent.engine.profile, [str(ref) for ref, _ in rows]
    finally:
        await agent.stop()


async def test_raised_limit_is_in_force_only_once_it_was_accepted(tmp_path: Path) -> None:
    first, by = await profile_of_a_start(tmp_path, settings())
    assert (first, by) == (standard_profile(), ["first start"])
    bold = settings(risk_per_trade_pct=1, max_trades_per_day=3)
    held, by = await profile_of_a_start(tmp_path, bold)
    assert held == replace(standard_profile(), max_trades_per_day=3)
    assert by == ["first start", "lowered in the settings"]
    told = await limits_document(bold, tmp_path)
    assert told == {
        "raised": [{"limit": "risk_per_trade_pct", "accepted": "0.5", "wanted": "1"}], "is_settled": True,
    }  # fmt: skip
    await accept_limits(bold, tmp_path, identity="ann")
    now, by = await profile_of_a_start(tmp_path, bold)
    assert (now.risk_per_trade_e6, now.max_trades_per_day) == (10_000, 3)
    assert by[-1] == "ann"
    assert (await limits_document(bold, tmp_path))["raised"] == []


async def test_lowered_limit_that_is_raised_back_waits_again(tmp_path: Path) -> None:
    await profile_of_a_start(tmp_path, settings())
    await profile_of_a_start(tmp_path, settings(max_open_positions=1))
    back, _ = await profile_of_a_start(tmp_path, settings())
    assert back.max_open_positions == 1


async def test_home_without_a_database_has_nothing_to_accept(tmp_path: Path) -> None:
    assert await limits_document(settings(), tmp_path) == {"raised": [], "is_settled": False}


async def test_status_and_risk_show_the_limits_in_force_and_what_was_raised(tmp_path: Path) -> None:
    """A reader beside or without an agent shows the accepted limits, not those that the settings ask for."""
    await profile_of_a_start(tmp_path, settings())
    bold = settings(max_open_positions=5, risk_per_trade_pct=1)
    await profile_of_a_start(tmp_path, bold)
    async with open_reader(bold, tmp_path) as context:
        status, risk = await context.views.status(), await context.views.risk()
    assert codes(status) == [
        ("warning", "no_agent"), ("warning", "waiting_limit"), ("warning", "waiting_limit"),
    ]  # fmt: skip
    assert risk["limits"]["open_positions"]["limit"] == 3  # type: ignore[index,call-overload]
    await accept_limits(bold, tmp_path, identity="ann")
    async with open_reader(bold, tmp_path) as context:
        status, risk = await context.views.status(), await context.views.risk()
    assert status["raised_limits"] == [
        {"limit": "max_open_positions", "profile": "3", "in_force": "5"},
        {"limit": "risk_per_trade_pct", "profile": "0.5", "in_force": "1"},
    ]
    assert risk["limits"]["open_positions"]["limit"] == 5  # type: ignore[index,call-overload]


async def test_limits_of_auto_count_as_raised_in_that_mode_alone(tmp_path: Path) -> None:
    given = settings(auto_max_open_positions=3)
    await profile_of_a_start(tmp_path, given)
    for mode, names in (("approve", []), ("auto", ["auto_max_open_positions"])):
        so = given.model_copy(update={"account": given.account.model_copy(update={"mode": mode})})
        async with open_reader(so, tmp_path) as context:
            rows = (await context.views.status())["raised_limits"]
        assert [row["limit"] for row in rows] == names  # type: ignore[union-attr,index,call-overload]


async def rearmed_after_a_loss(home: Path, given: Settings) -> str:
    """What rearm says once a trade of the session lost 2.1 % of the account; no agent runs."""
    async with home_engine(given, home) as engine:
        session = engine.world.calendar.session_at(engine.clock.now_ms()).date
        desk = Desk(engine.database, engine.queue, VirtualClock(engine.clock.now_ms()))
        await closed(desk, replace(a_plan(), session=session), price_e4=79_0000)
        await desk.put(ControlChanged(is_paused=True, paused_by="risk", needs_rearm=True))
    async with open_local(given, home) as context:
        return (await context.commands.rearm(identity="ann")).message


async def test_rearm_names_the_raised_loss_limit_that_nobody_accepted(tmp_path: Path) -> None:
    await profile_of_a_start(tmp_path, settings())
    assert await rearmed_after_a_loss(tmp_path, settings(pause_loss_pct=4, flatten_loss_pct=5)) == (
        "Rearmed: but the day's loss is still at its flatten limit: no entry before the next session. Raised and not"
        " in force (finagent limits accept, while no agent runs): flatten_loss_pct 2 -> 5, pause_loss_pct 1.5 -> 4."
    )


async def test_rearm_under_a_raised_loss_limit_that_was_accepted_opens_entries(tmp_path: Path) -> None:
    await profile_of_a_start(tmp_path, settings())
    bold = settings(pause_loss_pct=4, flatten_loss_pct=5)
    await accept_limits(bold, tmp_path, identity="ann")
    assert await rearmed_after_a_loss(tmp_path, bold) == "Rearmed: entries are possible again."
