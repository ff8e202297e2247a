"""What the tests of whole days share."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.services.world import memory_folder


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """An empty folder for one day's database, in memory where the machine has such a folder."""
    folder = memory_folder(tmp_path)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def handlers_of_its_own() -> Iterator[None]:
    """An agent that a test starts sets up the process's log; the tests after it speak to their own stderr."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for handler in [each for each in root.handlers if each not in before]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
