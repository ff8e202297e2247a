"""What goes wrong, as one line with its mend and an exit status: never a traceback for a person's mistake."""

import errno
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from finagent.context import DAMAGE_HINT, ExitCode, SurfaceError

SIGNALLED = 128
"""The exit status of what a signal ended is this and its number: 130 for Ctrl-C, 143 for SIGTERM."""
INTERRUPTED = 130
BROKEN_PIPE = 141
FULL = (errno.ENOSPC, errno.EDQUOT)
"""A disk without room, and one whose owner has used up a share of it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure as it is shown."""

    code: str
    message: str
    hint: str
    exit_code: int

    @property
    def line(self) -> str:
        """``error: what. mend``"""
        what, mend = self.message.strip().rstrip("."), self.hint.strip()
        return f"error: {what}. {_capital(mend)}" if mend else f"error: {what}"


def explain(error: BaseException, home: Path, verb: str = "finagent") -> Failure:
    """The failure an exception means; what nobody foresaw names the log and how to see the traceback.

    ``verb`` is the command that was typed, for errors that do not know theirs.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return _foreseen(error, home, verb) or Failure(
        "unexpected",
        f"unexpected {type(error).__name__}: {_one_line(str(error))}",
        f"This is a bug: -v shows where; the log is in {home / 'logs'}",
        ExitCode.ERROR,
    )


def show(failure: Failure, *, as_json: bool) -> None:
    """Write a failure where it belongs: one line on stderr, with --json one document on stdout too."""
    print(_one_line(failure.line), file=sys.stderr)
    if as_json:
        document = {"code": failure.code, "message": failure.message, "hint": failure.hint}
        print(json.dumps({"error": document}, ensure_ascii=False))


def usage(message: str, hint: str = "", code: str = "usage") -> SurfaceError:
    """A wrong command line."""
    return SurfaceError(message, hint=hint, code=code, exit_code=ExitCode.USAGE)


def _foreseen(error: BaseException, home: Path, verb: str) -> Failure | None:
    if isinstance(error, SurfaceError):
        return Failure(error.code, error.message, error.hint, int(error.exit_code))
    return _typed(error, verb) or _settings(error) or _in_use(error) or _stored(error) or _system(error, home)


def _typed(error: BaseException, verb: str) -> Failure | None:
    import typer

    if not isinstance(error, typer.TyperException):
        return None
    message = " ".join(error.format_message().split()).rstrip(".")
    hint = f"{verb} --help shows what {'there is' if verb == 'finagent' else 'it takes'}"
    possible = getattr(error, "possibilities", None)
    if possible:
        message = str(error.message).rstrip(".")
        hint = f"Did you mean {' or '.join(sorted(possible))}?"
    elif "Did you mean" in message:
        message, _, rest = message.partition(". Did you mean ")
        hint = f"Did you mean {rest.replace(chr(39), '')}"
    else:
        context = getattr(error, "ctx", None)
        hint = f"{context.command_path} --help shows what it takes" if context is not None else hint
    return Failure("usage", message[:1].lower() + message[1:], hint, ExitCode.USAGE)


def _settings(error: BaseException) -> Failure | None:
    if "finagent.settings" not in sys.modules:
        return None
    from finagent.settings import SettingsError

    if isinstance(error, SettingsError):
        return Failure("settings", error.message, error.hint, ExitCode.USAGE)
    return None


def _in_use(error: BaseException) -> Failure | None:
    from finagent.runtime.lock import HomeInUseError

    if not isinstance(error, HomeInUseError):
        return None
    message, _, hint = str(error).partition(": ")
    return Failure("home_in_use", message, hint, ExitCode.ERROR)


def _stored(error: BaseException) -> Failure | None:
    """A halt says itself what to do; a file that SQLite calls damaged is nobody's bug."""
    from finagent.runtime.errors import HaltError

    if isinstance(error, HaltError):
        what, _, mend = str(error).partition("): ")
        return Failure("halted", f"{what})" if mend else what, mend, ExitCode.ERROR)
    sqlite3 = sys.modules.get("sqlite3")
    if sqlite3 is None or not isinstance(error, sqlite3.DatabaseError):
        return None
    is_damage = getattr(error, "sqlite_errorcode", 0) & 0xFF in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    )
    if not is_damage and not str(error).startswith(("no such table", "Could not decode")):
        return None
    return Failure("damaged", f"the database is damaged: {error}", DAMAGE_HINT, ExitCode.ERROR)


def _system(error: BaseException, home: Path) -> Failure | None:
    if isinstance(error, OSError) and error.errno in FULL:
        place = f"{error.filename}: " if error.filename is not None else ""
        hint = (
            f"Free space on the disk of {home} and give the command again, or choose another home with --home"
        )
        return Failure("disk_full", f"{place}the disk is full", hint, ExitCode.ERROR)
    if isinstance(error, PermissionError):
        hint = "Make it writable for this user, or choose another home with --home"
    elif isinstance(error, FileNotFoundError | NotADirectoryError | FileExistsError | IsADirectoryError):
        hint = "Name another path"
    elif isinstance(error, OSError) and error.filename is not None:
        hint = "Mend it, or choose another home with --home"
    else:
        return None
    message = f"{error.filename}: {error.strerror}" if error.filename is not None else str(error)
    return Failure("system", message, hint, ExitCode.ERROR)


def _capital(words: str) -> str:
    """A sentence begins with a capital, a command of ours does not."""
    return words if words.startswith(("finagent", "--")) else words[:1].upper() + words[1:]


def _one_line(words: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in " ".join(words.split()))
