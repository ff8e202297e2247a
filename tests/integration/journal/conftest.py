"""One finished day, made once and copied for each test that damages it."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.integration.services.world import DAY, Stage


async def _played(folder: Path) -> Path:
    async with Stage(folder, mode="policy") as stage:
        for symbol, high, low in (("AAA", 110, 99), ("BBB", 101, 96), ("CCC", 101, 99)):
            stage.market.day(symbol, DAY, {"09:45": (100, high, low, 100)})
        await stage.until("10:30")
        await stage.control.pause(reason="lunch", identity="ann")
        await stage.control.note("all is well", ref="day", identity="ann")
        await stage.finish()
        return stage.path


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a day with fills, exits, a pause and a note."""
    return asyncio.run(_played(tmp_path_factory.mktemp("played")))


@pytest.fixture
def copy(played: Path, tmp_path: Path) -> Path:
    """A copy of it that may be damaged."""
    path = tmp_path / "finagent.db"
    shutil.copyfile(played, path)
    return path
