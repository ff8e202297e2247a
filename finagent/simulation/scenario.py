"""What a seed decides before anything runs: sessions, market, settings, who approves."""

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

from finagent.domain.market import Session
from finagent.settings import Settings
from finagent.simulation.calendar import SimulatedCalendar, make_calendar
from finagent.simulation.tape import Tape, make_tape

FAULTY_SESSIONS = (1, 1, 2)
"""Sessions with faults; one more follows without any, in which everything has to come to its end."""
SETUPS: tuple[dict[str, Any], ...] = (
    {"preset": "classic", "classic_entry": "next_open"},
    {"preset": "classic", "classic_entry": "next_open"},
    {"preset": "classic", "classic_entry": "opening_range_break", "opening_range_minutes": 1},
    {"preset": "classic", "classic_entry": "opening_range_break", "opening_range_minutes": 5},
    {"preset": "structure", "structure_setup": "premarket_break"},
)
STOPS = ("1", "2", "3")
TARGETS = ("1.5", "3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything of a seed that stands before its first step."""

    seed: int
    calendar: SimulatedCalendar
    sessions: tuple[Session, ...]
    tape: Tape
    settings: Settings
    mode: str
    mixing: float
    has_attached_exits: bool
    feed_wait_s: float
    reconcile_s: float
    look_s: float
    read_hops: float
    """The share of reads at which others get a turn; at each commit they always do."""


def make_scenario(seed: int, rng: random.Random) -> Scenario:
    """The scenario of a seed."""
    traded = rng.choice(FAULTY_SESSIONS) + 1
    calendar = make_calendar(rng, traded=traded)
    sessions = calendar.sessions("", "9")[:traded]
    return Scenario(
        seed=seed,
        calendar=calendar,
        sessions=tuple(sessions),
        tape=make_tape(rng, sessions, symbols=rng.randint(6, 8)),
        settings=settings_of(rng.randrange(len(SETUPS)), rng.choice(STOPS), rng.choice(TARGETS)),
        mode=rng.choice(("policy", "approve")),
        mixing=rng.choice((0.0, 0.3, 1.0)),
        has_attached_exits=rng.random() < 0.3,
        feed_wait_s=rng.choice((10.0, 60.0, 60.0)),
        reconcile_s=rng.choice((30.0, 60.0)),
        look_s=rng.choice((5.0, 15.0, 15.0)),
        read_hops=rng.choice((0.1, 0.3, 1.0)),
    )


@cache
def settings_of(setup: int, stop_pct: str, target_r: str) -> Settings:
    """The defaults with the times of day brought down to sessions of half an hour."""
    sections: dict[str, dict[str, Any]] = {
        "planning": {**SETUPS[setup], "stop_pct": stop_pct, "target_r": target_r, "time_stop_minutes": 8},
        "schedule": {
            "scans": [
                {"name": "reprice", "at": "09:25", "kind": "plan"},
                {"name": "open", "at": "open+1m", "kind": "plan"},
                {"name": "second-look", "at": "open+9m", "kind": "second_look"},
            ],
            "entry_windows": [{"start": "09:30", "end": "10:30"}],
            "flatten": ["close-8m", "close-5m", "close-3m", "close-2m"],
            "misfire_minutes": 3,
            "min_minutes_to_flatten": 3,
        },
        "approval": {"ttl_minutes": 3, "max_quote_age_s": 90},
        "execution": {"entry_ttl_s": 90},
        "queue": {"poll_ms": 30_000},
        "account": {"start_equity": 100_000},
        "news": {"enabled": False},
    }
    return Settings(**sections)  # type: ignore[arg-type]
