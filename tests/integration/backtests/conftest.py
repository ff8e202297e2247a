"""Made-up bars for the verbs of research, and an environment without the tester's settings."""

import os
from pathlib import Path

import pytest

from finagent.adapters.bars.importer import import_folder
from finagent.adapters.vendors.calendar import load_calendar
from tests.integration.data.market_files import made_up, write


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bars of three symbols, imported once."""
    home = tmp_path_factory.mktemp("stored")
    calendar = load_calendar(home)
    import_folder(write(tmp_path_factory.mktemp("files"), made_up(calendar)), home, calendar=calendar)
    return home


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of ours in the environment."""
    for name in list(os.environ):
        if name.startswith("FINAGENT__"):
            monkeypatch.delenv(name)
