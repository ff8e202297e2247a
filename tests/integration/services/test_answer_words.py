"""Answers as a surface gives them: what was refused, why, and which plan takes its place."""

import json
from functools import partial
from pathlib import Path

import pytest

from finagent.bootstrap.agent import engine_views
from finagent.bootstrap.commands import EngineCommands
from finagent.bootstrap.waiting import waits_for
from finagent.context import ExitCode, SurfaceError
from finagent.domain.steps import Step
from finagent.ports import NewJob
from tests.integration.services.test_halted_entry import BREAK, halt
from tests.integration.services.world import DAY, Stage


def commands_of(stage: Stage, *, is_running: bool = True) -> EngineCommands:
    """The commands over the engine of a stage, as an agent or a lone command line has them."""
    engine = stage.engine
    views = engine_views(engine, stage.path.parent, mode="approve", run_id=None)
    symbols = lambda: ("AAA",)  # noqa: E731 - what the market knows
    scope = engine.options.scope
    return EngineCommands(
        engine.approvals, stage.control, engine.queue, views, scope, symbols, lambda: is_running,
        waits=partial(waits_for, engine),
    )  # fmt: skip


async def test_price_that_moved_names_the_plan_that_follows(home: Path) -> None:
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY, {"09:31": (100, 100.8, 100, 100.8)})
        await stage.until("09:32")
        result = await commands_of(stage).approve("AAA", channel="cli", identity="ann")
        await stage.quiet()
        fresh = (await stage.plan()).plan.plan_id
        assert (result.code, result.exit_code) == ("price_moved", ExitCode.REFUSED)
        assert result.data["fresh_plan_id"] == fresh
        assert f"A fresh plan {fresh} is being made" in result.message


async def test_symbol_never_approves_the_version_that_took_the_place_of_the_one_seen(home: Path) -> None:
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY, {"09:31": (100, 100.8, 100, 100.8)})
        await stage.until("09:32")
        commands = commands_of(stage)
        await commands.approve("AAA", channel="cli", identity="ann")
        await stage.until("09:33")
        fresh = (await stage.plan()).plan
        assert (fresh.version, await stage.states()) == (2, {"AAA": "pending"})
        with pytest.raises(SurfaceError, match=r"AAA waits as version 2.*entry .*stop ") as refused:
            await commands.approve("aaa", channel="cli", identity="ann")
        assert (refused.value.code, refused.value.exit_code) == ("changed", ExitCode.REFUSED)
        assert f"finagent approve {fresh.plan_id}" in refused.value.hint
        assert await stage.states() == {"AAA": "pending"}
        ref, data = (await stage.journal("answer_refused"))[-1]
        assert (ref, json.loads(data)["reason"]) == (fresh.plan_id, "changed")
        approved = await commands.approve(fresh.plan_id[:12], channel="cli", identity="ann")
        assert approved.code == "approved"


async def test_without_an_agent_the_words_say_that_nothing_is_sent(home: Path) -> None:
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY)
        stage.market.day("BBB", DAY, {"09:31": (100, 100.8, 100, 100.8)})
        await stage.until("09:32")
        lone = commands_of(stage, is_running=False)
        approved = await lone.approve("AAA", channel="cli", identity="ann")
        assert approved.message.startswith("AAA approved. No agent runs here")
        moved = await lone.approve("BBB", channel="cli", identity="ann")
        assert "is made once an agent runs: finagent orchestrate" in moved.message
        await stage.quiet()


async def test_answer_to_a_plan_that_is_not_ours_is_refused_and_journalled(home: Path) -> None:
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:32")
        with pytest.raises(SurfaceError, match="there is no plan 'pl_ffff"):
            await commands_of(stage).approve("pl_ffff" + "f" * 80, channel="http", identity="bob")
        ((ref, data),) = await stage.journal("answer_refused")
        assert (len(ref), json.loads(data)["reason"]) == (64, "not_pending")
        assert (await stage.plan()).state == "pending"


async def test_second_answer_is_told_who_was_first(home: Path) -> None:
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:32")
        commands = commands_of(stage)
        await commands.reject("AAA", channel="cli", identity="ann", reason="news")
        late = await commands.approve("AAA", channel="http", identity="bob")
        assert late.exit_code is ExitCode.REFUSED
        assert late.message.startswith("Not approved (already_answered): ann rejected it over cli.")
        no = await commands.reject("AAA", channel="http", identity="bob")
        assert no.message.startswith("Not rejected (already_answered)")


async def test_yes_in_a_halt_says_that_it_waits(home: Path) -> None:
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY)
        halt(stage, "09:32", "09:38")
        await stage.until("09:33")
        said = await commands_of(stage).approve("AAA", channel="cli", identity="ann")
        assert said.code == "approved"
        assert (
            "AAA is halted: it waits for the first price after the halt, which decides, until 20"
            in said.message
        )


async def test_yes_to_an_armed_plan_names_its_trigger(
    home: Path,
) -> None:
    async with Stage(home, mode="approve", settings=BREAK) as stage:
        stage.market.day("AAA", DAY)
        stage.market.premarket("AAA", DAY, high=101, low=99.5, close=100)
        await stage.until("09:32")
        said = await commands_of(stage).approve("AAA", channel="cli", identity="ann")
        assert said.message.startswith("AAA approved. It waits for its trigger 101.01, until 20")


async def test_yes_to_a_plan_that_leaves_says_no_more(home: Path) -> None:
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:32")
        said = await commands_of(stage).approve("AAA", channel="cli", identity="ann")
        assert said.message == "AAA approved."


NO_AMOUNTS = [
    {"quantity": "0"}, {"quantity": "-5"}, {"quantity": "NaN"}, {"quantity": "1e9"}, {"quantity": "1_000"},
    {"quantity": "\u0661"}, {"quantity": "0.00001"}, {"quantity": "9" * 40}, {"stop": "Infinity"}, {"stop": ""},
    {"stop": "0"},
]  # fmt: skip


@pytest.mark.parametrize("amounts", NO_AMOUNTS, ids=str)
async def test_answer_with_no_amount_is_refused_and_journalled(home: Path, amounts: dict[str, str]) -> None:
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:32")
        with pytest.raises(SurfaceError) as refused:
            await commands_of(stage).approve("AAA", channel="http", identity="token:bob", **amounts)
        assert (refused.value.code, refused.value.exit_code) == ("bad_amount", ExitCode.USAGE)
        ((ref, row),) = await stage.journal("answer_refused")
        data = json.loads(row)
        assert (ref, data["reason"], data["identity"]) == ("AAA", "bad_amount", "token:bob")
        assert len(data["detail"]) <= 300
        assert (await stage.plan()).state == "pending"


async def test_job_retried_and_cancelled_by_hand_is_told_and_decides_nothing(home: Path) -> None:
    """At its end the stage decides the whole journal again."""
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:32")
        later = NewJob(
            Step.PROTECT, {"plan": "none"}, idem_key="later", run_at_ms=stage.clock.now_ms() + 60_000
        )
        job_id = (await stage.engine.queue.publish(later)).job_id
        commands = commands_of(stage)
        await commands.cancel_job(job_id, identity="ann")
        await commands.retry_job(job_id, identity="ann")
        await commands.redrive_jobs(None, identity="ann")
        await stage.quiet()
        assert len(await stage.journal("job_cancelled") + await stage.journal("job_retried")) == 2
