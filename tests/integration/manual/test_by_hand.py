"""A day at the manual desk: tickets go out, a person tells what became of them, trades and journal follow."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from finagent.adapters.brokers.manual import ManualBroker
from finagent.bootstrap.agent import engine_views
from finagent.bootstrap.by_hand import ByHand
from finagent.bootstrap.commands import EngineCommands
from finagent.context import CommandResult, Document, ExitCode, SurfaceError
from finagent.domain.steps import Step
from finagent.ports import JsonValue, NewJob, OrderExecutionPort
from tests.integration.services.invariants import violations
from tests.integration.services.world import DAY, Stage

OF_THE_VENUE = ("journal holds",)
"""What only the paper venue's tables can show."""


def desk_of(inner: OrderExecutionPort) -> OrderExecutionPort:
    """The manual desk in the place of the paper venue, on the same file."""
    parts: Any = inner
    return ManualBroker(
        writer=parts._writer,
        reader=parts._reader,
        market=parts._market,
        calendar=parts._calendar,
        clock=parts._clock,
        currency="USD",
        start_equity_e8=parts._rules.start_equity_e8,
        allow_shorts=False,
    )


class Hands:
    """A person with the commands and views of an agent."""

    def __init__(self, stage: Stage) -> None:
        self.stage, engine = stage, stage.engine
        self.views = engine_views(engine, stage.path.parent, mode="approve", run_id=None)
        self.commands = EngineCommands(
            engine.approvals, stage.control, engine.queue, self.views, engine.options.scope,
            lambda: ("AAA",), lambda: True, ByHand(engine),
        )  # fmt: skip

    async def fill(self, leg: str, price: str, quantity: str, **more: Any) -> CommandResult:
        result = await self.commands.add_fill(
            "AAA", leg=leg, price=price, quantity=quantity, identity="me", **more
        )
        await self.look()
        return result

    async def look(self) -> None:
        """What a running agent does every two seconds, then everything that follows."""
        engine = self.stage.engine
        await engine.queue.publish_many(await engine.catch_up().missing())
        await self.stage.quiet()

    async def tickets(self, *, every: bool = False) -> list[Document]:
        found = (await self.views.tickets(every=every))["tickets"]
        assert isinstance(found, list)
        return [row for row in found if isinstance(row, dict)]

    async def words(self) -> list[str]:
        return [f"{row['todo']}: {row['words']}" for row in await self.tickets()]


@asynccontextmanager
async def by_hand(home: Path, **more: Any) -> AsyncIterator[tuple[Stage, Hands]]:
    """A day at 09:32 with one plan approved and its tickets out."""
    async with Stage(home, mode="approve", broker=desk_of, is_checked=False, **more) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:32")
        hands = Hands(stage)
        await hands.commands.approve("AAA", channel="cli", identity="me")
        await stage.quiet()
        yield stage, hands
    found = [text for text in violations(stage.path) if not text.startswith(OF_THE_VENUE)]
    assert found == []


async def test_tickets_name_entry_stop_and_target_and_a_round_trip_becomes_a_trade(home: Path) -> None:
    async with by_hand(home) as (stage, hands):
        assert await hands.words() == [
            "place: BUY 166 AAA market", "attach: SELL 166 AAA stop 97.00", "attach: SELL 166 AAA limit 109.00",
        ]  # fmt: skip
        told = await hands.fill("entry", "100.02", "100", fees="1.25")
        assert told.code == "recorded"
        assert "At your broker now: entry BUY 66 AAA market; stop SELL 100 AAA stop 97.00" in told.message
        assert (await stage.plan()).state == "open"
        assert await hands.words() == [
            "place: BUY 66 AAA market", "place: SELL 100 AAA stop 97.00", "place: SELL 100 AAA limit 109.00",
        ]  # fmt: skip
        await hands.fill("entry", "100.04", "66", name="B-7")
        out = await hands.fill("stop", "96.95", "166", fees="1.25")
        assert "Take back at your broker, where it was typed: SELL 166 AAA limit 109.00" in out.message
        (trade,) = (await hands.views.trades())["trades"]  # type: ignore[misc]
        assert (trade["exit_reason"], trade["quantity"], trade["fees"]) == ("stop", 166, "2.50")
        assert trade["pnl"] == "-513.44"
        assert (await stage.plan()).state == "closed"
        assert await hands.words() == ["take back: SELL 166 AAA limit 109.00"]
        said = [(ref, json.loads(data)) for ref, data in await stage.journal("fill_told")]
        assert [row["by"] for _, row in said] == ["me"] * 3
        assert len(await stage.journal("fill")) == 3


