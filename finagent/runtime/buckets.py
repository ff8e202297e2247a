"""A histogram and a counter that cost a hot path a quarter of the client library's; the library writes them."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

INFINITE = "+Inf"


class BucketCounts:
    """Observations of one label value; for one thread."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value in the first bucket whose bound is not below it."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class BucketHistogram(Collector):
    """A histogram with one label, scraped as any other."""

    def __init__(
        self, name: str, text: str, bounds: tuple[float, ...], label: str, *, registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._text = text
        self._bounds = bounds
        self._labelnames = (label,)
        self._children: dict[str, BucketCounts] = {}
        registry.register(self)

    def of(self, label: str) -> BucketCounts:
        """The counts of one label value."""
        child = self._children.get(label)
        if child is None:
            child = self._children[label] = BucketCounts(self._bounds)
        return child

    @property
    def children(self) -> Mapping[str, BucketCounts]:
        return self._children

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """Its name, so that nobody registers it twice."""
        return [HistogramMetricFamily(self._name, self._text, labels=self._labelnames)]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """What a scrape gets: cumulative counts per bucket, and the sum."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labelnames)
        for label, child in list(self._children.items()):
            cumulative, buckets = 0, []
            for bound, count in zip([*map(str, self._bounds), INFINITE], list(child.counts), strict=True):
                cumulative += count
                buckets.append((bound, cumulative))
            family.add_metric([label], buckets, child.total)
        return [family]


class LabelCounter(Collector):
    """A counter with labels, scraped as any other; for one thread."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...], *, registry: CollectorRegistry) -> None:
        self._name = name.removesuffix("_total")
        self._text = text
        self._labelnames = labels
        self._counts: dict[tuple[str, ...], int] = {}
        registry.register(self)

    def add(self, labels: tuple[str, ...], count: int = 1) -> None:
        """Count so many more of these label values."""
        self._counts[labels] = self._counts.get(labels, 0) + count

    def describe(self) -> Iterable[CounterMetricFamily]:
        """Its name, so that nobody registers it twice."""
        return [CounterMetricFamily(self._name, self._text, labels=self._labelnames)]

    def collect(self) -> Iterable[CounterMetricFamily]:
        """What a scrape gets."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labelnames)
        for labels, count in list(self._counts.items()):
            family.add_metric(labels, count)
        return [family]
