"""What two ways to play the same sessions are compared on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """Sessions and settings that both run on, and the fewest trades that make the comparison one."""

    name: str
    sessions: tuple[str, str]
    environment: dict[str, str]
    least_trades: int
