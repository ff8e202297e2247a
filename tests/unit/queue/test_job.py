"""Job types, payloads and the back-off."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.queue.errors import JobValueError, PayloadError, UnknownJobTypeError
from finagent.queue.job import MAX_PAYLOAD_BYTES, JobPolicy, JobTypes, NewJob, backoff_s

POLICY = JobPolicy(priority=1, backoff_base_s=1.0, backoff_cap_s=60.0)
TYPES = JobTypes({"scan": POLICY}, payload_versions={"scan": 2})


def test_unknown_type_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(UnknownJobTypeError, match="'scam' is not registered; known are: scan"):
        TYPES.policy("scam")
    with pytest.raises(UnknownJobTypeError):
        JobTypes({}, payload_versions={"scan": 1})


def test_registry_lists_its_types() -> None:
    assert list(TYPES) == ["scan"]
    assert "scan" in TYPES
    assert TYPES.payload_version("scan") == 2


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none() | st.booleans()))
def test_any_json_payload_survives_encoding(payload: dict[str, int | str | bool | None]) -> None:
    assert json.loads(TYPES.encode(NewJob("scan", payload, "a")).payload) == payload


@pytest.mark.parametrize("version", [0, 3])
def test_payload_version_must_be_known(version: int) -> None:
    with pytest.raises(PayloadError, match="this program knows 1 to 2"):
        TYPES.encode(NewJob("scan", {}, "a", payload_version=version))


def test_payload_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    overhead = len('{"a":""}')
    TYPES.encode(NewJob("scan", {"a": "x" * (MAX_PAYLOAD_BYTES - overhead)}, "a"))
    with pytest.raises(PayloadError, match="store the data"):
        TYPES.encode(NewJob("scan", {"a": "x" * (MAX_PAYLOAD_BYTES - overhead + 1)}, "a"))


@given(st.text(), st.integers(1, 500))
def test_back_off_stays_under_its_ceiling_and_is_the_same_each_time(key: str, failure: int) -> None:
    wait_s = backoff_s(POLICY, idem_key=key, failure=failure)
    assert 0 <= wait_s < min(60.0, 2.0 ** (failure - 1))
    assert wait_s == backoff_s(POLICY, idem_key=key, failure=failure)


def test_back_off_uses_the_full_range_below_its_ceiling() -> None:
    waits = [backoff_s(POLICY, idem_key=str(n), failure=7) for n in range(500)]
    assert min(waits) < 3 < 57 < max(waits)
    assert 25 < sum(waits) / len(waits) < 35


def test_failures_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="the first failure is 1"):
        backoff_s(POLICY, idem_key="a", failure=0)


@pytest.mark.parametrize("payload", [None, [1], "text", 5])
def test_payload_that_is_no_object_is_refused(payload: object) -> None:
    with pytest.raises(PayloadError, match="give a dict"):
        TYPES.encode(NewJob("scan", payload, "a"))  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", [0, -1, 17])
def test_batch_beyond_the_credits_is_refused(batch: int) -> None:
    with pytest.raises(ValueError, match="as many as there are credits"):
        JobPolicy(priority=1, credits=16, batch=batch)


def test_job_without_a_name_is_refused() -> None:
    with pytest.raises(JobValueError, match="name the work"):
        TYPES.encode(NewJob("scan", {}, ""))
