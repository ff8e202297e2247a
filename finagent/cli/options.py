"""Options that several verbs share, spelled once."""

import re
from datetime import date
from typing import Annotated

import typer

from finagent.cli.failures import usage


def checked_date(value: str | None) -> str | None:
    """A calendar date as it was given, or a usage error."""
    if value is not None:
        try:
            date.fromisoformat(value if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) else "")
        except ValueError:
            raise usage(f"{value} is no date", "Write it like 2018-03-01") from None
    return value


def checked_time(value: str | None) -> str | None:
    """A time of day as it was given, or a usage error."""
    if value is not None and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise usage(f"{value} is no time of day", "Write it like 09:31, in exchange time")
    return value


AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, do nothing.")]
Run = Annotated[
    str | None,
    typer.Option("--run", metavar="ID|last", help="A replay or demo run instead of the agent's own day."),
]
Session = Annotated[
    str | None,
    typer.Option("--session", metavar="DATE", callback=checked_date, help="Session date, YYYY-MM-DD."),
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")]
At = Annotated[
    str | None,
    typer.Option("--at", metavar="HH:MM", callback=checked_time, help="Scan at this exchange time."),
]
FirstDate = Annotated[
    str, typer.Option("--from", metavar="DATE", callback=checked_date, help="First session, YYYY-MM-DD.")
]
LastDate = Annotated[
    str | None,
    typer.Option("--to", metavar="DATE", callback=checked_date, help="Last session; default the first."),
]
