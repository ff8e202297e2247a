"""The last step of a restore: the present file aside, the prepared one in its place; finished after any crash.

A prepared file is named ``finagent.db.restore-<time>``. Its rename to that name decides: from then on whoever opens
the database under its lock finishes the exchange first. Every step can be repeated.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from finagent.runtime.failpoints import hit
from finagent.runtime.files import sync_folder

PREPARED = ".restore-"
ASIDE = ".before-restore-"
MOST_A_SECOND = 1_000


def prepared_name(path: Path, stamp: str) -> Path:
    """Where a restore puts what it has prepared for database `path`."""
    return path.with_name(f"{path.name}{PREPARED}{stamp}")


def aside_name(path: Path, stamp: str) -> Path:
    """Where the file that was there before is kept."""
    return path.with_name(f"{path.name}{ASIDE}{stamp}")


def free_stamp(path: Path, stamp: str) -> str:
    """The stamp, or a longer one where a file of that second is kept already."""
    tries = (stamp, *(f"{stamp}-{number}" for number in range(2, MOST_A_SECOND)))
    return next(each for each in tries if not aside_name(path, each).exists())


def finish_restore(path: Path) -> Sequence[Path]:
    """Finish what a restore has decided; gives the files kept aside. The caller holds the database's lock."""
    kept = []
    for prepared in sorted(path.parent.glob(f"{path.name}{PREPARED}*")):
        aside = aside_name(path, prepared.name.removeprefix(f"{path.name}{PREPARED}"))
        if path.exists():
            _keep(path, aside)
            kept.append(aside)
        hit("restore.kept_aside")
        prepared.replace(path)
        hit("restore.in_place")
        sync_folder(path.parent)
    return kept


def _keep(path: Path, aside: Path) -> None:
    """The old file stays under both names until the new one takes its place; its log goes with the copy.

    A log left beside the new file would be played into it.
    """
    if not aside.exists():
        try:
            os.link(path, aside)
        except OSError:
            path.replace(aside)  # a file system without links
    hit("restore.linked")
    log, kept_log = _beside(path, "-wal"), _beside(aside, "-wal")
    if log.exists() and not kept_log.exists():
        log.replace(kept_log)
    log.unlink(missing_ok=True)
    _beside(path, "-shm").unlink(missing_ok=True)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
