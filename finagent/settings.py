"""Settings: settings.yaml key by key, FINAGENT__SECTION__KEY wins, unknown keys are refused with the nearest known."""

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as EnvironmentValueError

from finagent.domain.risk import micro_profile, standard_profile

PREFIX = "FINAGENT__"
DEFAULT_FILE = "settings.yaml"

# decimal_places: what the integers of the domain hold exactly, so that no value is rounded unseen.
Percent = Annotated[Decimal, Field(ge=0, le=100, decimal_places=4)]
PositivePercent = Annotated[Decimal, Field(gt=0, le=100, decimal_places=4)]
BasisPoints = Annotated[Decimal, Field(ge=0, le=1000, decimal_places=2)]
Ratio = Annotated[Decimal, Field(ge=0, le=1, decimal_places=6)]
Money = Annotated[Decimal, Field(ge=0, le=1_000_000_000, decimal_places=4)]
Price = Annotated[Decimal, Field(gt=0, le=1_000_000, decimal_places=4)]
Factor = Annotated[Decimal, Field(gt=0, le=100, decimal_places=6)]

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_RELATIVE = re.compile(r"(open|close)([+-](?=\d)(?:\d{1,2}h)?(?:\d{1,3}m)?)?")
_BEFORE_CLOSE = re.compile(r"close-(?=\d)(?:(\d{1,2})h)?(?:(\d{1,3})m)?")


def _time_of_day(text: str) -> str:
    if _CLOCK.fullmatch(text) is None:
        raise ValueError("write a time as HH:MM, for example 09:31")
    return text


def _when(text: str) -> str:
    """Checked here, at load time: a line that never fires must not be found out in the morning."""
    if _CLOCK.fullmatch(text) or _RELATIVE.fullmatch(text):
        return text
    from finagent.queue.scheduler import CronLine, CronLineError, CronScheduler

    try:
        CronScheduler([CronLine(name="line", when=text)])
    except CronLineError:
        raise ValueError(
            "write HH:MM (09:31), a time like open+1m or close-3h45m, or five cron fields (31 9 * * 1-5)"
        ) from None
    return text


def _symbol(text: str) -> str:
    if re.fullmatch(r"[A-Z][A-Z0-9./-]{0,15}", text) is None:
        raise ValueError("write a symbol in capital letters, for example BRK.B")
    return text


TimeOfDay = Annotated[str, AfterValidator(_time_of_day), Field(examples=["09:31"])]
When = Annotated[str, AfterValidator(_when), Field(max_length=64, examples=["09:31", "close-15m"])]
Symbol = Annotated[str, AfterValidator(_symbol)]


class SettingsError(Exception):
    """A setting is wrong: what, where, the value seen, and the mend."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _number_is_no_bool(cls, value: object, info: ValidationInfo) -> object:
        """``top: yes`` must not mean ``top: 1``."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("true and false are no value here")
        return value


class Account(_Section):
    """The account finagent trades."""

    currency: Literal["USD"] = "USD"
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = "paper"
    start_equity: Annotated[Decimal, Field(gt=0, le=1_000_000_000, decimal_places=4)] = Decimal("100000")
    mode: Literal["alert", "approve", "auto"] = "approve"


class Universe(_Section):
    """Which symbols are looked at."""

    exclude: tuple[Symbol, ...] = ()
    fractional: bool = False


