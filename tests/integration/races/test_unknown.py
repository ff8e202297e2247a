"""Nobody knows what became of an order: looked up, sent again as the same bytes, never twice, never naked for ever."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from finagent.domain.orders import OrderState
from finagent.domain.steps import Step
from finagent.ports import DuplicateClientOrderIdError, NewJob, OrderRejectedError, OutcomeUnknownError
from tests.integration.races.stage import OutsideStage
from tests.integration.services.world import DAY


def bodies(stage: OutsideStage, leg: str) -> list[Any]:
    """What was posted for a leg, in order."""
    return [body for body in stage.broker.bodies if body.leg == leg]


@pytest.mark.parametrize("fate", ["dropped", "reply lost", "late", OutcomeUnknownError("HTTP 429")])
@pytest.mark.parametrize("leg", ["entry", "stop", "exit"])
async def test_order_of_unknown_fate_is_one_order_in_the_end(home: Path, leg: str, fate: Any) -> None:
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", DAY)
        stage.broker.line += [fate] if leg == "entry" else []
        await stage.until("09:31")
        await stage.wait(1)
        stage.broker.deliver()
        stage.broker.line += [fate] if leg == "stop" else []
        stage.broker.fill(stage.broker.the("entry"))
        await stage.hear()
        await stage.wait(1)
        stage.broker.deliver()
        await stage.wait(5)
        stage.broker.line += [fate] if leg == "exit" else []
        await stage.control.flatten(symbol="AAA", identity="ann")
        await stage.quiet()
        await stage.wait(1)
        refused = stage.broker.deliver()
        await stage.wait(5)
        assert len(set(bodies(stage, leg))) == 1
        assert [ref for ref, _ in await stage.journal("unknown")] == [bodies(stage, leg)[0].client_order_id]
        assert all("fa-" in text for text in refused)
        stage.broker.fill(stage.broker.the("exit"))
        await stage.hear()
        assert await stage.order_states() == {"entry-1": "filled", "exit-1": "filled", "stop-1": "cancelled"}
        assert await stage.states() == {"AAA": "closed flatten"}
    assert stage.broken() == []


async def test_doubtful_order_is_looked_up_before_it_is_sent_again(home: Path) -> None:
    async with OutsideStage(home) as stage:
        stage.broker.line += ["reply lost"]
        stage.market.day("AAA", DAY)
        await stage.until("09:31")
        await stage.wait(2)
        assert (len(stage.broker.posts), (await stage.order_states())["entry-1"]) == (1, "accepted")


async def test_each_try_waits_longer_and_the_doubt_is_journalled_once(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await stage.entered()
        stage.broker.line += ["dropped"] * 6
        await stage.control.flatten(symbol="AAA", identity="ann")
        await stage.quiet()
        at: list[int] = [stage.clock.now_ms()]
        stage.broker.before_post = lambda intent: at.append(stage.clock.now_ms())
        await stage.wait(90)
        waits = [then - first for first, then in itertools.pairwise(at)]
        assert waits == [1_000, 2_000, 4_000, 8_000, 15_000, 15_000]
        assert len(await stage.journal("unknown")) == 1
        assert (await stage.order_states())["exit-1"] == "accepted"


async def test_exit_is_sent_again_long_after_an_entry_would_have_been_given_up(home: Path) -> None:
    """An entry's time to live is a minute; an exit goes on for as long as there is something to close."""
    async with OutsideStage(home) as stage:
        await stage.entered()
        stage.broker.line += ["dropped"] * 60
        await stage.control.flatten(symbol="AAA", identity="ann")
        await stage.wait(10 * 60)
        assert (await stage.order_states())["exit-1"] == "unknown"
        stage.broker.line.clear()
        await stage.wait(20)
        assert (await stage.order_states())["exit-1"] == "accepted"
        assert len(set(bodies(stage, "exit"))) == 1
        assert (await stage.engine.queue.stats()).dead == []


async def test_entry_of_unknown_fate_is_sent_again_within_its_minute_only(home: Path) -> None:
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", DAY)
        stage.broker.line += ["dropped"] * 60
        await stage.until("09:31")
        await stage.wait(60)
        tries = len(stage.broker.posts)
        assert tries == 8
        stage.broker.line.clear()
        await stage.wait(600)
        assert len(stage.broker.posts) == tries
        assert (await stage.order_states())["entry-1"] == "unknown"
        assert await stage.reserved() == ["AAA"]


async def test_entry_that_arrives_after_it_was_given_up_is_adopted_and_protected(home: Path) -> None:
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", DAY)
        stage.broker.line += ["late", *["dropped"] * 60]
        await stage.until("09:33")
        assert (await stage.order_states())["entry-1"] == "unknown"
        stage.broker.line.clear()
        stage.broker.deliver()
        await stage.hear()
        assert (await stage.order_states())["entry-1"] == "accepted"
        stage.broker.fill(stage.broker.the("entry"))
        await stage.hear()
        assert (await stage.order_states())["stop-1"] == "accepted"


