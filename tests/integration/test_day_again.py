"""Every step of a day run twice: a handler that dies after its effect and before its commit changes nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from finagent.runtime import failpoints
from tests.integration.services.invariants import violations
from tests.integration.services.world import DAY, Stage

STRUCTURE = {"planning": {"preset": "structure", "structure_setup": "premarket_break"}}
RISE = {
    "09:33": (100, 101.5, 100, 101.05),
    "09:40": (101.05, 102.5, 101.05, 102.4),
    "09:50": (102, 102, 99, 99),
}


@pytest.fixture
def armed() -> Iterator[None]:
    yield
    failpoints.disarm_all()


async def a_day(home: Path, *, dies_at: int | None) -> tuple[int, list[tuple[object, ...]]]:
    """The jobs done, and what the day's trade and orders came to."""
    async with Stage(home, settings=STRUCTURE) as stage:
        stage.market.day("AAA", DAY, RISE)
        stage.market.premarket("AAA", DAY, high=101, low=99.5, close=100)
        failpoints.disarm_all()
        if dies_at is not None:
            failpoints.arm("processor.before_done", at=dies_at)
        await stage.finish()
        trades = await stage.engine.database.read("SELECT trade_id, pnl, fees FROM trade")
        orders = await stage.engine.database.read(
            "SELECT client_order_id, state, filled FROM broker_order ORDER BY client_order_id"
        )
        jobs = await stage.value("SELECT count(*) FROM job_queue WHERE status = 'done'")
    assert violations(stage.path, is_day_over=True) == []
    return int(jobs), [*trades, *orders]


async def test_each_step_may_die_before_its_commit_and_the_day_comes_out_the_same(
    home: Path, armed: None
) -> None:
    """Orders that left are looked up and adopted, events are told again, nothing is sent or booked twice."""
    jobs, expected = await a_day(_folder(home, 0), dies_at=None)
    assert jobs > 20
    for step in range(1, jobs + 1):
        _, outcome = await a_day(_folder(home, step), dies_at=step)
        assert outcome == expected, f"the handler of job {step} died once"


def _folder(home: Path, number: int) -> Path:
    folder = home / str(number)
    folder.mkdir()
    return folder
