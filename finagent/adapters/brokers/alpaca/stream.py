"""Alpaca's trade updates: what the broker tells by itself, and the signs that it still speaks to us."""

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidURI, WebSocketException

from finagent.adapters.brokers.alpaca.activities import execution_from
from finagent.adapters.brokers.alpaca.endpoint import Endpoint, Keys
from finagent.adapters.brokers.alpaca.numbers import BadAnswerError, Fields, at_ms, quantity_e4, words
from finagent.adapters.brokers.alpaca.orders import state_of
from finagent.adapters.brokers.alpaca.refusals import KEYS_MEND
from finagent.domain.orders import BrokerFill, BrokerUpdate
from finagent.ports import RetryError, StreamLostError

LOG = logging.getLogger(__name__)
MESSAGE_LIMIT = 1024 * 1024
OPENED_WITHIN_S = 10.0
PING_AFTER_S = 10.0
PONG_WITHIN_S = 10.0
MOST_REMEMBERED = 4_096
FILLS = ("fill", "partial_fill")
QUIET = ("new", "accepted", "pending_new", "canceled", "filled", *FILLS)
"""Events that say no more than the order's state."""

Span = tuple[int, int]
Name = Callable[[str], Awaitable[str]]


class AlpacaStream:
    """A broker stream port; ``name`` gives the client order id behind one of Alpaca's own ids.

    After ``ping_after_s`` without a message Alpaca is asked for a sign of life; without one within
    ``pong_within_s`` the stream is lost, although its connection may look open.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        keys: Keys,
        name: Name,
        *,
        ping_after_s: float = PING_AFTER_S,
        pong_within_s: float = PONG_WITHIN_S,
    ) -> None:
        self._endpoint, self._keys, self._name = endpoint, keys, name
        self._ping_after_s, self._pong_within_s = ping_after_s, pong_within_s

    async def updates(self) -> AsyncIterator[BrokerUpdate | None]:
        """Updates from now on; None once when Alpaca listens to us, and then as a sign of life."""
        try:
            async with connect(
                self._endpoint.stream_url,
                open_timeout=OPENED_WITHIN_S,
                close_timeout=1.0,
                ping_interval=None,
                max_size=MESSAGE_LIMIT,
                compression=None,
                proxy=None if self._endpoint.url.startswith("http://") else True,
            ) as socket:
                async with asyncio.timeout(OPENED_WITHIN_S):
                    await self._listen(socket)
                yield None
                seen = Spans()
                while True:
                    message = await self._next(socket)
                    if message is None or message.get("stream") != "trade_updates":
                        yield None
                    else:
                        yield await self._update(_object(message, "data"), seen)
        except (WebSocketException, InvalidHandshake, InvalidURI, OSError, TimeoutError) as error:
            raise StreamLostError(f"Alpaca's stream: {type(error).__name__} {error}".strip()) from error
        except (BadAnswerError, RetryError) as error:
            raise StreamLostError(f"Alpaca's stream tells what cannot be: {error}") from error

    async def _listen(self, socket: ClientConnection) -> None:
        """Say who we are and what we want to hear; both must be confirmed."""
        await socket.send(json.dumps({"action": "auth", "key": self._keys.key, "secret": self._keys.secret}))
        while True:
            message = await _received(socket)
            if message.get("stream") == "authorization":
                break
        status = _object(message, "data").get("status")
        if status != "authorized":
            raise StreamLostError(f"Alpaca's stream refuses the keys ({status}): {KEYS_MEND}")
        await socket.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        while True:
            message = await _received(socket)
            if message.get("stream") == "listening":
                break
        streams = _object(message, "data").get("streams")
        if not isinstance(streams, list) or "trade_updates" not in streams:
            raise StreamLostError(f"Alpaca's stream does not tell trade updates, only {streams!r}")

    async def _next(self, socket: ClientConnection) -> Mapping[str, object] | None:
        """The next message, or None for an answered ping."""
        try:
            async with asyncio.timeout(self._ping_after_s):
                return await _received(socket)
        except TimeoutError:
            pong = await socket.ping()
            async with asyncio.timeout(self._pong_within_s):
                await pong
            return None

    async def _update(self, data: Fields, seen: "Spans") -> BrokerUpdate:
        event, order = words(data, "event"), _object(data, "order")
        quantity = 0 if order.get("qty") is None else quantity_e4(order, "qty")
        state, reason = state_of(order, quantity, quantity_e4(order, "filled_qty"))
        if event not in QUIET and not reason:
            reason = event
        follower = order.get("replaced_by")
        name = words(order, "client_order_id")
        return BrokerUpdate(
            client_order_id=name,
            symbol=words(order, "symbol"),
            state=state,
            at_ms=at_ms(data, "timestamp") if data.get("timestamp") else at_ms(order, "updated_at"),
            fill=_fill(event, data, order, quantity, seen) if event in FILLS else None,
            reason=reason,
            replaced_by=await self._name(follower) if isinstance(follower, str) and follower else None,
        )


class Spans:
    """The parts of orders that were told as filled: an order's cumulative quantity before and after each execution."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, set[Span]] = OrderedDict()

    def add(self, order_id: str, span: Span) -> None:
        """Remember a part; BadAnswerError when it overlaps another one: then its figures are not its own.

        The same part again is the same execution, told twice.
        """
        told = self._told.setdefault(order_id, set())
        self._told.move_to_end(order_id)
        if span in told:
            return
        if any(before < span[1] and span[0] < after for before, after in told):
            raise BadAnswerError(f"the fill {span} of order {order_id} overlaps {sorted(told)}")
        told.add(span)
        if len(self._told) > MOST_REMEMBERED:
            self._told.popitem(last=False)


def _fill(event: str, data: Fields, order: Fields, quantity: int, seen: Spans) -> BrokerFill | None:
    """The execution of an event. Its key needs the order as it was right after it: an event whose order is already
    further on is not believed, the list of activities tells the same execution with its own figures.
    """
    fields = {
        "order_id": order.get("id"),
        "symbol": order.get("symbol"),
        "side": order.get("side"),
        "filled_qty": order.get("filled_qty"),
        **{name: data.get(name) for name in ("qty", "price", "timestamp")},
    }
    execution = execution_from(fields, cumulative="filled_qty")
    if quantity and (execution.after_e4 >= quantity) is not (event == "fill"):
        raise BadAnswerError(
            f"{event} of an order with {order.get('filled_qty')} of {order.get('qty')} filled"
        )
    seen.add(execution.order_id, (execution.before_e4, execution.after_e4))
    fill = execution.fill(words(order, "client_order_id"))
    return fill if fill.quantity_e4 else None


async def _received(socket: ClientConnection) -> Mapping[str, object]:
    """One message, from a text or a binary frame."""
    text = await socket.recv()
    try:
        message = json.loads(text, parse_float=str)
    except (ValueError, RecursionError):
        raise BadAnswerError(f"a message is no JSON: {text[:60]!r}") from None
    if not isinstance(message, dict):
        raise BadAnswerError(f"a message is no object: {text[:60]!r}")
    if message.get("action") == "error":
        raise BadAnswerError(f"it ends with {_object(message, 'data').get('error_message')!r}")
    return message


def _object(fields: Fields, name: str) -> Fields:
    value = fields.get(name)
    if not isinstance(value, dict):
        raise BadAnswerError(f"{name} is {value!r}, no object")
    return value
