"""Playback: a step decided again by the program as it is now, from what the journal kept of its inputs alone."""

import inspect
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol, cast, get_type_hints

from finagent.adapters.record.kinds import (
    FieldKind,
    Question,
    as_object,
    fields_of,
    function_answer,
    port_name,
    questions,
)
from finagent.adapters.record.recorder import ATTEMPTS, COMMITS, TOLD, arguments_of, decided, unsaid
from finagent.domain.errors import PlainDataError
from finagent.domain.evidence import Evidence, EvidenceWriter, canonical_text, resolved, shortened
from finagent.domain.facts import Journalled
from finagent.domain.journal import JsonData
from finagent.domain.plain import decoder
from finagent.domain.watch import watch_again
from finagent.ports import Job, JobQueue, Tx
from finagent.queue.job import JobStatus, JsonValue

Fetch = Callable[[str], JsonData]
"""Plain data of the text of a hash."""
SERVICES = "finagent.services."


class NotRecordedError(Exception):
    """The step asks something that is not among its inputs."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a step decided: its journal rows as (kind, ref, data), and facts and jobs as plain data."""

    rows: tuple[tuple[str, str, JsonData], ...]
    facts: JsonData
    jobs: JsonData


class _EnoughError(BaseException):
    """The commit whose decision was asked for is reached."""


class UnknownStepError(Exception):
    """This program has no such service, or reads its inputs in another form."""


def decide_again(head: Mapping[str, JsonData], fetch: Fetch) -> Decision:
    """Run the step of an evidence head again with ports that answer from it.

    NotRecordedError when it asks what was not asked then; UnknownStepError when this program cannot run it.
    """
    if "watch" in head:
        return _watched_again(head, fetch)
    answers = _Answers(as_list(head["reads"]), fetch)
    try:
        service = _built(str(head["service"]), as_object(fetch(str(head["values"]))), answers)
        call = as_object(head["call"])
        tx = _at_once(_called(service, call, answers))
    except PlainDataError as error:
        raise UnknownStepError(str(error)) from error
    if answers.missing:
        raise NotRecordedError(answers.missing[0])
    return _decision(tx, call)


def _watched_again(head: Mapping[str, JsonData], fetch: Fetch) -> Decision:
    try:
        due = watch_again(str(head["watch"]), resolved(head["inputs"], fetch))
    except PlainDataError as error:
        raise UnknownStepError(str(error)) from error
    if due is None:
        return Decision((), [], [])
    jobs = [job.told() for job in due.jobs]
    return Decision(((due.kind, due.ref, _as_read(due.data)),), [], _as_read(jobs))


def as_list(data: JsonData) -> list[JsonData]:
    """Plain data that must be a list; PlainDataError where they are not."""
    if not isinstance(data, list):
        raise PlainDataError(f"{data!r} is no list")
    return cast("list[JsonData]", data)


def _decision(tx: Tx, call: Mapping[str, JsonData]) -> Decision:
    told = decided(EvidenceWriter(), tx.facts, tx.jobs)
    rows = [fact for fact in tx.facts if isinstance(fact, Journalled)]
    if tx.facts and not rows:
        rows = [unsaid(tx.facts, call, Evidence("", {}))]
    return Decision(
        tuple((row.kind, row.ref, _as_read(row.data)) for row in rows),
        _as_read(told["facts"]),
        _as_read(told["jobs"]),
    )


def _as_read(data: JsonData) -> JsonData:
    """Plain data in the form they have once they were stored."""
    return cast("JsonData", json.loads(canonical_text(data)))


def _at_once(step: "Coroutine[object, None, Tx]") -> Tx:
    """Run a step whose every question is answered at once; NotRecordedError where it waits for anything else."""
    try:
        step.send(None)
    except StopIteration as end:
        return cast("Tx", end.value)
    step.close()
    raise NotRecordedError("it waits for something that is no port")


class _Handler(Protocol):
    async def handle(self, job: Job, tx: Tx) -> None: ...


async def _called(service: object, call: Mapping[str, JsonData], answers: "_Answers") -> Tx:
    """The step as it was called; gives what it put into its buffer."""
    if "method" not in call:
        tx = Tx()
        await cast("_Handler", service).handle(_job(call, answers), tx)
        return tx
    method = getattr(service, str(call["method"]), None)
    if method is None:
        raise UnknownStepError(f"{type(service).__name__} has no {call['method']}")
    hints = get_type_hints(method)
    names = list(inspect.signature(method).parameters)
    args = [
        answers.committed if hints[name] is Tx else decoder(hints[name])(each)
        for name, each in zip(names, as_list(call["args"]), strict=False)
    ]
    named = {name: decoder(hints[name])(each) for name, each in as_object(call["named"]).items()}
    answers.commits_before = int(str(call.get(COMMITS, 0)))
    with suppress(_EnoughError):  # what it does after its commit is not what it decided
        await method(*args, **named)
    return answers.committed


