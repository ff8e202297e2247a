"""Settings: settings.yaml key by key, FINAGENT__SECTION__KEY wins, unknown keys are refused with the nearest known."""

import difflib
import json
import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "FINAGENT__"
DEFAULT_FILE = "settings.yaml"

Percent = Annotated[Decimal, Field(ge=0, le=100, max_digits=12)]
Ratio = Annotated[Decimal, Field(ge=0, le=1, max_digits=9)]
Money = Annotated[Decimal, Field(ge=0, max_digits=18)]
Price = Annotated[Decimal, Field(gt=0, max_digits=12)]
Factor = Annotated[Decimal, Field(gt=0, max_digits=9)]
TimeOfDay = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class SettingsError(Exception):
    """A setting is wrong: what, where, the value seen, and the mend."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Account(_Section):
    """The account finagent trades."""

    currency: Literal["USD"] = "USD"
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = "paper"
    start_equity: Money = Decimal("100000")
    mode: Literal["alert", "approve", "auto"] = "approve"


class Universe(_Section):
    """Which symbols are looked at."""

    exclude: tuple[str, ...] = ()
    fractional: bool = False


class Scan(_Section):
    """The gap scan's filters."""

    min_gap_pct: Annotated[Decimal, Field(gt=0, le=100)] = Decimal("4.0")
    style: Literal["gap_and_go", "fade"] = "gap_and_go"
    min_price: Price = Decimal("2")
    max_price: Price = Decimal("300")
    min_adv_usd: Annotated[int, Field(ge=0)] = 5_000_000
    min_premarket_volume: Annotated[int, Field(ge=0)] = 100_000
    min_rvol: Annotated[Decimal, Field(ge=0, le=1000)] = Decimal("2")
    max_spread_pct: Percent = Decimal("0.3")
    min_premarket_trades: Annotated[int, Field(ge=0)] = 5
    max_indication_age_s: Annotated[int, Field(ge=1, le=86_400)] = 300
    unknown_value: Literal["keep", "drop"] = "keep"
    top: Annotated[int, Field(ge=1, le=50)] = 5


class Scoring(_Section):
    """Weights of the score; they sum to 1."""

    volatility: Ratio = Decimal("0.40")
    catalyst: Ratio = Decimal("0.30")
    liquidity: Ratio = Decimal("0.20")
    sentiment: Ratio = Decimal("0.10")

    @model_validator(mode="after")
    def _sum_to_one(self) -> "Scoring":
        total = self.volatility + self.catalyst + self.liquidity + self.sentiment
        if total != 1:
            raise ValueError(f"the weights sum to {total}, they must sum to 1: change one of them")
        return self


class Planning(_Section):
    """Entry, stop, target and management of a plan."""

    preset: Literal["classic", "structure"] = "classic"
    classic_entry: Literal["next_open", "opening_range_break"] = "next_open"
    opening_range_minutes: Literal[1, 5, 15, 30] = 5
    structure_setup: Literal[
        "premarket_break", "first_pullback", "vwap_pullback", "vwap_reclaim", "gap_fill_fade"
    ] = "premarket_break"
    stop_pct: Annotated[Decimal, Field(gt=0, le=50)] = Decimal("3")
    stop_atr: Factor = Decimal("2")
    target_r: Factor = Decimal("3")
    break_even_after_r: Factor | None = None
    trail_after_r: Factor | None = None
    trail_atr: Factor | None = None
    time_stop_minutes: Annotated[int, Field(ge=1, le=390)] | None = None
    time_stop_min_r: Annotated[Decimal, Field(ge=-10, le=10)] = Decimal("0.5")


class Risk(_Section):
    """Limits of the account; the profile's own values hold where a key is null."""

    profile: Literal["standard", "micro"] = "standard"
    risk_per_trade_pct: Annotated[Decimal, Field(gt=0, le=5)] | None = None
    max_position_pct: Annotated[Decimal, Field(gt=0, le=100)] | None = None
    max_open_positions: Annotated[int, Field(ge=1, le=50)] | None = None
    max_trades_per_day: Annotated[int, Field(ge=1, le=100)] | None = None
    pause_loss_pct: Annotated[Decimal, Field(gt=0, le=50)] | None = None
    flatten_loss_pct: Annotated[Decimal, Field(gt=0, le=50)] | None = None
    max_adv_share_pct: Annotated[Decimal, Field(gt=0, le=10)] | None = None
    max_orders_per_minute: Annotated[int, Field(ge=1, le=200)] | None = None
    allow_shorts: bool = False


