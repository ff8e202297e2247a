"""The days a drill plays: made-up sessions cut into scenes, and settings under which many orders leave."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from finagent.context import Json
from finagent.services.schedule import local_ms

SESSIONS = (
    *("2026-11-03", "2026-11-04", "2026-11-05", "2026-11-06", "2026-11-09", "2026-11-10", "2026-11-11"),
    *("2026-11-12", "2026-11-13", "2026-11-16", "2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20"),
    *("2026-11-23", "2026-11-24", "2026-11-25", "2026-11-30", "2026-12-01", "2026-12-02", "2026-12-03"),
    *("2026-12-04", "2026-12-07", "2026-12-08", "2026-12-09", "2026-12-10", "2026-12-11", "2026-12-14"),
)
MORNING = ("09:27", 36)
CLOSE = ("15:43", 37)
ACCOUNT = "drill"
SYMBOLS = 300
ZONE = "America/New_York"


@dataclass(frozen=True, slots=True)
class Scene:
    """A stretch of a session's local time that the agent lives through."""

    session: str
    start: str
    minutes: int

    @property
    def at_ms(self) -> int:
        """Its first instant."""
        return local_ms(self.session, self.start, ZONE)

    @property
    def end_ms(self) -> int:
        """Its last instant."""
        return self.at_ms + self.minutes * 60_000


def scenes() -> Iterator[Scene]:
    """A morning in which much is entered and closed, then the close with its ladder; session after session."""
    for session in SESSIONS:
        yield Scene(session, *MORNING)
        yield Scene(session, *CLOSE)


def drill_settings(*, broker_url: str, seed: int) -> dict[str, Json]:
    """Wide filters, small sizes, short holding times: as many orders as the limits let through."""
    scans: list[Json] = [
        {"name": f"scan-{minute}", "at": f"09:{minute}", "kind": "plan"} for minute in range(31, 60, 4)
    ]
    return {
        "account": {"name": ACCOUNT, "start_equity": 1_000_000, "mode": "approve"},
        "scan": {
            "min_gap_pct": 0.3, "min_price": 1, "max_price": 900, "min_adv_usd": 0, "min_premarket_volume": 0,
            "min_rvol": 0, "max_spread_pct": 100, "min_premarket_trades": 0, "max_indication_age_s": 86_400,
            "top": 50,
        },
        "planning": {"time_stop_minutes": 4, "time_stop_min_r": 10, "stop_pct": 2, "target_r": 0.5},
        "risk": {
            "risk_per_trade_pct": 0.02, "max_position_pct": 1, "max_open_positions": 50,
            "max_trades_per_day": 100, "pause_loss_pct": 40, "flatten_loss_pct": 45,
            "max_orders_per_minute": 200,
        },
        "approval": {"ttl_minutes": 20, "max_quote_age_s": 3600},
        "execution": {"entry_ttl_s": 120},
        "schedule": {
            "scans": scans, "entry_windows": [{"start": "09:30", "end": "10:00"}], "min_minutes_to_flatten": 0,
            "misfire_minutes": 10,
        },
        "data": {"vendor": "simulated", "seed": seed, "symbols": SYMBOLS},
        "news": {"enabled": False},
        "broker": {"name": "alpaca", "endpoint": broker_url},
        "api": {"port": 0, "modules": ["health", "reads", "approvals", "control"]},
        "ops": {"log_level": "warning"},
    }  # fmt: skip


def write_settings(home: Path, settings: Mapping[str, Json]) -> Path:
    """The settings file of a drill's home (JSON is YAML)."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "settings.yaml"
    path.write_text(json.dumps(settings, indent=1), encoding="utf-8")
    return path
