"""Loads the kernel's object code and calls it with tables, by LLVM alone: without numba it takes milliseconds."""

import ctypes
import hashlib
import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from finagent.backtest.source import Ints

Call = Callable[..., None]
"""Takes two integers, the tables, and a flag."""
WORD = 8
_ENGINES: list[Any] = []
"""They own the code that they loaded."""


@dataclass(frozen=True, slots=True)
class Code:
    """Object code, and the name of the function in it."""

    name: str
    code: bytes

    @classmethod
    def read(cls, path: Path) -> "Code | None":
        """None where there is none, or not the whole of it."""
        try:
            digest, name, code = path.read_bytes().split(b"\n", 2)
        except (OSError, ValueError):
            return None
        found = cls(name.decode(), code)
        return found if digest == found._digest() else None

    def write(self, path: Path) -> None:
        """Whole or not at all."""
        made = path.with_name(f".{path.name}-{os.getpid()}")
        made.write_bytes(b"\n".join((self._digest(), self.name.encode(), self.code)))
        made.replace(path)

    def _digest(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + self.code).hexdigest().encode()


def platform_id() -> str:
    """Of the processor that the code is for: another one may lack an instruction."""
    llvm = _llvm()
    parts = (llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def loaded(code: Code, tables: int) -> Call:
    """The function: ``CALL(first, last, *tables, flag)``."""
    llvm = _llvm()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        jit=True,
        codemodel="jitdefault",
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code.code))
    engine.finalize_object()
    _ENGINES.append(engine)
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    table = (pointer, pointer, integer, integer, pointer, integer, integer, integer, integer)
    kinds = (pointer, pointer, integer, integer, *table * tables, integer)
    function = ctypes.CFUNCTYPE(ctypes.c_int32, *kinds)(engine.get_function_address(code.name))

    def call(first: int, last: int, *given: Any) -> None:
        *arrays, flag = given
        result, error = ctypes.c_void_p(), ctypes.c_void_p()
        spread = [part for array in arrays for part in _parts(array)]
        status = function(ctypes.byref(result), ctypes.byref(error), first, last, *spread, int(flag))
        if status != 0:
            raise RuntimeError(f"the kernel's code ended with {status}")

    return call


def _parts(table: Ints) -> tuple[Any, ...]:
    """A table as numba's code takes it: no owner, sizes, place, shape and strides."""
    if not (
        table.dtype == np.int64 and table.ndim == 2 and table.flags.c_contiguous and table.flags.writeable
    ):
        raise TypeError(
            f"the kernel's code takes whole matrices of 64-bit integers, not {table.dtype} {table.shape}"
        )
    return (None, None, table.size, WORD, table.ctypes.data, *table.shape, *table.strides)


def _llvm() -> Any:
    return importlib.import_module("llvmlite.binding")
