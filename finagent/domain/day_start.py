"""Day start: what of an account at a broker outside is ours to trade with, once per session."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from finagent.domain.external import ExternalHolding
from finagent.domain.journal import JsonData
from finagent.domain.market import Session
from finagent.domain.orders import BrokerCashFlow

BEFORE_OPEN_MS = 2 * 3_600_000
"""From then on the broker's figures are those of the new day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayStart:
    """A session's capital with its parts, money in 1e-8.

    ``base_e8`` is the equity at the close before, or the equity of now where the broker does not say that
    (``is_last_close`` False); then cash flows are in it already, and ``pnl_e8``, our own result of the session so far,
    is taken out again.
    """

    session: str
    at_ms: int
    base_e8: int
    is_last_close: bool
    flows_e8: int
    external_e8: int
    pnl_e8: int

    @property
    def equity_e8(self) -> int:
        """What sizing and limits of the session are shares of; never below 0."""
        return max(0, self.base_e8 + self.flows_e8 - self.external_e8 - self.pnl_e8)


def is_due(session: Session, now_ms: int) -> bool:
    """Whether a session's capital may be taken now: not over night, when the close before is not booked yet."""
    return session.open_ms - BEFORE_OPEN_MS <= now_ms < session.close_ms


def external_value_e8(
    holdings: Iterable[ExternalHolding], marks_e4: Mapping[str, int], *, at_close_e8: int
) -> int | None:
    """What is not ours, in 1e-8: the larger of its value now and at the close before; None where a mark is missing.

    A short holding takes nothing off and gives nothing: the proceeds of its sale are not ours either way.
    """
    total_e8 = 0
    for each in holdings:
        mark_e4 = marks_e4.get(each.symbol)
        if mark_e4 is None:
            return None
        total_e8 += max(0, each.quantity_e4 * mark_e4)
    return max(total_e8, at_close_e8)


def day_start(
    session: str,
    at_ms: int,
    *,
    equity_e8: int,
    last_equity_e8: int | None,
    flows: Sequence[BrokerCashFlow],
    external_e8: int,
    pnl_e8: int,
) -> DayStart:
    """The session's capital: deposits and withdrawals since the close before counted once, external holdings not.

    ``flows`` are those since that close. Of the other kinds (dividends, interest, fees) only what was taken counts.
    """
    is_last_close = last_equity_e8 is not None
    moved_e8 = sum(
        flow.amount_e8 for flow in flows if flow.amount_e8 < 0 or flow.kind in ("deposit", "withdrawal")
    )
    return DayStart(
        session=session,
        at_ms=at_ms,
        base_e8=equity_e8 if last_equity_e8 is None else last_equity_e8,
        is_last_close=is_last_close,
        flows_e8=moved_e8 if is_last_close else 0,
        external_e8=external_e8,
        pnl_e8=0 if is_last_close else pnl_e8,
    )


def day_start_data(found: DayStart) -> dict[str, JsonData]:
    """What the journal keeps of it."""
    return {
        "equity_e8": found.equity_e8,
        "base_e8": found.base_e8,
        "last_close": found.is_last_close,
        "flows_e8": found.flows_e8,
        "external_e8": found.external_e8,
        "pnl_e8": found.pnl_e8,
    }
