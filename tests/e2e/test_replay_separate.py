"""Real sessions with exits as orders of their own: every invariant of a finished day holds."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from finagent.bootstrap.runs import run_path, run_replay
from finagent.settings import load_settings
from tests.integration.services.invariants import violations


@pytest.mark.parametrize(
    ("exits", "preset", "last"),
    [
        ("separate", "classic", "2018-02-23"),
        pytest.param("separate", "classic", "2018-03-16", marks=pytest.mark.full),
        pytest.param("alpaca", "classic", "2018-03-16", marks=pytest.mark.full),
    ],
)
def test_real_sessions_with_separate_exits_keep_every_invariant(
    real_home: Path, tmp_path: Path, exits: str, preset: str, last: str
) -> None:
    (tmp_path / "bars").symlink_to(real_home / "bars")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FINAGENT__EXECUTION__EXITS", exits)
        patch.setenv("FINAGENT__PLANNING__PRESET", preset)
        patch.setenv("FINAGENT__SCAN__MIN_GAP_PCT", "2")
        document = asyncio.run(run_replay(load_settings(), tmp_path, first="2018-02-16", last=last))
    path = run_path(tmp_path, str(document["result_id"]))
    assert violations(path, is_day_over=True) == []
    with sqlite3.connect(path) as connection:
        bare = connection.execute(
            "SELECT count(*) FROM broker_order e WHERE leg = 'entry' AND filled > 0 AND NOT EXISTS"
            " (SELECT 1 FROM broker_order s WHERE s.plan_id = e.plan_id AND s.leg IN ('stop', 'exit'))"
        ).fetchone()
        attached = connection.execute(
            "SELECT count(*) FROM venue_order WHERE parent_id IS NOT NULL"
        ).fetchone()
        trades = connection.execute("SELECT count(*) FROM trade").fetchone()
    assert (bare, attached) == ((0,), (0,))
    assert trades[0] > 0
    print(f"{exits}, {preset}, 2018-02-16 to {last}: {trades[0]} trades")
