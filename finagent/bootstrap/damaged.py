"""A stored file that cannot be what was written: told as damage with its mend, never as a bug of ours."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from finagent.adapters.sqlite.database import connect_reader
from finagent.adapters.sqlite.integrity import damage
from finagent.context import DAMAGE_HINT, SurfaceError

BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
WORDS = ("no such table", "no such column", "Could not decode", "malformed")
UNREADABLE = (UnicodeDecodeError, json.JSONDecodeError, ValidationError)
"""What a stored text can raise only when somebody else has changed it."""
SUSPECT = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What odd values lead to; a bug would raise the same, so the file is asked."""


@contextlib.contextmanager
def reading(path: Path, *, hint: str = DAMAGE_HINT) -> Iterator[None]:
    """Errors of reading a database as one line: code ``damaged``, or ``busy`` while another program holds it."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in BUSY:
            raise SurfaceError(
                f"{path} is held by another program: {error}",
                hint="Try again when it has let go",
                code="busy",
            ) from None
        if code not in DAMAGED and not any(word in str(error) for word in WORDS):
            raise
        raise _damaged(str(error), hint) from error
    except UNREADABLE as error:
        raise _damaged(f"a stored value cannot be read: {error}", hint) from error
    except SUSPECT as error:
        found = _examined(path)
        if found is None:
            raise
        raise _damaged(found, hint) from error


def _damaged(detail: str, hint: str) -> SurfaceError:
    return SurfaceError(
        f"the database is damaged: {' '.join(detail.split())[:200]}", hint=hint, code="damaged"
    )


def _examined(path: Path) -> str | None:
    """What SQLite and the journal's chain say of the file, None when they find nothing."""
    try:
        with contextlib.closing(connect_reader(path)) as conn:
            return damage(conn)
    except (sqlite3.DatabaseError, OSError, *UNREADABLE) as error:
        return str(error)
