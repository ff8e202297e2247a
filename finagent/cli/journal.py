"""The journal: list, note, verify, replay."""

from typing import Annotated

import typer

from finagent.cli import render_journal, render_ops
from finagent.cli.failures import usage
from finagent.cli.fields import flag, number
from finagent.cli.invocation import (
    Action,
    act,
    answer,
    answer_intent,
    answer_result,
    identity,
    invocation,
    read,
    tell,
)
from finagent.cli.options import AsJson, DryRun, Limit, Run
from finagent.cli.progress import tenths
from finagent.context import DAMAGE_HINT

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
    """Every decision and its inputs, in order: list, note, verify, replay."""
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
def verify(
    context: typer.Context,
    head: Annotated[
        str | None,
        typer.Option(
            "--head", metavar="SEQ:HASH", help="An anchor kept outside: finds a cut or rewritten journal."
        ),
    ] = None,
    run: Run = None,
    as_json: AsJson = False,
) -> None:
    """Whether the journal is whole: chain, inputs, the state it leads to; exit 1 where it is not."""
    from finagent.bootstrap.journal_proof import stored_journal, verify_journal

    path = stored_journal(invocation(context).home, run)
    with tenths("verify") as progress:
        document = verify_journal(path, head=head, progress=progress)
    answer(document, as_json=as_json, render=render_journal.verification)
    if not flag(document, "valid"):
        if not as_json:
            tell(f"Hint: {DAMAGE_HINT}")
        raise typer.Exit(1)


@app.command("replay")
def replay(
    context: typer.Context,
    seq: Annotated[
        str | None, typer.Option("--seq", metavar="A..B", help="Entries A to B (either may be left out).")
    ] = None,
    ref: Ref = None,
    kind: Kind = None,
    run: Run = None,
    as_json: AsJson = False,
) -> None:
    """Decide entries again from their stored inputs; exit 1 where a decision comes out different."""
    from finagent.bootstrap.journal_proof import Selection, replay_journal, stored_journal

    first, last = _range(seq)
    selection = Selection(first=first, last=last, ref=ref, kind=kind)
    path = stored_journal(invocation(context).home, run)
    with tenths("replay") as progress:
        document = replay_journal(path, selection, progress=progress)
    answer(document, as_json=as_json, render=render_journal.replayed)
    if number(document, "different"):
        raise typer.Exit(1)


def _range(text: str | None) -> tuple[int, int | None]:
    """``A..B``, ``A..``, ``..B`` or one number."""
    if text is None:
        return 1, None
    first, dots, last = text.partition("..")
    ends = [first, last if dots else first]
    if not any(ends) or not all(each == "" or each.isdigit() for each in ends):
        raise usage(f"--seq {text!r} is no range of entries", "write A..B, A.., ..B or one number")
    lowest, highest = int(ends[0] or 1), int(ends[1]) if ends[1] else None
    if highest is not None and highest < lowest:
        raise usage(f"--seq {text} runs backwards", f"write {highest}..{lowest}")
    return lowest, highest
