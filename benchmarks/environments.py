"""The locked environments of peers: made once per lock file, outside git."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks" / "peers"
CACHE = Path(os.environ.get("FINAGENT_BENCH_CACHE", ROOT / ".cache" / "benchmarks"))


def interpreter(peer: str) -> tuple[Path, Path]:
    """The folder of a peer's environment and the Python in it, whether they are there or not."""
    lock = PEERS / peer / "requirements.txt"
    folder = CACHE / f"{peer}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    return folder, folder / "bin" / "python"


def is_ready(peer: str) -> bool:
    """Whether a peer's environment was made already."""
    return (interpreter(peer)[0] / "ready").exists()


def environment(peer: str) -> Path:
    """The Python of a peer's locked environment, made where it is missing."""
    folder, python = interpreter(peer)
    if not is_ready(peer):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [
            "-m",
            "pip",
            "install",
            "-q",
            "--require-hashes",
            "-r",
            str(PEERS / peer / "requirements.txt"),
        ]
        subprocess.run([str(python), *install], check=True, stdout=sys.stderr)
        (folder / "ready").touch()
    return python
