"""Counts of attempts and their times; looks a metric up by its labels once, not once per job."""

from collections.abc import Sequence

from finagent.runtime.buckets import BucketCounts
from finagent.runtime.metrics import Metrics


class JobTally:
    """What became of jobs, told to the metrics; without metrics it forgets."""

    def __init__(self, metrics: Metrics | None) -> None:
        self._metrics = metrics
        self._latency: dict[str, BucketCounts] = {}
        self._stage: dict[str, BucketCounts] = {}

    def ran(self, job_type: str, milliseconds: int) -> None:
        """A handler ran so long, however it ended."""
        if self._metrics is not None:
            child = self._stage.get(job_type)
            if child is None:
                child = self._stage[job_type] = self._metrics.stage_duration_seconds.of(job_type)
            child.observe(milliseconds / 1000)

    def done(self, job_type: str, milliseconds: Sequence[int]) -> None:
        """Jobs were completed, each so long after it was claimed."""
        if self._metrics is not None:
            self._metrics.job_attempts_total.add((job_type, "done"), len(milliseconds))
            observe = self._of(self._metrics, job_type).observe
            for one in milliseconds:
                observe(one / 1000)

    def failed(self, job_type: str, outcome: str, milliseconds: int) -> None:
        """An attempt ended in any other way."""
        if self._metrics is not None:
            self._metrics.job_attempts_total.add((job_type, outcome))
            self._of(self._metrics, job_type).observe(milliseconds / 1000)

    def _of(self, metrics: Metrics, job_type: str) -> BucketCounts:
        child = self._latency.get(job_type)
        if child is None:
            child = self._latency[job_type] = metrics.job_latency_seconds.of(job_type)
        return child
