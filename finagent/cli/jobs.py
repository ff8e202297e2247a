"""The queue: ls, show, retry, redrive, stats."""

from typing import Annotated

import typer

from finagent.cli import render_ops
from finagent.cli.invocation import Action, act, answer, answer_intent, answer_result, invocation, read
from finagent.cli.options import AsJson, DryRun, Limit, Run

app = typer.Typer(
    rich_markup_mode=None, add_completion=False, no_args_is_help=True, help="The durable queue."
)
JobId = Annotated[int, typer.Argument(metavar="ID", min=1)]
Type = Annotated[str | None, typer.Option("--type", help="Only jobs of this type.")]


@app.command("ls")
def listing(
    context: typer.Context,
    status: Annotated[str | None, typer.Option("--status", help="Only jobs in this state.")] = None,
    type_: Type = None,
    limit: Limit = 100,
    run: Run = None,
    as_json: AsJson = False,
) -> None:
    """Jobs, newest first."""
    document = read(
        invocation(context), lambda views: views.jobs(status=status, type=type_, limit=limit), run=run
    )
    answer(document, as_json=as_json, render=render_ops.jobs)


@app.command("show")
def show(context: typer.Context, job_id: JobId, run: Run = None, as_json: AsJson = False) -> None:
    """One job with its attempts and errors."""
    document = read(invocation(context), lambda views: views.job(job_id), run=run)
    answer(document, as_json=as_json, render=render_ops.job)


@app.command("stats")
def stats(context: typer.Context, run: Run = None, as_json: AsJson = False) -> None:
    """Counts by state and type, the oldest waiting job, and what is dead."""
    document = read(invocation(context), lambda views: views.jobs_stats(), run=run)
    answer(document, as_json=as_json, render=render_ops.jobs_stats)


@app.command("retry")
def retry(context: typer.Context, job_id: JobId, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Run a scheduled, dead or cancelled job again now."""
    if dry_run:
        answer_intent("retry", f"run job {job_id} again now", {"job_id": job_id}, as_json=as_json)
        return
    action = Action(
        path=f"jobs/{job_id}/retry", body={}, carry_out=lambda commands: commands.retry_job(job_id)
    )
    answer_result(act(invocation(context), action), as_json=as_json)


@app.command("redrive")
def redrive(
    context: typer.Context, type_: Type = None, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Put all dead jobs (of one type) back to ready."""
    if dry_run:
        which = f"dead {type_} jobs" if type_ else "all dead jobs"
        answer_intent("redrive", f"put {which} back to ready", {"type": type_}, as_json=as_json)
        return
    action = Action(
        path="jobs/redrive", body={"type": type_}, carry_out=lambda commands: commands.redrive_jobs(type_)
    )
    answer_result(act(invocation(context), action), as_json=as_json)
