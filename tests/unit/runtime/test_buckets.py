"""The histogram of hot paths against the client library's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from finagent.runtime.buckets import BucketHistogram, LabelCounter

BOUNDS = (0.001, 0.5, 1.0, 60.0)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 0.001, 0.0011, 0.5, 1.0, 60.0, 61.0])))
)
def test_scrape_reads_as_one_of_the_library(seen: list[tuple[str, float]]) -> None:
    ours_registry, theirs_registry = CollectorRegistry(), CollectorRegistry()
    ours = BucketHistogram("took_seconds", "Time", BOUNDS, "type", registry=ours_registry)
    theirs = Histogram("took_seconds", "Time", ["type"], registry=theirs_registry, buckets=BOUNDS)
    for label, value in seen:
        ours.of(label).observe(value)
        theirs.labels(type=label).observe(value)
    expected = [
        line for line in generate_latest(theirs_registry).decode().splitlines() if "_created" not in line
    ]
    assert generate_latest(ours_registry).decode().splitlines() == expected


def test_name_cannot_be_taken_twice() -> None:
    registry = CollectorRegistry()
    BucketHistogram("took_seconds", "Time", BOUNDS, "type", registry=registry)
    with pytest.raises(ValueError, match="took_seconds"):
        Histogram("took_seconds", "Time", registry=registry)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(1, 5))))
def test_counter_reads_as_one_of_the_library(seen: list[tuple[str, str, int]]) -> None:
    ours_registry, theirs_registry = CollectorRegistry(), CollectorRegistry()
    ours = LabelCounter("ends_total", "Ends", ("type", "outcome"), registry=ours_registry)
    theirs = Counter("ends_total", "Ends", ["type", "outcome"], registry=theirs_registry)
    for kind, outcome, count in seen:
        ours.add((kind, outcome), count)
        theirs.labels(type=kind, outcome=outcome).inc(count)
    expected = [
        line for line in generate_latest(theirs_registry).decode().splitlines() if "_created" not in line
    ]
    assert generate_latest(ours_registry).decode().splitlines() == expected
