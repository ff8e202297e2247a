"""A feed that does not answer: what hangs on the clock alone goes on."""

from pathlib import Path

from finagent.domain.market import Session
from finagent.ports import RetryError
from tests.integration.services.market import ScriptedCalendar, ScriptedMarket, local
from tests.integration.services.world import DAY, Stage


class BlindMarket(ScriptedMarket):
    """A feed that is down until an instant."""

    down_until_ms = 0
    now_ms = staticmethod(lambda: 0)

    async def load(self, session: Session) -> None:
        if self.now_ms() < self.down_until_ms:
            raise RetryError("the feed does not answer")


async def test_flatten_ladder_does_not_wait_for_a_feed_that_is_down(tmp_path: Path) -> None:
    """Down from 15:40 to 15:50: at 15:45 the ladder asks all the same, and what is open closes when prices are back."""
    market = BlindMarket(ScriptedCalendar(DAY))
    market.day("AAA", DAY)
    async with Stage(tmp_path, market=market, settings={"planning": {"time_stop_minutes": None}}) as stage:
        await stage.until("15:40")
        assert await stage.held() is not None
        market.now_ms, market.down_until_ms = stage.clock.now_ms, local(DAY, "15:50")
        await stage.until("15:46")
        asked = await stage.value("SELECT count(*) FROM job_queue WHERE type = 'flatten' AND status = 'done'")
        assert asked == 1
        assert [ref for ref, data in await stage.journal("exit") if '"reason":"flatten"' in data]
        await stage.finish()
        assert await stage.held() is None
