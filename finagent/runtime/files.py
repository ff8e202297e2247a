"""Files on the disk: who may read new ones, and names that outlive a loss of power."""

import os
from pathlib import Path


def keep_private() -> None:
    """Files and folders that this process makes from now on are their owner's alone, whatever they ask for."""
    os.umask(os.umask(0o077) | 0o077)


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk; OSError when the disk fails."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
