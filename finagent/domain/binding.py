"""The binding of a database to the one account at the broker whose orders it holds."""

from dataclasses import dataclass

LIVE, PAPER = "live", "paper"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountBinding:
    """An account at a broker: its own name there, and whether it trades real money (``live``) or not (``paper``)."""

    broker: str
    account_id: str
    endpoint: str


def binding_fault(bound: AccountBinding | None, found: AccountBinding) -> str | None:
    """Why a database may not trade an account: it belongs to another one; None when it does not.

    A database that is bound to none fits every account: whoever asks binds it then.
    """
    if bound is None or bound == found:
        return None
    return f"this database belongs to {_named(bound)}, the broker answers for {_named(found)}"


def live_fault(found: AccountBinding, allowed: str | None) -> str | None:
    """Why real money may not be traded: nobody has allowed it for this account; None when it may, or none is traded.

    ``allowed`` is the account that a person has allowed on this machine. The setting alone is not enough.
    """
    if found.endpoint != LIVE or allowed == found.account_id:
        return None
    if allowed is None:
        return f"live trading is set and nobody has allowed it for account {found.account_id}"
    return f"live trading is allowed for account {allowed}, the broker answers for {found.account_id}"


def _named(account: AccountBinding) -> str:
    return f"{account.endpoint} account {account.account_id} at {account.broker}"