async def test_flatten_becomes_an_exit_ticket_and_the_bracket_is_taken_back(home: Path) -> None:
    async with by_hand(home) as (stage, hands):
        await hands.fill("entry", "100", "166")
        await stage.control.flatten(symbol="AAA", identity="me")
        await stage.quiet()
        assert sorted(await hands.words()) == [
            "place: SELL 166 AAA market", "take back: SELL 166 AAA limit 109.00", "take back: SELL 166 AAA stop 97.00",
        ]  # fmt: skip
        await hands.fill("exit", "101", "166")
        (trade,) = (await hands.views.trades())["trades"]  # type: ignore[misc]
        assert (trade["exit_reason"], trade["pnl"]) == ("flatten", "166.00")


async def test_moved_stop_is_a_new_ticket_and_the_old_one_is_taken_back(home: Path) -> None:
    async with by_hand(home) as (stage, hands):
        await hands.fill("entry", "100", "166")
        plan_id = (await stage.plan()).plan.plan_id
        moved: dict[str, JsonValue] = {"plan": plan_id, "stop_e4": 1_000_000, "reason": "break_even"}
        await stage.publish(NewJob(Step.MOVE_STOP, moved, idem_key="even", key=plan_id))
        assert "take back: SELL 166 AAA stop 97.00" in await hands.words()
        assert "place: SELL 166 AAA stop 100.00" in await hands.words()
        assert (await hands.fill("stop", "99.98", "166")).code == "recorded"
        (trade,) = (await hands.views.trades())["trades"]  # type: ignore[misc]
        assert trade["exit_reason"] == "trailing"


async def test_entry_that_was_not_typed_ends_its_plan(home: Path) -> None:
    async with by_hand(home) as (stage, hands):
        result = await hands.commands.end_ticket("AAA", leg="entry", reason="too fast", identity="me")
        await stage.quiet()
        assert result.code == "ended"
        assert await stage.states() == {"AAA": "not_filled too fast"}
        assert await stage.reserved() == []
        late = await hands.fill("entry", "100", "166")
        assert (late.code, late.exit_code) == ("plan_over", ExitCode.REFUSED)


async def test_entry_nobody_told_of_ends_with_the_session(home: Path) -> None:
    async with by_hand(home) as (stage, hands):
        await stage.until("15:50")
        assert [word.partition(":")[0] for word in await hands.words()] == ["take back"] * 3
        await stage.until("16:01")
        await hands.look()
        await stage.finish()
        assert await stage.states() == {"AAA": "not_filled flatten"}
        assert {row["state"] for row in await hands.tickets(every=True)} == {"cancelled"}


async def test_fill_whose_event_was_lost_in_a_crash_is_found_at_the_next_look(home: Path) -> None:
    """It is told to the desk in one commit and to the day in the next: in between the process may die."""
    async with by_hand(home) as (stage, hands):
        commit = stage.engine.queue.commit

        async def dies(tx: object) -> None:
            raise RuntimeError("killed")

        stage.engine.queue.commit = dies  # type: ignore[method-assign, assignment]
        with pytest.raises(RuntimeError, match="killed"):
            await hands.fill("entry", "100", "166")
        stage.engine.queue.commit = commit  # type: ignore[method-assign]
        assert (await stage.plan()).state == "entering"
        await hands.look()
        assert (await stage.plan()).state == "open"


BAD = (
    ({"leg": "target-2"}, "unknown_leg", ExitCode.REFUSED),
    ({"quantity": "167"}, "too_much", ExitCode.REFUSED),
    ({"price": "100.005"}, "off_tick", ExitCode.REFUSED),
    ({"at": "15:59"}, "future", ExitCode.REFUSED),
    ({"at": "09:20"}, "before_ticket", ExitCode.REFUSED),
    ({"price": "10"}, "price_far", ExitCode.REFUSED),
    ({"fees": "5000"}, "fees_far", ExitCode.REFUSED),
    ({"quantity": "0.5"}, "lot", ExitCode.REFUSED),
    ({"leg": "stop", "price": "97"}, "too_much", ExitCode.REFUSED),
)


