"""Turns the kernel's functions of integers into machine code, kept in the user's cache; they also run as written.

The cache's folder is named by the text of the whole kernel: a changed function never meets code compiled from the old.
Where no folder can be written, each process compiles for itself; without numba everything runs as it is written.
What is kept is object code, loaded without numba (``loading``): to import numba takes a second.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

from finagent.backtest.kernel.loading import Call, Code, loaded, platform_id

SWITCH = "FINAGENT_KERNEL"
"""``python`` leaves the functions as they are written, as on a machine without numba."""

F = TypeVar("F", bound=Callable[..., Any])
_KERNEL: list[Callable[..., Any]] = []
_MACHINE: dict[Callable[..., Any], Call] = {}


def compiled(function: F) -> F:
    """The function itself, which from now on belongs to the kernel: it calls nothing else."""
    _KERNEL.append(function)
    return function


def can_compile() -> bool:
    """Whether the kernel becomes machine code here at all."""
    return os.environ.get(SWITCH) != "python" and importlib.util.find_spec("numba") is not None


def machine_code(function: Callable[..., Any], tables: int, *, is_made: bool = True) -> Call | None:
    """A function of the kernel as machine code: 64-bit integers, Python's rounding, no fast-math; None without numba.

    It takes two integers, so many ``tables`` and a flag. The first call in a process loads it from the cache; the first
    on a machine compiles it, which takes seconds, or gives None where it is not to be made.
    """
    if not can_compile():
        return None
    if function not in _MACHINE:
        code = _code(function, tables, is_made)
        if code is None:
            return None
        _MACHINE[function] = loaded(code, tables)
    return _MACHINE[function]


def _code(function: Callable[..., Any], tables: int, is_made: bool) -> Code | None:
    """From the cache, else, where it is to be made, compiled and left there."""
    folder = cache_folder(importlib.metadata.version("numba"))
    path = None if folder is None else folder / f"{function.__name__}-{platform_id()}.code"
    kept = None if path is None else Code.read(path)
    if kept is None and is_made:
        kept = _translated(function, tables)
        if path is not None:
            kept.write(path)
    return kept


def _translated(function: Callable[..., Any], tables: int) -> Code:
    """The code of a function with all that it calls.

    The kernel makes no array and divides by nothing that may be 0, so nobody counts who holds an array (``_nrt``) and
    nobody asks for a 0: that made it three times as fast. Nothing of Python is in it. Every call is written out where
    it stands (``forceinline``): a table is seven numbers to hand over, and that took a third of the time.
    """
    numba: Any = importlib.import_module("numba")
    translate = numba.njit(
        _nrt=False, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True
    )
    names: dict[str, dict[str, Any]] = {}
    found: dict[Callable[..., Any], Any] = {}
    for each in _KERNEL:
        assert isinstance(each, FunctionType)
        own = names.setdefault(each.__module__, dict(each.__globals__))
        copy = FunctionType(each.__code__, own, each.__name__)
        copy.__qualname__, copy.__module__ = each.__qualname__, each.__module__
        found[each] = translate(copy)
    for own in names.values():  # the translations call each other
        own.update({name: found[value] for name, value in own.items() if callable(value) and value in found})
    integer, table = numba.types.int64, numba.types.Array(numba.types.int64, 2, "C")
    given = (integer, integer, *[table] * tables, integer)
    found[function].compile(given)
    compiled_function = found[function].overloads[given]
    library = compiled_function.library
    code = library.codegen._tm.emit_object(library._final_module)
    return Code(compiled_function.fndesc.llvm_func_name, code)


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


def _text_id(version: str) -> str:
    total = hashlib.sha256(version.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]
