"""The dataset: built once, exact, found again, and refused when it is not what was written."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from finagent.backtest import building
from finagent.backtest.building import find_or_build, kept_bytes
from finagent.backtest.dataset import ABSENT, LIST, open_dataset
from finagent.backtest.errors import DatasetChangedError, DatasetRefusedError
from finagent.backtest.market import open_session
from finagent.backtest.sealing import SEAL, settle
from finagent.backtest.source import Halt
from finagent.domain.market import Bar, CorporateAction, DailyBar, Earnings, Headline, Quote
from tests.conformance.made_up import MadeUp, MadeUpCalendar, ms

DAY = "2018-01-10"


@pytest.fixture
def made_up() -> MadeUp:
    """Eight sessions, two symbols, one of them with minutes on the last day, which is a half day."""
    stored = MadeUp(MadeUpCalendar("2018-01-01", 8, half_days=(DAY,)))
    stored.quiet_days("AAA", "20", before=DAY)
    stored.daily_bar("2018-01-09", "BBB", "0.1234", "0.13", "0.12", "0.1299", 5)
    stored.daily_bar(DAY, "AAA", 21, 22, 20, 21, 900)
    stored.minute_bar(DAY, "AAA", "09:30", 21, "21.5", 20, "21.25", 700)
    stored.minute_bar(DAY, "AAA", "09:32", 21, 22, 21, 21, 200)
    stored.minute_bar(DAY, "AAA", "09:20", "20.5", "20.5", "20.5", "20.5", 50)
    stored.quote(DAY, "AAA", "09:30", "21.2", "21.3")
    stored.action("AAA", DAY, dividend="0.25", split="7.000007")
    stored.texts.append(
        Headline(symbol="AAA", published_ms=5, known_at_ms=ms(DAY, "08:00"), text="naïve — ✓", source="x")
    )
    stored.dates.append(Earnings(symbol="AAA", session=DAY, timing="bmo"))
    stored.halted.append(Halt("BBB", ms(DAY, "10:00"), ms(DAY, "10:05")))
    return stored


def test_what_was_stored_is_read_again(made_up: MadeUp, tmp_path: Path) -> None:
    """Prices, volumes, pre-market, quotes, actions, texts, earnings, halts and half days, all exact."""
    dataset = made_up.dataset(tmp_path)
    assert dataset.symbols == ("AAA", "BBB")
    assert dataset.sessions == tuple(made_up.calendar.sessions("2018-01-02", DAY))
    assert dataset.sessions[-1].is_half_day
    market = open_session(dataset, dataset.sessions[-1])
    before = market.daily_bars(["BBB"], market.row - 1)
    assert before == [DailyBar("2018-01-09", 1234, 1300, 1200, 1299, 5)]
    assert market.daily_bars(["BBB"], market.row) == [None]
    assert market.daily_bars(["AAA", "BBB"], -1) == [None, None]
    assert market.daily_bars([], market.row) == []
    assert dataset.daily.volume[market.row, 1] == ABSENT
    last = ms(DAY, "09:33")
    assert [bar.start_ms for bar in market.bars("AAA", last)] == [
        ms(DAY, at) for at in ("09:20", "09:30", "09:32")
    ]
    assert market.bars("AAA", last)[1] == Bar(ms(DAY, "09:30"), 210_000, 215_000, 200_000, 212_500, 700)
    assert market.bars("BBB", last) == ()
    assert market.quote("AAA", ms(DAY, "09:30")) is None
    assert market.quote("AAA", last) == Quote(ms(DAY, "09:31"), 212_000, 213_000, 100, 100)
    assert market.action("AAA") == CorporateAction(
        ex_session=DAY, dividend_e4=2_500, split_ratio_e6=7_000_007
    )
    assert dataset.headlines("AAA", 0, ms(DAY, "08:00")) == tuple(made_up.texts)
    assert dataset.headlines("AAA", 0, ms(DAY, "08:00") - 1) == ()
    assert dataset.headlines("ZZZ", 0, last) == ()
    assert dataset.earnings("AAA", DAY, DAY) == tuple(made_up.dates)
    assert [dataset.is_halted("BBB", ms(DAY, at)) for at in ("09:59", "10:00", "10:04", "10:05")] == [
        False, True, True, False,
    ]  # fmt: skip


def test_it_is_built_once_while_its_inputs_stay(made_up: MadeUp, tmp_path: Path) -> None:
    """The same folder again; other data make another one beside it."""
    first = made_up.dataset(tmp_path)
    stamps = kept_bytes(first)
    assert made_up.dataset(tmp_path).seal == first.seal
    made_up.daily_bar("2018-01-09", "BBB", "0.1235", "0.13", "0.12", "0.1299", 5)
    other = made_up.dataset(tmp_path)
    assert (other.path, other.dataset_id) != (first.path, first.dataset_id)
    assert len(list(tmp_path.iterdir())) == 2
    assert stamps == kept_bytes(first)


def test_the_same_contents_have_the_same_hash_wherever_they_lie(made_up: MadeUp, tmp_path: Path) -> None:
    """Built twice in two places."""
    first, second = made_up.dataset(tmp_path / "a"), made_up.dataset(tmp_path / "b")
    assert first.dataset_id == second.dataset_id


def test_a_changed_file_is_refused_when_it_is_opened(made_up: MadeUp, tmp_path: Path) -> None:
    """One byte of one price, at the same size."""
    dataset = made_up.dataset(tmp_path)
    change(dataset.path / "daily_close.col")
    with pytest.raises(DatasetChangedError, match=r"daily_close\.col holds other values"):
        open_dataset(dataset.path)


def test_a_shortened_file_is_refused(made_up: MadeUp, tmp_path: Path) -> None:
    """As a full disk or a broken copy leaves it; even where its seal was renewed."""
    dataset = made_up.dataset(tmp_path)
    file = dataset.path / "minute_close.col"
    file.chmod(0o644)
    os.truncate(file, 4)
    with pytest.raises(DatasetChangedError, match="minute_close"):
        open_dataset(dataset.path)


def test_a_changed_list_is_refused(made_up: MadeUp, tmp_path: Path) -> None:
    """A symbol renamed in the list; no list at all."""
    dataset = made_up.dataset(tmp_path)
    document = json.loads((dataset.path / LIST).read_text())
    document["symbols"] = ["AAB", "BBB"]
    (dataset.path / LIST).write_text(json.dumps(document))
    with pytest.raises(DatasetChangedError, match="says other things"):
        open_dataset(dataset.path)
    (dataset.path / LIST).write_text("{}")
    with pytest.raises(DatasetChangedError, match="no list of a dataset"):
        open_dataset(dataset.path)
    (dataset.path / LIST).unlink()
    with pytest.raises(DatasetChangedError, match="cannot be read"):
        open_dataset(dataset.path)


def test_a_change_under_a_run_is_noticed(made_up: MadeUp, tmp_path: Path) -> None:
    """Written to, or replaced, after it was opened."""
    dataset = made_up.dataset(tmp_path)
    dataset.check_unchanged()
    change(dataset.path / "daily_close.col")
    with pytest.raises(DatasetChangedError, match=r"daily_close\.col was changed while it was used"):
        dataset.check_unchanged()
    (dataset.path / "daily_close.col").unlink()
    with pytest.raises(DatasetChangedError, match="cannot be read"):
        dataset.check_unchanged()
    with pytest.raises(DatasetChangedError, match="cannot be read"):
        open_dataset(dataset.path)


def test_files_are_hashed_again_only_when_they_may_have_changed(made_up: MadeUp, tmp_path: Path) -> None:
    """A seal that fits spares the hashing; a damaged seal only costs time."""
    dataset = made_up.dataset(tmp_path)
    seal = (dataset.path / SEAL).read_text()
    (dataset.path / SEAL).write_text("[]")
    assert open_dataset(dataset.path).dataset_id == dataset.dataset_id
    assert (dataset.path / SEAL).read_text() == seal


def test_a_killed_build_leaves_nothing_that_counts(
    made_up: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error half way: no folder of that name; the next build makes it."""

    def broken(*_: object) -> list[Headline]:
        raise OSError("disk")

    with monkeypatch.context() as patch:
        patch.setattr(MadeUp, "headlines", broken)
        with pytest.raises(OSError, match="disk"):
            made_up.dataset(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert made_up.dataset(tmp_path).symbols == ("AAA", "BBB")


def test_who_builds_second_uses_the_first_one(made_up: MadeUp, tmp_path: Path) -> None:
    """Two processes build the same: the rename that comes late gives way."""
    dataset = made_up.dataset(tmp_path)
    late = tmp_path / ".building-late"
    late.mkdir()
    settle(late, dataset.path)
    assert open_dataset(dataset.path).dataset_id == dataset.dataset_id
    with pytest.raises(OSError, match="No such file"):
        settle(tmp_path / "nowhere", tmp_path / "never")


def test_a_dataset_under_a_wrong_name_is_refused(made_up: MadeUp, tmp_path: Path) -> None:
    """Moved to where another one belongs."""
    dataset = made_up.dataset(tmp_path / "a")
    made_up.daily_bar("2018-01-09", "BBB", "0.1235", "0.13", "0.12", "0.1299", 5)
    wanted = building.inputs_id(made_up, tuple(made_up.calendar.sessions("2018-01-02", DAY)))
    dataset.path.rename(tmp_path / "a" / wanted)
    with pytest.raises(DatasetChangedError, match="was built from other inputs"):
        made_up.dataset(tmp_path / "a")


def test_an_empty_store_is_refused(tmp_path: Path) -> None:
    """With the mend."""
    empty = MadeUp(MadeUpCalendar("2018-01-01", 3))
    with pytest.raises(DatasetRefusedError) as caught:
        find_or_build(empty, empty.calendar, tmp_path)
    assert caught.value.hint == "import them: finagent data import DIR"


def test_sums_that_could_pass_62_bits_are_refused(made_up: MadeUp, tmp_path: Path) -> None:
    """A daily bar, and a session of minutes, each with the symbol's name."""
    made_up.daily_bar("2018-01-09", "BBB", 20_000, 20_000, 20_000, 20_000, 1_200_000_000)
    with pytest.raises(DatasetRefusedError, match="BBB: 1200000000 shares at 200000000"):
        made_up.dataset(tmp_path)
    made_up.daily_bar("2018-01-09", "BBB", 1, 1, 1, 1, 1)
    made_up.minute_bar(DAY, "AAA", "09:40", 20_000, 20_000, 20_000, 20_000, 8_000_000_000)
    with pytest.raises(DatasetRefusedError, match=f"AAA: the minute bars of {DAY}"):
        made_up.dataset(tmp_path)


def test_high_prices_take_eight_bytes(made_up: MadeUp, tmp_path: Path) -> None:
    """A share of 500,000 dollars is kept exactly; the others as well."""
    made_up.daily_bar("2018-01-09", "BBB", "500000.0001", 500_001, 499_999, 500_000, 3)
    dataset = made_up.dataset(tmp_path)
    assert dataset.daily.open_e4.dtype == np.dtype("<i8")
    market = open_session(dataset, dataset.sessions[-1])
    assert market.daily_bars(["BBB"], market.row - 1) == [
        DailyBar("2018-01-09", 5_000_000_001, 5_000_010_000, 4_999_990_000, 5_000_000_000, 3)
    ]
    assert market.bars("AAA", ms(DAY, "09:31"))[1].close_e4 == 212_500


def test_arrays_cannot_be_written(made_up: MadeUp, tmp_path: Path) -> None:
    """Neither in memory nor, without force, on disk."""
    dataset = made_up.dataset(tmp_path)
    with pytest.raises(ValueError, match="read-only"):
        dataset.daily.close_e4[0, 0] = 1
    assert not (dataset.path / "daily_close.col").stat().st_mode & 0o222


def test_a_minute_twice_is_refused(made_up: MadeUp, tmp_path: Path) -> None:
    """Two bars of one symbol that start at the same instant."""
    part = next(iter(made_up.minutes()))
    again = np.array([1, 1], np.int64)
    with pytest.raises(DatasetRefusedError, match="a minute twice"):
        building._refuse_unordered(part.session, again, again * 60_000)
    with pytest.raises(DatasetRefusedError, match="within a minute"):
        building._refuse_unordered(part.session, again, np.array([60_000, 60_001], np.int64))


def change(path: Path) -> None:
    """Another value in the first place, the size as it was."""
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


def test_a_folder_that_takes_no_seal_can_be_read(made_up: MadeUp, tmp_path: Path) -> None:
    """As on a disk that is mounted for reading: neither the seal nor its draft can be written or removed."""
    dataset = made_up.dataset(tmp_path)
    (dataset.path / SEAL).unlink()
    (dataset.path / f".{SEAL}.tmp" / "in the way").mkdir(parents=True)
    assert open_dataset(dataset.path).seal == dataset.seal
