"""Reads a data file in batches, whatever its format, and turns its columns into arrays."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from finagent.adapters.bars.kinds import Recognised, recognise

BATCH_ROWS = 2_000_000
JSON_LIMIT_BYTES = 8_000_000
NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
ISO_DAY = r"^\s*\d{4}-\d{2}-\d{2}\s*$"

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class UnreadableError(Exception):
    """The file is not what its ending says, or damaged; the text says how."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the folder: what it is and how many rows it has (-1 where only reading it would tell)."""

    path: Path
    recognised: Recognised
    rows: int


def open_source(path: Path) -> Source:
    """Look at a file's columns. UnreadableError where it cannot be read."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return _parquet(path)
        if suffix == ".csv":
            return _csv(path)
        if suffix == ".json":
            return Source(path, _json_kind(path), 0)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UnreadableError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    return Source(path, Recognised("unknown", False, "only Parquet and CSV files are read"), 0)


def batches(source: Source) -> Iterator[pa.Table]:
    """The file's rows in order, in tables of bounded size with lower-case column names."""
    try:
        if source.path.suffix.lower() == ".csv":
            yield from _csv_batches(source.path)
            return
        with pq.ParquetFile(source.path) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                yield _lower(pa.Table.from_batches([batch]))
    except (pa.ArrowException, OSError) as error:
        raise UnreadableError(str(error).splitlines()[0]) from error


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def column_names(names: Sequence[str]) -> list[str]:
    """Column names as they are compared: without blanks around them, in lower case."""
    return [name.strip().lower() for name in names]


def floats(column: pa.ChunkedArray) -> Floats:
    """A number column as float64; NaN where a value is missing or no number."""
    if _is_text(column.type):
        text = pc.cast(column, pa.string())
        column = pc.if_else(pc.match_substring_regex(text, NUMBER), pc.utf8_trim_whitespace(text), None)
    elif pa.types.is_boolean(column.type) or pa.types.is_temporal(column.type):
        return np.full(len(column), np.nan)
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(), np.float64)


def days(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.datetime64], Flags]:
    """A date column as datetime64[D], and where it is no date."""
    if _is_text(column.type):
        text = pc.cast(column, pa.string())
        trimmed = pc.if_else(pc.match_substring_regex(text, ISO_DAY), pc.utf8_trim_whitespace(text), None)
        parsed = pc.strptime(trimmed, "%Y-%m-%d", unit="s", error_is_null=True)
        # strptime makes 30 February the 2nd of March: only what reads the same again is a date
        column = pc.if_else(pc.equal(pc.strftime(parsed, "%Y-%m-%d"), trimmed), parsed, None)
    elif not pa.types.is_temporal(column.type):
        return np.zeros(len(column), "datetime64[D]"), np.ones(len(column), np.bool_)
    bad = np.asarray(pc.is_null(column).to_numpy(), np.bool_)
    filled = pc.fill_null(pc.cast(column, pa.date32(), safe=False), 0)
    return np.asarray(filled.to_numpy(), "datetime64[D]"), bad


def instants_ms(column: pa.ChunkedArray) -> tuple[Ints, Flags]:
    """A time column as ms UTC (a time without a zone is UTC), and where it is no time."""
    if _is_text(column.type):
        column = _parsed_instants(pc.cast(column, pa.string()))
    elif not pa.types.is_timestamp(column.type):
        return np.zeros(len(column), np.int64), np.ones(len(column), np.bool_)
    bad = np.asarray(pc.is_null(column).to_numpy(), np.bool_)
    in_ms = pc.cast(pc.cast(column, pa.timestamp("ms", column.type.tz), safe=False), pa.int64())
    return np.asarray(pc.fill_null(in_ms, 0).to_numpy(), np.int64), bad


def texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A text column as strings; anything else as its text."""
    return pc.cast(column, pa.string())


def _parsed_instants(text: pa.ChunkedArray) -> pa.ChunkedArray:
    zoned = pc.match_substring_regex(text, r"(Z|[+-]\d{2}:?\d{2})\s*$")
    with_zone = pc.if_else(zoned, text, pc.binary_join_element_wise(text, "Z", ""))
    try:
        return pc.cast(with_zone, pa.timestamp("ms", "UTC"))
    except pa.ArrowInvalid:
        return pa.chunked_array(
            [[_instant(value) for value in with_zone.to_pylist()]], pa.timestamp("ms", "UTC")
        )


def _instant(value: str | None) -> object:
    try:
        return pc.cast(pa.scalar(value), pa.timestamp("ms", "UTC")).as_py()
    except pa.ArrowInvalid:
        return None


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_dictionary(kind)
        or pa.types.is_null(kind)
    )


def _parquet(path: Path) -> Source:
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        names = column_names(schema.names)
        is_whole = "volume" not in names or not pa.types.is_floating(schema.types[names.index("volume")])
        return Source(path, recognise(names, is_volume_whole=is_whole), file.metadata.num_rows)


def _csv(path: Path) -> Source:
    if path.stat().st_size == 0:
        raise UnreadableError("the file is empty")
    first = next(_csv_batches(path), None)
    if first is None:
        with path.open(encoding="utf-8") as file:
            names = column_names(file.readline().split(","))
        return Source(path, recognise(names, is_volume_whole=True), 0)
    is_whole = True
    if "volume" in first.column_names:
        volume = floats(first["volume"])
        known = volume[np.isfinite(volume)]
        is_whole = bool(np.all(known == np.rint(known)))
    return Source(path, recognise(first.column_names, is_volume_whole=is_whole), -1)


def _csv_batches(path: Path) -> Iterator[pa.Table]:
    """A CSV file with every column as text, so that one bad value costs one row."""
    with path.open(encoding="utf-8") as file:
        names = file.readline().rstrip("\r\n").split(",")
    options = pa_csv.ConvertOptions(
        column_types={name.strip('"'): pa.string() for name in names}, strings_can_be_null=True
    )
    block = pa_csv.ReadOptions(block_size=64 << 20)
    with pa_csv.open_csv(path, read_options=block, convert_options=options) as reader:
        for batch in reader:
            yield _lower(pa.Table.from_batches([batch]))


def _lower(table: pa.Table) -> pa.Table:
    return table.rename_columns(column_names(table.column_names))


def _json_kind(path: Path) -> Recognised:
    if path.stat().st_size > JSON_LIMIT_BYTES:
        return Recognised("unknown", False, "only Parquet and CSV files are read")
    document = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(document, dict) and {"holidays", "earlyCloses"} <= document.keys():
        return Recognised("market_hours", False, "sessions come from the exchange calendar")
    if isinstance(document, list) and document and all(isinstance(item, str) for item in document):
        return Recognised("symbol_list", False, "a list of symbols, not bars")
    if (
        isinstance(document, list)
        and document
        and all(isinstance(item, dict) and "file" in item for item in document)
    ):
        return Recognised("manifest", False, "a list of files, not bars")
    return Recognised("unknown", False, "only Parquet and CSV files are read")