_ATTEMPTS = Question(ATTEMPTS, False, False, decoder(int))


def _job(call: Mapping[str, JsonData], answers: "_Answers") -> Job:
    """The job as its handler saw it: what it is for; how often it was tried where that was asked."""

    class Played(Job):
        __slots__ = ()

        @property
        def attempts(self) -> int:
            return cast("int", answers.give(ATTEMPTS, [], _ATTEMPTS))

    return Played(
        id=0, type=str(call["type"]), key=None,
        payload=cast("Mapping[str, JsonValue]", call["payload"]), payload_version=1,
        status=JobStatus.LEASED, priority=0, run_at_ms=0, deadline_at_ms=None, attempts=0, failures=0,
        max_attempts=0, lease=None, idem_key=str(call["key"]), trace_id=None, parent_id=None,
        created_at_ms=0, started_at_ms=None, finished_at_ms=None, error=None,
    )  # fmt: skip


@dataclass(slots=True)
class _Answers:
    """The answers by question, in the order they were given; the last one stands for all that follow."""

    reads: list[JsonData]
    fetch: Fetch
    missing: list[str] = field(default_factory=list)
    committed: Tx = field(default_factory=Tx)
    commits_before: int = 0
    _left: dict[tuple[str, str], list[JsonData]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for read in self.reads:
            name, arguments, answers = as_list(read)
            self._left[str(name), canonical_text(arguments)] = list(as_list(answers))

    def give(self, name: str, arguments: JsonData, question: Question) -> object:
        """The recorded answer; raises what was raised."""
        asked = canonical_text(shortened(arguments))
        left = self._left.get((name, asked))
        if not left:
            self.missing.append(f"{name}{asked} is not among the inputs")
            raise NotRecordedError(self.missing[-1])
        data = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(data, Mapping) and "!" in data:
            raise _error(str(data["!"]), [str(part) for part in as_list(data["parts"])])
        return question.answer(resolved(data, self.fetch))


def _error(name: str, parts: Sequence[str]) -> Exception:
    for kind in TOLD:
        for each in (kind, *kind.__subclasses__()):
            if each.__name__ == name:
                return each(*parts)
    raise UnknownStepError(f"this program has no {name}")


def _built(path: str, values: Mapping[str, JsonData], answers: _Answers) -> object:
    """A service, or a part of one, of its recorded values and of ports that answer from the record."""
    kind = _class(path)
    made: dict[str, object] = {}
    for name, (found, hint) in fields_of(kind).items():
        value = values.get(name)
        if isinstance(value, Mapping) and "part" in value:
            made[name] = _built(str(value["part"]), as_object(value["values"]), answers)
        elif found is FieldKind.PORT:
            made[name] = _PlayedPort(cast("type", hint), answers)
        elif found is FieldKind.FUNCTION:
            made[name] = _answering(name, function_answer(hint), answers)
        elif name in values:
            made[name] = decoder(hint)(value)
    try:
        return kind(**made)
    except TypeError as error:
        raise UnknownStepError(f"{path} is made of other values in this program: {error}") from error


def _class(path: str) -> type:
    module, _, name = path.partition(":")
    try:
        if not module.startswith(SERVICES):
            raise AttributeError(module)
        return cast("type", getattr(import_module(module), name))
    except (ImportError, AttributeError):
        raise UnknownStepError(f"this program has no service {path}") from None


class _PlayedPort:
    """A port that answers from the record; a queue takes the buffer of a step that commits by itself."""

    def __init__(self, port: type, answers: _Answers) -> None:
        self._port, self._answers = port, answers
        self._questions = questions(port)

    def __getattr__(self, name: str) -> object:
        question = self._questions.get(name)
        if question is not None and question.is_property:
            return self._answers.give(port_name(self._port, name), [], question)
        if question is not None:
            return _answering(port_name(self._port, name), question, self._answers)
        if self._port is JobQueue and name == "commit":
            return self._commit
        if self._port is JobQueue and name in ("publish", "publish_many"):
            return self._publish
        self._answers.missing.append(f"{port_name(self._port, name)} is not recorded")
        raise NotRecordedError(self._answers.missing[-1])

    async def _commit(self, tx: Tx) -> None:
        if not tx.facts:
            return
        if self._answers.commits_before > 0:
            self._answers.commits_before -= 1
            return
        self._answers.committed = tx
        raise _EnoughError

    async def _publish(self, _: object) -> None:
        """A job that follows a commit of its own decides nothing."""


def _answering(name: str, question: Question, answers: _Answers) -> Callable[..., object]:
    if question.is_async:

        async def answer(*args: object, **kwargs: object) -> object:
            return answers.give(name, arguments_of(args, kwargs), question)

        return answer
    return lambda *args, **kwargs: answers.give(name, arguments_of(args, kwargs), question)
