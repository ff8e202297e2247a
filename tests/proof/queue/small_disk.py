"""A small file system in memory, to be filled; only root can mount one."""

import os
import subprocess
from pathlib import Path

CHUNK_BYTES = 4096


def mounted(folder: Path, options: str) -> bool:
    """Whether a tmpfs could be mounted; only root can."""
    command = ["mount", "-t", "tmpfs", "-o", options, "finagent-proof", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def enlarge(folder: Path) -> None:
    """Give it 64 MB."""
    subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)


def unmount(folder: Path) -> None:
    """And all that is on it; what a caught error still holds open goes later."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Write until there is no block left."""
    file = os.open(folder / "filler", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        while True:
            os.write(file, bytes(CHUNK_BYTES))
    except OSError:
        return
    finally:
        os.close(file)
