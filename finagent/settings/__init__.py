"""Settings: settings.yaml key by key, FINAGENT__SECTION__KEY wins, unknown keys are refused."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as EnvironmentValueError

from finagent.settings.errors import PREFIX, SettingsError, explained, nearest
from finagent.settings.file import overlaid, profile_of, read_file
from finagent.settings.sections import (
    Account,
    Api,
    Approval,
    Backtest,
    Broker,
    Dashboard,
    Data,
    EntryWindow,
    Execution,
    News,
    Notify,
    Ops,
    Planning,
    Queue,
    Risk,
    Scan,
    ScanLine,
    Schedule,
    Scoring,
    Universe,
)

__all__ = [
    "EntryWindow",
    "ScanLine",
    "Settings",
    "SettingsError",
    "load_settings",
    "settings_schema",
]

DEFAULT_FILE = "settings.yaml"


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
    document = read_file(path, is_required=config is not None)
    profiles = document.pop("profiles", None)
    overlay = profile_of(profiles, profile if profile is not None else os.environ.get("FINAGENT_ENV"), path)
    merged = {key: {} if value is None else value for key, value in overlaid(document, overlay).items()}
    _check_sections(merged, path)
    _check_environment()
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise explained(error, path, root=Settings) from None
    except EnvironmentValueError as error:
        raise SettingsError(
            f"environment: {error}", "write lists and whole sections as JSON, for example '[\"health\"]'"
        ) from None


def settings_schema() -> dict[str, Any]:
    """JSON Schema of settings.yaml for editors."""
    schema = Settings.model_json_schema()
    schema["properties"]["profiles"] = {"type": "object", "description": "overlays picked by FINAGENT_ENV"}
    return schema


def _check_sections(document: Mapping[str, Any], path: Path) -> None:
    sections = list(Settings.model_fields)
    for name, value in document.items():
        if name not in sections:
            raise SettingsError(f"unknown section {name} in {path}", nearest(name, [*sections, "profiles"]))
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
                    f"environment variable {name}: no section {section!r}", nearest(section, sections)
                )
        elif upper.startswith("FINAGENT_") and "__" in upper:
            raise SettingsError(
                f"environment variable {name} would be ignored",
                f"write {PREFIX}{upper.removeprefix('FINAGENT_')}, with two underscores after FINAGENT",
            )


def _mask(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            k: "***" if any(s in k for s in ("secret", "token", "password", "api_key")) else _mask(v)
            for k, v in value.items()
        }
    return [_mask(item) for item in value] if isinstance(value, list) else value
