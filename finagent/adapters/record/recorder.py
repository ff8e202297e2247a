"""The recorder: a service runs as ever, and what its ports answered goes into the commit of what it decided."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar, cast

from finagent.adapters.record.kinds import (
    FieldKind,
    Question,
    fields_of,
    function_answer,
    path_of,
    port_name,
    questions,
)
from finagent.domain.errors import DomainError
from finagent.domain.evidence import Evidence, EvidenceWriter, Raised, Read, canonical_text, text_hash
from finagent.domain.facts import Journalled, ScanRecorded
from finagent.domain.gap_evidence import needed, trimmed
from finagent.domain.journal import JsonData
from finagent.domain.market import MarketView
from finagent.domain.plain import plain
from finagent.ports import (
    DuplicateClientOrderIdError,
    Job,
    JobQueue,
    NewJob,
    OrderRejectedError,
    OutcomeUnknownError,
    RetryError,
    Tx,
)
from finagent.queue.errors import GuardFailedError

LOG = logging.getLogger(__name__)
S = TypeVar("S")
TOLD: tuple[type[Exception], ...] = (
    DomainError, OrderRejectedError, OutcomeUnknownError, DuplicateClientOrderIdError, RetryError,
)  # fmt: skip
"""Errors of ports that are answers: a service decides on them."""


class _Handler(Protocol):
    async def handle(self, job: Job, tx: Tx) -> None: ...


class _WatchedJob(Job):
    """The job as its handler sees it. How often it was tried is evidence for who asks, and only then."""

    __slots__ = ()

    @property
    def attempts(self) -> int:
        found = cast("int", tuple.__getitem__(self, _ATTEMPTS))
        _write(ATTEMPTS, (), {}, found)
        return found


ATTEMPTS = "Job.attempts"
COMMITS = "commits"
"""How many commits with facts the step had made before this one, where there were any."""
_ATTEMPTS = Job._fields.index("attempts")


@dataclass(slots=True)
class Recording:
    """What one step has asked so far."""

    call: dict[str, JsonData]
    reads: list[Read] = field(default_factory=list)
    commits: int = 0
    _kept: int = 0

    def committed(self) -> None:
        """Its buffer is on disk; a step that commits again goes on from here."""
        self.commits += 1
        self._kept = len(self.reads)
        self.call = {**self.call, COMMITS: self.commits}

    def refused(self) -> None:
        """A guard failed: whoever decides again reads everything again."""
        del self.reads[self._kept :]


_current: ContextVar[Recording | None] = ContextVar("finagent.recording", default=None)


def recorded(service: S, *, code: str) -> S:
    """The same service with its steps recorded; ``code`` names the program that decides.

    Every field of the service's dataclass is a port, a function, a value or a part made of these; TypeError where it
    is not. A step whose buffer holds facts gets its evidence; one that changes a fact without a journal row gets one.
    """
    return cast("S", _RecordedService(service, code))


class _RecordedService:
    """Looks like the service; each call of a coroutine method is a step of its own."""

    def __init__(self, service: object, code: str) -> None:
        values = canonical_text(values_of(service))
        self._head: dict[str, JsonData] = {
            "code": code,
            "service": path_of(type(service)),
            "values": text_hash(values),
        }
        self._values = (text_hash(values), values)
        self.unrecorded = service
        self._service = with_recorded_ports(service, self._seal)

    async def handle(self, job: Job, tx: Tx) -> None:
        """As the service's own, with the evidence put into the buffer."""
        call: dict[str, JsonData] = {"type": job.type, "payload": _payload(job.payload), "key": job.idem_key}
        with _recording(call) as recording:
            await cast("_Handler", self._service).handle(_WatchedJob(*job), tx)
        self._seal(recording, tx)

    def __getattr__(self, name: str) -> object:
        found = getattr(self._service, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def step(*args: object, **kwargs: object) -> object:
            call: dict[str, JsonData] = {"method": name, "args": said(args), "named": plain(kwargs)}
            with _recording(call) as recording:
                answer = await found(*args, **kwargs)
            for each in args:
                if isinstance(each, Tx):
                    self._seal(recording, each)  # whoever gave the buffer commits it
            return answer

        return step

    def _seal(self, recording: Recording, tx: Tx) -> None:
        """Give every journal row of the buffer what it rests on; what cannot be recorded stops no order."""
        if not tx.facts:
            return
        try:
            evidence = self._evidence(recording, tx)
        except (DomainError, TypeError, ValueError):
            LOG.exception("journal.no_evidence", extra={"step": recording.call})
            return
        rows = [place for place, fact in enumerate(tx.facts) if isinstance(fact, Journalled)]
        for place in rows:
            tx.facts[place] = replace(cast("Journalled", tx.facts[place]), evidence=evidence)
        if not rows:
            tx.put(unsaid(tx.facts, recording.call, evidence))

    def _evidence(self, recording: Recording, tx: Tx) -> Evidence:
        writer = EvidenceWriter()
        head = {
            **self._head,
            "call": recording.call,
            "reads": writer.reads(_needed(recording.reads, tx.facts)),
            **decided(writer, tx.facts, tx.jobs),
        }
        return writer.finish(head, self._values)


BUFFER = "the buffer"


def said(args: Sequence[object]) -> JsonData:
    """The arguments of a step as plain data; a buffer to fill is named."""
    return [BUFFER if isinstance(each, Tx) else plain(each) for each in args]


def decided(writer: EvidenceWriter, facts: Sequence[object], jobs: Sequence[NewJob]) -> dict[str, JsonData]:
    """What a step decided, as plain data; journal rows say for themselves what they hold."""
    told = [fact for fact in facts if not isinstance(fact, Journalled)]
    return {
        "facts": [[type(fact).__name__, writer.plain(_kept(fact))] for fact in told],
        "jobs": [_job(job) for job in jobs],
    }


def unsaid(facts: Sequence[object], call: Mapping[str, JsonData], evidence: Evidence) -> Journalled:
    """The row of a step that changes facts and says nothing of it."""
    ref = call.get("key", call.get("method"))
    names: list[JsonData] = [*sorted({type(fact).__name__ for fact in facts})]
    return Journalled(kind="state", ref=str(ref), data={"facts": names}, evidence=evidence)


def values_of(service: object) -> JsonData:
    """The values that a service decides with, part by part, as plain data."""
    found: dict[str, JsonData] = {}
    for name, (kind, _) in fields_of(cast("type", type(service))).items():
        value = getattr(service, name)
        if _is_part(kind, value):
            found[name] = {"part": path_of(type(value)), "values": values_of(value)}
        elif kind is FieldKind.VALUE:
            found[name] = plain(value)
    return found


def _is_part(kind: FieldKind, value: object) -> bool:
    """A part is a dataclass of the services' own, also where a port is asked for (risk is asked by others)."""
    return kind is FieldKind.PART or (
        kind is FieldKind.PORT and type(value).__module__.startswith("finagent.services.")
    )


def with_recorded_ports(service: object, seal: "Seal") -> object:
    """A copy of a service, and of its parts, that asks the same world through ports that listen."""
    changed: dict[str, object] = {}
    for name, (kind, hint) in fields_of(cast("type", type(service))).items():
        value = getattr(service, name)
        if _is_part(kind, value):
            changed[name] = with_recorded_ports(value, seal)
        elif kind is FieldKind.PORT:
            changed[name] = _RecordedPort(cast("type", hint), value, seal)
        elif kind is FieldKind.FUNCTION:
            changed[name] = _listening(name, function_answer(hint), _itself(value))
    return replace(cast("Recording", service), **changed)  # type: ignore[arg-type]  # any dataclass


Seal = Callable[[Recording, Tx], None]


class _RecordedPort:
    """A port that writes down what it answers while a step is under way; what has no plain form passes through."""

    def __init__(self, port: type, target: object, seal: Seal) -> None:
        self._target = target
        self._properties: dict[str, str] = {}
        for name, question in questions(port).items():
            if question.is_property:
                self._properties[name] = port_name(port, name)
            else:
                setattr(self, name, _listening(port_name(port, name), question, _method(target, name)))
        if port is JobQueue:
            self.commit = _sealing(cast("JobQueue", target), seal)

    def __getattr__(self, name: str) -> object:
        answer = getattr(self._target, name)
        if name in self._properties:
            _write(self._properties[name], (), {}, answer)
        return answer


def _method(target: object, name: str) -> "Found":
    """The method as it is when it is called."""
    return lambda: cast("Callable[..., object]", getattr(target, name))


def _itself(function: object) -> "Found":
    return lambda: cast("Callable[..., object]", function)


Found = Callable[[], Callable[..., object]]


def _listening(name: str, question: Question, find: Found) -> Callable[..., object]:
    if question.is_async:

        async def asked(*args: object, **kwargs: object) -> object:
            try:
                answer = await cast("Awaitable[object]", find()(*args, **kwargs))
            except TOLD as error:
                _write(name, args, kwargs, raised(error))
                raise
            _write(name, args, kwargs, answer)
            return answer

        return asked

    def asked_at_once(*args: object, **kwargs: object) -> object:
        try:
            answer = find()(*args, **kwargs)
        except TOLD as error:
            _write(name, args, kwargs, raised(error))
            raise
        _write(name, args, kwargs, answer)
        return answer

    return asked_at_once


def _sealing(queue: JobQueue, seal: Seal) -> Callable[[Tx], object]:
    async def commit(tx: Tx) -> None:
        recording = _current.get()
        if recording is None:
            await queue.commit(tx)
            return
        seal(recording, tx)
        try:
            await queue.commit(tx)
        except GuardFailedError:
            recording.refused()
            raise
        if tx.facts:
            recording.committed()

    return commit


@contextmanager
def _recording(call: dict[str, JsonData]) -> Iterator[Recording]:
    recording = Recording(call)
    token = _current.set(recording)
    try:
        yield recording
    finally:
        _current.reset(token)


def _write(name: str, args: Sequence[object], kwargs: Mapping[str, object], answer: object) -> None:
    recording = _current.get()
    if recording is not None:
        recording.reads.append(Read(name, arguments_of(args, kwargs), answer))


def arguments_of(args: Sequence[object], kwargs: Mapping[str, object]) -> JsonData:
    """The arguments of a question as plain data."""
    found = [plain(each) for each in args]
    return [*found, plain(kwargs)] if kwargs else found


def raised(error: Exception) -> Raised:
    """An error as an answer."""
    if isinstance(error, OrderRejectedError):
        return Raised(type(error).__name__, (error.reason, error.detail))
    if isinstance(error, RetryError):
        return Raised(RetryError.__name__, (str(error),))
    return Raised(type(error).__name__, (str(error),))


def _needed(reads: Sequence[Read], facts: Sequence[object]) -> Iterator[Read]:
    """The reads, the whole market's cut to what its scan can be decided with again."""
    scans = [fact.scan for fact in facts if isinstance(fact, ScanRecorded)]
    for read in reads:
        if isinstance(read.answer, MarketView) and scans:
            yield replace(read, answer=needed(read.answer, scans[0]))
        else:
            yield read


def _kept(fact: object) -> object:
    return replace(fact, scan=trimmed(fact.scan)) if isinstance(fact, ScanRecorded) else fact


def _payload(payload: Mapping[str, object]) -> JsonData:
    return plain(dict(payload))


def _job(job: NewJob) -> JsonData:
    told: dict[str, JsonData] = {"type": str(job.type), "payload": _payload(job.payload), "key": job.idem_key}
    for name, value in (
        ("serial", job.key), ("priority", job.priority), ("run_at_ms", job.run_at_ms),
        ("deadline_at_ms", job.deadline_at_ms),
    ):  # fmt: skip
        if value is not None:
            told[name] = value
    return told
