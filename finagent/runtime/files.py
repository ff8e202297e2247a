"""Files on the disk: who may read new ones, whole or not at all, and names that outlive a loss of power."""

import contextlib
import os
from pathlib import Path


def keep_private() -> None:
    """Files and folders that this process makes from now on are their owner's alone, whatever they ask for."""
    os.umask(os.umask(0o077) | 0o077)


def write_whole(path: Path, content: bytes) -> None:
    """Give a file new content, or leave it as it was: a full disk leaves no part of it. OSError when it cannot be."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk; OSError when the disk fails."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
