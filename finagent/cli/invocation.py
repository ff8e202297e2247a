"""One call of the command line: where its home and settings are, and how it reads, acts and answers."""

import json
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from finagent.cli.failures import usage
from finagent.cli.page import Page
from finagent.context import ApplicationContext, Commands, Document, SurfaceError, Views

if TYPE_CHECKING:
    from finagent.cli.agent import RunningAgent
    from finagent.context import CommandResult, Json
    from finagent.settings import Settings

T = TypeVar("T")
HOME_VARIABLE = "FINAGENT_HOME"
DEFAULT_HOME = "var"


@dataclass(frozen=True, slots=True)
class Invocation:
    """The global options of one call."""

    home: Path
    config: Path | None
    is_verbose: bool = False

    def settings(self) -> "Settings":
        """Settings of the file and the environment; SettingsError when they are wrong."""
        from finagent.settings import load_settings

        return load_settings(self.config)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A writing verb: the same command over HTTP where an agent runs, else by this process."""

    path: str
    body: "dict[str, Json]"
    carry_out: "Callable[[Commands], Awaitable[CommandResult]]"


def default_home() -> Path:
    """``$FINAGENT_HOME`` or ``./var``."""
    return Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME)


def invocation(context: typer.Context) -> Invocation:
    """The call that a command belongs to."""
    found = context.find_object(Invocation)
    return found if found is not None else Invocation(default_home(), None)


def wait_for(work: Coroutine[None, None, T]) -> T:
    """Run a coroutine to its end."""
    import asyncio

    return asyncio.run(work)


def read(
    call: Invocation, question: Callable[[Views], Awaitable[Document]], *, run: str | None = None
) -> Document:
    """Ask the views of the home (or of one run); works beside a running agent."""

    async def ask() -> Document:
        from finagent.bootstrap import open_reader

        async with open_reader(call.settings(), call.home, run) as context:
            return await question(context.views)

    return wait_for(ask())


def act(call: Invocation, action: Action) -> "CommandResult":
    """Carry out an action; SurfaceError with the command's code and exit status where it was not done."""
    from finagent.cli.agent import find_agent

    agent = find_agent(call.home)
    result = _ask(call, agent, action) if agent is not None else wait_for(_act_here(call, action))
    if not result.is_done:
        hint = result.data.get("hint")
        raise SurfaceError(
            result.message,
            hint=hint if isinstance(hint, str) else "",
            code=result.code,
            exit_code=result.exit_code,
        )
    return result


def act_each(call: Invocation, actions: Sequence[Action]) -> "list[CommandResult]":
    """Carry out actions one by one; one that fails stops no other and is a result with its code and hint.

    SurfaceError where none can be carried out: no database, or an agent that does not answer.
    """
    from finagent.cli.agent import find_agent

    agent = find_agent(call.home)
    if agent is None:
        return wait_for(_act_each_here(call, actions))
    return [_ask(call, agent, action) for action in actions]


async def _act_each_here(call: Invocation, actions: Sequence[Action]) -> "list[CommandResult]":
    from finagent.bootstrap import open_local
    from finagent.context import CommandResult

    results = []
    async with open_local(call.settings(), call.home) as context:
        for action in actions:
            try:
                results.append(await action.carry_out(_commands(context, call)))
            except SurfaceError as error:
                results.append(
                    CommandResult(
                        code=error.code,
                        message=error.message,
                        exit_code=error.exit_code,
                        data={"hint": error.hint},
                    )
                )
    return results


def _ask(call: Invocation, agent: "RunningAgent", action: Action) -> "CommandResult":
    """Over HTTP; an order to stop that gets no answer is left as a flag file, which the agent obeys when it can."""
    from finagent.cli.agent import STOPPING, leave_flag, post

    try:
        return post(agent, action.path, action.body)
    except SurfaceError as error:
        verb = action.path.partition("control/")[2]
        if error.code != "agent_unreachable" or verb not in STOPPING:
            raise
        leave_flag(call.home, verb, action.body)
        raise SurfaceError(
            error.message,
            hint=f"The order to {verb} lies in {call.home / 'flags'}: it is obeyed as soon as the agent can",
            code=error.code,
            exit_code=error.exit_code,
        ) from None


async def _act_here(call: Invocation, action: Action) -> "CommandResult":
    from finagent.bootstrap import open_local

    async with open_local(call.settings(), call.home) as context:
        return await action.carry_out(_commands(context, call))


def _commands(context: ApplicationContext, call: Invocation) -> Commands:
    if context.commands is None:
        raise SurfaceError(
            f"{call.home} can only be read here", hint="Start the agent, or mend its permissions"
        )
    return context.commands


def identity() -> str:
    """Who gives the command: the user of this process."""
    import getpass

    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return f"cli:{os.getuid()}"


def confirm(question: str, *, is_sure: bool, verb: str) -> None:
    """Ask before something dangerous; without a terminal only ``--yes`` will do."""
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise usage(f"{verb} asks first and there is no terminal to ask at", "Add --yes", code="needs_yes")
    if not typer.confirm(question, default=False, err=True):
        raise SurfaceError(f"{verb} was not confirmed; nothing was done", code="not_confirmed")


def answer(document: Document, *, as_json: bool, render: Callable[[Document, Page], str]) -> None:
    """Write the one answer of a reading verb on stdout."""
    if as_json:
        print(json.dumps(document, ensure_ascii=False))
        return
    print(render(document, Page.of(sys.stdout)))


def answer_result(result: "CommandResult", *, as_json: bool) -> None:
    """Write what a writing verb did."""
    if as_json:
        print(
            json.dumps(
                {"code": result.code, "message": result.message, "data": dict(result.data)},
                ensure_ascii=False,
            )
        )
        return
    print(result.message)


def answer_intent(verb: str, effect: str, details: Document, *, as_json: bool) -> None:
    """Write what a writing verb would do."""
    if as_json:
        print(
            json.dumps(
                {"code": "dry_run", "message": f"{verb}: would {effect}", "data": details}, ensure_ascii=False
            )
        )
        return
    print(f"{verb}: would {effect}. Nothing was done (--dry-run).")


def tell(words: str) -> None:
    """A line for the person that watches, beside the answer."""
    print(words, file=sys.stderr, flush=True)
