"""Limits of the day: the two tiers of the day's loss, the breakers, and how much of each limit is used."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import compress
from typing import Protocol

from finagent.domain.account import AccountState, capital_of, share_of
from finagent.domain.money import RATIO_SCALE
from finagent.domain.risk_profile import RiskProfile

BREAKERS = ("orders_out", "rejected_orders", "losses_in_a_row")
MOST_ORDERS_OUT = 0
"""Orders out equal intents in: not one order may be sent that nobody committed."""


class DayFigures(Protocol):
    """What the limits of the day look at beside its profit and loss: an account has it, and so has a book."""

    @property
    def day_start_equity_e8(self) -> int:
        """Equity before the session's first trade, in 1e-8."""

    @property
    def rejected_in_a_row(self) -> int:
        """Entries refused since one was taken."""

    @property
    def losses_in_a_row(self) -> int:
        """Trades lost since one was not."""

    @property
    def orders_out(self) -> int:
        """Orders stopped at the broker's door."""


class Reopens(StrEnum):
    """What makes entries possible again once a limit is reached."""

    PERSON = "rearm"
    SESSION = "next session"
    ROOM = "a position or reservation that ends"
    MINUTE = "a minute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit that counts over the day: how much of it is used, in 1e-8 for money, else a count."""

    name: str
    used: int
    limit: int
    is_money: bool
    reopens: Reopens

    @property
    def left(self) -> int:
        """What is not used; never negative."""
        return max(0, self.limit - self.used)

    @property
    def used_e6(self) -> int:
        """The part that is used in 1e-6; a limit of nothing is all used by anything."""
        if self.limit > 0:
            return self.used * RATIO_SCALE // self.limit
        return RATIO_SCALE if self.used > 0 else 0


def loss_limit_e8(account: DayFigures, *, share_e6: int | None, amount_e8: int | None) -> int | None:
    """A daily loss limit as an amount: the smaller of the share of day-start equity and the fixed one; None
    is off.
    """
    limits = [] if amount_e8 is None else [amount_e8]
    if share_e6 is not None:
        limits.append(max(0, account.day_start_equity_e8) * share_e6 // RATIO_SCALE)
    return min(limits) if limits else None


def loss_tier(account: AccountState, profile: RiskProfile) -> str | None:
    """``flatten`` or ``pause`` once the day's loss, open profit and loss included, reaches that limit; else
    None.
    """
    return tier_of(-account.day_pnl_e8, account, profile)


def tier_of(loss_e8: int, account: DayFigures, profile: RiskProfile) -> str | None:
    """The tier that a loss of the day has reached."""
    if loss_e8 <= 0:
        return None
    for tier, limit_e8 in (
        ("flatten", flatten_limit_e8(account, profile)),
        ("pause", pause_limit_e8(account, profile)),
    ):
        if limit_e8 is not None and loss_e8 >= limit_e8:
            return tier
    return None


def breakers(account: DayFigures, profile: RiskProfile) -> tuple[str, ...]:
    """The breakers that stand open: what went wrong so often in a row that a person must look first."""
    most_rejected, most_lost = profile.max_rejected_in_a_row, profile.max_losses_in_a_row
    is_open = (
        account.orders_out > MOST_ORDERS_OUT,
        most_rejected is not None and account.rejected_in_a_row >= most_rejected,
        most_lost is not None and account.losses_in_a_row >= most_lost,
    )
    return tuple(compress(BREAKERS, is_open))


def limits(account: AccountState, profile: RiskProfile) -> tuple[Limit, ...]:
    """Every limit that is on, by name in order. Of the sectors the fullest counts."""
    loss_e8 = max(0, -account.day_pnl_e8)
    at_risk_e8 = max(0, -account.realised_pnl_e8) + account.open_worst_case_e8
    capital_e8, flatten_e8 = capital_of(account, profile), flatten_limit_e8(account, profile)
    sector_e8 = max((exposure_e8 for _, exposure_e8 in account.sector_exposure_e8), default=0)
    room, session, person = Reopens.ROOM, Reopens.SESSION, Reopens.PERSON
    money: tuple[tuple[str, int, int | None, Reopens], ...] = (
        ("daily_loss_flatten", loss_e8, flatten_e8, person),
        ("daily_loss_pause", loss_e8, pause_limit_e8(account, profile), session),
        ("daily_worst_case", at_risk_e8, flatten_e8, room),
        ("exposure", account.exposure_e8, share_of(capital_e8, profile.max_exposure_e6), room),
        ("sector", sector_e8, share_of(capital_e8, profile.max_sector_e6), room),
    )
    counts: tuple[tuple[str, int, int | None, Reopens], ...] = (
        ("losses_in_a_row", account.losses_in_a_row, profile.max_losses_in_a_row, person),
        ("open_positions", account.open_positions, profile.max_open_positions, room),
        ("orders_out", account.orders_out, MOST_ORDERS_OUT + 1, person),
        ("orders_per_minute", account.orders_last_minute, profile.max_orders_per_minute, Reopens.MINUTE),
        ("rejected_orders", account.rejected_in_a_row, profile.max_rejected_in_a_row, person),
        ("trades_per_day", account.trades_today, profile.max_trades_per_day, session),
    )
    found = [
        Limit(name=name, used=used, limit=limit, is_money=is_money, reopens=reopens)
        for is_money, group in ((True, money), (False, counts))
        for name, used, limit, reopens in group
        if limit is not None
    ]
    return tuple(sorted(found, key=lambda each: each.name))


def limits_used(account: AccountState, profile: RiskProfile) -> Mapping[str, int]:
    """How much of each limit is used, in 1e-6 (1_000_000 is all of it), by name in order; limits that are off
    miss.
    """
    return {each.name: each.used_e6 for each in limits(account, profile)}


def flatten_limit_e8(account: DayFigures, profile: RiskProfile) -> int | None:
    """The day's loss that closes everything, in 1e-8; None when that is off."""
    return loss_limit_e8(account, share_e6=profile.flatten_loss_e6, amount_e8=profile.flatten_loss_e8)


def pause_limit_e8(account: DayFigures, profile: RiskProfile) -> int | None:
    """The day's loss that stops entries, in 1e-8; None when that is off."""
    return loss_limit_e8(account, share_e6=profile.pause_loss_e6, amount_e8=profile.pause_loss_e8)
