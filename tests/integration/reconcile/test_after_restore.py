"""After a restore: what our orders did in the lost time is taken over, closed, and counted in the day's limits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from finagent.adapters.sqlite.backup import back_up
from finagent.bootstrap.journal_proof import verify_journal
from finagent.bootstrap.starting import compare_with_broker
from finagent.context import ExitCode
from finagent.domain.account import AccountState
from finagent.domain.market import Side
from finagent.domain.orders import OrderState, Scope
from tests.integration.backup_world import restored
from tests.integration.reconcile.app_broker import AppBroker
from tests.integration.reconcile.stage import AppStage
from tests.integration.services.test_answer_words import commands_of
from tests.integration.services.world import DAY

LOSS_E4 = 20_000
SYMBOLS = ("AAA", "BBB", "CCC")


@dataclass
class Lost:
    """A home restored to the morning, at a broker where the day went on: ``shares`` is what each symbol bought."""

    stage: AppStage
    app: AppBroker
    shares: int
    old_ids: set[str]

    async def account(self) -> AccountState:
        session = self.stage.calendar.session(DAY)
        assert session is not None
        return (await self.stage.engine.desk.account(session))[0]

    def order(self, symbol: str, leg: str) -> str:
        """The id of an order of the lost time."""
        (found,) = [each for each in self.old_ids if f"-{symbol}-{leg}-" in each]
        return found

    async def start(self) -> None:
        await self.stage.start()
        self.app.clock = self.stage.clock
        await compare_with_broker(self.stage.engine)


@asynccontextmanager
async def lost_time(home: Path, *, backup_at: str = "09:30") -> AsyncIterator[Lost]:
    """AAA is bought and stopped out, BBB is held with its stop, CCC's entry works; then the backup is restored."""
    backup = home / "backup.db"
    async with AppStage(home, is_attached=False, is_live=True) as stage:
        for symbol in SYMBOLS:
            stage.market.day(symbol, DAY)
        stage.app.resting = {"CCC"}
        await stage.until(backup_at)
        back_up(stage.path, backup)
        await stage.until("09:33")
        await stage.tell()
        shares = await stage.shares("AAA")
        assert shares > 0
        assert await stage.shares("BBB") > 0
        stage.app.price_e4 -= LOSS_E4
        stage.app.fill((await stage.orders("AAA"))["stop-1"].intent.client_order_id)
        await stage.tell()
        assert await stage.states() == {"AAA": "closed stop", "BBB": "open", "CCC": "entering"}
        await stage.stop()
        restored(backup, stage.path)
        stage.scope = Scope(generation="second")
        lost = Lost(stage, stage.app, shares, set(stage.app.known))
        await lost.start()
        yield lost


async def test_orders_of_the_lost_time_are_cancelled_and_their_shares_sold(home: Path) -> None:
    async with lost_time(home) as lost:
        assert await lost.stage.gate() == "reconcile"
        await lost.stage.later(5)
        assert lost.app.known[lost.order("CCC", "entry")].state is OrderState.CANCELLED
        assert lost.app.known[lost.order("BBB", "stop")].state is OrderState.CANCELLED
        assert lost.app.held() == {}
        await lost.stage.later(5)
        assert await lost.stage.found() == []
        assert await lost.stage.engine.store.external() == []
        sent = [each for each in lost.app.submitted if each not in lost.old_ids]
        assert [each.split("-")[2:4] for each in sent] == [["BBB", "recover"]]
        assert await lost.stage.gate() is None
        assert (await lost.stage.engine.store.control()).needs_rearm, "a person opens entries"


async def test_lost_time_counts_in_the_days_limits_after_rearm(home: Path) -> None:
    async with lost_time(home) as lost:
        await lost.stage.later(10)
        assert (await commands_of(lost.stage).rearm(identity="ann")).code == "rearmed"
        await lost.stage.later(5)
        account = await lost.account()
        assert account.entry_gate_reason is None
        assert account.symbols_today == ("AAA", "BBB")
        assert account.trades_today == 2
        assert account.realised_pnl_e8 == -2 * lost.shares * 10_000 * LOSS_E4
        await lost.stage.until("09:35")
        states = await lost.stage.states()
        assert (states["AAA"], states["BBB"]) == ("refused symbol_today", "refused symbol_today")
        entries = [each for each in lost.app.submitted if "-CCC-entry-" in each]
        assert len(set(entries)) == 2, (
            "what never filled may be tried again, under an id of the new generation"
        )
        assert await lost.stage.found() == []
        await lost.stage.restart()
        assert (await lost.account()).trades_today == 3
        assert (await lost.account()).symbols_today == ("CCC", "AAA", "BBB")
        found = verify_journal(lost.stage.path)
        assert found["valid"], found


