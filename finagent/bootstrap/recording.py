"""Steps recorded under the name of the program that decides."""

from typing import TypeVar

from finagent.adapters.record.recorder import recorded
from finagent.bootstrap.identity import code_identity

S = TypeVar("S")


def in_journal(service: S) -> S:
    """The service with its steps recorded: what each one decides, and all it decided with."""
    return recorded(service, code=code_identity())
