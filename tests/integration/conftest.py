"""What the tests of whole days share."""

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
