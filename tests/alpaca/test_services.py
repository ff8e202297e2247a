"""The real services over Alpaca's adapter and a server that misbehaves: nothing twice, nothing lost, never bare."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from finagent.adapters.brokers.alpaca import (
    AlpacaBroker,
    AlpacaHttp,
    AlpacaStream,
    Keys,
    Patience,
    endpoint,
)
from finagent.runtime.tasks import spawn
from finagent.services.stream import StreamService
from finagent.simulation.alpaca import KEY, SECRET, AlpacaServer
from tests.alpaca.world import NoPauses
from tests.integration.races.stage import OutsideStage, SignalTicker
from tests.integration.services.invariants import violations
from tests.integration.services.world import PATIENCE_S

POST = "POST /v2/orders"


class AlpacaStage(OutsideStage):
    """The day of the stage at a simulated Alpaca, whose clock is the stage's."""

    def __init__(self, path: Path, server: AlpacaServer, **more: Any) -> None:
        super().__init__(path, **more)
        self.server = server
        server.venue.clock = self.clock  # type: ignore[assignment]
        self.http = AlpacaHttp(
            endpoint(server.url),
            Keys(KEY, SECRET),
            clock=self.clock,
            ticker=NoPauses(),
            patience=Patience(write_s=2.0, read_s=10.0, attempts=2),
        )
        self.broker = AlpacaBroker(self.http, calendar=self.calendar)  # type: ignore[assignment]

    def tell(self, name: str, **order: object) -> Any:
        return self.server.control.run(name, order)

    def at_broker(self) -> dict[str, list[str]]:
        """Leg -> states of its orders at the broker, in the order they came."""
        found: dict[str, list[str]] = {}
        for order in self.server.book.orders.values():
            leg = order.client_order_id.split("-")[3]
            found.setdefault(leg, []).append(order.status)
        return found

    async def settle(self) -> None:
        """Retries fall due and what the broker knows is heard, until nothing moves any more."""
        for _ in range(4):
            await self.wait(10)
            await self.hear()

    def broken(self, *, is_day_over: bool = False) -> list[str]:
        """Every broken promise of the journal, and one id as two orders at the broker."""
        ids = [order.client_order_id for order in self.server.book.orders.values()]
        found = [
            t for t in violations(self.path, is_day_over=is_day_over) if not t.startswith("journal holds")
        ]
        return found + [f"{each} is two orders" for each in ids if ids.count(each) > 1]


@asynccontextmanager
async def alpaca(home: Path, *, immediate: bool = True, **more: Any) -> AsyncIterator[AlpacaStage]:
    async with AlpacaServer() as server:
        server.add_asset("AAA", "100")
        server.control.run("mode", {"immediate": immediate})
        async with AlpacaStage(home, server, **more) as stage:
            stage.market.day("AAA", "2018-02-20")
            try:
                yield stage
            finally:
                await stage.http.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


async def test_entry_is_filled_protected_and_stopped_out_once(home):
    async with alpaca(home) as stage:
        await stage.until("09:31")
        await stage.hear()
        assert stage.at_broker() == {"entry": ["filled"], "stop": ["new"]}
        held = await stage.held()
        assert held is not None
        stage.tell("trade", symbol="AAA", price="96.5")
        await stage.hear()
        assert await stage.held() is None
        assert stage.server.book.holdings == {}
        assert stage.at_broker() == {"entry": ["filled"], "stop": ["filled"]}


FAULTS = [
    ("drop_before", {}),
    ("drop_reply", {}),
    ("answer", {"status": 504}),
    ("answer", {"status": 504, "is_done": True}),
    ("answer", {"status": 429, "headers": {"retry-after": "-1"}}),
    ("answer", {"status": 429, "is_done": True, "headers": {"retry-after": "1e9"}}),
    ("garbage", {}),
    ("endless", {}),
    ("hang", {"is_done": True}),
]


@pytest.mark.parametrize("leg", ["entry", "stop"])
@pytest.mark.parametrize(("action", "more"), FAULTS, ids=[f"{a} {m}" for a, m in FAULTS])
async def test_order_goes_out_once_whatever_becomes_of_its_request(home, leg, action, more):
    async with alpaca(home) as stage:
        was_taken = action in ("drop_reply", "garbage", "endless") or "is_done" in more
        if leg == "stop":
            stage.tell("fault", on="POST /v2/orders", action="delay", seconds=0.0)
        stage.tell("fault", on=POST, action=action, **more)
        await stage.until("09:31")
        await stage.settle()
        assert stage.server.faults.fired.get(action, 0) >= 1
        assert stage.at_broker() == {"entry": ["filled"], "stop": ["new"]}
        assert stage.server.requests.count(("POST", "/v2/orders")) == (2 if was_taken else 3)
        held = await stage.held()
        assert held is not None
        assert held.position.quantity_e4 == int(stage.server.book.held("AAA") * 10_000)


async def test_order_that_arrives_late_is_one_order(home):
    async with alpaca(home) as stage:
        stage.tell("fault", on=POST, action="late")
        await stage.until("09:31")
        stage.tell("arrive")
        await stage.settle()
        assert stage.at_broker() == {"entry": ["filled"], "stop": ["new"]}


async def test_order_sent_again_beats_the_late_one_to_it(home):
    async with alpaca(home) as stage:
        stage.tell("fault", on=POST, action="late")
        await stage.until("09:31")
        await stage.settle()
        assert stage.tell("arrive") == {"orders": 0}
        assert stage.at_broker() == {"entry": ["filled"], "stop": ["new"]}


