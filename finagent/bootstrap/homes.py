"""A home on disk: its paths, its clock, its generation, and the errors of opening what lies there."""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.migrate import DatabaseTooNewError, ForeignDatabaseError
from finagent.bootstrap.runs import run_path
from finagent.context import SurfaceError
from finagent.runtime.clock import Clock, PacedClock, SystemClock, VirtualClock
from finagent.runtime.lock import HomeInUseError
from finagent.runtime.logs import SecretKeeper
from finagent.services.schedule import local_ms
from finagent.settings import Settings

DATABASE = "finagent.db"
CLOCK = "clock.json"
HOME_HINT = "finagent orchestrate makes one; --home names another home, --run last reads a demo or replay"


def database_path(home: Path, run: str | None) -> Path:
    """The database of a home or of one of its runs."""
    return home / DATABASE if run is None else run_file(home, run)


def run_file(home: Path, run: str) -> Path:
    if run == "last":
        pointer = home / "runs" / "last"
        if not pointer.exists():
            raise SurfaceError(
                "there is no run yet", hint="finagent demo or finagent replay --from D", code="no_run"
            )
        run = pointer.read_text(encoding="utf-8").strip()
    found = sorted((home / "runs").glob(f"{run}*/finagent.db")) if run.isalnum() else []
    if len(found) != 1:
        what = "no run" if not found else f"{len(found)} runs"
        raise SurfaceError(
            f"{what} with id {run!r} in {home / 'runs'}", hint="--run last, or a full id", code="no_run"
        )
    return run_path(home, found[0].parent.name)


@contextlib.contextmanager
def openable(home: Path) -> Iterator[None]:
    """Errors of opening a database, as one line with the mend."""
    try:
        yield
    except HomeInUseError as error:
        raise SurfaceError(str(error), code="home_in_use") from None
    except DatabaseTooNewError as error:
        raise SurfaceError(str(error), code="database_too_new") from None
    except ForeignDatabaseError as error:
        raise SurfaceError(str(error), code="foreign_database") from None
    except (OSError, sqlite3.OperationalError) as error:
        raise SurfaceError(
            f"{home} cannot be used: {error}", hint="give --home a folder you may write", code="home"
        ) from None


def prepare_home(home: Path) -> None:
    try:
        (home / "logs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SurfaceError(
            f"{home} cannot be made: {error.strerror}", hint="give --home a folder you may write", code="home"
        ) from None


def generation_of(home: Path) -> str:
    """The database's random generation, made with it: ids of another database can never be minted here."""
    path = home / "generation"
    if not path.exists():
        with openable(home):
            path.write_text(os.urandom(8).hex() + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def secrets_of(home: Path) -> SecretKeeper:
    """What must never appear in a log line: the home's local token."""
    keeper = SecretKeeper()
    token = home / "token"
    if token.exists():
        keeper.register(token.read_text(encoding="utf-8").strip())
    return keeper


def home_clock(settings: Settings, home: Path, at: str | None, pace: int = 1) -> Clock:
    """Real time, or ``pace`` times as fast from a rehearsed instant that a restart remembers."""
    if at is None:
        return _rehearsed(home) or SystemClock()
    if settings.data.vendor != "simulated":
        raise SurfaceError(
            "--at rehearses on the built-in market only", hint="set data.vendor: simulated", code="usage"
        )
    date, _, time = at.partition("T")
    try:
        wanted_ms = local_ms(date, time, settings.schedule.zone)
    except ValueError:
        raise SurfaceError(f"--at {at} is no instant", hint="write 2026-11-20T09:20", code="usage") from None
    return PacedClock(at_ms=wanted_ms, since_ms=SystemClock().now_ms(), pace=pace)


def remember_clock(home: Path, clock: Clock) -> None:
    """Keep a rehearsed clock for a restart; only the holder of the lock may: it is the clock of every command."""
    if isinstance(clock, PacedClock):
        document = {"at_ms": clock.at_ms, "since_ms": clock.since_ms, "pace": clock.pace}
        with openable(home):
            (home / CLOCK).write_text(json.dumps(document), encoding="utf-8")


def _rehearsed(home: Path) -> Clock | None:
    """The clock that a rehearsal left, None where there is none."""
    path = home / CLOCK
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        numbers = {name: int(document[name]) for name in ("at_ms", "since_ms", "pace")}
        return PacedClock(**numbers)
    except (OSError, ValueError, KeyError, TypeError):
        raise SurfaceError(
            f"{path} is damaged", hint="delete it to go on in real time", code="home"
        ) from None


async def stored_clock(home: Path, database: Database, run: str | None) -> Clock:
    """The clock that the stored instants belong to: a run's stands where its last commit left it."""
    if run is not None:
        return VirtualClock(await database.clock_ms())
    return _rehearsed(home) or SystemClock()


def refuse_empty(path: Path, home: Path) -> None:
    """An emptied database beside its generation would start the day anew under the old ids."""
    if path.exists() and path.stat().st_size == 0:
        raise SurfaceError(
            f"{path} is empty: it was cut or overwritten",
            hint=f"restore a backup, or delete it and {home / 'generation'} to begin a new account",
            code="damaged",
        )
