"""What is computed and shown without an agent: a scan, the bar store, the machine's fitness."""

import asyncio
import contextlib
import csv
import json
import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from finagent.adapters.sqlite.views import explain_document, scan_document
from finagent.bootstrap import rules
from finagent.bootstrap.sessions import chosen_sessions
from finagent.bootstrap.world import World, load_world
from finagent.context import Document, Json, SurfaceError
from finagent.domain.errors import SessionDataMissingError
from finagent.domain.market import MINUTE_MS, Session
from finagent.runtime.clock import SystemClock, SystemTicker
from finagent.services.scanner import compute_scan
from finagent.services.schedule import local_ms
from finagent.services.scoring import compute_scores
from finagent.settings import Settings

SAFE_SQLITE = ((3, 51, 3), (3, 50, 7), (3, 44, 6))
LEAST_FREE_BYTES = 512 << 20


async def run_scan(
    settings: Settings, home: Path, *, session: str | None, at: str | None, explain: str | None
) -> Document:
    """One scan, computed and printed; the default instant is the first scan with pre-market bars, else 09:31."""
    rules.checked(settings)
    started_ms = SystemTicker().monotonic_ms()
    vendor = _vendor(settings, home, session)
    world = await asyncio.to_thread(load_world, settings, home, vendor=vendor)
    day = _session(world, session)
    as_of_ms = await _instant(settings, world, day, at)
    gap_rules = rules.gap_rules(settings)
    try:
        found = await compute_scan(world.market, day, as_of_ms, gap_rules)
    except SessionDataMissingError as error:
        raise SurfaceError(str(error), code="no_data") from None
    scored = await compute_scores(
        world.news,
        world.calendar,
        day,
        found.candidates,
        rules.score_weights(settings),
        as_of_ms=as_of_ms,
        lookback_days=settings.news.lookback_days,
    )
    if explain is not None:
        return explain_document(explain.upper(), found, scored)
    elapsed_ms = SystemTicker().monotonic_ms() - started_ms
    return {**scan_document(found, scored, tick="scan", elapsed_ms=elapsed_ms), "vendor": vendor}


def _vendor(settings: Settings, home: Path, session: str | None) -> str:
    """Imported bars answer for a session they hold; else the vendor of the settings."""
    from finagent.adapters.bars.store import BarStore

    if session is None or settings.data.vendor == "replay":
        return settings.data.vendor
    stored = BarStore(home).stored_range
    return "replay" if stored is not None and stored[0] <= session <= stored[1] else settings.data.vendor


def _session(world: World, date: str | None) -> Session:
    if date is None:
        return world.calendar.session_at(SystemClock().now_ms())
    return chosen_sessions(world.calendar, date, date)[0]


async def _instant(settings: Settings, world: World, day: Session, at: str | None) -> int:
    zone = settings.schedule.zone
    if at is not None:
        return local_ms(day.date, at, zone)
    first = next(
        (line.at for line in settings.schedule.scans if line.kind == "plan" and ":" in line.at), None
    )
    if first is not None:
        early_ms = local_ms(day.date, first, zone)
        try:
            view = await world.market.view(day, early_ms)
        except SessionDataMissingError as error:
            raise SurfaceError(str(error), code="no_data") from None
        if early_ms < day.open_ms and any(snapshot.minutes for snapshot in view.snapshots):
            return early_ms
    return day.open_ms + MINUTE_MS


async def import_data(
    settings: Settings, home: Path, folder: Path, *, dry_run: bool, progress: Callable[[object], None] | None
) -> Document:
    """Import a folder of bars; the report of surfaces.md with a line per problem."""
    from finagent.adapters.bars.importer import import_folder
    from finagent.adapters.vendors.calendar import load_calendar

    calendar = load_calendar(home)
    with _store():
        report = await asyncio.to_thread(
            import_folder, folder, home, calendar=calendar, dry_run=dry_run, progress=progress
        )
    document: Document = json.loads(json.dumps(report.to_json()))
    problems: list[Json] = list(report.problems)
    listed = None if dry_run else _list_issues(home, document)
    return {**document, "problems": problems, "changed": report.is_changed, "issues_file": listed}


def _list_issues(home: Path, document: Document) -> str | None:
    """Write every issue of an import as a table of its own; gives its path, None where there is none."""
    issues = document.get("issues")
    if not isinstance(issues, list) or not issues:
        return None
    path = home / "reports" / "import-issues.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = ("kind", "symbol", "count", "example")
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, extrasaction="ignore")
        table.writeheader()
        table.writerows(issue for issue in issues if isinstance(issue, dict))
    return str(path)


