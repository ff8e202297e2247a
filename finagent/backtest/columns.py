"""Columns on disk: plain little-endian integers, written once, hashed as they are written, mapped when read."""

import hashlib
import mmap
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from finagent.backtest.errors import DatasetChangedError

SUFFIX = ".col"
KINDS = ("<i8", "<i4", "<i2", "|u1")
CHUNK = 8 << 20

Array = npt.NDArray[np.int64] | npt.NDArray[np.int32] | npt.NDArray[np.int16] | npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What the dataset's list says of one file: its element kind, how many there are, the hash of its bytes."""

    name: str
    kind: str
    count: int
    sha256: str

    @property
    def size_bytes(self) -> int:
        """How long the file must be."""
        return self.count * np.dtype(self.kind).itemsize


class ColumnWriter:
    """Appends to one column; ``close`` gives its entry for the list."""

    def __init__(self, folder: Path, name: str, kind: str) -> None:
        self._name, self._kind, self._count = name, kind, 0
        self._digest = hashlib.sha256()
        self._file = (folder / f"{name}{SUFFIX}").open("xb")

    def __enter__(self) -> "ColumnWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def count(self) -> int:
        """Elements written so far."""
        return self._count

    def append(self, values: npt.NDArray[np.generic]) -> None:
        """Add values; OverflowError for one that the column's kind cannot hold."""
        target = np.dtype(self._kind)
        if values.size and target.itemsize < values.dtype.itemsize:
            limits = np.iinfo(target)
            if int(values.min()) < limits.min or int(values.max()) > limits.max:
                raise OverflowError(
                    f"{self._name}: {values.min()} to {values.max()} does not fit {self._kind}"
                )
        block = np.ascontiguousarray(values, target)
        self._digest.update(block.data)
        self._file.write(block.data)
        self._count += block.size

    def close(self) -> Column:
        """Nothing more comes."""
        self._file.close()
        return Column(name=self._name, kind=self._kind, count=self._count, sha256=self._digest.hexdigest())


def mapped(folder: Path, column: Column) -> npt.NDArray[np.int64]:
    """The column, read-only, from disk as it is needed (of its own element kind, whatever mypy is told)."""
    path = folder / f"{column.name}{SUFFIX}"
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size == column.size_bytes and column.count:  # np.memmap takes three times as long
                whole = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
                return np.frombuffer(whole, column.kind)
    except OSError as error:
        raise DatasetChangedError(f"{path} cannot be read ({error.strerror})") from error
    if size != column.size_bytes:
        raise DatasetChangedError(f"{path} has {size} bytes, {column.size_bytes} were written")
    return np.empty(0, column.kind)


def hash_of(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()
