"""A limit raised in the settings waits for a person; a lowered one holds from the next start on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from finagent.bootstrap import start_agent
from finagent.bootstrap.limits import accept_limits, limits_document
from finagent.domain.risk import standard_profile
from finagent.settings import Settings

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
        "raised": [{"limit": "risk_per_trade_e6", "accepted": "0.5", "wanted": "1"}], "is_settled": True,
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
