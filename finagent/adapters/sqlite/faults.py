"""What an error of SQLite means for the program: the disk failed, it is full, or something else."""

import sqlite3

from finagent.runtime.errors import HaltError

DISK_CODES = (
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
)
"""After one of these the file must not be written or synced again by this process."""


def error_code(error: BaseException | None) -> int:
    """The primary result code of a SQLite error, 0 for any other."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_disk_error(error: BaseException) -> bool:
    """Whether the file or its disk failed; a busy database and a broken constraint are no such thing."""
    return error_code(error) in DISK_CODES


def is_full(error: BaseException | None) -> bool:
    """Whether there was no room; what was to be written can be written again once there is.

    A log whose room was reserved meets a full disk first where its index, the -shm file, has to grow. A sync
    that fails for want of room is no such thing: SQLite calls it a failed sync, and so do we.
    """
    is_index = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_SHMSIZE
    return is_index or error_code(error) == sqlite3.SQLITE_FULL


def halt_error(error: Exception) -> HaltError:
    """The halt that an error of the writing connection means, with the mend; a halt is itself."""
    if isinstance(error, HaltError):
        return error
    code = error_code(error)
    if is_full(error):
        text = f"the disk is full ({error}): free space on the home's disk, then start again"
    elif code == sqlite3.SQLITE_IOERR:
        text = f"the disk failed ({error}): nothing was tried again; check the disk, then start again"
    else:
        text = f"the database writer failed ({type(error).__name__}: {error})"
    halted = HaltError(text)
    halted.__cause__ = error
    return halted
