"""The launcher and the integration command are sound shell and name what exists."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("launch_dev.sh", ".ci/run")


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_strict_and_executable(name: str) -> None:
    """bash parses it, it stops at the first error, and git keeps it executable."""
    path = ROOT / name
    assert os.access(path, os.X_OK)
    assert "set -euo pipefail" in path.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_wrong_python_is_a_one_line_error(tmp_path: Path) -> None:
    """An interpreter that does not suit is named with the mend, and nothing is set up."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    shutil.copy(ROOT / "launch_dev.sh", folder)
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    done = subprocess.run(
        [str(folder / "launch_dev.sh")],
        cwd=tmp_path,
        env={**os.environ, "FINAGENT_PYTHON": "/nonexistent/python"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "FINAGENT_PYTHON=/nonexistent/python" in done.stderr
    assert not (folder / ".venv").exists()


def test_integration_runs_the_same_command_on_every_python() -> None:
    """The workflow calls .ci/run on 3.11 to 3.13, and .ci/run calls ./launch_dev.sh test."""
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    assert re.search(
        r"^exec \./launch_dev\.sh test", (ROOT / ".ci/run").read_text(encoding="utf-8"), re.MULTILINE
    )
