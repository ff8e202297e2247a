"""The database locked by another program with a position open: one exit leaves past it, and is in it afterwards."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from finagent.bootstrap.agent import start_agent
from finagent.bootstrap.emergency import HeldBack
from finagent.cli.agent import leave_flag
from finagent.context import SurfaceError
from finagent.domain.facts import IntentRecorded
from finagent.domain.legs import exit_intent
from finagent.domain.orders import OrderIntent, Scope, body_hash
from finagent.ports import Job, JobStatus, NewJob, RetryError, Tx
from finagent.runtime.append_log import AppendLog
from finagent.settings import Settings
from tests.integration.backup_world import ROOT, faults
from tests.integration.locked.stage import SETTINGS, Holder, LockedStage
from tests.integration.services.market import local
from tests.integration.services.world import DAY, PATIENCE_S

FLAT = {"entry-1": "filled", "stop-1": "cancelled", "target-1-1": "cancelled", "exit-1": "filled"}


Hold = Callable[[Path], Holder]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Lets another process lock a database; whatever happens, it lets go."""
    with contextlib.ExitStack() as stack:
        yield lambda path: stack.enter_context(Holder(path))


async def assert_folded(stage: LockedStage, *, exits: int = 1) -> None:
    """Flat, once, with the rows of the usual way; broker and journal agree, and entries are open again."""
    await stage.flat()
    assert len(stage.broker.exits()) == exits
    assert await stage.reconcile().differences() == []
    assert await stage.value("SELECT count(*) FROM job_queue WHERE status = 'dead'") == 0
    assert not (stage.path.parent / "emergency.log").exists()
    await stage.until("15:52")
    compare = {"session": DAY, "reason": "timer"}
    await stage.publish(NewJob("reconcile", dict(compare), idem_key="timer"))
    control = await stage.engine.store.control()
    assert control.gate_reason is None
    assert (await stage.plan()).state.value == "closed"
    assert faults(stage.path) == []


async def test_one_exit_leaves_past_a_locked_database_and_is_folded_in_once(home: Path) -> None:
    """The flatten instant passes while another process holds the write lock."""
    async with LockedStage(home, settings=SETTINGS) as stage:
        await stage.open_position()
        seen: list[bool] = []

        def witness(intent: OrderIntent) -> None:
            seen.append(intent.client_order_id in (home / "emergency.log").read_text())

        stage.broker.before_submit = witness
        holder = stage.hold()
        tick = stage.at("15:45")
        await stage.waited(6.0)
        assert stage.engine.emergency is not None
        assert stage.engine.emergency.is_shut
        assert stage.broker.exits() == []
        for waited_s in (31.0, 36.0, 41.0):
            await stage.waited(waited_s)
        assert len(stage.broker.exits()) == 1
        assert seen == [True], "sent before its line was in the log"
        assert await stage.broker.positions() == []
        holder.unlock()
        await tick
        await stage.waited(0.0)
        await assert_folded(stage)
        assert await stage.order_states() == FLAT
        assert len(stage.broker.submits) == 2
        kinds = [
            kind
            for (kind,) in await stage.engine.database.read(
                "SELECT kind FROM journal WHERE kind IN ('exit', 'accepted', 'trade') ORDER BY seq"
            )
        ]
        assert kinds.count("exit") == 1
        assert not stage.engine.emergency.is_shut


