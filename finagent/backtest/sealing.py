"""Sealed folders: columns with a list that names and hashes them, checked once for each state of the files."""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from finagent.backtest.columns import SUFFIX, Column, hash_of, mapped
from finagent.backtest.errors import DatasetChangedError
from finagent.backtest.source import Ints

SEAL = "sealed.json"
Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Sealed:
    """An opened folder: what its list says, its columns (mapped read-only), and the stamp of each file."""

    path: Path
    document: Mapping[str, object]
    arrays: Mapping[str, Ints]
    seal: Mapping[str, Stamp]

    def check_unchanged(self) -> None:
        """DatasetChangedError when a file is not what it was when the folder was opened."""
        check_unchanged(self.path, self.seal)


def stamp(path: Path) -> Stamp:
    """Size, change times and inode of a file: enough to see that it was written or replaced."""
    try:
        found = path.stat()
    except OSError as error:
        raise DatasetChangedError(f"{path} cannot be read ({error.strerror})") from error
    return found.st_size, found.st_mtime_ns ^ found.st_ctime_ns, found.st_ino


def open_sealed(path: Path, *, list_name: str, identity: str) -> Sealed:
    """Map the columns of a folder; DatasetChangedError where a file is not what was written.

    ``identity`` is the key of the list that holds its own hash. Every file is hashed the first time it is seen with
    this size, time and inode, and not again before that changes.
    """
    document, columns = _document(path, list_name, identity)
    names = [list_name, *(f"{each.name}{SUFFIX}" for each in columns)]
    seal = {name: stamp(path / name) for name in names}
    if _sealed(path) != seal:
        for column in columns:
            file = path / f"{column.name}{SUFFIX}"
            if hash_of(file) != column.sha256:
                raise DatasetChangedError(f"{file} holds other values than were written")
        _put_seal(path, seal)
    return Sealed(path, document, {column.name: mapped(path, column) for column in columns}, seal)


def check_unchanged(path: Path, seal: Mapping[str, Stamp]) -> None:
    """DatasetChangedError when a file has another stamp than the seal says."""
    for name, seen in seal.items():
        if stamp(path / name) != seen:
            raise DatasetChangedError(f"dataset {path}: {name} was changed while it was used")


def write_list(
    folder: Path, columns: Sequence[Column], document: Mapping[str, object], *, list_name: str, identity: str
) -> None:
    """The list of finished columns with its own hash; nothing of the folder may be written any more."""
    named = {
        **document,
        identity: identity_of(columns, document, identity),
        "columns": [{"name": c.name, "kind": c.kind, "count": c.count, "sha256": c.sha256} for c in columns],
    }
    (folder / list_name).write_text(json.dumps(named, indent=1) + "\n", encoding="utf-8")
    for each in columns:
        (folder / f"{each.name}{SUFFIX}").chmod(0o444)


def identity_of(columns: Sequence[Column], document: Mapping[str, object], identity: str) -> str:
    """16 hex digits over all columns and what the list says beside them, whatever it was built from."""
    parts = [[each.name, each.kind, each.count, each.sha256] for each in columns]
    left_out = ("columns", identity, "inputs_id")
    rest = {key: document[key] for key in sorted(document) if key not in left_out}
    return hashlib.sha256(json.dumps([parts, rest], sort_keys=True).encode()).hexdigest()[:16]


def _document(path: Path, list_name: str, identity: str) -> tuple[dict[str, object], list[Column]]:
    try:
        document = json.loads((path / list_name).read_text(encoding="utf-8"))
        columns = [Column(**each) for each in document["columns"]]
        is_whole = document[identity] == identity_of(columns, document, identity)
    except OSError as error:
        raise DatasetChangedError(f"{path / list_name} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetChangedError(f"{path / list_name} is no list of a dataset ({error})") from error
    if not is_whole:
        raise DatasetChangedError(f"{path / list_name} says other things than were written")
    return document, columns


def _sealed(path: Path) -> dict[str, Stamp]:
    try:
        found = json.loads((path / SEAL).read_text(encoding="utf-8"))
        return {name: (value[0], value[1], value[2]) for name, value in found.items()}
    except (OSError, ValueError, TypeError, IndexError, AttributeError):
        return {}


def _put_seal(path: Path, seal: Mapping[str, Stamp]) -> None:
    """Where it cannot be written, the next opening only hashes again."""
    temporary = path / f".{SEAL}.tmp"
    try:
        temporary.write_text(
            json.dumps({name: list(value) for name, value in seal.items()}), encoding="utf-8"
        )
        temporary.replace(path / SEAL)
    except OSError:
        with contextlib.suppress(OSError):  # of a disk that cannot be written, even this is refused
            temporary.unlink(missing_ok=True)


def settle(scratch: Path, path: Path) -> None:
    """Give a finished build its name; who comes second uses the first one's."""
    try:
        scratch.rename(path)
    except OSError:
        if not path.exists():
            raise
