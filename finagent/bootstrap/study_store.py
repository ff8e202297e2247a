"""Studies as they lie under ``reports/optimize``: listed with what each chose, found by a start of their id, read."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson

from finagent.bootstrap.stored_ids import LAST, only
from finagent.bootstrap.studies import FOLDER, JOURNAL, RESULT, STUDY
from finagent.bootstrap.study_report import PAGE
from finagent.context import Document, Json, SurfaceError

ASKED = (
    "from",
    "to",
    "sessions",
    "bars",
    "method",
    "seed",
    "params",
    "objectives",
    "requirements",
    "trials",
    "best",
)
"""What a list takes from a finished study."""


def list_studies(home: Path, *, limit: int | None = None) -> Document:
    """``{studies: [...], stored}`` newest first: what was asked, how far it is, the best set; no trial beside it.

    ``state`` is ``done``, ``unfinished`` (killed or under way) or ``unreadable``, which ``error`` explains.
    """
    found = sorted(_folders(home), key=lambda folder: (-_began_ns(folder), folder.name))
    return {"studies": [_row(folder) for folder in found[:limit]], "stored": len(found)}


def load_study(home: Path, wanted: str) -> Document:
    """What a finished study came to, as it was printed, with its ``folder`` and ``report``.

    ``wanted`` is a unique start of its id, or ``last``; SurfaceError for one that is unknown, unfinished or damaged.
    """
    folder = _find(home, wanted)
    if not (folder / RESULT).is_file():
        raise SurfaceError(
            f"study {folder.name} is not finished: {_played(folder)} trials are kept",
            hint=f"finagent optimize --resume {folder.name} goes on",
            code="unfinished_study",
        )
    return {**_read(folder / RESULT), **_places(folder)}


def _find(home: Path, wanted: str) -> Path:
    folders = {
        each.name: each for each in sorted(_folders(home), key=lambda each: (_began_ns(each), each.name))
    }
    if wanted == LAST and folders:
        return list(folders.values())[-1]
    mends = (
        "finagent optimize list shows what there is",
        "finagent optimize --from D --to D --param SETTING=VALUES begins one",
    )
    found = only(
        folders, wanted, what=("study", "studies"), code="unknown_study", folder=home / FOLDER, mends=mends
    )
    return folders[found]


def _folders(home: Path) -> Iterator[Path]:
    root = home / FOLDER
    if root.is_dir():
        yield from (folder for folder in root.iterdir() if (folder / STUDY).is_file())


def _began_ns(folder: Path) -> int:
    return (folder / STUDY).stat().st_mtime_ns


def _row(folder: Path) -> Document:
    began = datetime.fromtimestamp(_began_ns(folder) / 1e9, UTC).isoformat(timespec="seconds")
    row: Document = {"study_id": folder.name, "began_at": began.replace("+00:00", "Z"), **_places(folder)}
    try:
        if (folder / RESULT).is_file():
            found = _read(folder / RESULT)
            return {
                **row,
                "state": "done",
                **{key: found.get(key) for key in ASKED},
                "outside": _outside(found),
            }
        asked = _read(folder / STUDY)
    except SurfaceError as error:
        return {**row, "state": "unreadable", "error": error.message}
    return {
        **row,
        "state": "unfinished",
        "from": asked.get("first"),
        "to": asked.get("last"),
        **{key: asked.get(key) for key in ("bars", "method", "seed")},
        "params": _varied(asked),
        "trials": {"asked": asked.get("trials") or None, "done": _played(folder)},
        "best": None,
    }


def _outside(found: Document) -> Json:
    """The measures of a walk-forward's judging parts together."""
    walked = found.get("walk_forward")
    return walked.get("outside") if isinstance(walked, dict) else None


def _varied(asked: Document) -> list[Json]:
    params = asked.get("params")
    return [{"name": str(each).partition("=")[0]} for each in params] if isinstance(params, list) else []


def _played(folder: Path) -> int:
    """Trials that the journals of a study hold, those of its windows too."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob(f"*{JOURNAL}"))


def _places(folder: Path) -> Document:
    report = folder / PAGE
    return {"folder": str(folder), "report": str(report) if report.is_file() else None}


def _read(path: Path) -> Document:
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        found, why = None, f"cannot be read: {error}"
    else:
        why = "is no study's"
    if not isinstance(found, dict) or "study_id" not in found:
        raise SurfaceError(
            f"{path} {why}",
            hint=f"finagent optimize --resume {path.parent.name} makes it anew"
            if path.name == RESULT
            else f"delete {path.parent} and begin it again",
            code="damaged_study",
        )
    return found
