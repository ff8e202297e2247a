"""Options that several verbs share, spelled once."""

import re
from collections.abc import Mapping
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


def checked_instant(value: str | None) -> str | None:
    """A span (2h) as it was given, an instant with its zone; exchange time where it names none."""
    from datetime import datetime

    from finagent.cli.values import EXCHANGE

    if value is None or re.fullmatch(r"\d{1,9}(ms|s|m|h|d|w)", value):
        return value
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        raise usage(
            f"{value} is neither a span nor an instant",
            "Write it like 30m, 2h, 3d, 2018-02-20 or 2018-02-20T09:31",
        ) from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=EXCHANGE)).isoformat()


def checked_end(value: str | None) -> str | None:
    """The same; a date alone means its whole day."""
    if value is not None and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        return checked_instant(f"{value}T23:59:59.999")
    return checked_instant(value)


BARS = ("auto", "daily", "minute")


def checked_bars(value: str) -> str:
    """A kind of bars as it was given, or a usage error."""
    if value not in BARS:
        raise usage(f"--bars {value} is none of {', '.join(BARS)}", "auto takes minutes where there are some")
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
Bars = Annotated[
    str,
    typer.Option(
        "--bars",
        metavar="auto|daily|minute",
        callback=checked_bars,
        help="auto: minutes where there are some.",
    ),
]
Symbols = Annotated[
    list[str] | None, typer.Option("--symbol", metavar="SYMBOL", help="Only these; may be repeated.")
]


def refuse_options(context: typer.Context, flags: Mapping[str, str]) -> None:
    """Options of a run before a verb that is none would do nothing: a usage error. ``flags`` by parameter where the
    two are called otherwise.
    """
    given = [
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) is not None and source.name == "COMMANDLINE"
    ]
    if given:
        verb = context.invoked_subcommand
        raise usage(
            f"{flags.get(given[0], f'--{given[0]}')} stands before {verb}, which is no run",
            f"{context.command_path} {verb} --help shows what it takes; options stand behind it",
        )