class Approval(_Section):
    """How a plan gets its yes."""

    ttl_minutes: Annotated[int, Field(ge=1, le=240)] = 10
    simulated_delay_s: Annotated[int, Field(ge=0, le=3600)] = 0
    max_quote_age_s: Annotated[int, Field(ge=1, le=3600)] = 90


class Execution(_Section):
    """Orders and their costs."""

    entry_ttl_s: Annotated[int, Field(ge=60, le=7200)] = 300
    slippage_bps: Annotated[Decimal, Field(ge=0, le=500)] = Decimal("5")
    participation_pct: Annotated[Decimal, Field(gt=0, le=100)] = Decimal("5")
    close_penalty_bps: Annotated[Decimal, Field(ge=0, le=1000)] = Decimal("50")
    commission_per_share: Annotated[Decimal, Field(ge=0, le=1)] = Decimal("0")
    commission_min: Annotated[Decimal, Field(ge=0, le=100)] = Decimal("0")
    regulatory_fees: bool = True
    ambiguity: Literal["stop_first", "target_first", "path"] = "stop_first"


class ScanLine(_Section):
    """One scheduled scan: a name, when (HH:MM, ``open+1m``, ``close-3h45m`` or a cron line), what it leads to."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
    at: Annotated[str, Field(min_length=1, max_length=64)]
    kind: Literal["watchlist", "plan", "second_look"] = "plan"


class EntryWindow(_Section):
    """A span of exchange time in which entries are allowed."""

    start: TimeOfDay
    end: TimeOfDay


class Schedule(_Section):
    """When things happen, in the exchange's zone."""

    zone: Literal["America/New_York"] = "America/New_York"
    scans: tuple[ScanLine, ...] = (
        ScanLine(name="watchlist", at="09:00", kind="watchlist"),
        ScanLine(name="reprice", at="09:25", kind="plan"),
        ScanLine(name="open", at="09:31", kind="plan"),
        ScanLine(name="second-look", at="12:15", kind="second_look"),
    )
    entry_windows: tuple[EntryWindow, ...] = (
        EntryWindow(start="09:30", end="11:00"),
        EntryWindow(start="12:15", end="14:00"),
    )
    flatten: tuple[str, ...] = ("close-15m", "close-10m", "close-5m", "close-2m")
    day_close: str = "close+2m"
    misfire_minutes: Annotated[int, Field(ge=0, le=120)] = 10
    min_minutes_to_flatten: Annotated[int, Field(ge=0, le=390)] = 60
    no_trade_days: Path | None = None


class Data(_Section):
    """Where prices come from."""

    vendor: Literal["simulated", "replay"] = "simulated"
    seed: Annotated[int, Field(ge=0)] = 7
    symbols: Annotated[int, Field(ge=10, le=2000)] = 200


class News(_Section):
    """Where texts come from."""

    enabled: bool = True
    lookback_days: Annotated[int, Field(ge=1, le=30)] = 4


class Broker(_Section):
    """Where orders go."""

    name: Literal["paper"] = "paper"


class Queue(_Section):
    """The durable queue's machinery."""

    poll_ms: Annotated[int, Field(ge=10, le=60_000)] = 250
    retention_days: Annotated[int, Field(ge=1, le=3650)] = 30


class Backtest(_Section):
    """Assumptions of research runs."""

    open_slippage_bps: Annotated[Decimal, Field(ge=0, le=1000)] = Decimal("20")


class Notify(_Section):
    """Messages to a person."""

    enabled: bool = False


class Api(_Section):
    """The HTTP surface, on this machine only."""

    host: Literal["127.0.0.1", "0.0.0.0"] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    modules: tuple[Literal["health", "metrics", "reads", "approvals", "control", "jobs"], ...] = (
        "health",
        "metrics",
        "reads",
        "approvals",
        "control",
        "jobs",
    )
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost")


