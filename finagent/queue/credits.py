"""How many more jobs a consumer can take: credits per type, and a total shared by all types."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Credits:
    """What is free now. A type that is not named takes nothing, not even in the place of one that ends.

    `shared` is what is left of the total (None: there is none); a type's `reserves` are used before it, so
    `used` says how many of the type are in flight.
    """

    free: dict[str, int]
    shared: int | None = None
    reserves: Mapping[str, int] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)

    def copy(self) -> "Credits":
        return Credits(dict(self.free), self.shared, self.reserves, dict(self.used))

    def room(self, job_type: str) -> int:
        """How many more jobs of this type can be taken now."""
        free = self.free.get(job_type, 0)
        if self.shared is None:
            return free
        reserved = max(0, self.reserves.get(job_type, 0) - self.used.get(job_type, 0))
        return min(free, reserved + max(0, self.shared))

    def take(self, job_type: str, count: int) -> None:
        """So many are in flight from now on; a negative count gives them back."""
        if job_type in self.free:
            self.free[job_type] -= count
        if self.shared is not None:
            before, reserve = self.used.get(job_type, 0), self.reserves.get(job_type, 0)
            self.used[job_type] = before + count
            self.shared -= max(0, before + count - reserve) - max(0, before - reserve)

    def has_room(self) -> bool:
        """Whether any type can take a job."""
        return any(self.room(job_type) > 0 for job_type in self.free)
