"""A broker of the outside world: its own state in its own file, told to nobody; it survives a SIGKILL of the agent."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from finagent.domain.market import Side
from finagent.domain.orders import (
    BrokerAccount,
    BrokerCapabilities,
    BrokerCashFlow,
    BrokerFill,
    BrokerOrder,
    BrokerPosition,
    OrderIntent,
    OrderState,
    OrderType,
)
from finagent.ports import (
    Clock,
    DuplicateClientOrderIdError,
    OrderRejectedError,
    OutcomeUnknownError,
    RetryError,
)

SCALE = 10_000


class OutsideBroker:
    """Fills market orders at once, keeps limits and stops; one id is one order for ever.

    ``refused`` is how many exits it refuses before it takes one, ``line`` what happens to the next
    exits on the wire (``request dropped``, ``reply lost``); ``before_submit`` is called with each body.
    """

    def __init__(self, path: Path, clock: Clock, *, price_e4: int = 100 * SCALE) -> None:
        self._path = path
        self._clock = clock
        self.price_e4 = price_e4
        self.refused = 0
        self.line: list[str] = []
        self.is_down = False
        self.before_submit: Callable[[OrderIntent], None] = lambda intent: None
        self.calls: list[str] = []
        stored = json.loads(path.read_text()) if path.exists() else {"orders": {}, "fills": [], "submits": []}
        self.orders_by_id: dict[str, dict[str, Any]] = stored["orders"]
        self.executions: list[dict[str, Any]] = stored["fills"]
        self.submits: list[str] = stored["submits"]

    capabilities = BrokerCapabilities(
        name="outside", has_attached_exits=True, has_fractions=False, has_shorts=True
    )

    async def submit(self, intents: Sequence[OrderIntent]) -> BrokerOrder:
        first = intents[0]
        self.before_submit(first)
        self.submits.append(first.client_order_id)
        if first.client_order_id in self.orders_by_id:
            self._save()
            raise DuplicateClientOrderIdError(first.client_order_id)
        fault = self.line.pop(0) if self.line and first.leg == "exit" else ""
        if fault == "request dropped":
            raise OutcomeUnknownError("timeout")
        if first.leg == "exit" and self.refused:
            self.refused -= 1
            self._save()
            raise OrderRejectedError("insufficient_qty", "held for orders")
        for intent in intents:
            self.orders_by_id[intent.client_order_id] = {
                "session": intent.plan_id, "symbol": intent.symbol, "side": intent.side.value,
                "type": intent.type.value, "quantity": intent.quantity_e4, "filled": 0,
                "state": "accepted", "at": self._clock.now_ms(),
            }  # fmt: skip
        if first.type is OrderType.MARKET:
            self._fill(first.client_order_id)
        self._save()
        if fault == "reply lost":
            raise OutcomeUnknownError("connection reset")
        return self._seen(first.client_order_id)

    def _fill(self, order_id: str) -> None:
        order = self.orders_by_id[order_id]
        order["filled"], order["state"] = order["quantity"], "filled"
        self.executions.append(
            {
                "execution_id": f"x{len(self.executions) + 1}",
                "client_order_id": order_id,
                "symbol": order["symbol"],
                "side": order["side"],
                "quantity_e4": order["quantity"],
                "price_e4": self.price_e4,
                "at_ms": self._clock.now_ms(),
            }
        )

    def hit(self, order_id: str) -> None:
        """A resting order fills, whoever looks."""
        self._fill(order_id)
        self._save()

    async def find(self, client_order_id: str) -> BrokerOrder | None:
        self._reached()
        return self._seen(client_order_id) if client_order_id in self.orders_by_id else None

    async def cancel(self, client_order_id: str) -> bool:
        self.calls.append(f"cancel {client_order_id}")
        order = self.orders_by_id.get(client_order_id)
        if order is None or order["state"] != "accepted":
            return False
        order["state"] = "cancelled"
        self._save()
        return True

    async def replace(self, client_order_id: str, *, new: OrderIntent) -> BrokerOrder:
        await self.cancel(client_order_id)
        return await self.submit([new])

    async def orders(self, *, session: str) -> Sequence[BrokerOrder]:
        return [self._seen(order_id) for order_id in self.orders_by_id]

    async def fills(self, *, session: str) -> Sequence[BrokerFill]:
        self._reached()
        return [BrokerFill(**{**each, "side": Side(each["side"])}) for each in self.executions]

    async def positions(self) -> Sequence[BrokerPosition]:
        held: dict[str, int] = {}
        for each in self.executions:
            sign = 1 if each["side"] == "buy" else -1
            held[each["symbol"]] = held.get(each["symbol"], 0) + sign * each["quantity_e4"]
        return [BrokerPosition(symbol=symbol, quantity_e4=n) for symbol, n in sorted(held.items()) if n]

    async def account(self) -> BrokerAccount:
        return BrokerAccount(
            currency="USD", cash_e8=0, equity_e8=0, buying_power_e8=0, last_equity_e8=100_000 * 10**8
        )

    async def cash_flows(self, *, session: str) -> list[BrokerCashFlow]:
        return []

    def _reached(self) -> None:
        if self.is_down:
            raise RetryError("the broker does not answer")

    def exits(self) -> list[str]:
        """Ids of the exits the broker has ever taken."""
        return [order_id for order_id in self.orders_by_id if "-exit-" in order_id]

    def _seen(self, order_id: str) -> BrokerOrder:
        order = self.orders_by_id[order_id]
        return BrokerOrder(
            client_order_id=order_id,
            symbol=order["symbol"],
            side=Side(order["side"]),
            type=OrderType(order["type"]),
            quantity_e4=order["quantity"],
            filled_e4=order["filled"],
            state=OrderState(order["state"]),
            accepted_at_ms=order["at"],
        )

    def _save(self) -> None:
        document = {"orders": self.orders_by_id, "fills": self.executions, "submits": self.submits}
        self._path.write_text(json.dumps(document))