async def test_restart_after_a_lost_reply_finds_the_order(home):
    async with alpaca(home) as stage:
        stage.tell("fault", on=POST, action="drop_reply")
        await stage.until("09:31")
        await stage.restart()
        await stage.settle()
        assert stage.at_broker() == {"entry": ["filled"], "stop": ["new"]}


async def test_partly_filled_entry_gives_way_to_its_stop(home):
    """Alpaca takes no stop while the entry's rest works: the rest goes, then the stop rests for what is held."""
    async with alpaca(home, immediate=False) as stage:
        await stage.until("09:31")
        stage.tell("trade", symbol="AAA", price="100", volume="40")
        await stage.settle()
        assert stage.at_broker()["entry"] == ["canceled"]
        resting = [o for o in stage.server.book.live("AAA") if o.type == "stop"]
        assert [int(o.qty) for o in resting] == [40]
        held = await stage.held()
        assert held is not None
        assert held.position.quantity_e4 == 400_000


REFUSALS = [
    ("account", {"trading_blocked": True}, "account_blocked"),
    ("account", {"cash": "10"}, "insufficient_buying_power"),
    ("asset", {"symbol": "AAA", "tradable": False}, "not_tradable"),
]


@pytest.mark.parametrize(("command", "change", "reason"), REFUSALS, ids=[r for *_, r in REFUSALS])
async def test_refused_entry_ends_its_plan_with_the_reason(home, command, change, reason):
    async with alpaca(home) as stage:
        stage.tell(command, **change)
        await stage.until("09:31")
        await stage.settle()
        assert stage.at_broker() == {}
        state = (await stage.states())["AAA"]
        assert reason in state


async def send_job(stage: AlpacaStage) -> int:
    return int(await stage.value("SELECT max(id) FROM job_queue WHERE type = 'send'"))


@pytest.mark.parametrize("how", ["worn_out", "cancelled_by_hand"])
async def test_entry_whose_keys_expire_as_it_leaves_ends_by_the_evidence(home, how):
    """Nothing answers for ten minutes, or a person gives its job up: its plan and reservation do not hang for ever."""
    async with alpaca(home) as stage:
        await stage.until("09:30:30")
        stage.tell("keys", key="renewed", secret="renewed")
        await stage.until("09:31")
        assert (await stage.order_states())["entry-1"] == "intent"
        if how == "cancelled_by_hand":
            assert await stage.engine.queue.cancel(await send_job(stage))
        await stage.wait(600)
        stage.tell("keys", key=KEY, secret=SECRET)
        await stage.restart()
        await stage.until("16:30")
        await stage.settle()
        assert await stage.states() == {"AAA": "not_filled never_arrived"}
        assert await stage.reserved() == []
        assert stage.at_broker() == {}
        dead = await stage.value("SELECT count(*) FROM job_queue WHERE type = 'send' AND status = 'dead'")
        assert dead == 0


async def test_send_that_a_person_retries_is_looked_up_before_it_leaves_again(home):
    async with alpaca(home) as stage:
        stage.tell("fault", on=POST, action="answer", status=401, is_done=True)
        await stage.until("09:31")
        assert (await stage.order_states())["entry-1"] == "intent"
        assert await stage.engine.queue.retry(await send_job(stage))
        await stage.settle()
        assert stage.at_broker() == {"entry": ["filled"], "stop": ["new"]}
        assert stage.server.requests.count(("POST", "/v2/orders")) == 2


async def test_flat_before_the_close(home):
    async with alpaca(home) as stage:
        await stage.until("09:31")
        await stage.hear()
        for time in ("15:45", "15:46", "15:50", "15:51", "15:55", "15:58"):
            await stage.until(time)
            await stage.hear()
        assert stage.server.book.holdings == {}
        assert await stage.held() is None
        assert not stage.server.book.live("AAA")


@asynccontextmanager
async def hearing(stage: AlpacaStage) -> AsyncIterator[StreamService]:
    """The reader on Alpaca's stream, on machinery time that stands still."""
    known, stop = stage.engine.catch_up(), asyncio.Event()
    stream = AlpacaStream(endpoint(stage.server.url), Keys(KEY, SECRET), stage.broker.name_of)
    service = StreamService(
        stream, known.missing, known.told, stage.engine.store, stage.engine.queue, SignalTicker()
    )
    task = spawn(service.run(stop), "stream")
    try:
        await asyncio.wait_for(service.trusted.wait(), PATIENCE_S)
        yield service
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE_S)


async def posted(stage: AlpacaStage, count: int) -> None:
    """So many orders have left."""
    await asyncio.wait_for(stage.server.asked("POST", "/v2/orders", count), PATIENCE_S)
    await stage.quiet()


@pytest.mark.parametrize("misbehaves", [None, "duplicate", "shuffle"])
async def test_fill_on_the_stream_alone_brings_the_stop(home, misbehaves):
    async with alpaca(home) as stage, hearing(stage):
        if misbehaves is not None:
            stage.tell("stream", action=misbehaves, count=2)
        await stage.until("09:31")
        await posted(stage, 2)
        assert stage.at_broker() == {"entry": ["filled"], "stop": ["new"]}
        held = await stage.held()
        assert held is not None
        assert held.position.quantity_e4 == int(stage.server.book.held("AAA") * 10_000)


async def test_stream_that_was_closed_comes_back_and_catches_up(home):
    async with alpaca(home) as stage:
        async with hearing(stage) as service:
            assert service.trusted.is_set()
            stage.tell("stream", action="close")
            stage.tell("stream", action="refuse")
            await stage.until("09:31")
        assert "stop" not in stage.at_broker()
        stage.tell("stream", action="refuse", count=0)
        async with hearing(stage):
            await posted(stage, 2)
            assert stage.at_broker() == {"entry": ["filled"], "stop": ["new"]}
