"""The journal: list, note, verify."""

from typing import Annotated

import typer

from finagent.cli import render_ops
from finagent.cli.failures import usage
from finagent.cli.fields import flag, text
from finagent.cli.invocation import (
    Action,
    act,
    answer,
    answer_intent,
    answer_result,
    identity,
    invocation,
    read,
)
from finagent.cli.options import AsJson, DryRun, Limit, Run
from finagent.context import SurfaceError

app = typer.Typer(rich_markup_mode=None, add_completion=False)
After = Annotated[int, typer.Option("--after", min=0, metavar="SEQ", help="Entries after this one.")]
Kind = Annotated[str | None, typer.Option("--kind", help="Only entries of this kind.")]
Ref = Annotated[str | None, typer.Option("--ref", help="Only entries about this plan, order or trade.")]


@app.callback(invoke_without_command=True)
def journal(
    context: typer.Context,
    after: After = 0,
    limit: Limit = 200,
    kind: Kind = None,
    ref: Ref = None,
    run: Run = None,
    as_json: AsJson = False,
) -> None:
    """Every decision and its inputs, in order: list, note, verify."""
    if context.invoked_subcommand is None:
        listing(context, after=after, limit=limit, kind=kind, ref=ref, run=run, as_json=as_json)
    elif (after, limit, kind, ref, run, as_json) != (0, 200, None, None, None, False):
        verb = context.invoked_subcommand
        raise usage("options of the journal stand behind its verb", f"finagent journal {verb} --help")


@app.command("list")
def listing(
    context: typer.Context,
    after: After = 0,
    limit: Limit = 200,
    kind: Kind = None,
    ref: Ref = None,
    run: Run = None,
    as_json: AsJson = False,
) -> None:
    """Entries in order."""
    document = read(
        invocation(context),
        lambda views: views.journal(after_seq=after, limit=limit, kind=kind, ref=ref),
        run=run,
    )
    answer(document, as_json=as_json, render=render_ops.journal)


@app.command("note")
def note(
    context: typer.Context,
    words: Annotated[str, typer.Argument(metavar="TEXT", help="What to remember.")],
    ref: Annotated[str, typer.Option("--ref", help="The plan, order or trade it is about.")] = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Add a note."""
    if not words.strip():
        raise usage("an empty note says nothing", 'finagent journal note "what you saw"')
    if dry_run:
        answer_intent("note", f"add {words!r}", {"text": words, "ref": ref}, as_json=as_json)
        return
    who = identity()
    action = Action(
        path="journal/notes",
        body={"text": words, "ref": ref, "identity": who},
        carry_out=lambda commands: commands.note(words, ref=ref, identity=who),
    )
    answer_result(act(invocation(context), action), as_json=as_json)


@app.command("verify")
def verify(context: typer.Context, run: Run = None, as_json: AsJson = False) -> None:
    """Check the hash chain from the first entry to the last; exit 1 where it breaks."""
    document = read(invocation(context), lambda views: views.verify_journal(), run=run)
    if as_json or flag(document, "valid"):
        answer(document, as_json=as_json, render=render_ops.verification)
    if not flag(document, "valid"):
        if as_json:
            raise typer.Exit(1)
        raise SurfaceError(
            f"the chain breaks at entry {text(document, 'first_bad_seq')}: {text(document, 'detail')}",
            hint="Restore a backup; do not trade on this database",
            code="chain_broken",
        )