class Scan(_Section):
    """The gap scan's filters."""

    min_gap_pct: PositivePercent = Decimal("4.0")
    style: Literal["gap_and_go", "fade"] = "gap_and_go"
    min_price: Price = Decimal("2")
    max_price: Price = Decimal("300")
    min_adv_usd: Annotated[int, Field(ge=0)] = 5_000_000
    min_premarket_volume: Annotated[int, Field(ge=0)] = 100_000
    min_rvol: Annotated[Decimal, Field(ge=0, le=1000, decimal_places=6)] = Decimal("2")
    max_spread_pct: Percent = Decimal("0.3")
    min_premarket_trades: Annotated[int, Field(ge=0)] = 5
    max_indication_age_s: Annotated[int, Field(ge=1, le=86_400)] = 300
    unknown_value: Literal["keep", "drop"] = "keep"
    top: Annotated[int, Field(ge=1, le=50)] = 5

    @model_validator(mode="after")
    def _price_range(self) -> "Scan":
        if self.min_price >= self.max_price:
            raise ValueError(f"min_price {self.min_price} must be below max_price {self.max_price}")
        return self


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
    stop_pct: Annotated[Decimal, Field(gt=0, le=50, decimal_places=4)] = Decimal("3")
    stop_atr: Factor = Decimal("2")
    target_r: Factor = Decimal("3")
    break_even_after_r: Factor | None = None
    trail_after_r: Factor | None = None
    trail_atr: Factor | None = None
    time_stop_minutes: Annotated[int, Field(ge=1, le=390)] | None = 60
    time_stop_min_r: Annotated[Decimal, Field(ge=-10, le=10, decimal_places=6)] = Decimal("0.5")

    @model_validator(mode="after")
    def _trailing_is_whole(self) -> "Planning":
        if (self.trail_after_r is None) != (self.trail_atr is None):
            raise ValueError(
                f"trail_after_r is {self.trail_after_r} and trail_atr is {self.trail_atr}: set both or neither"
            )
        return self


class Risk(_Section):
    """Limits of the account; the profile's own values hold where a key is null."""

    profile: Literal["standard", "micro"] = "standard"
    risk_per_trade_pct: Annotated[Decimal, Field(gt=0, le=5, decimal_places=4)] | None = None
    max_position_pct: Annotated[Decimal, Field(gt=0, le=100, decimal_places=4)] | None = None
    max_open_positions: Annotated[int, Field(ge=1, le=50)] | None = None
    max_trades_per_day: Annotated[int, Field(ge=1, le=100)] | None = None
    pause_loss_pct: Annotated[Decimal, Field(gt=0, le=50, decimal_places=4)] | None = None
    flatten_loss_pct: Annotated[Decimal, Field(gt=0, le=50, decimal_places=4)] | None = None
    max_adv_share_pct: Annotated[Decimal, Field(gt=0, le=10, decimal_places=4)] | None = None
    max_orders_per_minute: Annotated[int, Field(ge=1, le=200)] | None = None
    allow_shorts: bool = False

    @model_validator(mode="after")
    def _tiers_in_order(self) -> "Risk":
        base = standard_profile() if self.profile == "standard" else micro_profile()
        pause = _percent_in_force(self.pause_loss_pct, base.pause_loss_e6)
        flatten = _percent_in_force(self.flatten_loss_pct, base.flatten_loss_e6)
        if pause is not None and flatten is not None and pause >= flatten:
            raise ValueError(
                f"flatten_loss_pct {flatten} must be above pause_loss_pct {pause}"
                f" (a key that is null has the value of profile {self.profile})"
            )
        if self.allow_shorts and base.day_trade_rule == "cash_settled":
            raise ValueError(f"allow_shorts needs a margin account, profile {self.profile} is cash settled")
        return self


class Approval(_Section):
    """How a plan gets its yes."""

    ttl_minutes: Annotated[int, Field(ge=1, le=240)] = 10
    simulated_delay_s: Annotated[int, Field(ge=0, le=3600)] = 0
    max_quote_age_s: Annotated[int, Field(ge=1, le=3600)] = 90


class Execution(_Section):
    """Orders and their costs."""

    entry_ttl_s: Annotated[int, Field(ge=60, le=7200)] = 300
    slippage_bps: Annotated[Decimal, Field(ge=0, le=500, decimal_places=2)] = Decimal("5")
    participation_pct: PositivePercent = Decimal("5")
    close_penalty_bps: BasisPoints = Decimal("50")
    commission_per_share: Annotated[Decimal, Field(ge=0, le=1, decimal_places=6)] = Decimal("0")
    commission_min: Annotated[Decimal, Field(ge=0, le=100, decimal_places=6)] = Decimal("0")
    regulatory_fees: bool = True
    ambiguity: Literal["stop_first", "target_first", "path"] = "stop_first"


