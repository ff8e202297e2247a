"""The queue: ls, show, stats, watch, cancel, retry, redrive."""

import difflib
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

import typer

from finagent.cli import render_jobs
from finagent.cli.failures import usage
from finagent.cli.fields import number, section, text
from finagent.cli.invocation import (
    Action,
    Invocation,
    act,
    act_each,
    answer,
    answer_intent,
    answer_result,
    confirm,
    identity,
    invocation,
    read,
    tell,
    wait_for,
)
from finagent.cli.options import AsJson, DryRun, Limit, Run, Yes, checked_end, checked_instant
from finagent.context import CommandResult, Commands, Document, ExitCode, SurfaceError
from finagent.domain.steps import Step
from finagent.queue.query import JobQuery, QueryError, checked_statuses

app = typer.Typer(
    rich_markup_mode=None, add_completion=False, no_args_is_help=True, help="The durable queue."
)
JobId = Annotated[int, typer.Argument(metavar="ID", min=1)]
JobIds = Annotated[list[int], typer.Argument(metavar="ID...", min=1)]
Types = Annotated[
    list[str] | None, typer.Option("--type", metavar="TYPE", help="Only this type; may be given again.")
]
Carry = Callable[[Commands, int, str], Awaitable[CommandResult]]


@app.command("ls")
def listing(
    context: typer.Context,
    status: Annotated[
        list[str] | None,
        typer.Option("--status", metavar="STATUS", help="Only this state; may be given again."),
    ] = None,
    type_: Types = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Only jobs that run one by one under this key.")
    ] = None,
    idem: Annotated[
        str | None, typer.Option("--idem", metavar="PREFIX", help="Idempotency key or its first letters.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="2h|TIME",
            callback=checked_instant,
            help="Ended (or, if not over, made) since: 30m, 2h, 3d, or an instant in exchange time.",
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="2h|TIME", callback=checked_end, help="The same, until.")
    ] = None,
    error: Annotated[
        str | None, typer.Option("--error", metavar="TEXT", help="Whose error holds this, in any case.")
    ] = None,
    trace: Annotated[
        str | None, typer.Option("--trace", metavar="ID", help="Only jobs of one trace.")
    ] = None,
    limit: Limit = 100,
    run: Run = None,
    as_json: AsJson = False,
) -> None:
    """Jobs that match every filter, newest first."""
    statuses = _words(status)
    try:
        checked_statuses(statuses)
    except QueryError as wrong:
        raise usage(f"--status: {wrong.message}", wrong.hint) from None
    query = JobQuery(
        statuses=statuses, types=_words(type_), key=key, idem=idem, since=since, until=until, error=error,
        trace=trace, limit=limit,
    )  # fmt: skip
    document = read(invocation(context), lambda views: views.jobs(query), run=run)
    answer(document, as_json=as_json, render=render_jobs.jobs)


def _words(values: Sequence[str] | None) -> list[str]:
    """Values given one by one or with commas."""
    return [word.strip() for value in values or () for word in value.split(",") if word.strip()]


@app.command("show")
def show(context: typer.Context, job_id: JobId, run: Run = None, as_json: AsJson = False) -> None:
    """One job: its life, payload, lease, kin, and each attempt with its error."""
    document = read(invocation(context), lambda views: views.job(job_id), run=run)
    answer(document, as_json=as_json, render=render_jobs.job)


@app.command("stats")
def stats(context: typer.Context, run: Run = None, as_json: AsJson = False) -> None:
    """Counts by state and type, attempts, times, the oldest waiting job, and what is dead."""
    document = read(invocation(context), lambda views: views.jobs_stats(), run=run)
    answer(document, as_json=as_json, render=render_jobs.jobs_stats)


@app.command("watch")
def watch(
    context: typer.Context,
    interval_s: Annotated[
        float,
        typer.Option("--interval", metavar="SECONDS", min=0.1, max=3600, help="Seconds between refreshes."),
    ] = 1.0,
    count: Annotated[
        int | None, typer.Option("--count", metavar="N", min=1, help="End after so many; default never.")
    ] = None,
    run: Run = None,
    as_json: AsJson = False,
) -> None:
    """The queue live: counts, throughput, what runs, what failed last; until Ctrl-C.

    Reads the database beside a running agent or without one. Piped, it prints a snapshot per refresh; with --json
    one document per line.
    """
    from finagent.cli.watch import watch_jobs

    raise typer.Exit(wait_for(watch_jobs(invocation(context), interval_s, count, run, as_json=as_json)))