async def test_rearm_waits_until_the_lost_time_is_closed(home: Path) -> None:
    async with lost_time(home) as lost:
        lost.app.resting = {"BBB"}
        for _ in range(2):
            await lost.stage.later(5)
            refused = await commands_of(lost.stage).rearm(identity="ann")
            assert (refused.code, refused.exit_code) == ("not_rearmed", ExitCode.REFUSED)
        assert await lost.stage.found() == [("recovered", "BBB")]
        (sale,) = [each for each in lost.app.submitted if "-recover-" in each]
        lost.app.fill(sale, quantity_e4=10_000)
        await lost.stage.compare("part")
        await lost.stage.later(5)
        lost.app.fill(sale)
        await lost.stage.later(10)
        assert await lost.stage.found() == []
        assert (await commands_of(lost.stage).rearm(identity="ann")).code == "rearmed"
        assert [each for each in lost.app.submitted if "-recover-" in each] == [sale]


async def test_shares_of_the_lost_time_sold_by_hand_are_not_sold_again(home: Path) -> None:
    async with lost_time(home) as lost:
        lost.app.by_hand("BBB", Side.SELL, lost.app.held()["BBB"] // 10_000)
        lost.app.cancel_by_hand(lost.order("BBB", "stop"))
        await lost.stage.later(10)
        await lost.stage.confirmed("timer")
        assert [each for each in lost.app.submitted if "-recover-" in each] == []
        assert lost.app.held() == {}
        assert await lost.stage.found() == []
        assert len(await lost.stage.journal("recovered_gone")) == 1
        assert (await lost.account()).trades_today == 2


async def test_exit_of_the_lost_time_ends_the_position_the_backup_still_holds(home: Path) -> None:
    """The entries are in the backup and their stops are not: the stop's execution closes the plan, at its price."""
    async with lost_time(home, backup_at="09:32") as lost:
        await lost.stage.later(10)
        await lost.stage.confirmed("timer")
        await lost.stage.tell()
        await lost.stage.confirmed("again")
        assert await lost.stage.found() == []
        (trade,) = await lost.stage.engine.store.trades(DAY)
        assert (trade.symbol, trade.pnl_e8) == ("AAA", -lost.shares * 10_000 * LOSS_E4)
        assert (await lost.account()).realised_pnl_e8 == trade.pnl_e8
        assert (await lost.account()).trades_today == 3
        assert lost.app.held() == {"BBB": lost.shares * 10_000}
        assert lost.app.known[lost.order("BBB", "stop")].state is OrderState.CANCELLED
        (stop,) = [each for each in lost.app.submitted if "-BBB-stop-" in each and each not in lost.old_ids]
        assert lost.app.known[stop].state is OrderState.ACCEPTED
        assert [each for each in lost.app.submitted if "-recover-" in each] == []


async def test_without_a_restore_an_order_nobody_wrote_stays_a_difference(home: Path) -> None:
    async with lost_time(home) as lost:
        await lost.stage.forge(
            "DELETE FROM recovery", "DELETE FROM recovered_order", "DELETE FROM recovered_fill"
        )
        await lost.stage.confirmed("a")
        assert ("unknown_order", lost.order("AAA", "entry")) in await lost.stage.found()


@pytest.mark.parametrize("count", [1, 3])
async def test_starting_again_and_again_takes_nothing_over_twice(home: Path, count: int) -> None:
    async with lost_time(home) as lost:
        for _ in range(count):
            await lost.stage.stop()
            await lost.start()
        await lost.stage.later(10)
        assert lost.app.held() == {}
        assert (await lost.account()).realised_pnl_e8 == -2 * lost.shares * 10_000 * LOSS_E4
        assert len([each for each in lost.app.submitted if "-recover-" in each]) == 1
