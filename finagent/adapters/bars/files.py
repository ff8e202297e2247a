"""The files of the bar store: written whole or not at all, listed with their hashes in a manifest."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from finagent.adapters.bars.errors import StoreCorruptError, StoreLockedError, StoreUnwritableError
from finagent.adapters.bars.source import sha256_of
from finagent.runtime.files import sync_folder

MANIFEST = "manifest.json"
LOCK = ".lock"
FORMAT = 1
TIME_COLUMNS = ("date", "start_ms", "ex_date", "published_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of the store: its rows, its first and last time, the hash of its bytes and of what it says."""

    rows: int
    first: str
    last: str
    size_bytes: int
    sha256: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What the store holds; ``data_id`` is a hash over the contents, whatever wrote the files."""

    parts: Mapping[str, Part] = field(default_factory=dict)
    symbols: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def data_id(self) -> str:
        """Hash over the contents of all files."""
        text = "".join(f"{name} {self.parts[name].content}\n" for name in sorted(self.parts))
        return hashlib.sha256(text.encode()).hexdigest()

    def of_kind(self, folder: str) -> dict[str, Part]:
        """The files of a folder (``daily``) or a single file (``actions``), by name."""
        return {
            name: self.parts[name]
            for name in sorted(self.parts)
            if name.split("/")[0].split(".")[0] == folder
        }


def bars_dir(home: Path) -> Path:
    """Where the store lives under a home."""
    return home / "bars"


def read_manifest(root: Path) -> Manifest:
    """The manifest of a store, empty where there is none. StoreCorruptError where it cannot be read."""
    path = root / MANIFEST
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return Manifest(
            parts={name: Part(**part) for name, part in document["parts"].items()},
            symbols={kind: tuple(names) for kind, names in document["symbols"].items()},
            sources=document["sources"],
        )
    except FileNotFoundError:
        return Manifest()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreCorruptError(
            f"{path} cannot be read ({error})", "delete it and import again: the data files stay"
        ) from error


def read_part(path: Path) -> pa.Table:
    """A file of the store. StoreCorruptError where it cannot be read."""
    try:
        with pq.ParquetFile(path) as file:  # pq.read_table would import pandas: more than a second
            return file.read()
    except (pa.ArrowException, OSError) as error:
        raise StoreCorruptError(
            f"{path} cannot be read ({error})", "delete it and import its data again"
        ) from error


def content_hash(table: pa.Table) -> str:
    """Hash over the values of a table, column by column."""
    digest = hashlib.sha256()
    for name in table.column_names:
        column = table[name]
        digest.update(f"{name} {column.type} {len(column)}\n".encode())
        if pa.types.is_string(column.type):
            encoded = column.combine_chunks().dictionary_encode()
            digest.update(json.dumps(encoded.dictionary.to_pylist()).encode())
            codes = encoded.indices.fill_null(-1)
            digest.update(np.asarray(codes.to_numpy(zero_copy_only=False), np.int64).tobytes())
        else:
            digest.update(np.ascontiguousarray(column.to_numpy()).tobytes())
    return digest.hexdigest()


def describe_part(table: pa.Table, path: Path | None) -> Part:
    """The manifest's entry of a table, and of the file where there is one."""
    time = next((name for name in TIME_COLUMNS if name in table.column_names), None)
    first = last = ""
    if time is not None and table.num_rows:
        values = table[time].to_numpy()
        low, high = values.min(), values.max()
        if values.dtype.kind != "M":
            low, high = (np.datetime64(int(value), "ms") for value in (low, high))
        first, last = str(np.datetime64(low, "D")), str(np.datetime64(high, "D"))
    return Part(
        rows=table.num_rows,
        first=first,
        last=last,
        size_bytes=path.stat().st_size if path is not None else 0,
        sha256=sha256_of(path) if path is not None else "",
        content=content_hash(table),
    )


class StoreWriter:
    """The store during an import; in a dry run it keeps in memory what it would have written."""

    def __init__(self, root: Path, *, is_dry_run: bool) -> None:
        self._root = root
        self._is_dry_run = is_dry_run
        self._planned: dict[str, pa.Table] = {}
        self._manifest = read_manifest(root)
        self._parts = dict(self._manifest.parts)
        self._symbols = {kind: set(names) for kind, names in self._manifest.symbols.items()}
        self._sources = dict(self._manifest.sources)
        self.is_changed = False

    def repair(self) -> list[str]:
        """Take up files that a killed import wrote after the last manifest; their names."""
        on_disk = {
            path.relative_to(self._root).as_posix(): path
            for pattern in ("*.parquet", "*/*.parquet")
            for path in sorted(self._root.glob(pattern))
            if path.parent.name != "quarantine"
        }
        repaired = []
        for name, path in on_disk.items():
            known = self._parts.get(name)
            if known is None or known.size_bytes != path.stat().st_size or known.sha256 != sha256_of(path):
                table = read_part(path)
                self._parts[name] = describe_part(table, path)
                self.add_symbols(name.split("/")[0].split(".")[0], table["symbol"].unique().to_pylist())
                repaired.append(name)
        for name in sorted(self._parts.keys() - on_disk.keys()):
            del self._parts[name]
            repaired.append(name)
        self.is_changed = self.is_changed or bool(repaired)
        return repaired

    def read(self, name: str) -> pa.Table | None:
        """What the store holds under a name."""
        if name in self._planned:
            return self._planned[name]
        return read_part(self._root / name) if name in self._parts else None

    def write(self, name: str, table: pa.Table) -> None:
        """Replace a file of the store."""
        self.is_changed = True
        if self._is_dry_run:
            self._planned[name] = table
            return
        path = self._root / name
        write_parquet(path, table)
        self._parts[name] = describe_part(table, path)

    def quarantine(self, name: str, table: pa.Table) -> None:
        """Keep refused rows; the same rows again change nothing."""
        path = self._root / "quarantine" / name
        if not self._is_dry_run and not path.exists():
            write_parquet(path, table)

    def add_symbols(self, kind: str, symbols: list[str]) -> None:
        """Note the symbols of a kind."""
        self._symbols.setdefault(kind, set()).update(symbols)

    def add_source(self, sha256: str, name: str) -> None:
        """Note which file was imported."""
        self._sources.setdefault(sha256, name)

    def commit(self) -> None:
        """Write the manifest where it differs from the one before."""
        manifest = Manifest(
            parts={name: self._parts[name] for name in sorted(self._parts)},
            symbols={kind: tuple(sorted(names)) for kind, names in sorted(self._symbols.items())},
            sources=dict(sorted(self._sources.items())),
        )
        if self._is_dry_run or manifest == self._manifest:
            return
        document = {"format": FORMAT, "data_id": manifest.data_id, **asdict(manifest)}
        _replace(self._root / MANIFEST, (json.dumps(document, indent=1) + "\n").encode())
        self._manifest = replace(manifest)


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table so that a crash leaves the old file or the new one."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", version="2.6")
    _replace(path, sink.getvalue())


@contextmanager
def import_lock(root: Path) -> Iterator[None]:
    """Hold the store's own lock.

    StoreLockedError names the holder's pid; StoreUnwritableError for a read-only home.
    """
    path = root / LOCK
    with unwritable_as_error(root):
        root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise StoreLockedError(
                f"process {holder} is importing into {root}", "wait until it has ended, then import again"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


@contextmanager
def unwritable_as_error(root: Path) -> Iterator[None]:
    """Turn a refused write into StoreUnwritableError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreUnwritableError(
            f"cannot write {root} ({reason})", "choose a home that can be written with --home"
        ) from error


def _replace(path: Path, content: bytes | pa.Buffer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)
