"""Alpaca's REST routes over the simulated broker."""

from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import unquote

from finagent.simulation.alpaca import documents
from finagent.simulation.alpaca.book import Order
from finagent.simulation.alpaca.hours import local_date, local_ms, local_stamp, stamp
from finagent.simulation.alpaca.rules import NOT_FOUND, UNPROCESSABLE, RefusedError
from finagent.simulation.alpaca.venue import Venue
from finagent.simulation.alpaca.wire import Reply, Request, reply

MOST_ORDERS, USUAL_ORDERS, MOST_ACTIVITIES = 500, 50, 100


class Rest:
    """Answers the requests of a client that is known."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self.is_positions_empty = False

    def answer(self, request: Request) -> Reply:
        """The answer to one request."""
        try:
            return self._routed(request)
        except RefusedError as refusal:
            return reply(refusal.document(), refusal.status)

    def _routed(self, request: Request) -> Reply:
        path = request.path.rstrip("/")
        plain: dict[tuple[str, str], Callable[[Request], Reply]] = {
            ("POST", "/v2/orders"): self._submit,
            ("GET", "/v2/orders"): self._orders,
            ("GET", "/v2/orders:by_client_order_id"): self._by_client_id,
            ("GET", "/v2/positions"): self._positions,
            ("GET", "/v2/account"): self._account,
            ("GET", "/v2/clock"): self._clock,
            ("GET", "/v2/calendar"): self._calendar,
            ("GET", "/v2/account/activities"): self._activities,
        }
        found = plain.get((request.method, path))
        if found is not None:
            return found(request)
        folder, _, name = path.rpartition("/")
        name = unquote(name)
        if folder == "/v2/orders" and request.method in ("GET", "PATCH", "DELETE"):
            return self._one_order(request, name)
        if folder == "/v2/assets" and request.method == "GET":
            return self._asset(name)
        if folder == "/v2/account/activities" and request.method == "GET":
            return self._activities(request, kind=name)
        return reply({"code": NOT_FOUND, "message": "endpoint not found."}, 404)

    def _submit(self, request: Request) -> Reply:
        return reply(documents.order_document(self._venue.submit(request.json())))

    def _one_order(self, request: Request, order_id: str) -> Reply:
        if request.method == "PATCH":
            return reply(documents.order_document(self._venue.change(order_id, request.json())))
        if request.method == "DELETE":
            self._venue.cancel(order_id)
            return Reply(status=204)
        order = self._venue.book.orders.get(order_id)
        if order is None or order.is_hidden:
            raise RefusedError(404, NOT_FOUND, f"order not found for {order_id}")
        return reply(documents.order_document(order))

    def _by_client_id(self, request: Request) -> Reply:
        name = request.query.get("client_order_id", "")
        order = self._venue.book.by_client_id(name)
        if order is None or order.is_hidden:
            raise RefusedError(404, NOT_FOUND, f"order not found for {name}")
        return reply(documents.order_document(order))

    def _orders(self, request: Request) -> Reply:
        query = request.query
        status, limit = query.get("status", "open"), int(query.get("limit", USUAL_ORDERS))
        if limit > MOST_ORDERS:
            raise RefusedError(422, UNPROCESSABLE, f"limit must be at most {MOST_ORDERS}")
        after, until = _instant(query, "after"), _instant(query, "until")
        symbols = query["symbols"].split(",") if query.get("symbols") else None
        found = [o for o in self._venue.book.orders.values() if not o.is_hidden and _has(o, status)]
        found = [o for o in found if symbols is None or o.symbol in symbols]
        found = [o for o in found if after is None or o.submitted_ms > after]
        found = [o for o in found if until is None or o.submitted_ms < until]
        if query.get("direction", "desc") == "desc":
            found.reverse()
        return reply([documents.order_document(o) for o in found[:limit]])

    def _positions(self, request: Request) -> Reply:
        book = self._venue.book
        if self.is_positions_empty:
            return reply([])
        return reply(
            [
                documents.position_document(
                    holding,
                    book.assets[symbol],
                    abs(holding.qty) - book.held_for_orders(symbol, "sell" if holding.qty > 0 else "buy"),
                )
                for symbol, holding in sorted(book.holdings.items())
            ]
        )

    def _account(self, request: Request) -> Reply:
        return reply(documents.account_document(self._venue.book))

    def _asset(self, symbol: str) -> Reply:
        asset = self._venue.book.assets.get(symbol)
        if asset is None:
            raise RefusedError(404, NOT_FOUND, f"asset not found for {symbol}")
        return reply(documents.asset_document(asset))

    def _clock(self, request: Request) -> Reply:
        now_ms, hours = self._venue.clock.now_ms(), self._venue.hours
        return reply(
            {
                "timestamp": stamp(now_ms),
                "is_open": hours.is_open(now_ms),
                "next_open": local_stamp(hours.next_open_ms(now_ms)),
                "next_close": local_stamp(hours.next_close_ms(now_ms)),
            }
        )

    def _calendar(self, request: Request) -> Reply:
        today = local_date(self._venue.clock.now_ms())
        first, last = request.query.get("start", today), request.query.get("end", today)
        return reply([documents.day_document(day) for day in self._venue.hours.between(first, last)])

    def _activities(self, request: Request, kind: str | None = None) -> Reply:
        query, book = request.query, self._venue.book
        size = min(int(query.get("page_size", MOST_ACTIVITIES)), MOST_ACTIVITIES)
        after, until = _instant(query, "after"), _instant(query, "until")
        category = query.get("category")
        rows: list[tuple[int, str, str, documents.Document]] = []
        if category != "non_trade_activity":
            rows += [(f.at_ms, f.activity, "FILL", documents.fill_document(f)) for f in book.fills]
        if category != "trade_activity":
            rows += [
                (c.at_ms, c.activity, c.activity_type, documents.cash_document(c))
                for c in book.cash_activities
            ]
        rows = [row for row in rows if kind is None or row[2] == kind]
        rows = [row for row in rows if after is None or row[0] > after]
        rows = [row for row in rows if until is None or row[0] < until]
        rows.sort(key=lambda row: row[:2], reverse=query.get("direction", "desc") == "desc")
        token = query.get("page_token")
        if token is not None:
            ids = [row[1] for row in rows]
            rows = rows[ids.index(token) + 1 :] if token in ids else []
        return reply([row[3] for row in rows[:size]])


def _has(order: Order, status: str) -> bool:
    return status == "all" or (order.is_live if status == "open" else not order.is_live)


def _instant(query: Mapping[str, str], name: str) -> int | None:
    given = query.get(name)
    if not given:
        return None
    try:
        if len(given) == 10:
            return local_ms(given, "00:00")
        return round(datetime.fromisoformat(given.replace("Z", "+00:00")).timestamp() * 1000)
    except ValueError:
        raise RefusedError(422, UNPROCESSABLE, f"invalid {name}") from None
