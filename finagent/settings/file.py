"""The settings file: YAML without its traps, and the profile that FINAGENT_ENV lays over it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finagent.settings.errors import SettingsError, nearest


def read_file(path: Path, *, is_required: bool) -> dict[str, Any]:
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
    """A safe loader that refuses a key given twice and reads 12:15, on and 010 as text."""
    import yaml

    # Not CSafeLoader: nesting without end overflows its stack and ends the process.
    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML wants a plain class attribute
            first: [pair for pair in pairs if not pair[0].endswith((":bool", ":int", ":timestamp"))]
            for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[str] = set()
            names = [key for key, _ in node.value if isinstance(key.value, str)]
            for key_node in names:
                if key_node.value in seen:
                    raise SettingsError(
                        f"{path}, line {key_node.start_mark.line + 1}: {key_node.value} stands here twice",
                        "delete one of the two",
                    )
                seen.add(key_node.value)
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"true|True|false|False"), "tTfF")
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9_]*)\Z"), "-+0123456789"
    )
    return Loader


def profile_of(profiles: object, chosen: str | None, path: Path) -> dict[str, Any]:
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
            nearest(chosen, [str(name) for name in profiles]),
        )
    overlay = profiles[chosen] or {}
    if not isinstance(overlay, dict):
        raise SettingsError(
            f"{path}: profile {chosen} is no mapping of sections", "write it like the file itself"
        )
    return overlay


def overlaid(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = overlaid(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
