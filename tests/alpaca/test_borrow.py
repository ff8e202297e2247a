"""A short asks the broker at the decision whether its shares are there: no, and no answer, refuse it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from finagent.adapters.brokers.alpaca import AlpacaFacts, AlpacaStream, Keys, endpoint
from finagent.bootstrap import start_agent
from finagent.bootstrap.brokers import Connection
from finagent.domain.binding import PAPER
from finagent.domain.market import Instrument
from finagent.settings import Settings
from finagent.simulation.alpaca import KEY, SECRET, AlpacaServer
from tests.alpaca.test_services import AlpacaStage
from tests.integration.races.stage import PATIENT

SHORTS: dict[str, Any] = {**PATIENT, "risk": {"allow_shorts": True}}
GET = "GET /v2/assets/AAA"


@asynccontextmanager
async def falling(
    home: Path, *, is_listed: bool = True, fault: str | None = None, **more: Any
) -> AsyncIterator[AlpacaStage]:
    """AAA gaps down on a margin account at Alpaca, and the instrument data say that it is easy to borrow."""
    async with AlpacaServer() as server:
        if is_listed:
            server.add_asset("AAA", "100")
        server.control.run("mode", {"immediate": True})
        if fault is not None:
            server.control.run("fault", {"on": GET, "action": fault, "times": 20})
        stage = AlpacaStage(home, server, **{"settings": SHORTS, **more})
        stream = AlpacaStream(endpoint(server.url), Keys(KEY, SECRET), stage.broker.name_of)
        stage.borrow = Connection(stage.broker, stream, AlpacaFacts(stage.http), PAPER).borrow
        async with stage:
            stage.market.day("AAA", "2018-02-20", previous=105.5)
            stage.market.instruments["AAA"] = Instrument(symbol="AAA", shortable=True, easy_to_borrow=True)
            stage.market.is_short_restricted = False
            stage.market.quotes["2018-02-20", "AAA"] = (99_9800, 100_0200)
            try:
                yield stage
            finally:
                await stage.http.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


async def test_short_that_the_broker_lends_is_sold(home):
    async with falling(home) as stage:
        await stage.until("09:31")
        await stage.settle()
        assert stage.at_broker() == {"entry": ["filled"], "stop": ["new"]}
        assert stage.server.book.held("AAA") < 0


@pytest.mark.parametrize("change", [{"shortable": False}, {"easy_to_borrow": False}], ids=str)
async def test_short_that_the_broker_does_not_lend_is_refused(home, change):
    async with falling(home) as stage:
        stage.tell("asset", symbol="AAA", **change)
        await stage.until("09:31")
        await stage.settle()
        assert await stage.states() == {"AAA": "refused not_borrowable"}
        assert stage.at_broker() == {}


@pytest.mark.parametrize(
    "how", [{"is_listed": False}, {"fault": "drop_before"}, {"fault": "garbage"}], ids=str
)
async def test_short_of_which_the_broker_says_nothing_is_refused(home, how):
    async with falling(home, **how) as stage:
        await stage.until("09:31")
        await stage.settle()
        assert await stage.states() == {"AAA": "refused borrow_unknown"}
        assert stage.at_broker() == {}


async def test_shares_that_are_gone_by_the_answer_refuse_it(home):
    async with falling(home, mode="approve") as stage:
        await stage.until("09:32")
        stage.tell("asset", symbol="AAA", easy_to_borrow=False)
        outcome = await stage.answer((await stage.plan()).plan.plan_id)
        assert (outcome.code, outcome.detail) == ("refused_by_risk", "not_borrowable")


async def test_agent_of_a_home_asks_its_broker(tmp_path, monkeypatch):
    monkeypatch.setenv("ALPACA_API_KEY", KEY)
    monkeypatch.setenv("ALPACA_SECRET_KEY", SECRET)
    async with AlpacaServer() as server:
        server.add_asset("EASY", "100")
        server.add_asset("HARD", "100", easy_to_borrow=False)
        settings = Settings(broker={"name": "alpaca", "endpoint": server.url})  # type: ignore[arg-type]
        agent = await start_agent(settings, tmp_path)
        try:
            borrow = agent.engine.desk.borrow
            assert [await borrow(symbol) for symbol in ("EASY", "HARD", "NONE")] == [True, False, None]
        finally:
            await agent.stop()
