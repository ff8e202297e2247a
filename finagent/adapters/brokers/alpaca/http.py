"""Requests to Alpaca: one total deadline and a size cap each; reads are tried a few times, a POST only once."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from finagent.adapters.brokers.alpaca.endpoint import Endpoint, Keys
from finagent.adapters.brokers.alpaca.refusals import access_error, is_access
from finagent.ports import Clock, OutcomeUnknownError, RetryError, Ticker
from finagent.runtime.failpoints import hit
from finagent.runtime.metrics import Metrics

VENDOR = "alpaca"
BODY_LIMIT = 4 * 1024 * 1024
LONGEST_WAIT_S = 5.0
LONGEST_ASKED_S = 60.0
FAILURES_THAT_OPEN = 5
BACKOFF_S = 0.25


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds for a whole request, and how often a read is tried."""

    write_s: float = 10.0
    read_s: float = 8.0
    attempts: int = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: its status and the JSON document, None when it was empty."""

    status: int
    document: object

    @property
    def body(self) -> Mapping[str, object]:
        """The document as an object; empty when it is none."""
        return self.document if isinstance(self.document, dict) else {}


USUAL_PATIENCE = Patience()


class NoAnswerError(Exception):
    """Nothing usable came back: time over, connection lost, too large, no JSON, 429 or 5xx."""

    def __init__(self, message: str, *, code: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s


class AlpacaHttp:
    """The connection pool to one endpoint with one account's keys."""

    def __init__(
        self,
        endpoint: Endpoint,
        keys: Keys,
        *,
        clock: Clock,
        ticker: Ticker,
        metrics: Metrics | None = None,
        patience: Patience = USUAL_PATIENCE,
    ) -> None:
        self._patience, self._clock, self._ticker, self._metrics = patience, clock, ticker, metrics
        self._failures = 0
        self._client = httpx.AsyncClient(
            base_url=endpoint.url,
            headers={
                "APCA-API-KEY-ID": keys.key,
                "APCA-API-SECRET-KEY": keys.secret,
                "Accept": "application/json",
                "Accept-Encoding": "identity",  # a small body must not unpack into a large one
            },
            timeout=httpx.Timeout(max(patience.write_s, patience.read_s)),
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=8, keepalive_expiry=30.0),
            follow_redirects=False,
            trust_env=endpoint.url.startswith("https"),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def read(self, endpoint: str, path: str, query: Mapping[str, str] | None = None) -> Answer:
        """GET; the answer may be a 404 or another 4xx.

        RetryError when nothing usable came in a bounded number of tries, BrokerAccessError for refused keys.
        """
        target = path if not query else f"{path}?{_encoded(query)}"
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(NoAnswerError),
            stop=stop_after_attempt(self._patience.attempts),
            wait=_wait_s,
            sleep=self._pause,
            reraise=True,
        )
        try:
            answer: Answer = await retrying(self._once, "GET", endpoint, target, None, self._patience.read_s)
        except NoAnswerError as error:
            raise RetryError(f"Alpaca, GET {path}: {error}", error.retry_after_s) from error
        if is_access(answer.status, answer.body):
            raise access_error(answer.status, answer.body)
        return answer

    async def write(self, method: str, endpoint: str, path: str, body: bytes | None = None) -> Answer:
        """POST, PATCH or DELETE, once; the answer is below 500.

        OutcomeUnknownError when nothing usable came back: the request may have been carried out or not.
        """
        hit("broker.before_write", (method,))
        try:
            answer = await self._once(method, endpoint, path, body, self._patience.write_s)
        except NoAnswerError as error:
            raise OutcomeUnknownError(f"Alpaca, {method} {path}: {error}") from error
        hit("broker.after_write", (method,))
        return answer

    async def _once(
        self, method: str, endpoint: str, target: str, body: bytes | None, deadline_s: float
    ) -> Answer:
        code = "error"
        try:
            async with asyncio.timeout(deadline_s):
                answer = await self._exchange(method, target, body)
            code = str(answer.status)
        except TimeoutError:
            code = "timeout"
            raise NoAnswerError(f"no whole answer within {deadline_s:g} s", code=code) from None
        except httpx.HTTPError as error:
            code = "lost"
            raise NoAnswerError(f"{type(error).__name__} {error}".strip(), code=code) from None
        except NoAnswerError as error:
            code = error.code
            raise
        finally:
            self._count(endpoint, code)
        return answer

    async def _exchange(self, method: str, target: str, body: bytes | None) -> Answer:
        headers = {} if body is None else {"Content-Type": "application/json"}
        async with self._client.stream(method, target, content=body, headers=headers) as response:
            text = await _capped(response)
        status = response.status_code
        if status == 429 or status >= 500:
            wait_s = self._asked_wait_s(response.headers.get("retry-after"))
            raise NoAnswerError(f"HTTP {status}", code=str(status), retry_after_s=wait_s)
        if 300 <= status < 400:
            raise NoAnswerError(f"HTTP {status} sends us elsewhere, which is not followed", code=str(status))
        return Answer(status, _document(text, status))

    async def _pause(self, seconds: float) -> None:
        if self._metrics is not None:
            self._metrics.api_retries_total.labels(vendor=VENDOR).inc()
        await self._ticker.sleep(seconds)

    def _asked_wait_s(self, given: str | None) -> float | None:
        """The wait of a Retry-After: seconds or a date, at least 0, at most a minute; None for anything else."""
        if given is None:
            return None
        text = given.strip()
        try:
            if text.lstrip("-").isascii() and text.lstrip("-").isdigit() and len(text) < 20:
                seconds = float(text)
            else:
                at = parsedate_to_datetime(text)
                at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
                now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
                seconds = (at - now).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
        return min(max(seconds, 0.0), LONGEST_ASKED_S)

    def _count(self, endpoint: str, code: str) -> None:
        is_answered = code.isdigit() and code != "429" and int(code) < 500
        self._failures = 0 if is_answered else self._failures + 1
        if self._metrics is not None:
            self._metrics.api_requests_total.labels(vendor=VENDOR, endpoint=endpoint, code=code).inc()
            is_open = self._failures >= FAILURES_THAT_OPEN
            self._metrics.circuit_state.labels(vendor=VENDOR).set(1 if is_open else 0)


async def _capped(response: httpx.Response) -> bytes:
    """The body, at most BODY_LIMIT of it."""
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > BODY_LIMIT:
            raise NoAnswerError(f"the body is larger than {BODY_LIMIT} bytes", code="too_large")
        parts.append(part)
    return b"".join(parts)


def _document(text: bytes, status: int) -> object:
    """The JSON of a body; its fractions stay texts, so that no float ever exists."""
    if not text.strip():
        return None
    try:
        return json.loads(text, parse_float=str, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        if status >= 400:
            return None  # a gateway's page: its status says enough
        raise NoAnswerError(
            f"HTTP {status} with a body that is no JSON: {text[:60]!r}", code="bad_json"
        ) from None


def _no_constant(name: str) -> object:
    raise ValueError(name)


def _wait_s(state: RetryCallState) -> float:
    """What the broker asked for, at most a few seconds; else a doubling pause."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after_s if isinstance(error, NoAnswerError) else None
    if asked is not None:
        return min(asked, LONGEST_WAIT_S)
    return min(BACKOFF_S * float(2 ** (state.attempt_number - 1)), LONGEST_WAIT_S)


def _encoded(query: Mapping[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