@pytest.mark.parametrize("point", ["emergency.intent_written", "emergency.sent", "emergency.folded"])
async def test_agent_killed_past_the_lock_sends_no_second_exit(hold: Hold, home: Path, point: str) -> None:
    """SIGKILL between line and send, between send and answer, and between fold and the end of the log."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FINAGENT_FAILPOINTS": f"{point}@1=kill"}
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.locked.child", str(home)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "open\n"
    holder = hold(home / "finagent.db")
    child.stdin.write("\n")
    child.stdin.flush()
    if point == "emergency.folded":
        assert child.stdout.readline() == "sent\n"
        holder.unlock()
        child.stdin.write("\n")
        child.stdin.flush()
    child.communicate(timeout=PATIENCE_S)
    assert child.returncode == -signal.SIGKILL
    assert (home / "emergency.log").exists()
    if point != "emergency.folded":
        holder.unlock()
    stage = LockedStage(home, settings=SETTINGS)
    stage.market.day("AAA", DAY)
    async with stage:
        await stage.until("15:46")
        await stage.quiet()
        await stage.told()
        await assert_folded(stage)
        assert await stage.order_states() == FLAT


async def test_exit_under_way_both_ways_is_one_order(home: Path) -> None:
    """The sender's request is at the broker when the lock begins: its reply cannot be stored, nothing is sent twice."""
    async with LockedStage(home, settings=SETTINGS) as stage:
        await stage.open_position()
        holders: list[Holder] = []
        is_sent = asyncio.Event()

        def lock(intent: OrderIntent) -> None:
            if not holders:
                holders.append(stage.hold())
                is_sent.set()

        stage.broker.before_submit = lock
        plan_id = (await stage.plan()).plan.plan_id
        await stage.engine.queue.publish(
            NewJob("exit", {"plan": plan_id, "reason": "time"}, idem_key="x", key=plan_id)
        )
        await asyncio.wait_for(is_sent.wait(), PATIENCE_S)
        stage.clock.advance(local(DAY, "15:46"))
        await stage.waited(31.0)
        await stage.waited(36.0)
        holders[0].unlock()
        await stage.waited(0.0)
        await stage.quiet()
        await stage.told()
        await assert_folded(stage)
        assert stage.broker.submits.count(stage.broker.exits()[0]) == 1


async def test_refused_exit_is_followed_by_its_next_generation(home: Path) -> None:
    """And both are in the database afterwards, the first as refused."""
    async with LockedStage(home, settings=SETTINGS) as stage:
        await stage.open_position()
        stage.broker.refused = 1
        holder = stage.hold()
        tick = stage.at("15:45")
        await stage.waited(31.0)
        assert stage.broker.exits() == []
        await stage.waited(36.0)
        await stage.waited(41.0)
        holder.unlock()
        await tick
        await stage.waited(0.0)
        await assert_folded(stage)
        assert await stage.order_states() == {**FLAT, "exit-1": "rejected", "exit-2": "filled"}


@pytest.mark.parametrize("looks", [1, 3])
@pytest.mark.parametrize("fault", ["request dropped", "reply lost"])
async def test_exit_without_an_answer_is_looked_up_and_is_one_order(
    home: Path, fault: str, looks: int
) -> None:
    """By the next look at it, or, when the lock goes first, by the sender after the fold."""
    async with LockedStage(home, settings=SETTINGS) as stage:
        await stage.open_position()
        stage.broker.line = [fault]
        holder = stage.hold()
        tick = stage.at("15:45")
        for look in range(looks):
            await stage.waited(31.0 + 5 * look)
        holder.unlock()
        await tick
        await stage.waited(0.0)
        await stage.quiet()
        await stage.told()
        await assert_folded(stage)
        assert await stage.order_states() == FLAT
        requests = stage.broker.submits.count(stage.broker.exits()[0])
        assert requests == (1 if fault == "reply lost" else 2), "sent again without a look"


async def test_exit_that_was_committed_and_not_sent_leaves_under_its_own_id(home: Path) -> None:
    """The lock came between the commit and the claim of its job."""
    async with LockedStage(home, settings=SETTINGS) as stage:
        await stage.open_position()
        held = await stage.held()
        assert held is not None
        for name in ("stop-1", "target-1-1"):
            await stage.broker.cancel((await stage.orders())[name].intent.client_order_id)
        intent = exit_intent(
            held.plan, held.position.quantity_e4, generation=1, reason="flatten", scope=Scope(), now_ms=1
        )
        tx = Tx()
        tx.put(IntentRecorded(intent=intent, session=DAY, body_hash=body_hash(intent)))
        await stage.engine.queue.commit(tx)
        await stage.forge()  # no step of ours wrote it
        holder = stage.hold()
        await stage.waited(31.0)
        await stage.waited(36.0)
        assert stage.broker.exits() == [intent.client_order_id]
        holder.unlock()
        await stage.waited(0.0)
        await stage.quiet()
        await assert_folded(stage)