class ScanLine(_Section):
    """One scheduled scan: a name, when (HH:MM, ``open+1m``, ``close-3h45m`` or a cron line), what it leads to."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
    at: When
    kind: Literal["watchlist", "plan", "second_look"] = "plan"


class EntryWindow(_Section):
    """A span of exchange time in which entries are allowed."""

    start: TimeOfDay
    end: TimeOfDay

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> "EntryWindow":
        if self.start >= self.end:
            raise ValueError(f"start {self.start} must be before end {self.end}")
        return self


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
    flatten: Annotated[tuple[str, ...], Field(min_length=1, max_length=16)] = (
        "close-15m",
        "close-10m",
        "close-5m",
        "close-2m",
    )
    day_close: Annotated[str, Field(pattern=r"^close\+\d{1,2}m$", examples=["close+2m"])] = "close+2m"
    misfire_minutes: Annotated[int, Field(ge=0, le=120)] = 10
    min_minutes_to_flatten: Annotated[int, Field(ge=0, le=390)] = 60
    no_trade_days: Path | None = None

    @field_validator("flatten")
    @classmethod
    def _ladder_goes_down_to_the_close(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        minutes = [_minutes_before_close(line) for line in lines]
        if any(first <= then for first, then in pairwise(minutes)) or minutes[-1] < 1:
            raise ValueError("each line must be nearer to the close than the one before, and before it")
        return lines

    @model_validator(mode="after")
    def _lines_are_distinct(self) -> "Schedule":
        names = [scan.name for scan in self.scans]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two scans are called {twice[0]}: rename one of them")
        for first, then in pairwise(self.entry_windows):
            if then.start < first.end:
                raise ValueError(
                    f"the entry window from {then.start} begins before the one until {first.end} ends:"
                    " put them in order, without overlap"
                )
        return self


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

    open_slippage_bps: BasisPoints = Decimal("20")


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
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_parse_none_str="null",
        case_sensitive=False,
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
        masked: dict[str, Any] = _mask(json.loads(self.model_dump_json()))
        return masked


def load_settings(config: Path | None = None, *, profile: str | None = None) -> Settings:
    """Settings of a file (default ./settings.yaml, which may be absent) under the environment.

    ``profile`` (default ``$FINAGENT_ENV``) picks an entry of the file's ``profiles`` that is laid over it.
    SettingsError names the file, the key, the value seen and the mend.
    """
    path = config if config is not None else Path(DEFAULT_FILE)
    document = _read_file(path, is_required=config is not None)
    profiles = document.pop("profiles", None)
    overlay = _profile(profiles, profile if profile is not None else os.environ.get("FINAGENT_ENV"), path)
    merged = {key: {} if value is None else value for key, value in _overlay(document, overlay).items()}
    _check_sections(merged, path)
    _check_environment()
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise _explained(error, path) from None
    except EnvironmentValueError as error:
        raise SettingsError(
            f"environment: {error}", "write lists and whole sections as JSON, for example '[\"health\"]'"
        ) from None


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
            raise SettingsError(
                f"no settings file {path}", "name an existing file or run finagent init"
            ) from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"cannot read {path}: {error}", "check its permissions and encoding (UTF-8)"
        ) from None
    try:
        document = yaml.load(text, Loader=_yaml_loader(path))
    except (yaml.YAMLError, RecursionError) as error:
        detail = " ".join(str(error).split())
        raise SettingsError(f"{path} is no YAML: {detail}", "mend the line named") from None
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise SettingsError(
            f"{path} is no mapping of sections", "start each section as  name:  at the margin"
        )
    return document


def _yaml_loader(path: Path) -> Any:
    """A safe loader that refuses a key given twice and reads 12:15, on and 010 as the texts they look like."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]  # chosen at run time
        yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML wants a plain class attribute
            first: [pair for pair in pairs if not pair[0].endswith((":bool", ":int", ":timestamp"))]
            for first, pairs in base.yaml_implicit_resolvers.items()
        }

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[object] = set()
            for key_node, _ in node.value:
                if key_node.value in seen:
                    raise SettingsError(
                        f"{path}, line {key_node.start_mark.line + 1}: {key_node.value} stands here twice",
                        "delete one of the two",
                    )
                seen.add(key_node.value if isinstance(key_node.value, str) else id(key_node))
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"true|True|false|False"), "tTfF")
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9_]*)\Z"), "-+0123456789"
    )
    return Loader


