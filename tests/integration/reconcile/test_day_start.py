"""At a broker outside a session's capital is what was read there: once, without what is not ours."""

import json
from pathlib import Path
from typing import Any

import pytest

from finagent.bootstrap.gauges import GaugeService
from finagent.bootstrap.journal_proof import Selection, replay_journal, verify_journal
from finagent.bootstrap.live import ReconcileTimer
from finagent.domain.market import Side
from finagent.domain.orders import BrokerCashFlow
from finagent.domain.plan import PlanState
from finagent.runtime.metrics import Metrics
from tests.integration.reconcile.app_broker import CASH_E8
from tests.integration.reconcile.stage import AppStage
from tests.integration.services.market import local
from tests.integration.services.world import DAY, NEXT

DOLLAR = 10**8


def read(metrics: Metrics, name: str) -> float:
    """The one sample of a gauge."""
    (value,) = (
        sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == f"finagent_{name}"
    )
    return float(value)


class OutsideStage(AppStage):
    """A stage whose engine knows that its broker is outside."""

    def __init__(self, path: Path, **more: Any) -> None:
        super().__init__(path, **{"is_outside": True, **more})

    async def capital(self, date: str = DAY) -> tuple[int, bool]:
        """Day-start equity in 1e-8 and whether it was read."""
        book = await self.engine.store.book(date, now_ms=self.clock.now_ms())
        return book.day_start_equity_e8, book.has_day_start

    def deposit(self, dollars: int, at_ms: int) -> None:
        """Money comes (or goes)."""
        kind = "deposit" if dollars > 0 else "withdrawal"
        name = f"f{len(self.app.flows) + 1}"
        self.app.flows.append(
            BrokerCashFlow(flow_id=name, at_ms=at_ms, kind=kind, amount_e8=dollars * DOLLAR)
        )
        self.app.cash_e8 += dollars * DOLLAR

    async def planned(self) -> int:
        """Whole shares that risk gave the plan in AAA at the first scan."""
        self.market.day("AAA", DAY)
        await self.until("09:32")
        return ((await self.plan()).plan.quantity_e4 or 0) // 10_000


async def test_drawdown_is_measured_from_the_capital_that_was_read_there(home: Path) -> None:
    """Not from `account.start_equity`, which is paper's: 80,000 there would be a fall of a fifth before any trade."""
    async with OutsideStage(home) as stage:
        stage.app.last_equity_e8 = 80_000 * DOLLAR
        gauges, metrics = GaugeService(stage.engine), stage.engine.metrics
        stage.market.day("AAA", DAY, {"09:45": (100, 100, 98, 98)})
        await stage.until("09:30")
        await gauges.run_once()
        assert read(metrics, "equity") == 80_000
        assert read(metrics, "drawdown_ratio") == 0
        await stage.until("09:33")
        await stage.tell()
        await stage.until("09:46")
        await gauges.run_once()
        equity = read(metrics, "equity")
        assert equity < 80_000
        assert read(metrics, "drawdown_ratio") == pytest.approx(1 - equity / 80_000)


async def test_capital_is_the_equity_at_the_close_before_and_is_journalled_with_its_parts(home: Path) -> None:
    async with OutsideStage(home) as stage:
        stage.app.last_equity_e8 = 80_000 * DOLLAR
        assert await stage.capital() == (CASH_E8, False)
        await stage.until("09:30")
        assert await stage.capital() == (80_000 * DOLLAR, True)
        ((ref, data),) = await stage.journal("day_start")
        assert (ref, json.loads(data)) == (
            DAY,
            {
                "equity_e8": 80_000 * DOLLAR, "base_e8": 80_000 * DOLLAR, "last_close": True,
                "flows_e8": 0, "external_e8": 0, "pnl_e8": 0,
            },
        )  # fmt: skip
        await stage.confirmed("later")
        assert len(await stage.journal("day_start")) == 1
        path = stage.path
    assert verify_journal(path)["valid"]
    assert replay_journal(path, Selection())["different"] == 0


async def test_smaller_account_sizes_smaller(home: Path) -> None:
    shares = []
    for dollars in (100_000, 10_000):
        folder = home / str(dollars)
        folder.mkdir()
        async with OutsideStage(folder) as stage:
            stage.app.last_equity_e8 = dollars * DOLLAR
            shares.append(await stage.planned())
    assert shares[0] // 10 == shares[1] > 0


async def test_deposit_over_night_does_not_loosen_the_daily_loss(home: Path) -> None:
    """It is capital once, not profit; one that comes during the session is none before the next."""
    async with OutsideStage(home, dates=(DAY, NEXT)) as stage:
        await stage.until("09:30")
        assert (await stage.capital())[0] == CASH_E8
        stage.deposit(50_000, local(DAY, "17:00"))
        stage.deposit(-20_000, local(NEXT, "08:00"))
        await stage.until("09:30", NEXT)
        assert await stage.capital(NEXT) == (130_000 * DOLLAR, True)
        stage.deposit(50_000, local(NEXT, "09:31"))
        await stage.until("09:35", NEXT)
        await stage.confirmed("after")
        assert await stage.capital(NEXT) == (130_000 * DOLLAR, True)


async def test_flows_come_on_top_of_the_equity_at_the_close(home: Path) -> None:
    async with OutsideStage(home, dates=(DAY, NEXT)) as stage:
        stage.app.last_equity_e8 = CASH_E8
        stage.deposit(7, local(DAY, "15:00"))  # before the close: in its equity already
        stage.deposit(-20_000, local(NEXT, "08:00"))
        await stage.until("09:30", NEXT)
        assert await stage.capital(NEXT) == (80_000 * DOLLAR, True)


async def test_external_holding_is_not_capital(home: Path) -> None:
    async with OutsideStage(home) as stage:
        stage.app.by_hand("ZZZ", Side.BUY, 600)
        stage.app.last_equity_e8 = CASH_E8
        await stage.until("09:30")
        assert (await stage.capital())[1] is False, "nobody knows yet whose these are"
        await stage.later(3)
        await stage.confirmed("adopted")
        assert await stage.capital() == (40_000 * DOLLAR, True)


async def test_entries_stay_shut_until_the_capital_was_read(home: Path) -> None:
    async with OutsideStage(home) as stage:
        stage.app.is_down = True
        stage.market.day("AAA", DAY)
        await stage.until("09:32")
        stored = await stage.plan()
        assert (stored.state, stored.reason) == (PlanState.REFUSED, "entry_gate")
        account, _, _ = await stage.engine.desk.account(stage.calendar.session_at(stage.clock.now_ms()))
        assert account.entry_gate_reason == "no_day_start_equity"
        stage.app.is_down = False
        assert await ReconcileTimer(stage.engine).run_once() is True
        await stage.quiet()
        account, _, _ = await stage.engine.desk.account(stage.calendar.session_at(stage.clock.now_ms()))
        assert account.entry_gate_reason is None
        assert await ReconcileTimer(stage.engine).run_once() is False


async def test_capital_is_not_read_over_night(home: Path) -> None:
    """The broker's close before is not booked yet, and money may still come."""
    async with OutsideStage(home) as stage:
        await stage.until("07:29")
        assert await ReconcileTimer(stage.engine).run_once() is False
        await stage.compare("night")
        assert (await stage.capital())[1] is False
        await stage.until("07:30")
        assert await ReconcileTimer(stage.engine).run_once() is True
        await stage.quiet()
        assert (await stage.capital())[1] is True