async def test_refusal_of_a_second_try_does_not_end_what_the_first_may_have_left(home: Path) -> None:
    """Try one is under way, try two is refused: only when the time of the first is over is the refusal believed."""
    async with OutsideStage(home) as stage:
        await stage.entered()
        stage.broker.line += ["late", OrderRejectedError("halted", "news")]
        await stage.control.flatten(symbol="AAA", identity="ann")
        await stage.wait(1)
        assert (await stage.order_states())["exit-1"] == "unknown"
        stage.broker.deliver()
        await stage.wait(3)
        assert (await stage.order_states())["exit-1"] == "accepted"
        assert {name for name in await stage.orders() if name.startswith("exit")} == {"exit-1"}


async def test_refusal_that_stands_ends_the_doubtful_exit_and_the_next_follows(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await stage.entered()
        stage.broker.line += ["dropped", *[OrderRejectedError("halted", "news")] * 8]
        await stage.control.flatten(symbol="AAA", identity="ann")
        await stage.wait(80)
        states = await stage.order_states()
        assert states["exit-1"] == "rejected"
        assert states["exit-2"] in ("accepted", "rejected")
        await stage.wait(30)
        assert "accepted" in {state for name, state in (await stage.order_states()).items() if "exit" in name}


async def test_duplicate_answer_is_never_read_as_a_rejection(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await stage.entered()
        stage.broker.line += ["late", DuplicateClientOrderIdError("twice")]
        await stage.control.flatten(symbol="AAA", identity="ann")
        await stage.wait(1)
        assert (await stage.order_states())["exit-1"] == "unknown"
        stage.broker.deliver()
        await stage.wait(3)
        assert (await stage.order_states())["exit-1"] == "accepted"


async def test_other_bytes_than_were_committed_never_leave(home: Path) -> None:
    """The hash of the body is checked before anything is sent: a changed intent is withdrawn, its exit made anew."""
    async with OutsideStage(home) as stage:
        await stage.entered()
        sql = "UPDATE broker_order SET body_hash = 'other', state = 'intent', accepted_at = NULL WHERE leg = 'stop'"
        await stage.forge(sql)
        stop_id = stage.broker.the("stop")
        del stage.broker.book[stop_id]
        posts = len(stage.broker.posts)
        await stage.publish(NewJob(Step.SEND_EXIT, {"order": stop_id}, idem_key="again"))
        assert len(stage.broker.posts) == posts
        assert (await stage.order_states())["stop-1"] == "cancelled"
        await stage.wait(2)
        assert (await stage.order_states())["stop-2"] == "accepted"


async def test_exit_claims_no_more_than_is_held_while_a_stop_is_in_doubt(home: Path) -> None:
    """The stop's fate is unknown and the broker cannot be asked for it: no exit leaves beside it."""
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:31")
        stage.broker.line += ["reply lost", "dropped", "dropped", "dropped", "dropped", "dropped", "dropped"]
        stage.broker.fill(stage.broker.the("entry"))
        await stage.hear()
        stop_id = stage.broker.the("stop")
        stage.broker.hidden.add(stop_id)
        await stage.control.flatten(symbol="AAA", identity="ann")
        await stage.wait(20)
        assert bodies(stage, "exit") == []
        stage.broker.hidden.clear()
        stage.broker.line.clear()
        await stage.wait(40)
        assert stage.broker.book[stop_id].state is OrderState.CANCELLED
        assert len(bodies(stage, "exit")) == 1
        stage.broker.fill(stage.broker.the("exit"))
        await stage.hear()
        assert stage.broker.held_e4("AAA") == 0


async def test_agent_killed_between_the_post_and_its_reply_sends_nothing_twice(home: Path) -> None:
    """The order is at the broker, the reply died with the process: the next boot looks it up."""
    async with OutsideStage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:31")
        order_id = stage.broker.the("entry")
        sql = (
            "UPDATE broker_order SET state = 'intent', accepted_at = NULL;"
            "UPDATE job_queue SET status = 'ready', finished_at = NULL WHERE type = 'send'"
        )
        for each in sql.split(";"):
            await stage.engine.queue.call(lambda ws, text=each: ws.conn.execute(text).rowcount)  # type: ignore[misc]
        await stage.restart()
        await stage.quiet()
        assert stage.broker.posts == [order_id]
        assert (await stage.order_states())["entry-1"] == "accepted"


async def test_exit_whose_job_has_died_is_sent_by_the_next_minutes_watch(home: Path) -> None:
    async with OutsideStage(home) as stage:
        await stage.entered()
        stage.broker.line += ["dropped"]
        await stage.control.flatten(symbol="AAA", identity="ann")
        await stage.quiet()
        sql = "DELETE FROM job_queue WHERE type = 'send_exit' AND status = 'scheduled'"
        await stage.engine.queue.call(lambda ws: ws.conn.execute(sql).rowcount)
        assert (await stage.order_states())["exit-1"] == "unknown"
        await stage.until("09:33")
        assert (await stage.order_states())["exit-1"] == "accepted"
