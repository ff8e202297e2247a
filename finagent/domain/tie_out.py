"""Tie-out: whether the broker's equity changed by what our fills, fees, cash flows and other holdings explain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finagent.domain.orders import BrokerCashFlow, BrokerFill, BrokerPosition

CENT_E8 = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSnapshot:
    """The account at an instant, money in 1e-8: equity, and what our shares and others' are worth at the broker.

    ``fill_seq`` is the last of our fills that it contains; ``session`` is empty for the account's beginning.
    """

    session: str
    at_ms: int
    fill_seq: int
    equity_e8: int
    own_e8: int = 0
    external_e8: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TieOut:
    """What explains a change of equity, money in 1e-8; fees are positive."""

    baseline: str
    change_e8: int
    pnl_e8: int
    fees_e8: int
    flows_e8: int
    external_change_e8: int
    tolerance_e8: int

    @property
    def difference_e8(self) -> int:
        """The part of the change that is not explained."""
        explained_e8 = self.pnl_e8 - self.fees_e8 + self.flows_e8 + self.external_change_e8
        return self.change_e8 - explained_e8

    @property
    def is_tied(self) -> bool:
        """Whether everything is explained."""
        return abs(self.difference_e8) <= self.tolerance_e8


def snapshot(
    session: str,
    at_ms: int,
    *,
    equity_e8: int,
    positions: Sequence[BrokerPosition],
    ours_e4: Mapping[str, int],
    fill_seq: int,
) -> AccountSnapshot | None:
    """The account now; None where the broker does not say what it values a position at.

    ``ours_e4`` are our signed shares by symbol; the rest of each position is not ours.
    """
    own_e8 = external_e8 = 0
    for each in positions:
        if each.mark_e4 is None:
            return None
        ours = ours_e4.get(each.symbol, 0)
        own_e8 += ours * each.mark_e4
        external_e8 += (each.quantity_e4 - ours) * each.mark_e4
    return AccountSnapshot(
        session=session,
        at_ms=at_ms,
        fill_seq=fill_seq,
        equity_e8=equity_e8,
        own_e8=own_e8,
        external_e8=external_e8,
    )


def tie_out(
    before: AccountSnapshot,
    now: AccountSnapshot,
    *,
    own: Sequence[BrokerFill],
    foreign: Sequence[BrokerFill],
    flows: Sequence[BrokerCashFlow],
    cent_per_fill: bool,
) -> TieOut:
    """The change between two snapshots with its parts: our fills, others' executions and cash flows in between.

    ``cent_per_fill`` allows for a broker that books each execution in whole cents; else not one unit may be missing.
    """
    executions = len(own) + len(foreign)
    return TieOut(
        baseline=before.session,
        change_e8=now.equity_e8 - before.equity_e8,
        pnl_e8=_cash_e8(own) + now.own_e8 - before.own_e8,
        fees_e8=sum(fill.fees_e8 for fill in (*own, *foreign)),
        flows_e8=sum(flow.amount_e8 for flow in flows),
        external_change_e8=_cash_e8(foreign) + now.external_e8 - before.external_e8,
        tolerance_e8=CENT_E8 * executions if cent_per_fill else 0,
    )


def _cash_e8(fills: Sequence[BrokerFill]) -> int:
    return sum(-fill.side.sign * fill.quantity_e4 * fill.price_e4 for fill in fills)
