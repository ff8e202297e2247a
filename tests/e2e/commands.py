"""One command line as a process, with a home of its own and none of the tester's settings."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def finagent(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One command line."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FINAGENT__")}
    return subprocess.run(
        [sys.executable, "-m", "finagent", "--home", str(home), *arguments],
        cwd=home,
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def document(home: Path, *arguments: str, status: int = 0, **environment: str) -> dict[str, Any]:
    """What a command prints with ``--json``; nothing else is on stdout."""
    done = finagent(home, *arguments, "--json", **environment)
    assert done.returncode == status, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found
