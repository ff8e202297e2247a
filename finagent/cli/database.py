"""The database file: backup, restore, check."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from finagent.cli import render_ops
from finagent.cli.failures import usage
from finagent.cli.fields import number, section, text
from finagent.cli.invocation import answer, answer_intent, confirm, identity, invocation
from finagent.cli.options import AsJson, DryRun, Yes
from finagent.cli.page import Page
from finagent.context import Document

app = typer.Typer(
    rich_markup_mode=None, add_completion=False, no_args_is_help=True, help="The database file."
)
TENTHS = 10


@app.command("backup")
def backup(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where to; default HOME/backups with the UTC time.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=1, metavar="N", help="Leave only the newest N of HOME/backups."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A verified copy of the database as of now; the agent may run."""
    if keep is not None and file is not None:
        raise usage("--keep is about HOME/backups and FILE lies elsewhere", "leave out FILE or --keep")
    from finagent.bootstrap.safekeeping import database_backup

    with _tenths("backup") as progress:
        document = database_backup(
            invocation(context).home, file, is_overwriting=force, keep=keep, progress=progress
        )
    answer(document, as_json=as_json, render=_backed_up)


@app.command("restore")
def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the place of the database; entries stay shut until rearm. No agent may run."""
    home = invocation(context).home
    if dry_run:
        from finagent.bootstrap.safekeeping import restore_rehearsal

        found = restore_rehearsal(home, file)
        sound = "sum and content" if found["is_sum_checked"] else "content (it has no sum beside it)"
        effect = f"put {file}, verified by {sound}, in the place of {found['file']}, which is kept aside"
        answer_intent("restore", effect, {"file": str(file), **found}, as_json=as_json)
        return
    confirm(f"Put {file} in the place of the database of {home}?", is_sure=yes, verb="restore")
    from finagent.bootstrap.safekeeping import database_restore

    with _tenths("restore") as progress:
        document = database_restore(home, file, identity=identity(), progress=progress)
    answer(document, as_json=as_json, render=_restored)


@app.command("check")
def check(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Another database; default that of the home.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Whether the database is whole: file, schema, jobs, fills, journal; exit 1 when it is not."""
    from finagent.bootstrap.safekeeping import database_check

    document = database_check(invocation(context).home, file)
    answer(document, as_json=as_json, render=_checked)
    if document["is_sound"] is not True:
        raise typer.Exit(1)


@contextmanager
def _tenths(verb: str) -> Iterator[Callable[[int, int], None]]:
    """Progress in pages as lines on stderr, one for each tenth; nothing for what takes one step."""
    told = 0

    def show(done: int, total: int) -> None:
        nonlocal told
        reached = done * TENTHS // max(1, total)
        if told < reached < TENTHS:
            told = reached
            print(f"{verb}: {reached * 100 // TENTHS} % of {total} pages", file=sys.stderr, flush=True)

    yield show


def _backed_up(document: Document, page: Page) -> str:
    pruned = document.get("pruned")
    facts = [
        ("Backup", text(document, "file")),
        ("Size", f"{int(number(document, 'bytes') or 0) >> 10} KiB, SHA-256 {text(document, 'sha256')[:16]}"),
        ("Journal", _journal(document)),
        ("Jobs", text(document, "jobs")),
        ("Took", f"{text(document, 'elapsed_ms')} ms, verified"),
        ("Removed", f"{len(pruned)} older" if isinstance(pruned, list) and pruned else ""),
    ]
    return page.pairs(facts)


def _restored(document: Document, page: Page) -> str:
    facts = [
        ("Restored", text(document, "file")),
        ("From", text(document, "backup")),
        ("Before", text(document, "kept_aside")),
        ("Journal", _journal(document)),
        ("Jobs", text(document, "jobs")),
        ("Entries", "shut until finagent rearm"),
        ("Next", text(document, "next")),
    ]
    return page.pairs(facts)


def _checked(document: Document, page: Page) -> str:
    verdict = "The database is whole." if document["is_sound"] is True else "The database is NOT whole."
    return f"{render_ops.doctor(document, page)}\n\n{text(document, 'file')}: {verdict}"


def _journal(document: Document) -> str:
    journal = section(document, "journal")
    return f"{text(journal, 'entries')} entries, head {text(journal, 'head')[:16] or 'none'}"
