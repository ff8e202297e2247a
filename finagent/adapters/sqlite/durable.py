"""Files that are whole or absent: synced, summed, and put in their place in one step."""

import contextlib
import hashlib
import os
from pathlib import Path

from finagent.runtime.files import sync_folder

CHUNK_BYTES = 1 << 20


def sync_file(path: Path) -> None:
    """Bring a file's content to the disk; OSError when the disk fails."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, text: str) -> None:
    """A small file that is the old one or the new one, whatever happens in between."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        temporary.write_text(text, encoding="utf-8")
        sync_file(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def put_in_place(made: Path, path: Path, *, is_overwriting: bool) -> None:
    """Give a synced file its name; FileExistsError where that is taken and may not be overwritten."""
    if is_overwriting:
        made.replace(path)
    else:
        _take_free_name(made, path)
    sync_folder(path.parent)


def _take_free_name(made: Path, path: Path) -> None:
    """A link fails when the name is taken, a rename would not; some file systems have no links."""
    try:
        os.link(made, path)
    except FileExistsError:
        raise
    except OSError:
        if path.exists():
            raise FileExistsError(f"{path} exists") from None
        made.replace(path)
        return
    made.unlink()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, as hex digits."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            total.update(chunk)
    return total.hexdigest()


def remove_database(path: Path) -> None:
    """Remove a database that was never put in its place, with what SQLite left beside it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(OSError):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
