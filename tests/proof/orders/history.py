"""What a broker may have done with one plan's orders, and the ways in which it may tell of it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from finagent.domain.broker_event import EventData, ended_key, ended_payload, fill_payload
from finagent.domain.legs import ENTRY, STOP, entry_intents, exit_intent, stop_intent
from finagent.domain.orders import BrokerFill, OrderIntent, OrderState, Scope
from finagent.domain.plan import ExitLeg, Plan
from tests.unit.domain.plan_builders import OPEN_MS, planned

SHARE = 10_000
SCOPE = Scope()


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to hear: a reply (``event`` None) or an event, with the key that makes it once."""

    key: str
    order_id: str
    event: EventData | None
    at_ms: int


@dataclass(slots=True)
class _Order:
    intent: OrderIntent
    filled_e4: int = 0
    is_over: bool = False


class History:
    """The truth of one plan at the broker, drawn by seed."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"history {seed}")
        plan = planned()
        assert isinstance(plan, Plan)
        half = tuple(
            ExitLeg(leg=f"target-{n}", share_e6=500_000, price_e4=1_000_000 + 30_000 * n) for n in (1, 2)
        )
        self.plan = replace(plan, quantity_e4=100 * SHARE, targets=half)
        self.is_attached = self._rng.random() < 0.3
        self.intents: list[OrderIntent] = []
        self.items: list[Item] = []
        self._now_ms = OPEN_MS + 60_000
        self._executions = 0
        self._held = 0
        self._tells_sums = self._rng.random() < 0.5
        self._draw()

    def tellings(self, count: int) -> list[list[Item]]:
        """The true order, then others with some things told two or three times.

        Separate exits are told in any order. Attached ones come from the venue in its own order, and again later.
        """
        told = [list(self.items)]
        for _ in range(count - 1):
            again = self._rng.choices(self.items, k=self._rng.randrange(len(self.items)))
            if self.is_attached:
                told.append([*self.items, *again])
            else:
                shuffled = [*self.items, *again]
                self._rng.shuffle(shuffled)
                told.append(shuffled)
        return told

    # ------------------------------------------------------------ what happened
    def _draw(self) -> None:
        intents = entry_intents(
            self.plan,
            100 * SHARE,
            scope=SCOPE,
            now_ms=0,
            time_to_live_ms=60_000,
            is_alone=not self.is_attached,
        )
        entry, *legs = [self._order(intent) for intent in intents]
        self._reply(entry)
        over = self._rng.random() < 0.15
        ending = self._rng.choice(("filled", "filled", "cancelled", "expired", "rejected"))
        target = 100 * SHARE if ending == "filled" else SHARE * self._rng.randrange(0, 100)
        if ending == "rejected":
            target = 0
        self._fill_in_parts(entry, target)
        if ending != "filled":
            self._end(entry, OrderState(ending), "by the broker")
        if over or (ending != "filled" and self._rng.random() < 0.25):
            self._fill(entry, SHARE * self._rng.randrange(1, 20))
        if self._held:
            self._leave(legs)

    def _leave(self, legs: Sequence[_Order]) -> None:
        """A stop replaced now and then, a target, an exit; each may fill in part, late, or beyond."""
        stop = next((leg for leg in legs if leg.intent.leg == STOP), None) or self._stop(1)
        self._reply(stop)
        for generation in range(2, 2 + self._rng.randrange(3)):
            if self._rng.random() < 0.4:
                self._fill_in_parts(stop, min(self._held, stop.intent.quantity_e4) // 3)
            self._end(stop, OrderState.CANCELLED, "replaced")
            if self._rng.random() < 0.15 and self._held:
                self._fill(stop, min(self._held, 3 * SHARE))
            if self._held <= 0:
                return
            stop = self._stop(generation)
            self._reply(stop)
        if self._rng.random() < 0.5 and self._held > 1:
            self._exit("target-1", 1, self._held // 2, legs)
        closes = self._rng.choice(("stop", "exit", "open"))
        if closes == "stop" and self._held > 0:
            self._fill_in_parts(stop, self._held)
        elif closes == "exit" and self._held > 0:
            self._end(stop, OrderState.CANCELLED, "")
            self._exit("exit", 1, self._held, legs)
        if self._rng.random() < 0.1 and self._held >= 0:
            self._fill(stop, SHARE * self._rng.randrange(1, 10))  # beyond what was held

    def _exit(self, leg: str, generation: int, quantity_e4: int, legs: Sequence[_Order]) -> None:
        known = next((each for each in legs if each.intent.leg == leg), None)
        order = known or self._order(
            exit_intent(
                self.plan, quantity_e4, generation=generation, reason="time", scope=SCOPE, now_ms=0, leg=leg
            )
        )
        self._reply(order)
        self._fill_in_parts(order, quantity_e4)

    def _stop(self, generation: int) -> _Order:
        stop_e4 = self.plan.stop_e4 + 1_000 * (generation - 1)
        return self._order(
            stop_intent(
                self.plan, max(self._held, SHARE), stop_e4, generation=generation, parent_id=None, scope=SCOPE,
                now_ms=0,
            )
        )  # fmt: skip

    def _order(self, intent: OrderIntent) -> _Order:
        used = {each.generation for each in self.intents if each.leg == intent.leg}
        assert intent.generation not in used
        self.intents.append(intent)
        return _Order(intent)

    # ------------------------------------------------------------ what is told
    def _reply(self, order: _Order) -> None:
        order_id = order.intent.client_order_id
        self.items.append(Item(f"{order_id}:accepted", order_id, None, self._tick()))

    def _fill_in_parts(self, order: _Order, quantity_e4: int) -> None:
        left = quantity_e4
        while left > 0:
            part = left if self._rng.random() < 0.4 else self._rng.randrange(1, left + 1)
            self._fill(order, part)
            left -= part

    def _fill(self, order: _Order, quantity_e4: int) -> None:
        self._executions += 1
        order.filled_e4 += quantity_e4
        self._held += quantity_e4 if order.intent.leg == ENTRY else -quantity_e4
        fill = BrokerFill(
            execution_id=f"x{self._executions:04d}",
            client_order_id=order.intent.client_order_id,
            symbol=self.plan.symbol,
            side=order.intent.side,
            quantity_e4=quantity_e4,
            price_e4=1_000_000 + self._rng.randrange(-20_000, 20_000),
            at_ms=self._tick(),
            fees_e8=self._rng.randrange(100_000_000),
        )
        self.items.append(Item(fill.execution_id, fill.client_order_id, fill_payload(fill), fill.at_ms))

    def _end(self, order: _Order, state: OrderState, reason: str) -> None:
        order.is_over = True
        if order.filled_e4 >= order.intent.quantity_e4:
            return
        order_id = order.intent.client_order_id
        filled_e4 = order.filled_e4 if self._tells_sums else None
        payload = ended_payload(order_id, state, reason, filled_e4=filled_e4)
        self.items.append(Item(ended_key(order_id, state), order_id, payload, self._tick()))

    def _tick(self) -> int:
        self._now_ms += self._rng.choice((0, 1, 250, 60_000))
        return self._now_ms
