"""The folder of a study: what was asked, the journal of its trials, and who works on it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from finagent.backtest.search.trials import Journal
from finagent.context import Document, SurfaceError
from finagent.runtime.append_log import AppendLog, LogDamagedError
from finagent.runtime.files import sync_folder, write_whole
from finagent.runtime.lock import FileLock, HomeInUseError

FOLDER = Path("reports") / "optimize"
STUDY, RESULT, JOURNAL = "study.json", "result.json", "trials.jsonl"


@dataclass(frozen=True, slots=True)
class Study:
    """A study's folder, held by this process."""

    study_id: str
    folder: Path

    def journal(self, name: str = "") -> Journal:
        """The trials of one of its searches; SurfaceError for a file that no crash explains."""
        path = self.folder / (f"{name}.{JOURNAL}" if name else JOURNAL)
        try:
            return Journal.open(AppendLog(path))
        except (LogDamagedError, ValueError, KeyError) as error:
            raise SurfaceError(
                f"{path} holds what was not written: {error}",
                hint="move the study's folder away and begin again",
                code="damaged_study",
            ) from None

    def write(self, name: str, text: str) -> None:
        """A whole file or none."""
        write_whole(self.folder / name, text.encode())
        sync_folder(self.folder)


def asked(home: Path, study_id: str) -> Mapping[str, object]:
    """What a study was asked; SurfaceError for an id that is none."""
    root = home / FOLDER
    found = list(root.glob(f"{study_id}*/{STUDY}")) if study_id.isalnum() else []
    if len(found) != 1:
        known = sorted(path.parent.name for path in root.glob(f"*/{STUDY}"))
        raise SurfaceError(
            f"there is {'more than one' if found else 'no'} study {study_id} in {root}",
            hint=f"there are {', '.join(known[:10])}" if known else "begin one: finagent optimize --from ...",
            code="unknown_study",
        )
    document: Mapping[str, object] = json.loads(found[0].read_text(encoding="utf-8"))
    return document


@contextmanager
def held(home: Path, study_id: str, question: Document) -> Iterator[Study]:
    """The study's folder, made where it is new; SurfaceError while another process works on it."""
    folder = home / FOLDER / study_id
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "study")
    try:
        lock.acquire()
    except HomeInUseError as error:
        raise SurfaceError(
            f"study {study_id} is being worked on by process {error.pid}",
            hint="wait for it, or stop it",
            code="study_in_use",
        ) from None
    try:
        study = Study(study_id, folder)
        if not (folder / STUDY).exists():
            study.write(STUDY, json.dumps(question, indent=1) + "\n")
        yield study
    finally:
        lock.release()
