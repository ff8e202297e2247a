"""Evidence: the complete inputs of one step and all that it decided, so that it can be decided again."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from finagent.domain.errors import PlainDataError
from finagent.domain.journal import JsonData
from finagent.domain.plain import plain

APART = "#"
"""The one key of an object that stands for a text kept apart; its value is the hash."""
TEXTS = "texts"
"""Where a head lists the hashes of the texts that belong to it."""
MOST_ARGUMENT_CHARS = 120
_TEXT_OF = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


@dataclass(frozen=True, slots=True)
class Evidence:
    """Canonical texts by the SHA-256 of each; ``head`` is the one that lists what was asked and decided."""

    head: str
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Read:
    """One question to the world and its answer; ``arguments`` are plain data."""

    name: str
    arguments: JsonData
    answer: object


@dataclass(frozen=True, slots=True)
class Raised:
    """An answer that was an error: the name of its class and what it was made of."""

    name: str
    parts: tuple[str, ...]


def canonical_text(data: JsonData) -> str:
    """The one text of plain data: keys sorted, no spaces, ASCII only."""
    return _TEXT_OF(data)


def text_hash(text: str) -> str:
    """The name of a text: its SHA-256, 64 hex digits."""
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class EvidenceWriter:
    """Collects the texts of one step; long runs of bars become texts of their own, stored once however often used."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def keep(self, data: JsonData) -> str:
        """Keep plain data apart; gives the hash."""
        text = canonical_text(data)
        name = text_hash(text)
        self._texts[name] = text
        return name

    def plain(self, value: object) -> JsonData:
        """The plain data of a value; an error is told by its name."""
        if isinstance(value, Raised):
            return {"!": value.name, "parts": list(value.parts)}
        return plain(value, apart=lambda items: {APART: self.keep(items)})

    def reads(self, reads: Iterable[Read]) -> JsonData:
        """``[name, arguments, [answers]]`` for each question, in the order first asked.

        One that was always answered alike is listed once: whoever asks again is told the same again.
        """
        known: dict[int, JsonData] = {}
        asked: dict[tuple[str, str], tuple[JsonData, list[JsonData]]] = {}
        for read in reads:
            if id(read.answer) not in known:
                known[id(read.answer)] = self.plain(read.answer)
            text = canonical_text(read.arguments)
            arguments = _shortened(read.arguments, text)
            answers = asked.setdefault((read.name, text), (arguments, []))[1]
            answers.append(known[id(read.answer)])
        return [
            [name, arguments, answers[:1] if all(each == answers[0] for each in answers) else answers]
            for (name, _), (arguments, answers) in asked.items()
        ]

    def finish(self, head: Mapping[str, JsonData], *texts: tuple[str, str]) -> Evidence:
        """The evidence under its head, which lists every other text; ``texts`` were made before."""
        self._texts.update(texts)
        others: list[JsonData] = [*sorted(self._texts)]
        return Evidence(self.keep({**head, TEXTS: others}), self._texts)


def shortened(arguments: JsonData) -> JsonData:
    """Arguments as they are written down: long ones (a whole plan) by their hash alone."""
    return _shortened(arguments, canonical_text(arguments))


def _shortened(arguments: JsonData, text: str) -> JsonData:
    return arguments if len(text) <= MOST_ARGUMENT_CHARS else {"sha256": text_hash(text)}


def resolved(data: JsonData, fetch: Callable[[str], JsonData]) -> JsonData:
    """Plain data with what was kept apart put back in its place."""
    kind = type(data)  # quicker than isinstance, and data read from a text are of no other kinds
    if kind is dict:
        entries = cast("dict[str, JsonData]", data)
        if APART in entries and len(entries) == 1:
            name = entries[APART]
            if not isinstance(name, str):
                raise PlainDataError(f"{name!r} names no text")
            return resolved(fetch(name), fetch)
        return {key: resolved(each, fetch) for key, each in entries.items()}
    if kind is list or kind is tuple:
        return [resolved(each, fetch) for each in cast("Sequence[JsonData]", data)]
    return data