async def test_broker_that_does_not_answer_is_asked_again(home: Path) -> None:
    """Neither a look nor the fold gives up, and one failing symbol is an error line, not the end."""
    async with LockedStage(home, settings=SETTINGS) as stage:
        await stage.open_position()
        holder = stage.hold()
        tick = stage.at("15:45")
        stage.broker.is_down = True
        await stage.waited(31.0)
        assert stage.broker.exits() == []
        stage.broker.is_down = False
        await stage.waited(36.0)
        assert len(stage.broker.exits()) == 1
        stage.broker.is_down = True
        holder.unlock()
        await tick
        await stage.waited(0.0)
        stage.broker.is_down = False
        await assert_folded(stage)
        assert await stage.order_states() == FLAT


async def test_stop_that_filled_meanwhile_leaves_nothing_to_sell(home: Path) -> None:
    """The quantity is the broker's, not what the locked database believes."""
    async with LockedStage(home, settings=SETTINGS) as stage:
        await stage.open_position()
        holder = stage.hold()
        tick = stage.at("15:45")
        stage.broker.hit((await stage.orders())["stop-1"].intent.client_order_id)
        await stage.waited(31.0)
        await stage.waited(36.0)
        assert stage.broker.exits() == []
        holder.unlock()
        await tick
        await stage.waited(0.0)
        await stage.told()
        await assert_folded(stage, exits=0)


@pytest.mark.parametrize(
    ("verb", "body", "exits"),
    [
        ("kill", {}, 1),
        ("flatten", {}, 1),
        ("flatten", {"symbol": "AAA"}, 1),
        ("flatten", {"symbol": "BBB"}, 0),
        ("pause", {}, 0),
    ],
)
async def test_flag_files_are_obeyed_past_the_lock(
    home: Path, verb: str, body: dict[str, str], exits: int
) -> None:
    """Before the flatten ladder; only what is in scope goes."""
    async with LockedStage(home, settings=SETTINGS, is_checked=False) as stage:
        await stage.open_position()
        holder = stage.hold()
        leave_flag(home, verb, {"identity": "test", **body})
        await stage.waited(31.0)
        assert len(stage.broker.exits()) == exits
        holder.unlock()
        await stage.waited(0.0)
        await stage.quiet()


async def test_position_without_a_stop_at_the_broker_is_closed(home: Path) -> None:
    """Somebody cancelled it there; the agent, which cannot commit a new one, leaves."""
    async with LockedStage(home, settings=SETTINGS) as stage:
        await stage.open_position()
        holder = stage.hold()
        await stage.waited(31.0)
        assert stage.broker.exits() == [], "protected, and nothing is due"
        assert not (home / "emergency.log").exists()
        await stage.broker.cancel((await stage.orders())["stop-1"].intent.client_order_id)
        await stage.waited(36.0)
        assert len(stage.broker.exits()) == 1
        holder.unlock()
        await stage.waited(0.0)
        await assert_folded(stage)


async def test_time_stop_leaves_past_the_lock(home: Path) -> None:
    """Judged from the bars, as the tick would."""
    async with LockedStage(home, settings={"planning": {"time_stop_minutes": 30}}) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:32")
        await stage.told()
        await stage.until("09:55")
        holder = stage.hold()
        await stage.waited(31.0)
        assert stage.broker.exits() == []
        tick = stage.at("10:05")
        await stage.waited(36.0)
        assert len(stage.broker.exits()) == 1
        holder.unlock()
        await tick
        await stage.waited(0.0)
        await stage.flat()
        assert await stage.states() == {"AAA": "closed time"}


