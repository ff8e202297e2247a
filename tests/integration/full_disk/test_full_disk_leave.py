"""A disk that is full with positions open: entries shut, each closed once, and an end that says what to do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from finagent.adapters.sqlite.ballast import BALLAST_BYTES
from finagent.bootstrap.full_disk import NoEntries
from finagent.context import SurfaceError
from finagent.ports import RetryError, Tx
from finagent.runtime.errors import HaltError
from tests.integration.backup_world import faults
from tests.integration.full_disk.stage import LIMITLESS, SETTINGS, FullStage, selling
from tests.integration.locked.test_emergency import FLAT, Counting, claimed
from tests.proof.queue.small_disk import fill, mounted, unmount

LEFT = "the disk is full: entries were shut and positions closed; free space on the home's disk, then start again"
ROOMY, SMALL = "56m", "16m"
"""With room for the log's whole length, so that its index finds none first; and with none for it."""


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A home on a file system of its own, of the size that the test names."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted(folder, f"size={request.param}"):
        pytest.skip("no tmpfs can be mounted here: the full file system is NOT TESTED, the full file is")
    yield folder
    unmount(folder)


async def assert_left(stage: FullStage) -> None:
    """Flat with one exit per position, paused for a person to see, and nothing acknowledged is lost or doubled."""
    assert len(stage.broker.exits()) == 1
    assert len(stage.broker.submits) == 2
    assert await stage.broker.positions() == []
    assert await stage.held() is None
    assert await stage.order_states() == FLAT
    control = await stage.engine.store.control()
    assert (control.is_paused, control.pause_reason, control.paused_by) == (
        True, "the disk is full", "person",
    )  # fmt: skip
    stored = "SELECT count(*) FROM operations_journal WHERE kind = 'load'"
    assert await stage.value(stored) == stage.notes
    assert await stage.value("SELECT count(*) FROM job_queue WHERE status = 'dead'") == 0


@pytest.mark.parametrize("disk", [ROOMY, SMALL], indirect=True)
async def test_position_is_closed_once_and_the_process_ends_with_the_mend(disk: Path) -> None:
    """The next start finds everything, makes a new ballast, and takes no entry until a person resumes."""
    async with FullStage(disk, settings=SETTINGS, is_checked=False) as stage:
        await stage.open_position()
        assert stage.ballast.stat().st_size == BALLAST_BYTES
        assert stage.engine.full_disk is not None
        shut: list[bool] = []
        desk = stage.engine.full_disk
        stage.on_freed = lambda: shut.append(desk.is_shut and not stage.ballast.exists())
        await stage.fill()
        assert shut == [True], "entries were shut and the room was free before anything was tried again"
        stream = selling(stage)
        assert await stage.ended() == LEFT
        await stream
        await assert_left(stage)
    assert stage.reason == LEFT
    (disk / "filler").unlink()
    async with stage:
        assert stage.ballast.stat().st_size == BALLAST_BYTES
        await assert_left(stage)
        before = "SELECT clean FROM boot WHERE epoch = ?"
        assert await stage.value(before, stage.engine.queue.epoch - 1) == 1, "it was an end in order"
        assert await stage.control.resume(identity="ann") is None
        assert await stage.reconcile().differences() == []
    assert stage.reason is None
    assert faults(stage.path) == []


@pytest.mark.parametrize("disk", [SMALL], indirect=True)
async def test_disk_that_is_full_again_halts_and_loses_nothing(disk: Path) -> None:
    """What filled it takes the ballast's room too: the stop rests at the broker, the next start closes the position."""
    async with FullStage(disk, settings=SETTINGS, is_checked=False) as stage:
        await stage.open_position()
        await stage.note()
        stage.on_freed = lambda: fill(disk)
        with pytest.raises(HaltError, match=r"the disk is full \(.*free space"):
            await stage.fill()
        assert "the disk is full (" in await stage.ended()
        assert stage.freed == 1
        assert not stage.ballast.exists()
        assert (await stage.order_states())["stop-1"] == "accepted"
        assert stage.notes >= 1
    (disk / "filler").unlink()
    async with stage:
        stored = "SELECT count(*) FROM operations_journal WHERE kind = 'load'"
        assert await stage.value(stored) == stage.notes
        await stage.control.flatten(symbol=None, identity="ann")
        await stage.quiet()
        await stage.told()
        await stage.flat()
        assert await stage.order_states() == FLAT
        assert len(stage.broker.exits()) == 1
    assert faults(stage.path) == []


