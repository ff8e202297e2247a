"""What is refused once is tried again, within bounds; and who shut something is who may open it."""

from pathlib import Path

from finagent.bootstrap.live import ReconcileTimer
from finagent.bootstrap.starting import shut_gate
from finagent.domain.steps import Step
from finagent.ports import NewJob, OrderRejectedError
from finagent.services.sender import MOST_EXITS
from tests.integration.services.invariants import violations
from tests.integration.services.market import local
from tests.integration.services.world import DAY, Broker, Stage, fails, passes

REFUSED = OrderRejectedError("try_later")
NO_TIME_STOP = {"planning": {"time_stop_minutes": None}}
STRUCTURE = {"planning": {"preset": "structure", "structure_setup": "premarket_break"}}
MISCOUNT = "UPDATE venue_position SET quantity = quantity + 10000 WHERE symbol = 'AAA'"
MEND = "UPDATE venue_position SET quantity = quantity - 10000 WHERE symbol = 'AAA'"


def refusing(home: Path, broker: list[Broker], **more: object) -> Stage:
    """A day whose broker refuses what a test says."""

    def wrap(inner: object) -> Broker:
        broker.append(Broker(inner))  # type: ignore[arg-type]
        return broker[-1]

    return Stage(home, broker=wrap, **{"settings": NO_TIME_STOP, **more})  # type: ignore[arg-type]


async def execute(stage: Stage, sql: str) -> None:
    await stage.engine.queue.call(lambda ws: ws.conn.execute(sql).rowcount)


async def gate(stage: Stage) -> str | None:
    return (await stage.engine.store.control()).gate_reason


async def reconciles(stage: Stage, reason: str) -> int:
    """How many reconcile jobs were left for one reason."""
    sql = "SELECT count(*) FROM job_queue WHERE type = 'reconcile' AND json_extract(payload, '$.reason') = ?"
    return int(await stage.value(sql, reason))


# ------------------------------------------------------------ refusals
async def test_refused_exit_is_followed_by_the_next_generation_a_second_later(home: Path) -> None:
    brokers: list[Broker] = []
    async with refusing(home, brokers) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:40")
        brokers[0].before_submit += [fails(REFUSED)]
        assert await stage.control.flatten(symbol="AAA", identity="ann") == 1
        await stage.quiet()
        assert (await stage.order_states())["exit-1"] == "rejected"
        assert "exit-2" not in await stage.orders()
        await stage.until("09:40:01")
        orders = await stage.orders()
        assert orders["exit-2"].state == "accepted"
        first_ms, second_ms = (orders[name].intent.created_at_ms for name in ("exit-1", "exit-2"))
        assert second_ms - first_ms == 1_000
        await stage.until("09:42")
        assert await stage.held() is None
        assert await stage.states() == {"AAA": "closed flatten"}
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_exit_that_is_refused_for_ever_is_tried_a_bounded_number_of_times(home: Path) -> None:
    """Each flatten step of the ladder asks again; between them the broker is not flooded."""
    brokers: list[Broker] = []
    async with refusing(home, brokers) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:40")
        brokers[0].before_submit += [fails(REFUSED)] * MOST_EXITS
        await stage.until("15:49")
        exits = {name: state for name, state in (await stage.order_states()).items() if "exit" in name}
        assert exits == {f"exit-{number}": "rejected" for number in range(1, MOST_EXITS + 1)}
        assert await stage.held() is not None
        await stage.until("15:52")
        assert (await stage.order_states())[f"exit-{MOST_EXITS + 1}"] == "filled"
        assert await stage.held() is None
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_refused_stop_replacement_is_tried_again_at_each_next_bar(home: Path) -> None:
    """Two refusals: the old stop protects meanwhile, the third try replaces it."""
    brokers: list[Broker] = []
    async with refusing(home, brokers, settings=STRUCTURE) as stage:
        rise = {"09:33": (100, 101.5, 100, 101.05), "09:40": (101.05, 102.5, 101.05, 102.4)}
        stage.market.day("AAA", DAY, rise)
        stage.market.premarket("AAA", DAY, high=101, low=99.5, close=100)
        brokers[0].before_submit += [passes, fails(REFUSED), fails(REFUSED)]
        await stage.until("09:42")
        states = await stage.order_states()
        assert [states[f"stop-{n}"] for n in (1, 2, 3)] == ["accepted", "rejected", "rejected"]
        assert (await stage.venue_states())["stop-1"] == "accepted"
        await stage.until("09:43")
        states = await stage.order_states()
        assert (states["stop-1"], states["stop-4"]) == ("cancelled", "accepted")
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


