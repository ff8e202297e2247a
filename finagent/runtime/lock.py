"""One live process per database file: an flock on `<db>.lock` with the holder's pid inside."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

PID_LOOKS = 50
PID_WAIT_S = 0.01


class HomeInUseError(Exception):
    """Another process holds this database."""

    def __init__(self, path: Path, pid: int | None) -> None:
        holder = f"process {pid}" if pid is not None else "another process"
        super().__init__(f"{path} is in use by {holder}: stop it, or choose another home with --home")
        self.path = path
        self.pid = pid


class FileLock:
    """Exclusive lock beside `path`; freed by `release` or by the end of the process, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".lock")
        self._database = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock or raise HomeInUseError naming the holder's pid."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = _holder(descriptor)
            os.close(descriptor)
            raise HomeInUseError(self._database, pid) from None
        self._descriptor = descriptor
        with contextlib.suppress(OSError):  # on a full disk the lock holds all the same, without a name
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Free the lock; the file stays, since deleting it would let two processes hold two files."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _holder(descriptor: int) -> int | None:
    """The live holder's pid; it writes it right after it got the lock, so a moment is waited for it."""
    for _ in range(PID_LOOKS):
        text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        if text.isdigit() and is_alive(int(text)):
            return int(text)
        time.sleep(PID_WAIT_S)
    return None


def is_alive(pid: int) -> bool:
    """Whether a process with this number runs, ours or another user's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
