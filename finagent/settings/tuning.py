"""Settings that a search may vary: their names, whether a value is within its bounds, settings with other values."""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache

from pydantic import ValidationError, create_model

from finagent.settings import Settings
from finagent.settings.errors import SettingsError, misfit
from finagent.settings.values import Section

SECTIONS = ("scan", "scoring", "planning", "risk", "approval", "execution", "news", "backtest")
"""Sections whose keys decide what a backtest does; the schedule and the universe are the same for all trials."""


def tunable() -> list[str]:
    """``section.key`` of every setting that may be varied."""
    return [f"{name}.{key}" for name in SECTIONS for key in _fields(name)]


def value_of(name: str, text: str) -> object:
    """A setting's value as it is written; SettingsError for a name that is none and a value outside its bounds."""
    if name not in tunable():
        section, _, key = name.partition(".")
        if section in Settings.model_fields and key in _fields(section):
            raise SettingsError(f"{name} is no rule of a backtest", f"those are in {', '.join(SECTIONS)}")
        raise SettingsError(f"there is no setting {name}", f"did you mean {nearest_name(name)}?")
    try:
        found = _alone(name).model_validate({"value": _raw(text)})
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{name}={text}: {reason}", "settings.yaml has its bounds") from None
    value: object = found.value  # type: ignore[attr-defined]  # the one field of the model made below
    return value


def nearest_name(name: str) -> str:
    """The tunable name that is most like another."""
    key = name.rpartition(".")[2]
    by_key = {each.rpartition(".")[2]: each for each in tunable()}
    close = get_close_matches(key, by_key, n=1, cutoff=0.7)
    return by_key[close[0]] if close else get_close_matches(name, tunable(), n=1, cutoff=0.0)[0]


def with_values(settings: Settings, values: Mapping[str, str]) -> Settings:
    """The same settings with some values changed; SettingsError where they do not fit together."""
    by_section: dict[str, dict[str, object]] = {}
    for name, text in values.items():
        section, _, key = name.partition(".")
        by_section.setdefault(section, {})[key] = _raw(text)
    changed = {}
    for section, given in by_section.items():
        before: Section = getattr(settings, section)
        try:
            changed[section] = type(before).model_validate({**before.model_dump(), **given})
        except ValidationError as error:
            raise misfit(error, section, root=Settings) from None
    return settings.model_copy(update=changed)


def _raw(text: str) -> str | None:
    return None if text == "null" else text


def _fields(section: str) -> list[str]:
    return list(_model(section).model_fields)


def _model(section: str) -> type[Section]:
    default: Section = Settings.model_fields[section].default
    return type(default)


@cache
def _alone(name: str) -> type[Section]:
    """A section of this one key: its own bounds, without those that look at other keys."""
    section, _, key = name.partition(".")
    field = _model(section).model_fields[key]
    assert field.annotation is not None
    made: type[Section] = create_model("Value", __base__=Section, value=(field.annotation, field))
    return made
