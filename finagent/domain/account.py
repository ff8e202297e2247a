"""The account as risk sees it at one instant: what is open, reserved, lost and switched off."""

from dataclasses import dataclass

from finagent.domain.money import RATIO_SCALE
from finagent.domain.risk_profile import RiskProfile
from finagent.domain.rows import maker, quick, replace


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """The account as risk sees it at one instant, money in 1e-8; counts include reservations."""

    equity_e8: int
    day_start_equity_e8: int
    cash_e8: int
    buying_power_e8: int
    realised_pnl_e8: int = 0
    open_pnl_e8: int = 0
    open_worst_case_e8: int = 0
    """Sum over open positions and reservations of what they lose at stop + 0.5 R, as a positive amount."""
    exposure_e8: int = 0
    """Notional of open positions and of reservations."""
    sector_exposure_e8: tuple[tuple[str, int], ...] = ()
    """The same by sector, where the sector is known."""
    open_positions: int = 0
    trades_today: int = 0
    symbols_today: tuple[str, ...] = ()
    orders_last_minute: int = 0
    rejected_in_a_row: int = 0
    """Entries of the session that the broker refused since it last took one, or since a person rearmed."""
    losses_in_a_row: int = 0
    """Trades of the session lost since the last that was not, or since a person rearmed."""
    orders_out: int = 0
    """Orders that were stopped at the broker's door because nobody had committed them, since a person rearmed."""
    is_paused: bool = False
    is_killed: bool = False
    locked_symbols: tuple[str, ...] = ()
    blocked_symbols: tuple[str, ...] = ()
    excluded_symbols: tuple[str, ...] = ()
    """Symbols that the settings exclude from trading."""
    is_no_trade_time: bool = False
    """A no-trade day or window, as its file says now."""
    entry_gate_reason: str | None = None
    """Why no entry is possible at all (reconcile open, loss limit, rearm needed); None when the gate is open.
    """
    pause_reason: str | None = None

    @property
    def day_pnl_e8(self) -> int:
        """Profit and loss of the day including open positions."""
        return self.equity_e8 - self.day_start_equity_e8

    def in_sector_e8(self, sector: str) -> int:
        """Exposure in one sector, in 1e-8."""
        return dict(self.sector_exposure_e8).get(sector, 0)

    def with_sector(self, sector: str | None, more_e8: int) -> "AccountState":
        """The account with more (or less) exposure in a sector; unchanged for one that is not known."""
        if sector is None:
            return self
        exposures = dict(self.sector_exposure_e8)
        exposures[sector] = exposures.get(sector, 0) + more_e8
        return replace(self, sector_exposure_e8=tuple(sorted(e for e in exposures.items() if e[1])))


new_account = maker(AccountState)


def capital_of(account: AccountState, profile: RiskProfile) -> int:
    """Day-start equity, at most the bankroll and never below 0."""
    equity_e8 = max(0, account.day_start_equity_e8)
    return equity_e8 if profile.bankroll_e8 is None else min(equity_e8, profile.bankroll_e8)


def share_of(money_e8: int, share_e6: int | None) -> int | None:
    """A share in 1e-6 of an amount in 1e-8, rounded down; None where the limit is off."""
    return None if share_e6 is None else money_e8 * share_e6 // RATIO_SCALE
