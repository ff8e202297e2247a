"""Bugs planted in the kernel's text: each is one line that a person could write wrong."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from finagent.backtest import kernel
from tests.kernel.mutants import Mutant

FOLDER = Path(str(kernel.__file__)).parent
MODULES = (
    "arithmetic", "choosing", "sizing", "filling", "summing", "playing", "working", "watching", "looking", "entering",
    "minutes",
)  # fmt: skip
"""In the order in which they import each other."""


def planted(mutant: Mutant | None) -> tuple[Callable[..., None], Callable[..., None]]:
    """The kernel's ``play`` and ``play_minutes`` as they are written, with the bug in them."""
    names = {name: f"finagent.backtest.kernel.{name}" for name in ("compiling", *MODULES)}
    kept = {name: sys.modules[name] for name in names.values() if name in sys.modules}
    unmarked: Any = ModuleType(names["compiling"])
    unmarked.compiled = lambda function: function
    sys.modules[names["compiling"]] = unmarked
    try:
        for short in MODULES:
            module = ModuleType(names[short])
            sys.modules[names[short]] = module
            exec(compile(_text(short, mutant), str(FOLDER / f"{short}.py"), "exec"), vars(module))
        return vars(sys.modules[names["playing"]])["play"], vars(sys.modules[names["minutes"]])[
            "play_minutes"
        ]
    finally:
        for name in names.values():
            sys.modules.pop(name)
        sys.modules.update(kept)


def _text(module: str, mutant: Mutant | None) -> str:
    text = (FOLDER / f"{module}.py").read_text(encoding="utf-8")
    if mutant is None or mutant.module != module:
        return text
    assert text.count(mutant.right) == 1, (
        f"{mutant.right!r} stands {text.count(mutant.right)} times in {module}"
    )
    return text.replace(mutant.right, mutant.wrong)
