"""External holdings: what the account holds that finagent did not open; never sold, never counted, not traded."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalHolding:
    """Shares of a symbol that are not ours, signed, in 1e-4; ``acknowledged_e4`` is what a person has seen of them."""

    symbol: str
    quantity_e4: int
    acknowledged_e4: int = 0

    @property
    def is_acknowledged(self) -> bool:
        """Whether a person has seen this holding at least as large, on this side."""
        is_same_side = self.quantity_e4 * self.acknowledged_e4 > 0
        return is_same_side and abs(self.quantity_e4) <= abs(self.acknowledged_e4)


def attribute(ours_e4: int, external_e4: int, theirs_e4: int) -> tuple[int, int]:
    """Whose the broker's shares of a symbol are: (ours, external), signed, together exactly the broker's.

    A change is a person's, and comes out of what is theirs first; ours is never more than the broker holds on our
    side, so that no exit can sell what is not there.
    """
    if ours_e4 + external_e4 == theirs_e4:
        return ours_e4, external_e4
    sign = (ours_e4 > 0) - (ours_e4 < 0)
    left_e4 = sign * min(abs(ours_e4), max(0, sign * theirs_e4))
    return left_e4, theirs_e4 - left_e4


def unseen(holdings: Iterable[ExternalHolding]) -> tuple[ExternalHolding, ...]:
    """Holdings that wait for acknowledgement and block entries until then, by symbol."""
    waiting = (each for each in holdings if not each.is_acknowledged)
    return tuple(sorted(waiting, key=lambda each: each.symbol))
