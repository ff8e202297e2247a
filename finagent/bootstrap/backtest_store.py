"""Results of backtests as they lie under ``reports/backtests``: listed, found by a prefix of their id, read."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import orjson

from finagent.bootstrap.backtest_compare import plain, settings_of
from finagent.bootstrap.backtest_report import FOLDER, REPORT, RESULT, SUMMARY, summary_of
from finagent.bootstrap.stored_ids import LAST, only
from finagent.context import Document, Json, SurfaceError


def list_results(home: Path, *, limit: int | None = None) -> Document:
    """``{results: [...]}`` newest first: each without its sessions and trades; one that cannot be read says why.

    ``otherwise`` of each has the settings in which it differs from most of the others.
    """
    found = sorted(_folders(home), key=lambda folder: (-_stored_ns(folder), folder.name))
    rows = [_summary(folder) for folder in found[:limit]]
    settings = [settings_of(row) for row in rows]
    usual = _usual(settings)
    results: list[Json] = [
        {**row, "otherwise": {key: value for key, value in own.items() if plain(value) != usual[key]}}
        for row, own in zip(rows, settings, strict=True)
    ]
    return {"results": results, "stored": len(found)}


def _usual(settings: Sequence[Mapping[str, Json]]) -> Mapping[str, Json]:
    """By key the value that most have; of as many each the oldest's."""
    values: dict[str, list[Json]] = {}
    for own in reversed(settings):
        for key, value in own.items():
            values.setdefault(key, []).append(plain(value))
    return {key: max(found, key=found.count) for key, found in values.items()}


def load_result(home: Path, wanted: str) -> Document:
    """A stored result with its ``folder`` and ``report``, by id, unique prefix or ``last``; SurfaceError if unknown."""
    folder = _find(home, wanted)
    return {**_read(folder / RESULT), **_places(folder)}


def _find(home: Path, wanted: str) -> Path:
    folders = {folder.name: folder for folder in _folders(home)}
    if wanted == LAST:
        newest = home / FOLDER / LAST
        wanted = newest.read_text(encoding="utf-8").strip() if newest.is_file() else wanted
    mends = ("finagent backtest list shows what there is", "finagent backtest --from D --to D makes one")
    found = only(
        folders, wanted, what=("result", "results"), code="unknown_id", folder=home / FOLDER, mends=mends
    )
    return folders[found]


def _folders(home: Path) -> Iterator[Path]:
    """The folders of results; a name that is no id is none."""
    root = home / FOLDER
    if not root.is_dir():
        return
    for folder in root.iterdir():
        if (folder / RESULT).is_file():
            yield folder


def _stored_ns(folder: Path) -> int:
    return (folder / RESULT).stat().st_mtime_ns


def _summary(folder: Path) -> Document:
    """The summary; made from the whole where an older version kept none, or another result stands beside it."""
    path = folder / SUMMARY
    is_newer = path.is_file() and path.stat().st_mtime_ns >= _stored_ns(folder)
    stored: Json = (
        datetime.fromtimestamp(_stored_ns(folder) / 1e9, UTC)
        .isoformat(timespec="seconds")
        .replace("+00:00", "Z")
    )
    try:
        found = _read(path) if is_newer else summary_of(_read(folder / RESULT))
    except SurfaceError as error:
        return {"result_id": folder.name, "stored_at": stored, "error": error.message, **_places(folder)}
    return {**found, "stored_at": stored, **_places(folder)}


def _places(folder: Path) -> Document:
    report = folder / REPORT
    return {"folder": str(folder), "report": str(report) if report.is_file() else None}


def _read(path: Path) -> Document:
    """A stored document; SurfaceError where it is not whole."""
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise SurfaceError(
            f"{path} cannot be read: {error}",
            hint=f"delete {path.parent} and run the backtest again",
            code="damaged_result",
        ) from None
    if not isinstance(found, dict) or "result_id" not in found:
        raise SurfaceError(
            f"{path} is no result of a backtest",
            hint=f"delete {path.parent} and run the backtest again",
            code="damaged_result",
        )
    return found
