"""The write-ahead log's file: its size, and room made in it before it is needed."""

import os
import sqlite3
from pathlib import Path

FRAME_BYTES = 24 + 4096
RESERVE_BYTES = 32 + 8000 * FRAME_BYTES
"""As long as the log gets until SQLite begins again at its start (wal_autocheckpoint = 8000)."""
CHUNK_BYTES = 1 << 20


def wal_path(path: Path) -> Path:
    """The log of a database file."""
    return path.with_name(path.name + "-wal")


def wal_bytes(path: Path) -> int:
    """Size of the log, 0 when there is none."""
    try:
        return wal_path(path).stat().st_size
    except FileNotFoundError:
        return 0


def reserve_alone(connection: sqlite3.Connection, path: Path) -> int:
    """`reserve` under the write lock: another program's commit would be overwritten with zeros. 0 when it is taken."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return 0
    try:
        return reserve(path)
    finally:
        connection.execute("ROLLBACK")


def reserve(path: Path, size: int = RESERVE_BYTES) -> int:
    """Fill the log up to `size` with zeros and sync it; gives the bytes added, 0 when there is no room.

    A commit that makes a file longer must also sync where the file now ends; one that writes over blocks that
    exist syncs its data alone, which takes half the time (measured on ext4). SQLite stops reading a log at the
    first frame whose checksum and salt do not fit, so zeros behind the last frame mean nothing to it. To be
    called by the writing process while nothing writes. Closing this file harms no lock: SQLite keeps the
    log's locks on the -shm file.
    """
    try:
        file = os.open(wal_path(path), os.O_WRONLY | os.O_CREAT, 0o644)
    except OSError:
        return 0
    try:
        found = at = os.fstat(file).st_size
        try:
            while at < size:
                at += os.pwrite(file, bytes(min(CHUNK_BYTES, size - at)), at)
            os.fdatasync(file)
        except OSError:
            os.ftruncate(file, found)
            return 0
        return at - found
    finally:
        os.close(file)
