"""After each close the account is held against what explains it: on paper to the last unit, outside with a mark."""

import json
from pathlib import Path

from finagent.domain.market import Side
from finagent.domain.orders import BrokerCashFlow
from tests.integration.reconcile.stage import AppStage
from tests.integration.services.world import DAY, NEXT, Stage

COSTS = {
    "execution": {"slippage_bps": 5, "regulatory_fees": True, "close_penalty_bps": 50, "commission_per_share": 0.0035},
    "planning": {"time_stop_minutes": None},
}  # fmt: skip


async def test_paper_ties_out_to_the_last_unit_also_over_a_night(home: Path) -> None:
    """A target, a loss and a position that was halted to the close and is sold the next day, all with costs."""
    async with Stage(home, dates=(DAY, NEXT), settings=COSTS) as stage:
        from tests.integration.services.market import local

        stage.market.day("AAA", DAY, {"10:00": (100, 110, 100, 109.37)})
        stage.market.day("BBB", DAY, {"10:00": (100, 100, 91.11, 92.03)})
        stage.market.day("CCC", DAY, {"11:00": (100, 101, 99.9, 100.77)}, silent_from="15:30")
        stage.market.day("CCC", NEXT, open_at=99.13, previous=100.77)
        stage.market.halts.append(("CCC", local(DAY, "15:30"), local(NEXT, "09:30")))
        await stage.finish()
        rows = await stage.engine.database.read(
            "SELECT session, baseline, difference, is_tied, pnl, fees FROM account_snapshot ORDER BY session"
        )
        assert [row[:4] for row in rows] == [(DAY, "", 0, 1), (NEXT, DAY, 0, 1)]
        assert all(row[4] != 0 and row[5] > 0 for row in rows)  # type: ignore[operator]
        assert await stage.journal("tie_out") == []


async def test_outside_broker_is_tied_out_against_deposits_and_what_is_not_ours(home: Path) -> None:
    async with AppStage(home, dates=(DAY, NEXT)) as stage:
        service = stage.engine
        await stage.bought()
        stage.app.by_hand("ZZZ", Side.BUY, 5)
        await stage.until("15:46")
        await stage.tell()
        await stage.until("16:10")
        assert await stage.value("SELECT count(*) FROM account_snapshot WHERE session = ?", DAY) == 1
        stage.app.flows.append(
            BrokerCashFlow(flow_id="d1", at_ms=stage.clock.now_ms(), kind="deposit", amount_e8=5_000)
        )
        stage.app.cash_e8 += 5_000
        stage.app.price_e4 += 777
        await stage.until("09:35", NEXT)
        stage.app.by_hand("ZZZ", Side.SELL, 2)
        await stage.until("16:10", NEXT)
        flows, difference = (
            await service.database.read(
                "SELECT flows, difference FROM account_snapshot WHERE session = ?", (NEXT,)
            )
        )[0]
        assert (flows, difference) == (5_000, 0)


async def test_money_that_nothing_explains_is_journalled_and_shown(home: Path) -> None:
    async with Stage(home, dates=(DAY, NEXT), is_checked=False) as stage:
        stage.market.day("AAA", DAY, {"10:00": (100, 110, 100, 109.37)})
        stage.market.day("AAA", NEXT)
        await stage.until("16:10")
        sql = "UPDATE venue_account SET cash = cash - 1"
        await stage.engine.queue.call(lambda ws: ws.conn.execute(sql).rowcount)
        await stage.until("16:10", NEXT)
        ((ref, data),) = await stage.journal("tie_out")
        assert (ref, json.loads(data)["difference_e8"]) == (NEXT, -1)
        assert await stage.value("SELECT is_tied FROM account_snapshot WHERE session = ?", NEXT) == 0
