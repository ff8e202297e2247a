"""Every acknowledged publish was brought to the disk: the writer's connection asks for it, on every file."""

from pathlib import Path

from tests.contract.queue_world import QueueWorld


async def test_writing_connection_syncs_every_commit(tmp_path: Path) -> None:
    """synchronous=FULL (2) in WAL mode: fdatasync before the answer, which test_syscalls counts."""
    world = QueueWorld(tmp_path / "jobs.db", threaded=True)
    await world.open()
    try:
        ask = world.queue.database.write_fn
        assert await ask(lambda connection: connection.execute("PRAGMA synchronous").fetchone()[0]) == 2
        assert await ask(lambda connection: connection.execute("PRAGMA journal_mode").fetchone()[0]) == "wal"
    finally:
        await world.close()
