"""Filters of jobs as they are typed."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.queue.job import JobStatus
from finagent.queue.query import QueryError, checked_statuses, instant_ms

NOW_MS = 1_600_000_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0s", NOW_MS),
        ("250ms", NOW_MS - 250),
        ("30m", NOW_MS - 1_800_000),
        ("2h", NOW_MS - 7_200_000),
        ("3d", NOW_MS - 3 * 86_400_000),
        ("1w", NOW_MS - 7 * 86_400_000),
        (" 2h ", NOW_MS - 7_200_000),
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01Z", 1_000),
        ("1970-01-01T01:00:00.5+01:00", 500),
    ],
)
def test_span_counts_back_from_now_and_an_instant_is_itself(text: str, expected: int) -> None:
    assert instant_ms(text, now_ms=NOW_MS) == expected


@pytest.mark.parametrize(
    "text", ["", "h", "-2h", "2 h", "2y", "yesterday", "2018-13-01", "1e3s", "9" * 12 + "s"]
)
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(QueryError) as caught:
        instant_ms(text, now_ms=NOW_MS)
    assert repr(text) in caught.value.message
    assert "2h" in caught.value.hint


@given(st.text(max_size=30))
def test_no_text_is_more_than_refused(text: str) -> None:
    with contextlib.suppress(QueryError):
        assert isinstance(instant_ms(text, now_ms=NOW_MS), int)


def test_unknown_status_names_all_that_there_are() -> None:
    assert checked_statuses(["dead", "done"]) == (JobStatus.DEAD, JobStatus.DONE)
    with pytest.raises(QueryError, match="never 'lost'") as caught:
        checked_statuses(["dead", "lost"])
    assert all(status in caught.value.hint for status in JobStatus)
