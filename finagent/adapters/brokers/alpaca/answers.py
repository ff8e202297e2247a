"""Answers to reads: asked for, checked for their shape, and refused where they cannot be true."""

import contextlib
from collections.abc import Iterator, Mapping

from finagent.adapters.brokers.alpaca.http import AlpacaHttp, Answer
from finagent.adapters.brokers.alpaca.numbers import BadAnswerError, Fields
from finagent.ports import RetryError


async def asked(http: AlpacaHttp, endpoint: str, path: str, query: Mapping[str, str] | None = None) -> Answer:
    """The answer to a GET that must succeed; RetryError with Alpaca's own words when it does not."""
    answer = await http.read(endpoint, path, query)
    if answer.status != 200:
        said = answer.body.get("message") or "no reason given"
        raise RetryError(f"Alpaca, GET {path}: HTTP {answer.status}, {said}")
    return answer


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """An answer that cannot be true is not acted upon: RetryError, with the field and the value seen."""
    try:
        yield
    except BadAnswerError as error:
        raise RetryError(f"Alpaca shows {what} that cannot be: {error}") from error


def object_of(answer: Answer, what: str) -> Fields:
    """The object of an answer."""
    if answer.status != 200 or not isinstance(answer.document, dict):
        raise RetryError(f"Alpaca, {what}: HTTP {answer.status}, {answer.body.get('message') or 'no object'}")
    return answer.body


def rows_of(answer: Answer, path: str) -> list[Fields]:
    """The objects of a list."""
    document = answer.document
    if not isinstance(document, list) or not all(isinstance(row, dict) for row in document):
        raise RetryError(f"Alpaca, GET {path}: no list of objects came back")
    return document
