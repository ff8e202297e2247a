"""The verbs on one page, the global options, and how a call ends."""

import io
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from finagent.cli import (
    approvals,
    backtests,
    config,
    controls,
    data,
    database,
    day,
    drill,
    external,
    init,
    jobs,
    journal,
    limits,
    live,
    operations,
    optimizing,
    research,
    simulation,
    stressing,
    tickets,
    users,
)
from finagent.cli.failures import BROKEN_PIPE, INTERRUPTED, explain, show
from finagent.cli.invocation import HOME_VARIABLE, Invocation, default_home
from finagent.context import ExitCode
from finagent.runtime.files import keep_private

app = typer.Typer(
    name="finagent",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

VERBS: dict[str, Callable[..., None]] = {
    "init": init.init,
    "demo": operations.demo,
    "orchestrate": operations.orchestrate,
    "replay": operations.replay,
    "gaps": research.gaps,
    "stress": stressing.stress,
    "stats": research.stats,
    "parity": research.parity,
    "scan": day.scan,
    "plans": day.plans,
    "approve": approvals.approve,
    "reject": approvals.reject,
    "positions": day.positions,
    "orders": day.orders,
    "tickets": tickets.tickets,
    "trades": day.trades,
    "pnl": day.pnl,
    "risk": day.risk,
    "status": day.status,
    "pause": controls.pause,
    "resume": controls.resume,
    "flatten": controls.flatten,
    "kill": controls.kill,
    "rearm": controls.rearm,
    "lock": controls.lock,
    "unlock": controls.unlock,
    "doctor": operations.doctor,
    "sim": simulation.sim,
    "version": operations.version,
}
for _name, _verb in VERBS.items():
    app.command(_name)(_verb)
app.command("run", hidden=True, help="The same as orchestrate.")(operations.orchestrate)
app.add_typer(backtests.app, name="backtest")
app.add_typer(optimizing.app, name="optimize")
app.add_typer(tickets.app, name="fill")
app.add_typer(journal.app, name="journal")
app.add_typer(drill.app, name="drill")
app.add_typer(external.app, name="external")
app.add_typer(data.app, name="data")
app.add_typer(jobs.app, name="jobs")
app.add_typer(config.app, name="config")
app.add_typer(database.app, name="db")
app.add_typer(users.app, name="user")
app.add_typer(live.app, name="live")
app.add_typer(limits.app, name="limits")

WITH_VALUE = ("--home", "--config", "-c")
WITHOUT_VALUE = ("-v", "--verbose")


@app.callback()
def root(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option("--home", metavar="DIR", help=f"Where everything is kept [${HOME_VARIABLE} or ./var]."),
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("-c", "--config", metavar="FILE", help="Settings [settings.yaml].")
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show where a bug is.")] = False,
) -> None:
    """A one-day trading agent: scans gaps, plans, sizes, asks, trades once and is flat by the close.

    demo = a made-up market; replay = past sessions through the agent; backtest = research on rules;
    orchestrate = the agent itself.
    """
    if context.invoked_subcommand != "init":  # its settings hold no secret, and a container may read them
        keep_private()
    context.obj = Invocation(home if home is not None else default_home(), config_file, verbose)


def run(argv: Sequence[str]) -> int:
    """Carry out one command line and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no dash shows "?", not a traceback
    arguments = hoisted(argv)
    try:
        status = app(args=arguments, prog_name="finagent", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        _close_quietly()
        return BROKEN_PIPE
    except SystemExit as error:
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        _close_quietly()  # Typer ends with 1 where a verb's own write met the closed pipe
        return BROKEN_PIPE
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except typer.TyperException as error:
        if type(error).__name__ != "NoArgsIsHelpError":
            return _failed(error, arguments)
        print(error.format_message(), file=sys.stderr)
        return int(ExitCode.USAGE)
    except Exception as error:
        return _failed(error, arguments)
    return status if isinstance(status, int) else 0


def hoisted(argv: Sequence[str]) -> list[str]:
    """The arguments with global options first, so that they may also stand after the verb."""
    front: list[str] = []
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in WITH_VALUE:
            front += [word, *[value for value in [next(words, None)] if value is not None]]
        elif word in WITHOUT_VALUE or word.startswith(("--home=", "--config=")):
            front.append(word)
        else:
            rest.append(word)
    return front + rest


def typed_verb(arguments: Sequence[str]) -> str:
    """The command of a line as far as its words name one: ``finagent jobs show``."""
    command, path = typer.main.get_command(app), ["finagent"]
    words = iter(arguments)
    for word in words:
        if word in WITH_VALUE:
            next(words, None)
            continue
        found = getattr(command, "commands", {}).get(word)
        if found is not None:
            command, path = found, [*path, word]
    return " ".join(path)


def _failed(error: Exception, arguments: Sequence[str]) -> int:
    home = default_home()
    for option, value in itertools.pairwise(arguments):
        if option == "--home":
            home = Path(value)
    failure = explain(error, home, typed_verb(arguments))
    if failure.code == "unexpected" and any(flag in arguments for flag in WITHOUT_VALUE):
        import traceback

        traceback.print_exception(error)
    try:
        show(failure, as_json="--json" in arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _close_quietly()
    return failure.exit_code


def _close_quietly() -> None:
    """Point stdout at nothing, so that the interpreter's last flush does not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
