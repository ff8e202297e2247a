"""Each kind of error has one reaction."""

import pytest

from finagent.queue.errors import GuardFailedError, LeaseLostError, PayloadError, QueueClosedError
from finagent.queue.handler import MAX_ERROR_CHARS, react
from finagent.runtime.errors import CancelJobError, GiveUpError, HaltError, RetryError, ReturnJobError


@pytest.mark.parametrize(
    ("error", "outcome", "label"),
    [
        (RetryError("later", 3.0), "retry", "retry"),
        (ReturnJobError("interrupted"), "return", "return"),
        (GiveUpError("never"), "dead", "dead"),
        (CancelJobError("by hand"), "cancelled", "cancelled"),
        (PayloadError("no JSON"), "dead", "dead"),
        (GuardFailedError("account"), "dead", "dead"),
        (HaltError("broken"), "return", "halt"),
        (LeaseLostError(7), None, "lost"),
        (QueueClosedError(), None, "closed"),
        (KeyError("x"), "retry", "retry"),
    ],
)
def test_reaction(error: Exception, outcome: str | None, label: str) -> None:
    reaction = react(error)
    assert (reaction.outcome, reaction.label) == (outcome, label)
    assert reaction.halts == isinstance(error, HaltError)
    assert reaction.is_surprise == isinstance(error, KeyError)
    assert reaction.retry_after_s == (3.0 if outcome == "retry" and not reaction.is_surprise else None)


def test_long_texts_are_cut() -> None:
    assert len(react(GiveUpError("x" * 10_000)).text) == MAX_ERROR_CHARS
