"""What the proofs on real data share: the data imported once, and the same data read independently."""

from pathlib import Path

import pytest

from finagent.adapters.bars.importer import import_folder
from finagent.adapters.vendors.calendar import ExchangeCalendar, load_calendar
from finagent.backtest.building import find_or_build
from finagent.backtest.dataset import Dataset
from finagent.bootstrap.stored import StoredMarket
from tests.e2e.independent.market import RawMarket


@pytest.fixture(scope="session")
def raw_market(real_data: Path) -> RawMarket:
    """The raw files, read by the checkers themselves."""
    return RawMarket(real_data)


@pytest.fixture(scope="session")
def calendar(tmp_path_factory: pytest.TempPathFactory) -> ExchangeCalendar:
    """The exchange's sessions, built once."""
    return load_calendar(tmp_path_factory.mktemp("calendar"))


@pytest.fixture(scope="session")
def real_home(real_data: Path, calendar: ExchangeCalendar, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with all of the real data imported; tests leave its bars as they are."""
    home = tmp_path_factory.mktemp("real-home")
    import_folder(real_data, home, calendar=calendar)
    return home


@pytest.fixture(scope="session")
def dataset(real_home: Path, calendar: ExchangeCalendar, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The dataset of all real data."""
    return find_or_build(StoredMarket(real_home), calendar, tmp_path_factory.mktemp("datasets"))


@pytest.fixture(scope="module")
def home(real_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that shares the imported bars."""
    own = tmp_path_factory.mktemp("home")
    (own / "bars").symlink_to(real_home / "bars")
    return own
