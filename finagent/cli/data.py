"""Market data: import, list, check."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from finagent.cli import render_ops
from finagent.cli.failures import usage
from finagent.cli.invocation import answer, invocation, wait_for
from finagent.cli.options import AsJson, DryRun
from finagent.cli.progress import by_file, steps

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True, help="Market data.")


@app.command("import")
def import_(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of CSV files with bars and actions.")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Read a folder of market data into the bar store; again changes nothing."""
    if not folder.exists():
        raise usage(f"no folder {folder}", "Name a folder that holds market data", code="no_folder")
    if not folder.is_dir():
        raise usage(f"{folder} is a file", "Name the folder that holds it", code="no_folder")
    call = invocation(context)
    from finagent.bootstrap import import_data

    settings = call.settings()
    with steps("import", sys.stderr) as progress:
        document = wait_for(
            import_data(settings, call.home, folder, dry_run=dry_run, progress=by_file(progress))
        )
    answer(document, as_json=as_json, render=render_ops.imported)


@app.command("list")
def listing(context: typer.Context, as_json: AsJson = False) -> None:
    """What the bar store holds."""
    call = invocation(context)
    from finagent.bootstrap import data_list

    answer(wait_for(data_list(call.settings(), call.home)), as_json=as_json, render=render_ops.listing)


@app.command("check")
def check(context: typer.Context, as_json: AsJson = False) -> None:
    """Check the stored bars against each other and the calendar."""
    call = invocation(context)
    from finagent.bootstrap import data_check

    answer(wait_for(data_check(call.settings(), call.home)), as_json=as_json, render=render_ops.listing)
