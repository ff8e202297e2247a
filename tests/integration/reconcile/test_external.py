"""What finagent did not open: listed once, shuts entries until somebody knows of it, never sold, never traded."""

from pathlib import Path

import pytest

from finagent.context import SurfaceError
from finagent.domain.facts import ExternalAcknowledged
from finagent.domain.market import Side
from finagent.ports import Tx
from finagent.queue.errors import GuardFailedError
from tests.integration.reconcile.stage import AppStage
from tests.integration.services.test_answer_words import commands_of
from tests.integration.services.world import DAY, NEXT


async def problems(stage: AppStage) -> dict[str, str]:
    """Code -> mend of what the status calls wrong."""
    document = await commands_of(stage)._views.status()
    rows = document["problems"]
    assert isinstance(rows, list)
    return {str(row["code"]): str(row["mend"]) for row in rows if isinstance(row, dict)}


async def test_holding_of_nobody_shuts_entries_until_a_person_knows_of_it(home: Path) -> None:
    async with AppStage(home, dates=(DAY, NEXT)) as stage:
        stage.market.day("AAA", DAY)
        stage.market.day("ZZZ", DAY, open_at=50, previous=45)
        stage.app.by_hand("ZZZ", Side.BUY, 5)
        await stage.until("09:25")
        await stage.confirmed("a")
        assert await stage.found() == [("external", "ZZZ")]
        assert (await problems(stage))["differs_external"] == "finagent external ack ZZZ"
        await stage.until("09:32")
        assert await stage.states() == {
            "AAA": "refused entry_gate",
            "ZZZ": "refused entry_gate, symbol_blocked",
        }
        result = await commands_of(stage).acknowledge([], identity="ann")
        await stage.quiet()
        assert result.message.startswith("Acknowledged ZZZ.")
        assert await stage.found() == []
        assert await stage.gate() is None
        assert [ref for ref, _ in await stage.journal("external_acknowledged")] == ["ZZZ"]


async def test_symbol_of_an_acknowledged_holding_is_not_traded_and_the_holding_never_sold(home: Path) -> None:
    async with AppStage(home) as stage:
        stage.market.day("AAA", DAY)
        stage.market.day("ZZZ", DAY, open_at=50, previous=45)
        stage.app.by_hand("ZZZ", Side.BUY, 5)
        await stage.until("09:25")
        await stage.confirmed("a")
        await commands_of(stage).acknowledge(["ZZZ"], identity="ann")
        await stage.until("09:33")
        await stage.tell()
        assert await stage.states() == {"AAA": "open", "ZZZ": "refused symbol_blocked"}
        await stage.control.kill(reason="enough", identity="ann")
        await stage.until("15:45")
        await stage.tell()
        assert await stage.control.is_flat()
        await stage.until("16:10")
        assert stage.app.held() == {"ZZZ": 50_000}
        assert await stage.value("SELECT is_flat FROM day") == 1
        assert not [each for each in stage.app.submitted if "ZZZ" in each]


async def test_growth_is_listed_again_and_a_sale_of_the_persons_own_is_not(home: Path) -> None:
    async with AppStage(home) as stage:
        stage.market.day("AAA", DAY)
        stage.app.by_hand("ZZZ", Side.BUY, 5)
        await stage.until("09:25")
        await stage.confirmed("a")
        await commands_of(stage).acknowledge([], identity="ann")
        await stage.quiet()
        stage.app.by_hand("ZZZ", Side.SELL, 2)
        await stage.confirmed("b")
        assert await stage.gate() is None
        assert [each.quantity_e4 for each in await stage.engine.store.external()] == [30_000]
        stage.app.by_hand("ZZZ", Side.BUY, 9)
        await stage.confirmed("c")
        assert await stage.found() == [("external", "ZZZ")]
        stage.app.by_hand("ZZZ", Side.SELL, 12)
        await stage.confirmed("d")
        assert await stage.engine.store.external() == []
        assert await stage.gate() is None
        stage.app.by_hand("ZZZ", Side.BUY, 1)
        await stage.confirmed("e")
        assert await stage.found() == [("external", "ZZZ")], "once gone, it is new"


async def test_acknowledgement_is_for_what_was_seen(home: Path) -> None:
    async with AppStage(home) as stage:
        stage.app.by_hand("ZZZ", Side.BUY, 5)
        await stage.until("09:25")
        await stage.confirmed("a")
        with pytest.raises(SurfaceError) as refused:
            await commands_of(stage).acknowledge(["ZZZ", "QQQ"], identity="ann")
        assert refused.value.code == "unknown_symbol"
        assert await stage.gate() == "reconcile"
        tx = Tx()
        tx.put(ExternalAcknowledged(symbol="ZZZ", quantity_e4=40_000, identity="ann"))
        with pytest.raises(GuardFailedError):
            await stage.engine.queue.commit(tx)
        assert (await commands_of(stage).acknowledge(["ZZZ"], identity="ann")).is_done
        again = await commands_of(stage).acknowledge([], identity="ann")
        assert again.message.startswith("Acknowledged nothing: no holding waits.")