@app.command("cancel")
def cancel(context: typer.Context, job_ids: JobIds, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Cancel jobs that wait, and backtests that run; another one that runs goes on. Exit 1 if any was not cancelled."""
    if dry_run:
        _intend("cancel", f"cancel {_named(job_ids)}", job_ids, as_json=as_json)
        return
    _each(
        invocation(context),
        "cancel",
        job_ids,
        lambda c, job_id, who: c.cancel_job(job_id, identity=who),
        as_json=as_json,
    )


@app.command("retry")
def retry(context: typer.Context, job_ids: JobIds, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Run scheduled, dead or cancelled jobs again now, with fresh attempts. Exit 1 if any was not."""
    if dry_run:
        _intend("retry", f"run {_named(job_ids)} again now", job_ids, as_json=as_json)
        return
    _each(
        invocation(context),
        "retry",
        job_ids,
        lambda c, job_id, who: c.retry_job(job_id, identity=who),
        as_json=as_json,
    )


@app.command("redrive")
def redrive(
    context: typer.Context,
    type_: Types = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Put all dead jobs (of some types) back to ready; at a terminal it says how many and asks."""
    call, types = invocation(context), sorted(set(_words(type_)))
    dead = _dead(call, types, must_know=dry_run)
    chosen = {name: count for name, count in dead.items() if not types or name in types}
    known = sum(chosen.values())
    found = ", ".join(f"{count} {name}" for name, count in chosen.items())
    if dry_run:
        named = f" of type {' or '.join(types)}" if types else ""
        which = f"{known} dead jobs ({found})" if known else f"0 jobs (none is dead{named})"
        details: Document = {
            "type": types[0] if len(types) == 1 else None,
            "types": [*types],
            "dead": {**chosen},
        }
        answer_intent("redrive", f"put {which} back to ready", details, as_json=as_json)
        return
    if known and sys.stdin.isatty() and not as_json:
        confirm(
            f"redrive will put {known} dead jobs ({found}) back to ready. Go on?", is_sure=yes, verb="redrive"
        )
    results = [_redrive(call, name) for name in types] or [_redrive(call, None)]
    count = sum(int(number(result.data, "jobs") or 0) for result in results)
    noun = "job is" if count == 1 else "jobs are"
    message = results[0].message if len(results) == 1 else f"{count} dead {noun} ready again."
    missing = sorted(set(types) - dead.keys())
    if missing and dead:
        tell(f"no dead job of type {', '.join(missing)}; dead are: {', '.join(sorted(dead))}")
    answer_result(CommandResult(code="redriven", message=message, data={"jobs": count}), as_json=as_json)


def _redrive(call: Invocation, name: str | None) -> CommandResult:
    who = identity()
    action = Action(
        path="jobs/redrive",
        body={"type": name, "identity": who},
        carry_out=lambda commands: commands.redrive_jobs(name, identity=who),
    )
    return act(call, action)


def _dead(call: Invocation, types: Sequence[str], *, must_know: bool) -> dict[str, int]:
    """How many jobs of each type are dead; a type that no job has ever had is a usage error.

    Without a database none are known, and that is an error where nothing else will say so.
    """
    try:
        by_type = section(read(call, lambda views: views.jobs_stats()), "by_type")
    except SurfaceError as error:
        if must_know or error.code != "no_database":
            raise
        by_type = {}
    known = sorted({*by_type, *Step})
    for name in types:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}"
            raise usage(f"{name} is no type of job", hint, code="unknown_type")
    found = {name: int(number(section(by_type, name), "dead") or 0) for name in by_type}
    return {name: count for name, count in sorted(found.items()) if count}


def _named(job_ids: Sequence[int]) -> str:
    return ("job " if len(job_ids) == 1 else "jobs ") + ", ".join(map(str, job_ids))


def _intend(verb: str, effect: str, job_ids: Sequence[int], *, as_json: bool) -> None:
    answer_intent(verb, effect, {"job_ids": [*job_ids]}, as_json=as_json)


def _each(call: Invocation, verb: str, job_ids: Sequence[int], command: Carry, *, as_json: bool) -> None:
    """One verb over several jobs; a line for each, and exit 1 if any was refused."""
    who = identity()

    def action(job_id: int) -> Action:
        return Action(
            path=f"jobs/{job_id}/{verb}",
            body={"identity": who},
            carry_out=lambda commands: command(commands, job_id, who),
        )

    chosen = list(dict.fromkeys(job_ids))
    results = act_each(call, [action(job_id) for job_id in chosen])
    failed = [result for result in results if not result.is_done]
    if len(results) == 1:
        if failed:
            hint = text(failed[0].data, "hint")
            raise SurfaceError(failed[0].message, hint=hint, code=failed[0].code, exit_code=ExitCode.ERROR)
        answer_result(results[0], as_json=as_json)
        return
    _tell_each(verb, chosen, results, as_json=as_json)
    if failed:
        raise typer.Exit(1)


def _tell_each(verb: str, job_ids: Sequence[int], results: Sequence[CommandResult], *, as_json: bool) -> None:
    """A line per job on stdout, refusals too; how many failed on stderr and as ``error``."""
    failed = [result for result in results if not result.is_done]
    message = f"{len(failed)} of {len(results)} jobs: {verb} was refused"
    if failed:
        tell(f"error: {message}")
    if not as_json:
        print("\n".join(result.message for result in results))
        return
    jobs: Document = {
        "jobs": [
            {"id": job_id, "done": result.is_done, "code": result.code, "message": result.message}
            for job_id, result in zip(job_ids, results, strict=True)
        ]
    }
    document: Document = {
        "code": results[0].code if not failed else "partly",
        "message": message,
        "data": jobs,
    }
    if failed:
        document["error"] = {
            "code": failed[0].code,
            "message": message,
            "hint": "data.jobs says which and why",
        }
    else:
        document["message"] = f"{len(results)} jobs: {verb} is done"
    print(json.dumps(document, ensure_ascii=False))