def _profile(profiles: object, chosen: str | None, path: Path) -> dict[str, Any]:
    if profiles is None:
        return {}
    if not isinstance(profiles, dict):
        raise SettingsError(
            f"{path}: profiles is no mapping", "write profiles: {dev: {section: {key: value}}}"
        )
    if not chosen:
        return {}
    if chosen not in profiles:
        raise SettingsError(
            f"FINAGENT_ENV is {chosen!r}, {path} has no such profile",
            _nearest(chosen, [str(name) for name in profiles]),
        )
    overlay = profiles[chosen] or {}
    if not isinstance(overlay, dict):
        raise SettingsError(
            f"{path}: profile {chosen} is no mapping of sections", "write it like the file itself"
        )
    return overlay


def _overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _overlay(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _check_sections(document: Mapping[str, Any], path: Path) -> None:
    sections = list(Settings.model_fields)
    for name, value in document.items():
        if name not in sections:
            raise SettingsError(f"unknown section {name} in {path}", _nearest(name, [*sections, "profiles"]))
        if not isinstance(value, dict):
            raise SettingsError(
                f"section {name} in {path} is {value!r}, no keys", "indent its keys below it by two spaces"
            )


def _check_environment() -> None:
    sections = list(Settings.model_fields)
    for name in sorted(os.environ):
        upper = name.upper()
        if upper.startswith(PREFIX):
            section = name[len(PREFIX) :].split("__")[0].lower()
            if section not in sections:
                raise SettingsError(
                    f"environment variable {name}: no section {section!r}", _nearest(section, sections)
                )
        elif upper.startswith("FINAGENT_") and "__" in upper:
            raise SettingsError(
                f"environment variable {name} would be ignored",
                f"write {PREFIX}{upper.removeprefix('FINAGENT_')}, with two underscores after FINAGENT",
            )


def _explained(error: ValidationError, path: Path) -> SettingsError:
    first = error.errors(include_url=False)[0]
    location = first["loc"]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)[1:]
    source = _source(location, path)
    if first["type"] == "extra_forbidden":
        return SettingsError(f"unknown setting {place} in {source}", _where_it_belongs(location))
    seen = first["input"]
    shown = f" = {seen!r}" if isinstance(seen, str | int | float | bool | type(None)) else ""
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    reason = first["msg"].removeprefix("Value error, ")
    return SettingsError(f"setting {place}{shown}: {reason}{more}", f"mend it in {source}")


def _source(location: tuple[int | str, ...], path: Path) -> str:
    """The environment variable that gave a value, else the file."""
    given = {name.upper(): name for name in os.environ}
    for length in range(len(location), 0, -1):
        name = PREFIX + "__".join(str(part) for part in location[:length]).upper()
        if name in given:
            return f"the environment variable {given[name]}"
    return str(path)


def _where_it_belongs(location: tuple[int | str, ...]) -> str:
    word = str(location[-1])
    known = _keys_beside(location)
    elsewhere = [name for name, keys in _keys_by_section() if word in keys]
    if elsewhere and not difflib.get_close_matches(word, known, n=1, cutoff=0.8):
        return f"{word} is a key of section {elsewhere[0]}"
    return _nearest(word, known)


def _keys_by_section() -> Iterator[tuple[str, list[str]]]:
    for name, field in Settings.model_fields.items():
        yield name, list(getattr(field.annotation, "model_fields", {}))


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        of_items = get_args(annotation)
        model = of_items[0] if of_items else annotation
        if not isinstance(model, type) or not issubclass(model, BaseModel):
            return []
    return list(model.model_fields)


def _percent_in_force(given: Decimal | None, of_profile_e6: int | None) -> Decimal | None:
    if given is not None:
        return given
    return None if of_profile_e6 is None else Decimal(of_profile_e6) / 10_000


def _minutes_before_close(line: str) -> int:
    found = _BEFORE_CLOSE.fullmatch(line)
    if found is None:
        raise ValueError(f"{line!r} is no time before the close: write close-15m or close-1h")
    return 60 * int(found[1] or 0) + int(found[2] or 0)


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known) or 'nothing'}"


def _mask(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            k: "***" if any(s in k for s in ("secret", "token", "password", "api_key")) else _mask(v)
            for k, v in value.items()
        }
    return [_mask(item) for item in value] if isinstance(value, list) else value
