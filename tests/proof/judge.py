"""A zygote of judges: each runs chosen tests in a process of its own, with one bug planted, and ends as pytest does."""

import os

import anyio.pytest_plugin  # noqa: F401  imported once here, not by every judge
import hypothesis.stateful  # noqa: F401
import pytest
import pytest_asyncio.plugin  # noqa: F401

from tests.proof import planted
from tests.proof.queue import zygote

QUICK = {"FINAGENT_FULL": "", "FINAGENT_MODEL_EXAMPLES": "4", "FINAGENT_PATIENCE_S": "1"}
OPTIONS = (
    "-q", "-x", "--no-header", "--tb=line", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov",
    "--assert=plain", "--hypothesis-seed=1", "-k", "not threaded",
)  # fmt: skip


def judge(arguments: zygote.Arguments) -> int:
    """The exit code of pytest; what it said stands in the file `told`."""
    told = os.open(arguments["told"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(told, 1)
    os.dup2(told, 2)
    os.environ[planted.VARIABLE] = arguments["mutant"]
    return int(pytest.main([*OPTIONS, *arguments["tests"].split()], plugins=[planted]))


if __name__ == "__main__":
    for name in [each for each in os.environ if each.startswith(("PYTEST", "COV"))]:
        del os.environ[name]
    os.environ.update(QUICK)
    zygote.main({"judge": judge})