@pytest.mark.parametrize(("changes", "code", "status"), BAD, ids=[code for _, code, _ in BAD])
async def test_fill_that_cannot_be_is_refused_and_journalled(
    home: Path, changes: dict[str, str], code: str, status: ExitCode
) -> None:
    async with by_hand(home) as (stage, hands):
        said = {"leg": "entry", "price": "100", "quantity": "100", **changes}
        result = await hands.fill(said.pop("leg"), said.pop("price"), said.pop("quantity"), **said)
        assert (result.code, result.exit_code) == (code, status)
        assert result.message.startswith(f"Not recorded ({code}): ")
        ((_, row),) = await stage.journal("fill_refused")
        assert json.loads(row)["reason"] == code
        assert await stage.value("SELECT count(*) FROM manual_fill") == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"price": "NaN"}, {"price": "-1"}, {"quantity": "0"}, {"quantity": "9" * 30}, {"at": "noon"},
        {"at": "2018-02-20T09:33:00"}, {"fees": "-1"}, {"name": "a b"},
    ],
    ids=str,
)  # fmt: skip
async def test_what_is_no_number_or_time_is_a_usage_error(home: Path, changes: dict[str, str]) -> None:
    async with by_hand(home) as (stage, hands):
        said = {"leg": "entry", "price": "100", "quantity": "100", **changes}
        with pytest.raises(SurfaceError) as caught:
            await hands.fill(said.pop("leg"), said.pop("price"), said.pop("quantity"), **said)
        assert caught.value.exit_code is ExitCode.USAGE
        assert caught.value.hint
        ((_, row),) = await stage.journal("fill_refused")
        assert json.loads(row)["detail"] == caught.value.message


async def test_same_fill_twice_is_asked_about_and_time_is_taken_as_it_was_said(home: Path) -> None:
    async with by_hand(home) as (stage, hands):
        await stage.until("09:40")
        assert (await hands.fill("entry", "100", "50", at="09:33:10")).code == "recorded"
        assert (await hands.fill("entry", "100", "50")).code == "said_before"
        assert (
            await hands.fill("entry", "100", "50", is_again=True, at="2018-02-20T14:35:00Z")
        ).code == "recorded"
        position = (await stage.held("AAA")).position  # type: ignore[union-attr]
        assert position.quantity_e4 == 100 * 10_000
        times = [row for (row,) in await stage.engine.database.read("SELECT at FROM fill ORDER BY at")]
        assert times == [1_519_137_190_000, 1_519_137_300_000]


async def test_plan_without_a_ticket_says_what_it_waits_for(home: Path) -> None:
    async with Stage(home, mode="approve", broker=desk_of) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:32")
        hands = Hands(stage)
        waiting = await hands.fill("entry", "100", "100")
        assert (waiting.code, waiting.exit_code) == ("needs_approval", ExitCode.NEEDS_APPROVAL)
        with pytest.raises(SurfaceError, match="there is no plan"):
            await hands.commands.add_fill("pl_zzz", leg="entry", price="1", quantity="1", identity="me")
        with pytest.raises(SurfaceError, match="there is no plan"):
            await hands.commands.end_ticket("pl_zzz", leg="entry", reason="", identity="me")
        reasons = [json.loads(row)["reason"] for _, row in await stage.journal("fill_refused")]
        assert reasons == ["needs_approval", "unknown", "unknown"]


async def test_broker_that_tells_its_fills_itself_takes_none_by_hand(home: Path) -> None:
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:32")
        hands = Hands(stage)
        hands.commands._by_hand = None
        for told in (
            hands.commands.add_fill("AAA", leg="entry", price="1", quantity="1", identity="me"),
            hands.commands.end_ticket("AAA", leg="entry", reason="", identity="me"),
        ):
            with pytest.raises(SurfaceError, match="tells its fills itself") as caught:
                await told
            assert caught.value.exit_code is ExitCode.REFUSED