@contextlib.contextmanager
def _store() -> Iterator[None]:
    """What the bar store cannot do, as one line with the mend."""
    from finagent.adapters.bars.errors import BarStoreError

    try:
        yield
    except BarStoreError as error:
        raise SurfaceError(error.message, hint=error.hint, code="import") from None


async def data_list(settings: Settings, home: Path) -> Document:
    """What the bar store holds, by kind."""
    from finagent.adapters.bars.audit import list_store

    with _store():
        document: Document = json.loads(json.dumps(await asyncio.to_thread(list_store, home)))
    return document


async def data_check(settings: Settings, home: Path) -> Document:
    """What is wrong in the bar store: holes, mismatches, bad actions."""
    from finagent.adapters.bars.audit import check_store
    from finagent.adapters.vendors.calendar import load_calendar

    with _store():
        issues = await asyncio.to_thread(lambda: check_store(home, load_calendar(home)))
    found: list[Json] = [
        {"kind": issue.kind, "symbol": issue.symbol, "count": issue.count, "example": issue.example}
        for issue in issues
    ]
    return {"issues": found}


async def doctor(settings: Settings, home: Path) -> Document:
    """``{checks: [{name, status, detail, mend}]}``: the machine, the home, the settings, the data, the broker."""
    from finagent.bootstrap.broker_doctor import broker_checks

    checks = [
        _python(),
        _sqlite(),
        _writable(home),
        _space(home),
        _rules(settings),
        _bars(home),
        _database(home),
    ]
    return {"checks": [*checks, *await broker_checks(settings, home)]}


def _check(name: str, status: str, detail: str, mend: str = "") -> Json:
    return {"name": name, "status": status, "detail": detail, "mend": mend}


def _python() -> Json:
    is_known = (3, 11) <= sys.version_info[:2] <= (3, 13)
    status = "ok" if is_known else "warn"
    return _check("python", status, platform.python_version(), "" if is_known else "use Python 3.11 to 3.13")


def _sqlite() -> Json:
    version = tuple(int(part) for part in sqlite3.sqlite_version.split("."))
    has_fix = version >= SAFE_SQLITE[0] or any(
        version[:2] == safe[:2] and version >= safe for safe in SAFE_SQLITE[1:]
    )
    note = "" if has_fix else " (has the WAL-reset bug: one writer and the file lock keep clear of it)"
    return _check("sqlite", "ok", sqlite3.sqlite_version + note)


def _writable(home: Path) -> Json:
    probe = home / f".probe-{os.getpid()}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        return _check("home", "fail", f"{home}: {error.strerror}", "give --home a folder you may write")
    return _check("home", "ok", str(home))


def _space(home: Path) -> Json:
    try:
        free = shutil.disk_usage(home if home.exists() else home.parent).free
    except OSError as error:
        return _check("disk", "warn", str(error), "check the disk")
    status = "ok" if free >= LEAST_FREE_BYTES else "fail"
    return _check("disk", status, f"{free >> 20} MiB free", "" if status == "ok" else "free half a GiB")


def _rules(settings: Settings) -> Json:
    from finagent.settings import SettingsError

    try:
        rules.checked(settings)
    except SettingsError as error:
        return _check("settings", "fail", error.message, error.hint)
    return _check("settings", "ok", "all values fit")


def _bars(home: Path) -> Json:
    from finagent.adapters.bars.store import BarStore

    try:
        stored = BarStore(home).stored_range
    except Exception as error:
        return _check("bars", "fail", str(error), "finagent data check")
    if stored is None:
        return _check("bars", "ok", "no imported bars: the built-in market is used")
    return _check("bars", "ok", f"{stored[0]} to {stored[1]}")


def _database(home: Path) -> Json:
    path = home / "finagent.db"
    if not path.exists():
        return _check("database", "ok", "none yet: the first orchestrate makes it")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            (answer,) = connection.execute("PRAGMA quick_check").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        finally:
            connection.close()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        return _check("database", "fail", f"{path}: {error}", "restore a backup")
    if not tables:
        return _check("database", "fail", f"{path} is empty", "restore a backup, or delete it to begin anew")
    return _check("database", "ok" if answer == "ok" else "fail", f"quick_check {answer}")
