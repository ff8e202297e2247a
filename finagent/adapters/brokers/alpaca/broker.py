"""Alpaca behind the broker port."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import quote
from zoneinfo import ZoneInfo

from finagent.adapters.brokers.alpaca.account import account_from, position_from
from finagent.adapters.brokers.alpaca.activities import cash_flow_from, execution_from
from finagent.adapters.brokers.alpaca.answers import asked, object_of, reading, rows_of
from finagent.adapters.brokers.alpaca.http import AlpacaHttp, Answer
from finagent.adapters.brokers.alpaca.numbers import BadAnswerError, Fields, at_ms, instant_text, words
from finagent.adapters.brokers.alpaca.orders import order_from, replace_body, submit_body
from finagent.adapters.brokers.alpaca.refusals import refusal
from finagent.domain.market import Session
from finagent.domain.orders import (
    BrokerAccount,
    BrokerCapabilities,
    BrokerCashFlow,
    BrokerFill,
    BrokerOrder,
    BrokerPosition,
    OrderIntent,
)
from finagent.ports import OrderRejectedError, OutcomeUnknownError, RetryError

LOG = logging.getLogger(__name__)
ZONE = ZoneInfo("America/New_York")
CAPABILITIES = BrokerCapabilities(
    name="alpaca", has_attached_exits=False, has_fractions=True, has_shorts=True, has_opposite_orders=False
)
PAGE, ACTIVITY_PAGE = 500, 100
MOST_PAGES = 200
ORDERS, ACTIVITIES = "orders", "activities"


class Sessions(Protocol):
    """When the exchange trades; the calendar port fits."""

    def session(self, date: str) -> Session | None: ...


class AlpacaBroker:
    """An order execution port on Alpaca's REST API; one order is one POST, and its fate is found by our own id."""

    def __init__(self, http: AlpacaHttp, *, calendar: Sessions) -> None:
        self._http, self._calendar = http, calendar

    @property
    def capabilities(self) -> BrokerCapabilities:
        """Separate exits, since bracket legs arm only when the entry has filled completely, and one side at a time.

        Alpaca refuses a stop as a potential wash trade while a market or limit order of the other side still works.
        """
        return CAPABILITIES

    async def submit(self, intents: Sequence[OrderIntent]) -> BrokerOrder:
        if not intents:
            raise ValueError("nothing to submit: give the order")
        intent = intents[0]
        if len(intents) > 1 or intent.parent_id is not None:
            raise OrderRejectedError("attached_exits", "exits are sent as orders of their own to this broker")
        answer = await self._http.write("POST", ORDERS, "/v2/orders", submit_body(intent))
        return self._accepted(answer, intent, "POST /v2/orders")

    async def find(self, client_order_id: str) -> BrokerOrder | None:
        fields = await self._fields_of(client_order_id)
        return None if fields is None else await self._order(fields)

    async def cancel(self, client_order_id: str) -> bool:
        """Ask for the end of an order; True says that the request was taken, ``find`` says when it has ended.

        RetryError when the answer did not come: asking again does no harm.
        """
        fields = await self._fields_of(client_order_id)
        if fields is None:
            return False
        with reading("an order"):
            path = _path(words(fields, "id"))
        try:
            answer = await self._http.write("DELETE", ORDERS, path)
        except OutcomeUnknownError as error:
            raise RetryError(str(error)) from error
        if answer.status in (200, 204, 207):
            return True
        refused = refusal(answer.status, answer.body)
        if isinstance(refused, OrderRejectedError):
            return False
        raise refused if isinstance(refused, RetryError) else RetryError(str(refused))

    async def replace(self, client_order_id: str, *, new: OrderIntent) -> BrokerOrder:
        fields = await self._fields_of(client_order_id)
        if fields is None:
            raise OrderRejectedError("unknown_order", client_order_id)
        with reading("an order"):
            path = _path(words(fields, "id"))
        answer = await self._http.write("PATCH", ORDERS, path, replace_body(new))
        return self._accepted(answer, new, "PATCH /v2/orders")

    async def orders(self, *, session: str) -> Sequence[BrokerOrder]:
        """All orders submitted on the session's date in New York, in the order they were submitted."""
        first_ms, end_ms = _day_ms(session)
        found = await self._orders_between(first_ms, end_ms)
        with reading("an order"):
            names = {words(each, "id"): words(each, "client_order_id") for each in found}
            return [await self._order(each, names) for each in found]

    async def fills(self, *, session: str) -> Sequence[BrokerFill]:
        """All executions on the session's date in New York, oldest first."""
        first_ms, end_ms = _day_ms(session)
        rows = await self._activities("/v2/account/activities/FILL", {}, first_ms, end_ms)
        with reading("a fill"):
            executions = [execution_from(row, cumulative="cum_qty") for row in rows if _is_traded(row)]
            names = {
                words(each, "id"): words(each, "client_order_id")
                for each in (await self._orders_between(first_ms, end_ms) if executions else ())
            }
            found = [each.fill(await self._name(each.order_id, names)) for each in executions]
        told = {
            fill.execution_id: fill for fill in found if first_ms <= fill.at_ms < end_ms and fill.quantity_e4
        }
        return sorted(told.values(), key=lambda fill: (fill.at_ms, fill.client_order_id))

    async def positions(self) -> Sequence[BrokerPosition]:
        answer = await asked(self._http, "positions", "/v2/positions")
        with reading("a position"):
            return [position_from(row) for row in rows_of(answer, "/v2/positions")]

    async def account(self) -> BrokerAccount:
        answer = await asked(self._http, "account", "/v2/account")
        with reading("the account"):
            return account_from(answer.body)

    async def cash_flows(self, *, session: str) -> Sequence[BrokerCashFlow]:
        day = self._calendar.session(session)
        before = None if day is None else self._calendar.session(day.previous)
        if day is None or before is None:
            return ()
        query = {"category": "non_trade_activity"}
        rows = await self._activities("/v2/account/activities", query, before.close_ms, day.close_ms)
        with reading("a cash flow"):
            flows = [
                cash_flow_from(row)
                for row in rows
                if row.get("activity_type") != "FILL" and row.get("net_amount") not in (None, "", "0")
            ]
        return sorted(
            (flow for flow in flows if before.close_ms < flow.at_ms <= day.close_ms),
            key=lambda flow: (flow.at_ms, flow.flow_id),
        )

    async def name_of(self, order_id: str) -> str:
        """The client order id behind one of Alpaca's own ids."""
        return await self._name(order_id, {})

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    # ------------------------------------------------------------ reading

    async def _fields_of(self, client_order_id: str) -> Fields | None:
        query = {"client_order_id": client_order_id}
        answer = await self._http.read(ORDERS, "/v2/orders:by_client_order_id", query)
        if answer.status == 404:
            return None
        fields = object_of(answer, "GET /v2/orders:by_client_order_id")
        if fields.get("client_order_id") != client_order_id:
            raise RetryError(
                f"Alpaca shows {fields.get('client_order_id')!r} when asked for {client_order_id}"
            )
        return fields

    async def _order(self, fields: Fields, names: dict[str, str] | None = None) -> BrokerOrder:
        follower = fields.get("replaced_by")
        name = await self._name(follower, names or {}) if isinstance(follower, str) and follower else None
        with reading("an order"):
            return order_from(fields, replaced_by=name)

    async def _name(self, order_id: str, names: dict[str, str]) -> str:
        """The client order id of one of Alpaca's own."""
        if order_id not in names:
            answer = await asked(self._http, ORDERS, _path(order_id))
            with reading("an order"):
                names[order_id] = words(answer.body, "client_order_id")
        return names[order_id]

    async def _orders_between(self, first_ms: int, end_ms: int) -> list[Fields]:
        """Every order submitted in [first, end): pages overlap by a millisecond, since many orders may share one."""
        found: dict[str, Fields] = {}
        after_ms = first_ms - 1
        for _ in range(MOST_PAGES):
            query = {
                "status": "all",
                "limit": str(PAGE),
                "direction": "asc",
                "nested": "false",
                "after": instant_text(after_ms),
                "until": instant_text(end_ms),
            }
            rows = rows_of(await asked(self._http, ORDERS, "/v2/orders", query), "/v2/orders")
            with reading("an order"):
                page = {words(row, "id"): row for row in rows}
            is_new = not page.keys() <= found.keys()
            found.update(page)
            if len(rows) < PAGE:
                return list(found.values())
            if not is_new:
                break
            with reading("an order"):
                after_ms = at_ms(rows[-1], "submitted_at") - 1
        raise RetryError(f"Alpaca's list of orders has no end after {len(found)}")

    async def _activities(
        self, path: str, query: Mapping[str, str], after_ms: int, until_ms: int
    ) -> list[Fields]:
        found: list[Fields] = []
        token: str | None = None
        seen: set[str] = set()
        for _ in range(MOST_PAGES):
            parameters = {
                **query,
                "after": instant_text(after_ms - 1),
                "until": instant_text(until_ms + 1),
                "direction": "asc",
                "page_size": str(ACTIVITY_PAGE),
                **({} if token is None else {"page_token": token}),
            }
            rows = rows_of(await asked(self._http, ACTIVITIES, path, parameters), path)
            with reading("an activity"):
                fresh = [row for row in rows if words(row, "id") not in seen]
                seen |= {words(row, "id") for row in fresh}
            found += fresh
            if len(rows) < ACTIVITY_PAGE:
                return found
            if not fresh:
                break
            token = str(rows[-1]["id"])
        raise RetryError(f"Alpaca's list of activities has no end after {len(found)}")

    def _accepted(self, answer: Answer, intent: OrderIntent, what: str) -> BrokerOrder:
        """The order behind a 200; anything else as its error."""
        if answer.status not in (200, 201):
            raise refusal(answer.status, answer.body)
        try:
            order = order_from(answer.body)
        except BadAnswerError as error:
            raise OutcomeUnknownError(f"Alpaca, {what}: {error}") from error
        if order.client_order_id != intent.client_order_id:
            raise OutcomeUnknownError(
                f"Alpaca, {what}: answers with {order.client_order_id}, not {intent.client_order_id}"
            )
        return order


def _is_traded(row: Fields) -> bool:
    """Whether an activity of type FILL is an execution; a bust or correction is left to the reconciliation."""
    kind = row.get("type")
    if kind in ("fill", "partial_fill", None):
        return True
    LOG.error("alpaca.activity_unknown", extra={"kind": str(kind), "activity": str(row.get("id"))})
    return False


def _path(order_id: str) -> str:
    return f"/v2/orders/{quote(order_id, safe='')}"


def _day_ms(date: str) -> tuple[int, int]:
    """A date's first and last instant in New York, the last one excluded."""
    first = datetime.fromisoformat(date).replace(tzinfo=ZONE)
    end = (datetime.fromisoformat(date) + timedelta(days=1)).replace(tzinfo=ZONE)
    return int(first.timestamp()) * 1000, int(end.timestamp()) * 1000