# ------------------------------------------------------------ the gate
async def test_rearm_leaves_a_gate_that_is_shut_for_damage_shut(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:40")
        await shut_gate(stage.engine, "damage")
        await stage.control.rearm(identity="ann")
        await stage.quiet()
        assert await gate(stage) == "damage"
        assert await reconciles(stage, "rearm") == 1


async def test_rearm_leaves_a_difference_to_reconcile_which_opens_once_it_is_gone(home: Path) -> None:
    async with Stage(home, settings=NO_TIME_STOP) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:40")
        await execute(stage, MISCOUNT)
        await stage.control.rearm(identity="ann")
        await stage.quiet()
        assert await gate(stage) == "reconcile"
        stage.clock.advance(stage.clock.now_ms() + 1)
        await stage.control.rearm(identity="ann")
        await stage.quiet()
        assert await gate(stage) == "reconcile"
        await execute(stage, MEND)
        stage.clock.advance(stage.clock.now_ms() + 1)
        await stage.control.rearm(identity="ann")
        await stage.quiet()
        assert await gate(stage) is None
        assert await reconciles(stage, "rearm") == 3


async def test_timer_compares_only_while_something_is_open_or_a_difference_shuts_the_gate(home: Path) -> None:
    async with Stage(home, settings=NO_TIME_STOP) as stage:
        stage.market.day("AAA", DAY, {"09:45": (100, 100, 96, 96.5)})
        timer = ReconcileTimer(stage.engine)
        await stage.until("09:30")
        assert await timer.run_once() is False
        await stage.until("09:40")
        await execute(stage, MISCOUNT)
        assert await timer.run_once() is True
        await stage.quiet()
        assert await gate(stage) == "reconcile"
        await stage.until("09:46")
        assert await stage.states() == {"AAA": "closed stop"}
        assert await timer.run_once() is True
        await stage.quiet()
        assert await gate(stage) == "reconcile"
        await execute(stage, MEND)
        stage.clock.advance(local(DAY, "09:46:30"))
        assert await timer.run_once() is True
        await stage.until("09:46:33")  # the second look confirms that the share of nobody is gone
        assert await gate(stage) is None
        stage.clock.advance(local(DAY, "09:46:59"))
        assert await timer.run_once() is False
        assert await reconciles(stage, "timer") == 3


# ------------------------------------------------------------ pauses
async def test_resume_undoes_a_persons_pause_and_leaves_risks(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:40")
        await stage.control.pause(reason="lunch", identity="ann")
        limit = {"session": DAY, "tier": "pause"}
        await stage.publish(NewJob(Step.LIMIT, dict(limit), idem_key=f"{DAY}/pause"))
        assert (await stage.engine.store.control()).paused_by == "person and risk"
        assert await stage.control.resume(identity="ann") == "daily loss pause"
        control = await stage.engine.store.control()
        assert (control.is_paused, control.paused_by) == (True, "risk")
        assert await stage.control.resume(identity="ann") == "daily loss pause"
        assert (await stage.engine.store.control()).is_paused


async def test_persons_pause_on_top_of_risks_stays_risks(home: Path) -> None:
    """Else a pause and a resume would open what the day's loss has shut."""
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:40")
        limit = {"session": DAY, "tier": "pause"}
        await stage.publish(NewJob(Step.LIMIT, dict(limit), idem_key=f"{DAY}/pause"))
        await stage.control.pause(reason="lunch", identity="ann")
        assert await stage.control.resume(identity="ann") is not None
        assert (await stage.engine.store.control()).is_paused
