"""An append-only log of small JSON lines, each with its checksum and on the disk before `append` returns."""

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from finagent.runtime.files import sync_folder

Line = Mapping[str, object]


class LogDamagedError(Exception):
    """A line that is not the last one does not verify."""

    def __init__(self, path: Path, number: int) -> None:
        super().__init__(
            f"{path} is damaged in line {number}: compare with the broker, move the file away, then start again"
        )


class AppendLog:
    """Lines that survive SIGKILL and power loss once written; a torn last line was never promised to anybody.

    One process appends. The file is made with the first line and goes with `retire`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, line: Line) -> None:
        """Write one line and sync it, and the folder when the file is new; OSError when the disk fails."""
        self.extend([line])

    def extend(self, lines: Sequence[Line]) -> None:
        """Write several lines and sync them once; a crash within may keep the first of them."""
        texts = [json.dumps(line, sort_keys=True, separators=(",", ":")) for line in lines]
        data = "".join(f"{_sum(text)} {text}\n" for text in texts).encode()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                os.ftruncate(descriptor, _whole_bytes(descriptor, size))
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if size == 0:
            sync_folder(self.path.parent)

    def lines(self) -> list[Line]:
        """Every whole line in order, none where there is no file; LogDamagedError for what no crash explains."""
        if not self.path.exists():
            return []
        *whole, _torn = self.path.read_bytes().split(b"\n")
        return [self._line(number, raw) for number, raw in enumerate(whole, 1)]

    def retire(self, name: str) -> None:
        """The lines are safe elsewhere: keep the file under another name, in the place of an older one."""
        self.path.replace(self.path.with_name(name))
        sync_folder(self.path.parent)

    def _line(self, number: int, raw: bytes) -> Line:
        total, _, text = raw.decode("utf-8", "replace").partition(" ")
        if total != _sum(text):
            raise LogDamagedError(self.path, number)
        line: Line = json.loads(text)
        return line


def _sum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _whole_bytes(descriptor: int, size: int) -> int:
    """Where the last whole line ends: what a crash tore off goes, nobody acted on it."""
    return os.pread(descriptor, size, 0).rfind(b"\n") + 1
