"""A file that takes room while there is some, to be given up when there is none."""

import os
from pathlib import Path

BALLAST_BYTES = 8 << 20
CHUNK_BYTES = 1 << 20


def make(path: Path, size: int = BALLAST_BYTES) -> bool:
    """See that the file is there in its full size, on the disk; False, and nothing left, without room for it.

    Random bytes: a file system that packs its files would give no room back for zeros.
    """
    try:
        if path.exists() and path.stat().st_size == size:
            return True
        with path.open("wb") as file:
            for start in range(0, size, CHUNK_BYTES):
                file.write(os.urandom(min(CHUNK_BYTES, size - start)))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        free(path)
        return False
    return True


def free(path: Path) -> bool:
    """Give the file's room back; False when there was none to give."""
    try:
        path.unlink()
    except OSError:
        return False
    return True
