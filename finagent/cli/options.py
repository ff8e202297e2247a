"""Options that several verbs share, spelled once."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, do nothing.")]
Run = Annotated[
    str | None,
    typer.Option("--run", metavar="ID|last", help="A replay or demo run instead of the agent's own day."),
]
Session = Annotated[str | None, typer.Option("--session", metavar="DATE", help="Session date, YYYY-MM-DD.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")]
