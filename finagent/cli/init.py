"""init: a few questions, then a settings file with every key in it and an example .env."""

import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finagent.cli.failures import usage
from finagent.cli.invocation import answer, invocation
from finagent.cli.options import AsJson, DryRun, Yes
from finagent.cli.page import Page
from finagent.context import Document, SurfaceError

if TYPE_CHECKING:
    from pydantic import BaseModel

SETTINGS_FILE = "settings.yaml"
ENV_FILE = ".env.example"
CHOICES = {
    "profile": ("standard", "micro"),
    "data": ("simulated", "replay"),
    "mode": ("approve", "alert", "auto"),
    "broker": ("paper", "alpaca"),
}
DEFAULTS = {"profile": "standard", "data": "simulated", "mode": "approve", "broker": "paper"}
EQUITY = {"standard": "100000", "micro": "500"}

ENV_EXAMPLE = """\
# Copy to .env and keep it out of version control. Every key of settings.yaml may be set here as
# FINAGENT__SECTION__KEY; secrets belong here or in a file named by <NAME>_FILE, never in settings.yaml.
# FINAGENT_HOME=./var
# FINAGENT__ACCOUNT__START_EQUITY={equity}
# FINAGENT__RISK__PROFILE={profile}
# FINAGENT__OPS__LOG_LEVEL=info
# ALPACA_API_KEY=
# ALPACA_SECRET_KEY_FILE=/run/secrets/alpaca
"""


def init(
    context: typer.Context,
    equity: Annotated[
        str | None, typer.Option("--equity", metavar="USD", help="Paper equity to start with.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="standard|micro", help="Risk profile.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="simulated|replay", help="The built-in market, or imported bars."),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option("--mode", metavar="approve|alert|auto", help="Ask, only tell, or decide alone."),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option("--broker", metavar="paper|alpaca", help="The paper venue, or an Alpaca paper account."),
    ] = None,
    live: Annotated[bool, typer.Option("--live", hidden=True)] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Write settings.yaml and .env.example here; paper trading only."""
    if live:
        raise SurfaceError(
            "init never switches live trading on",
            hint="Live takes two switches after paper trading works: broker.endpoint: live in the settings,"
            " then finagent live allow --account NUMBER",
            code="live_refused",
        )
    target = invocation(context).config or Path(SETTINGS_FILE)
    example = target.parent / ENV_FILE
    if not force and not dry_run:
        _refuse_to_overwrite(target, example)
    asks = not yes and sys.stdin.isatty()
    chosen = {
        name: _choice(name, given, asks=asks)
        for name, given in (("profile", profile), ("data", data), ("mode", mode), ("broker", broker))
    }
    chosen["equity"] = _equity(equity, EQUITY[chosen["profile"]], asks=asks)
    text = settings_text(chosen)
    if dry_run and not as_json:
        print(text, end="")
        return
    if not dry_run:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        example.write_text(ENV_EXAMPLE.format(**chosen), encoding="utf-8")
    answer(
        {"files": [str(target), str(example)], "settings": {**chosen}}, as_json=as_json, render=_next_steps
    )


def settings_text(chosen: dict[str, str]) -> str:
    """A settings file: what was chosen stands, every other key is there as a comment with its default."""
    from finagent.settings import Settings

    set_here = {
        ("account", "start_equity"): chosen["equity"],
        ("account", "mode"): chosen["mode"],
        ("risk", "profile"): chosen["profile"],
        ("data", "vendor"): chosen["data"],
        ("broker", "name"): chosen["broker"],
    }
    lines = [
        "# finagent: settings. A key that is commented out has the value shown.",
        "# FINAGENT__SECTION__KEY in the environment wins; finagent config validate checks this file.",
    ]
    for name, field in Settings.model_fields.items():
        section: BaseModel = field.default
        about = (type(section).__doc__ or "").strip().splitlines()[0]
        lines += ["", f"# {about}", f"{name}:"]
        for key, value in section.model_dump(mode="json").items():
            given = set_here.get((name, key))
            lines.append(f"  {key}: {given}" if given is not None else f"  # {key}: {_yaml(value)}")
    return "\n".join(lines) + "\n"


def _yaml(value: object) -> str:
    import json

    if isinstance(value, str):
        try:
            Decimal(value)
        except InvalidOperation:
            return json.dumps(value) if not value.isidentifier() else value
        return value
    return json.dumps(value)


def _refuse_to_overwrite(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            raise SurfaceError(
                f"{path} exists",
                hint="Keep it, name another with --config, or overwrite it with --force",
                code="exists",
            )


def _choice(name: str, given: str | None, *, asks: bool) -> str:
    known = CHOICES[name]
    if given is None and asks:
        given = str(typer.prompt(f"{name} ({', '.join(known)})", default=DEFAULTS[name], err=True))
    chosen = (given or DEFAULTS[name]).strip().lower()
    if chosen not in known:
        raise usage(f"--{name} {chosen} is none of {', '.join(known)}", f"Use --{name} {known[0]}")
    return chosen


def _equity(given: str | None, default: str, *, asks: bool) -> str:
    if given is None and asks:
        given = str(typer.prompt("paper equity in USD", default=default, err=True))
    text = (given or default).replace(",", "").replace("_", "").strip()
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(0)
    if not value.is_finite() or value <= 0:
        raise usage(f"--equity {text} is no amount above 0", "Write it like --equity 100000")
    return text


def _next_steps(document: Document, page: Page) -> str:
    files = document["files"]
    written = ", ".join(str(name) for name in files) if isinstance(files, list) else ""
    chosen = document["settings"]
    uses_import = isinstance(chosen, dict) and chosen.get("data") == "replay"
    first = "finagent data import DIR, then finagent replay --from DATE" if uses_import else "finagent demo"
    note = ""
    if isinstance(chosen, dict) and chosen.get("broker") == "alpaca":
        note = (
            "\nAlpaca: keys in ALPACA_API_KEY and ALPACA_SECRET_KEY. Orders there wait for live prices, which are not"
            " built in yet: set broker.endpoint to a simulated one, http://127.0.0.1:PORT."
        )
    return f"Wrote {written}.{note}\nNext: finagent doctor, then {first}."
