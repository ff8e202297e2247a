"""Turns the kernel's functions of integers into machine code, kept in the user's cache; they also run as written.

The cache's folder is named by the text of the whole kernel: a changed function never meets code compiled from the old.
Where no folder can be written, each process compiles for itself; without numba everything runs as it is written.
"""

import hashlib
import importlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

SWITCH = "FINAGENT_KERNEL"
"""``python`` leaves the functions as they are written, as on a machine without numba."""

F = TypeVar("F", bound=Callable[..., Any])
_KERNEL: list[Callable[..., Any]] = []
_MACHINE: dict[Callable[..., Any], Callable[..., Any]] = {}


def compiled(function: F) -> F:
    """The function itself, which from now on belongs to the kernel: it calls nothing else."""
    _KERNEL.append(function)
    return function


def machine_code(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """A function of the kernel as machine code: 64-bit integers, Python's rounding, no fast-math; None without numba.

    The first call in a process reads it from the cache; the first on a machine compiles it, which takes seconds.
    """
    numba = _numba()
    if numba is None:
        return None
    if function not in _MACHINE:
        _MACHINE.update(_translated(numba))
    return _MACHINE[function]


def _translated(numba: Any) -> dict[Callable[..., Any], Callable[..., Any]]:
    """Each function of the kernel with its translation; compiled when it is called first.

    The kernel makes no array and divides by nothing that may be 0, so nobody counts who holds an array (``_nrt``) and
    nobody asks for a 0: that made it three times as fast.
    """
    folder = cache_folder(str(numba.__version__))
    translate = numba.njit(cache=folder is not None, _nrt=False, error_model="numpy")
    names: dict[str, dict[str, Any]] = {}
    found: dict[Callable[..., Any], Callable[..., Any]] = {}
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = "" if folder is None else str(folder)
    try:
        for each in _KERNEL:
            assert isinstance(each, FunctionType)
            own = names.setdefault(each.__module__, dict(each.__globals__))
            copy = FunctionType(each.__code__, own, each.__name__)
            copy.__qualname__, copy.__module__ = each.__qualname__, each.__module__
            found[each] = translate(copy)
    finally:
        numba.config.CACHE_DIR = before
    for own in names.values():  # the translations call each other
        own.update({name: found[value] for name, value in own.items() if callable(value) and value in found})
    return found


def cache_folder(version: str) -> Path | None:
    """Where compiled code is kept, by the kernel's text and numba's version; None where nothing can be written."""
    asked = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    try:
        base = Path(asked) if asked else Path.home() / ".cache"
        folder = base / "finagent" / f"kernel-{_text_id(version)}"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None


def _numba() -> Any:
    if os.environ.get(SWITCH) == "python":
        return None
    try:
        return importlib.import_module("numba")
    except ImportError:
        return None


def _text_id(version: str) -> str:
    total = hashlib.sha256(version.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]
