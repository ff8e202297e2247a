"""The binding of a database to the one account at the broker whose orders it holds."""

from dataclasses import dataclass


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


def _named(account: AccountBinding) -> str:
    return f"{account.endpoint} account {account.account_id} at {account.broker}"
