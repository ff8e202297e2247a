"""Folders of a run: gone at its end, and after a kill with the next run."""

import os
import subprocess
import sys
from pathlib import Path

from finagent.backtest.scratch import scratch

LEFT = """
import os, signal, sys
from pathlib import Path
from finagent.backtest.scratch import scratch
with scratch(Path(sys.argv[1]), "sweep"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_folder_of_a_killed_run_goes_with_the_next_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", LEFT, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    others = [tmp_path / f".sweep-{os.getpid()}-living", tmp_path / ".stress-1-x", tmp_path / ".sweep-old"]
    for each in others:
        each.mkdir()
    with scratch(tmp_path, "sweep") as made:
        assert sorted(tmp_path.iterdir()) == sorted([made, *others])
    assert not left.exists()
    assert not made.exists()
