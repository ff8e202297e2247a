"""The days a drill plays: made-up sessions cut into scenes, and settings under which many orders leave."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

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
FIRST_RUNG, SETTLED = "15:50", "16:02"
"""By when an agent must be up to leave everything in time; and when what it left has been told."""
FASTEST = 60
"""So many times real time is what an agent stands."""
LEAST_START_MS, MOST_START_MS = 120_000, 600_000
"""Of the agent's time, what a start may cost where nobody kills: always, and at most."""
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


@dataclass(frozen=True, slots=True)
class Calm:
    """A life that nobody ends: its clock stands at ``at_ms``, runs ``pace`` times as fast as real time."""

    at_ms: int
    until_ms: int
    pace: int


def pace_of(start_ms: float, start_s: float) -> int:
    """So fast that a start, which takes ``start_s`` of real time here, costs about ``start_ms`` of the agent's."""
    return max(1, min(FASTEST, int(start_ms / 1000 / start_s)))


def calm_lives(scene: Scene, now_ms: int, start_s: float) -> list[Calm]:
    """How the rest of a scene is played in peace: quickly, yet with an agent that is up when it has to act.

    Of a scene that has not begun the agent is up at its first instant: time between scenes is no loss. The end of a
    session is cut where everything is closed, for what comes after it is quiet.
    """
    fastest = pace_of(MOST_START_MS, start_s)
    early_ms = scene.at_ms - round(1500 * start_s * fastest)
    if now_ms <= early_ms:
        return [Calm(early_ms, scene.end_ms, fastest)]
    rung_ms, settled_ms = (local_ms(scene.session, at, ZONE) for at in (FIRST_RUNG, SETTLED))
    begin_ms, lives = now_ms, list[Calm]()
    if scene.start == CLOSE[0] and now_ms < settled_ms:
        lives.append(Calm(now_ms, settled_ms, _bounded_pace((rung_ms - now_ms) / 2, start_s)))
        begin_ms = settled_ms
    lives.append(Calm(begin_ms, scene.end_ms, _bounded_pace((scene.end_ms - begin_ms) / 4, start_s)))
    return lives


def _bounded_pace(start_ms: float, start_s: float) -> int:
    return pace_of(min(MOST_START_MS, max(LEAST_START_MS, start_ms)), start_s)


def local_time(at_ms: int) -> str:
    """``HH:MM`` at the exchange."""
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(ZONE)).strftime("%H:%M")


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
        "planning": {
            "time_stop_minutes": 4, "time_stop_min_r": 10, "stop_pct": 2, "target_r": 0.5,
            "trail_after_r": 0.05, "trail_atr": 0.1,
        },
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