async def test_damaged_log_stops_the_start_with_the_mend(home: Path) -> None:
    """A flipped bit is no torn line: nobody may guess what was sent."""
    log = AppendLog(home / "emergency.log")
    log.append({"kind": "begun", "plan": "pl_1"})
    log.append({"kind": "begun", "plan": "pl_2"})
    data = (home / "emergency.log").read_bytes()
    (home / "emergency.log").write_bytes(data.replace(b"pl_1", b"pl_3"))
    stage = LockedStage(home, settings=SETTINGS)
    with pytest.raises(SurfaceError, match="damaged in line 1") as caught:
        await stage.start()
    assert "compare with the broker" in caught.value.hint


async def test_start_behind_the_lock_is_one_line_with_the_mend(hold: Hold, home: Path) -> None:
    """After SQLite's own wait of 5 s; nothing was begun."""
    stage = LockedStage(home, settings=SETTINGS)
    async with stage:
        pass
    hold(stage.path)
    with pytest.raises(SurfaceError, match="is locked by another program") as caught:
        await stage.start()
    assert "lsof" in caught.value.hint
    assert caught.value.code == "locked"


class Counting:
    """A handler that counts."""

    def __init__(self) -> None:
        self.handled: list[str] = []

    async def handle(self, job: Job, tx: Tx) -> None:
        self.handled.append(job.type)


def claimed(type: str) -> Job:
    """A job as a handler gets it."""
    return Job(
        id=1,
        type=type,
        key=None,
        payload={},
        payload_version=1,
        status=JobStatus.LEASED,
        priority=0,
        run_at_ms=0,
        deadline_at_ms=None,
        attempts=1,
        failures=0,
        max_attempts=3,
        lease=None,
        idem_key="x",
        trace_id=None,
        parent_id=None,
        created_at_ms=0,
        started_at_ms=0,
        finished_at_ms=None,
        error=None,
    )


async def test_paper_venue_is_as_locked_as_the_agent(tmp_path: Path) -> None:
    """It lives in the same file: nothing can be sent to it, so entries are shut and nothing else is done."""
    agent = await start_agent(Settings(), tmp_path)
    try:
        desk = agent.engine.emergency
        assert desk is not None
        handler = Counting()
        held_back = HeldBack(handler, desk)
        desk.on_busy(4.9)
        await held_back.handle(claimed("send"), Tx())
        desk.on_busy(31.0)
        with pytest.raises(RetryError, match="entries are shut"):
            await held_back.handle(claimed("send"), Tx())
        await held_back.handle(claimed("send_exit"), Tx())
        desk.on_busy(0.0)
        await held_back.handle(claimed("execute"), Tx())
    finally:
        await agent.stop()
    assert handler.handled == ["send", "send_exit", "execute"]
    assert not (tmp_path / "emergency.log").exists()


async def test_nothing_speaks_to_the_broker_before_the_log_is_in_the_database(home: Path) -> None:
    """The flatten job that the lock held up is claimed with the first commit, and its exit waits for the fold.

    It would mint exit 1 anew, which the broker refused once and would take now, beside exit 2.
    """
    async with LockedStage(home, settings=SETTINGS) as stage:
        await stage.open_position()
        desk = stage.engine.emergency
        assert desk is not None
        gate, fold_in = asyncio.Event(), desk.fold_in

        async def later() -> None:
            await gate.wait()
            await fold_in()

        desk.fold_in = later  # type: ignore[method-assign]
        holder = stage.hold()
        tick = stage.at("15:45")
        stage.broker.refused = 1
        await stage.waited(31.0)
        await stage.waited(36.0)
        holder.unlock()
        await tick
        await stage.waited(0.0)
        calls, sent = list(stage.broker.calls), list(stage.broker.submits)
        for number in range(20):
            await stage.engine.queue.note("meanwhile", {"number": number})
        leased = await stage.engine.database.read("SELECT type FROM job_queue WHERE status = 'leased'")
        assert leased == [("flatten",)]
        assert (stage.broker.calls, stage.broker.submits) == (calls, sent)
        gate.set()
        await assert_folded(stage)
        assert await stage.order_states() == {**FLAT, "exit-1": "rejected", "exit-2": "filled"}
