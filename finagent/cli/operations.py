"""Long-running verbs and operations: orchestrate, demo, replay, doctor, version."""

import sys
from typing import Annotated

import typer

from finagent.cli import render_ops
from finagent.cli.failures import usage
from finagent.cli.invocation import answer, invocation, tell, wait_for
from finagent.cli.options import AsJson, At, FirstDate, LastDate, Session
from finagent.cli.page import Page
from finagent.cli.progress import steps

Port = Annotated[
    int | None,
    typer.Option("--port", min=0, max=65535, help="HTTP port; default from the settings, 0 a free one."),
]


def orchestrate(
    context: typer.Context,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Start the page as well.")] = False,
    port: Port = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="DATETHH:MM", help="Rehearse on the built-in market from this exchange time on."
        ),
    ] = None,
    pace: Annotated[
        int, typer.Option("--pace", min=1, max=600, help="With --at: so many times as fast as real time.")
    ] = 1,
) -> None:
    """The agent: services, scheduler, HTTP; until SIGTERM or Ctrl-C."""
    if pace != 1 and at is None:
        raise usage(f"--pace {pace} is for a rehearsal", "Say from when: --at 2026-11-20T09:20")
    call = invocation(context)
    settings = call.settings()
    from finagent.app import AgentOptions, run_agent
    from finagent.cli.narrator import ask

    options = AgentOptions(
        dashboard=dashboard or settings.dashboard.enabled,
        port=port,
        at=at,
        pace=pace,
        announce=tell,
        ask=lambda views: ask(views, tell),
    )
    raise typer.Exit(wait_for(run_agent(settings, call.home, options=options)))


def demo(
    context: typer.Context,
    speed: Annotated[
        float | None,
        typer.Option("--speed", min=1, help="Virtual seconds a second; default from the settings."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Another made-up market.")] = None,
    session: Session = None,
    hold_s: Annotated[
        float, typer.Option("--hold", min=0, max=600, help="Seconds the first plan waits for your answer.")
    ] = 30,
    dashboard: Annotated[
        bool, typer.Option("--dashboard/--no-dashboard", help="The page in the browser.")
    ] = True,
    approve: Annotated[
        str | None,
        typer.Option("--approve", metavar="ask|policy", help="Ask for the first plan, or let policy decide."),
    ] = None,
    port: Port = None,
    as_json: AsJson = False,
) -> None:
    """A full session of the built-in market, sped up; asks for its first plan and ends with a day report."""
    if approve not in (None, "ask", "policy"):
        raise usage(f"--approve {approve} is neither ask nor policy", "Use --approve ask or --approve policy")
    call = invocation(context)
    from finagent.app import DemoRequest, run_demo
    from finagent.cli.narrator import narrate
    from finagent.cli.report import day_report

    has_person = dashboard or sys.stdin.isatty()
    request = DemoRequest(
        speed=speed,
        seed=seed,
        session=session,
        hold_s=hold_s,
        dashboard=dashboard,
        approve=approve or ("ask" if has_person else "policy"),
        port=port,
        announce=tell,
        narrate=lambda views: narrate(views, tell),
        report=lambda document: answer(document, as_json=as_json, render=day_report),
        is_attended=sys.stdin.isatty() and sys.stderr.isatty(),
    )
    raise typer.Exit(wait_for(run_demo(call.settings(), call.home, request=request)))


def replay(
    context: typer.Context,
    first: FirstDate,
    last: LastDate = None,
    at: At = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over instead of resuming.")] = False,
    as_json: AsJson = False,
) -> None:
    """Past sessions through the whole durable path, with a virtual clock and the paper broker."""
    call = invocation(context)
    from finagent.bootstrap import run_replay

    began: list[tuple[str, int, int]] = []
    try:
        with steps("replay", sys.stderr) as progress:

            def show(session: str, number: int, count: int) -> None:
                began.append((session, number, count))
                progress(session, number, count)

            document = wait_for(
                run_replay(
                    call.settings(),
                    call.home,
                    first=first,
                    last=last or first,
                    at=at,
                    fresh=fresh,
                    progress=show,
                )
            )
    except KeyboardInterrupt:
        tell(interrupted(began, fresh=fresh))
        raise
    answer(document, as_json=as_json, render=render_ops.replayed)


def interrupted(began: list[tuple[str, int, int]], *, fresh: bool) -> str:
    """What an interrupted replay has kept, and how it goes on."""
    again = "the same command without --fresh" if fresh else "the same command"
    if not began:
        return f"replay: stopped before its first session; {again} begins it"
    session, number, count = began[-1]
    return f"replay: stopped in {session} ({number} of {count}); what was committed is kept, {again} goes on there"


def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Check the machine, home, settings and data; exit 1 when a check fails."""
    call = invocation(context)
    from finagent.bootstrap import doctor as examine

    document = wait_for(examine(call.settings(), call.home))
    answer(document, as_json=as_json, render=render_ops.doctor)
    checks = document.get("checks")
    if isinstance(checks, list) and any(isinstance(c, dict) and c.get("status") == "fail" for c in checks):
        raise typer.Exit(1)


def version(as_json: AsJson = False) -> None:
    """The version of finagent and of Python."""
    import platform

    from finagent import __version__

    document = {"version": __version__, "python": platform.python_version()}
    answer(dict(document), as_json=as_json, render=_version)


def _version(document: object, page: Page) -> str:
    values = document if isinstance(document, dict) else {}
    return f"finagent {values['version']} (Python {values['python']})"
