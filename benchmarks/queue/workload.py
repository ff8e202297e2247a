"""The one workload all contestants run: the same job, counted the same way."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from finagent.queue.job import JsonValue

PAYLOAD: dict[str, JsonValue] = {
    "symbol": "AAPL",
    "strategy": "momo_v3",
    "ts": "2026-01-02T09:31:00.000Z",
    "side": "buy",
    "qty": 100,
    "score": 0.8731,
    "px": 189.23,
    "features": [0.1 for _ in range(12)],
    "cid": "a" * 32,
}
"""About 300 bytes of JSON, like a plan."""

TEXT = json.dumps(PAYLOAD, separators=(",", ":"), sort_keys=True)


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: jobs per second, and milliseconds by name where the contestant knows them."""

    per_s: float
    ms: dict[str, float]

    def line(self) -> str:
        """What a child process prints last."""
        return json.dumps({"per_s": self.per_s, "ms": self.ms})


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def spread_ms(name: str, seconds: Sequence[float]) -> dict[str, float]:
    """p50 and p99 in milliseconds."""
    return {f"{name}_p{share}": 1000 * percentile(seconds, share / 100) for share in (50, 99)}


def stopwatch() -> float:
    """Seconds of a clock that only measures distances."""
    return time.perf_counter()