async def test_file_that_may_not_grow_is_left_in_the_same_order(home: Path) -> None:
    """SQLite's own limit, which needs no root: the same error, the same end."""
    async with FullStage(home, settings=SETTINGS, is_checked=False) as stage:
        await stage.open_position()
        stage.on_freed = lambda: stage.allow_pages(LIMITLESS)
        await stage.fill_file()
        stream = selling(stage)
        assert await stage.ended() == LEFT
        await stream
        await assert_left(stage)
        assert not stage.ballast.exists()
    assert faults(stage.path) == []


async def test_nothing_open_ends_at_once(home: Path) -> None:
    """And what was asked for when the disk was full is stored."""
    async with FullStage(home, settings=SETTINGS) as stage:
        stage.on_freed = lambda: stage.allow_pages(LIMITLESS)
        await stage.fill_file()
        assert await stage.ended() == LEFT
        assert await stage.value("SELECT count(*) FROM operations_journal WHERE kind = 'load'") == stage.notes
        assert stage.broker.submits == []


async def test_full_disk_without_a_ballast_halts_at_once(home: Path) -> None:
    """As a failed one: nothing is sent, the stop rests at the broker."""
    async with FullStage(home, settings=SETTINGS, is_checked=False) as stage:
        await stage.open_position()
        stage.ballast.unlink()
        with pytest.raises(HaltError, match=r"the disk is full \(.*free space"):
            await stage.fill_file()
        assert "the disk is full (" in await stage.ended()
        assert stage.freed == 0
        assert len(stage.broker.submits) == 1
        assert (await stage.order_states())["stop-1"] == "accepted"
        assert not (await stage.engine.store.control()).is_paused


async def test_position_that_cannot_be_closed_is_named_at_the_end(home: Path) -> None:
    """A broker that refuses every exit holds the process up no longer than the flatten ladder takes."""
    async with FullStage(home, settings=SETTINGS, is_checked=False) as stage:
        await stage.open_position()
        stage.broker.refused = 1_000
        stage.on_freed = lambda: stage.allow_pages(LIMITLESS)
        await stage.fill_file()
        await stage.quiet()
        stage.ticker.jumped_ms += 14 * 60_000
        await stage.quiet()
        assert stage.engine.supervisor is not None
        assert stage.engine.supervisor.halt_reason is None
        stage.ticker.jumped_ms += 2 * 60_000
        reason = await stage.ended()
    assert "not all could be closed in time: open are AAA, working orders" in reason
    assert reason.endswith("free space on the home's disk, then start again")


async def test_no_entry_is_sent_while_the_disk_is_full(home: Path) -> None:
    """Before the pause is stored: in memory, from the moment at which the ballast goes."""
    async with FullStage(home, settings=SETTINGS) as stage:
        desk, handler = stage.engine.full_disk, Counting()
        assert desk is not None
        shut = NoEntries(handler, desk)
        await shut.handle(claimed("send"), Tx())
        desk.is_shut = True
        for entry in ("send", "execute"):
            with pytest.raises(RetryError, match="entries are shut: the disk is full"):
                await shut.handle(claimed(entry), Tx())
        await shut.handle(claimed("send_exit"), Tx())
    assert handler.handled == ["send", "send_exit"]


@pytest.mark.parametrize("disk", ["16m"], indirect=True)
async def test_start_makes_a_ballast_where_there_is_room_and_says_where_there_is_none(
    disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A half-made one is made anew; without any the agent runs, and on a disk with no room it does not start."""
    (disk / "ballast").write_bytes(b"torn")
    async with FullStage(disk) as stage:
        assert stage.ballast.stat().st_size == BALLAST_BYTES
    stage.ballast.unlink()
    (disk / "other").write_bytes(bytes(9 << 20))
    async with stage:
        assert not stage.ballast.exists()
        assert "ballast.none" in caplog.text
    fill(disk)
    with pytest.raises(SurfaceError, match="is full") as caught:
        await stage.start()
    assert caught.value.code == "disk_full"
    assert "free space" in caught.value.hint
