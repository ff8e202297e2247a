"""What the demo and the agent tell while they run."""

import asyncio

from finagent.cli.narrator import ask, narrate, news, questions
from finagent.runtime.tasks import spawn
from tests.unit.api import documents as day
from tests.unit.api.home import memory_context


def test_each_turn_of_a_plan_and_each_trade_is_told_once() -> None:
    known: dict[str, str] = {}
    told = news(day.PLANS, day.TRADES, known)
    assert told == [
        "NVDA: plan to buy 78 at 241.50, stop 235.12, target 260.64",
        "AMD: expired",
        "MU: armed",
        "SQ: closed at 49.5012 by target, +499.74",
        "TSLA: closed at 336.00 by stop, -495.75",
    ]
    assert news(day.PLANS, day.TRADES, known) == []
    changed = {**day.PENDING, "state": "refused", "reasons": ["price_moved"], "direction": "short"}
    assert news({"plans": [changed]}, {}, known) == ["NVDA: refused (price_moved)"]
    again = {**changed, "plan_id": "new", "state": "pending"}
    assert news({"plans": [again]}, {}, known)[0].startswith("NVDA: plan to sell short 78")


async def test_lines_begin_with_the_exchange_time() -> None:
    context, _ = memory_context()
    lines: list[str] = []
    came = asyncio.Event()

    def tell(line: str) -> None:
        lines.append(line)
        came.set()

    task = spawn(narrate(context.views, tell), "narrate")
    await asyncio.wait_for(came.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert lines[0].startswith("09:34  NVDA: plan to buy")


def test_each_waiting_plan_is_asked_once_and_again_when_it_has_changed() -> None:
    known: set[str] = set()
    waiting = {"plans": [day.PENDING]}
    (line,) = questions(waiting, known)
    assert line.startswith(
        "NVDA: plan to buy 78 at 241.50, stop 235.12, target 260.64: waits for your answer"
    )
    assert line.endswith("until 09:41 ET: finagent approve 7f3a9c21d4e (or reject; finagent plans shows all)")
    assert questions(waiting, known) == []
    assert len(questions({"plans": [{**day.PENDING, "plan_hash": "cd" * 32}]}, known)) == 1


async def test_agent_tells_only_the_plans_that_wait() -> None:
    context, _ = memory_context()
    lines: list[str] = []
    came = asyncio.Event()

    def tell(line: str) -> None:
        lines.append(line)
        came.set()

    task = spawn(ask(context.views, tell), "ask")
    await asyncio.wait_for(came.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [line.split(":")[0] for line in lines] == ["NVDA"]