class Dashboard(_Section):
    """The page."""

    enabled: bool = False
    port: Annotated[int, Field(ge=0, le=65_535)] = 8501


class Ops(_Section):
    """Running it."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    stop_timeout_s: Annotated[int, Field(ge=1, le=120)] = 8
    demo_speed: Annotated[int, Field(ge=1, le=100_000)] = 900


class Settings(BaseSettings):
    """All sections; built by ``load_settings``."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=PREFIX, env_nested_delimiter="__", case_sensitive=False
    )

    account: Account = Account()
    universe: Universe = Universe()
    scan: Scan = Scan()
    scoring: Scoring = Scoring()
    planning: Planning = Planning()
    risk: Risk = Risk()
    approval: Approval = Approval()
    execution: Execution = Execution()
    schedule: Schedule = Schedule()
    data: Data = Data()
    news: News = News()
    broker: Broker = Broker()
    queue: Queue = Queue()
    backtest: Backtest = Backtest()
    notify: Notify = Notify()
    api: Api = Api()
    dashboard: Dashboard = Dashboard()
    ops: Ops = Ops()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which ``load_settings`` hands in as keywords."""
        return env_settings, init_settings

    def redacted(self) -> dict[str, Any]:
        """All values as JSON data, secrets masked."""
        return _mask(json.loads(self.model_dump_json()))


def load_settings(config: Path | None = None, *, profile: str | None = None) -> Settings:
    """Settings of a file (default ./settings.yaml, which may be absent) under the environment.

    ``profile`` (default ``$FINAGENT_ENV``) picks an entry of the file's ``profiles`` that is laid over it.
    SettingsError names the file, the key, the value seen and the mend.
    """
    path = config if config is not None else Path(DEFAULT_FILE)
    document = _read_file(path, is_required=config is not None)
    profiles = document.pop("profiles", None) or {}
    chosen = profile if profile is not None else os.environ.get("FINAGENT_ENV")
    if not isinstance(profiles, dict):
        raise SettingsError(f"{path}: profiles is no mapping", "write profiles: {dev: {section: {key: value}}}")
    overlay = profiles.get(chosen, {}) if chosen else {}
    merged = {key: {} if value is None else value for key, value in _overlay(document, overlay or {}).items()}
    _check_environment()
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise _explained(error, path) from None


def settings_schema() -> dict[str, Any]:
    """JSON Schema of settings.yaml for editors."""
    schema = Settings.model_json_schema()
    schema["properties"]["profiles"] = {"type": "object", "description": "overlays picked by FINAGENT_ENV"}
    return schema


def _read_file(path: Path, *, is_required: bool) -> dict[str, Any]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if is_required:
            raise SettingsError(f"no settings file {path}", "name an existing file or run finagent init") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {error}", "check its permissions and encoding (UTF-8)") from None
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        detail = " ".join(str(error).split())
        raise SettingsError(f"{path} is no YAML: {detail}", "mend the line named") from None
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise SettingsError(f"{path} is no mapping of sections", "start each section as  name:  at the margin")
    return document


def _overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _overlay(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _check_environment() -> None:
    sections = list(Settings.model_fields)
    for name in sorted(os.environ):
        if not name.upper().startswith(PREFIX):
            continue
        section = name[len(PREFIX) :].split("__")[0].lower()
        if section not in sections:
            raise SettingsError(f"environment variable {name}: no section {section!r}", _nearest(section, sections))


def _explained(error: ValidationError, path: Path) -> SettingsError:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _keys_beside(first["loc"])
        return SettingsError(f"unknown setting {place} (in {path} or the environment)", _nearest(place.split(".")[-1], known))
    seen = first["input"]
    shown = repr(seen) if isinstance(seen, str | int | float | bool | type(None)) else type(seen).__name__
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    reason = first["msg"].removeprefix("Value error, ")
    return SettingsError(f"setting {place} = {shown}: {reason}{more}", f"mend it in {path} or the environment")


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in location[:-1]:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        model = field.annotation
    return list(model.model_fields)


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known) or 'nothing'}"


def _mask(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: "***" if any(s in k for s in ("secret", "token", "password", "api_key")) else _mask(v) for k, v in value.items()}
    return [_mask(item) for item in value] if isinstance(value, list) else value

