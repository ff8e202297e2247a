"""What befalls a session by the clock: outages, halts, a machine that sleeps, a person in the broker's own app."""

import random
from typing import Protocol

from finagent.domain.market import MINUTE_MS, Session, Side
from finagent.domain.orders import BrokerCashFlow, OrderIntent, OrderType
from finagent.simulation.exchange import Exchange
from finagent.simulation.faults import Faults
from finagent.simulation.loop import Outside
from finagent.simulation.tape import Halt, Tape
from finagent.simulation.witness import SHARE_E4, Witness

EPISODES = {
    "read_failed": (3_000, 90_000), "slow_broker": (20_000, 240_000), "stream_silent": (30_000, 600_000),
    "feed_down": (20_000, 240_000), "feed_stale": (60_000, 300_000), "database_busy": (1_000, 50_000),
    "disk_slow": (10_000, 120_000),
}  # fmt: skip
"""Faults that come over a while, and how long: (least, most) in ms."""


class Machine(Protocol):
    """What can happen to the computer the agent runs on."""

    def turn_clock(self, by_ms: int) -> bool:
        """Set the machine's clock wrong by so much; False while the agent is down."""

    def sleep(self, for_ms: int) -> bool:
        """Stop the machine with all its timers; the world goes on."""

    def cut_power(self, until_ms: int, kind: str) -> bool:
        """Kill the process and keep it down; False when it was down."""


class Weather:
    """Plans each session's events."""

    def __init__(
        self,
        outside: Outside,
        exchange: Exchange,
        tape: Tape,
        machine: Machine,
        faults: Faults,
        rng: random.Random,
        witness: Witness,
    ) -> None:
        self._outside, self._exchange, self._tape, self._machine = outside, exchange, tape, machine
        self._faults, self._rng, self._witness = faults, rng, witness
        self._numbers = 0

    def plan(self, session: Session) -> None:
        """Decide what comes over a session."""
        rng, faults = self._rng, self._faults
        begin_ms, end_ms = session.open_ms - 6 * MINUTE_MS, session.close_ms + 3 * MINUTE_MS
        for kind, (least_ms, most_ms) in EPISODES.items():
            if faults.is_on(kind):
                for _ in range(rng.randint(1, 3)):
                    from_ms = rng.randrange(begin_ms, end_ms)
                    faults.spell(kind, from_ms, from_ms + rng.randrange(least_ms, most_ms))
        self._halts(session)
        for kind, happen in (
            ("external_holding", self._external), ("unknown_order", self._unknown_order),
            ("unknown_position", self._unknown_position), ("manual_sale", self._manual_sale),
            ("manual_cancel", self._manual_cancel), ("cash_flow", self._cash_flow),
            ("clock_forward", self._clock_forward), ("clock_back", self._clock_back), ("slept", self._sleep),
        ):  # fmt: skip
            if faults.is_on(kind):
                for _ in range(rng.randint(1, 2)):
                    self._outside.at(rng.randrange(begin_ms, session.close_ms), happen)
        self._power(session)

    # ------------------------------------------------------------ the market
    def _halts(self, session: Session) -> None:
        rng, faults = self._rng, self._faults
        if faults.is_on("halt"):
            for symbol in rng.sample(self._tape.symbols, 2):
                from_ms = rng.randrange(session.open_ms, session.close_ms - 3 * MINUTE_MS)
                self._tape.halts.append(Halt(symbol, from_ms, from_ms + rng.randrange(1, 6) * MINUTE_MS))
                faults.happened("halt")
        if faults.strikes("halt_to_close"):
            symbol, from_ms = rng.choice(self._tape.symbols), rng.randrange(session.open_ms, session.close_ms)
            self._tape.halts.append(Halt(symbol, from_ms, session.close_ms + 1))
            faults.happened("halt_to_close")

    # ------------------------------------------------------------ the broker's own app
    def _external(self) -> None:
        """Shares come from elsewhere: a transfer, an old portfolio."""
        symbol = self._rng.choice((*self._tape.symbols, "OLD"))
        quantity_e4 = self._rng.randrange(5, 50) * SHARE_E4
        held = self._exchange.books.held_e4
        if self._faults.is_calm or self._witness.ours.shares_e4.get(symbol):
            return
        held[symbol] = held.get(symbol, 0) + quantity_e4
        self._exchange.external_e4[symbol] += quantity_e4
        self._faults.happened("external_holding")
        self._exchange.say(f"transfers {quantity_e4 // SHARE_E4} {symbol} in")

    def _unknown_order(self) -> None:
        """An order with our prefix that this database knows nothing of."""
        if self._faults.is_calm:
            return
        self._numbers += 1
        symbol = self._rng.choice(self._tape.symbols)
        order = OrderIntent(
            client_order_id=f"fa-20200101-{symbol}-entry-1-{self._numbers:016x}",
            plan_id="",
            symbol=symbol,
            leg="entry",
            generation=1,
            side=Side.BUY,
            type=OrderType.LIMIT,
            quantity_e4=SHARE_E4,
            limit_e4=SHARE_E4,
        )
        self._exchange.plant(order)
        self._faults.happened("unknown_order")

    def _unknown_position(self) -> None:
        """A person buys in the broker's app."""
        self._by_hand(
            "unknown_position", self._rng.randrange(1, 20) * SHARE_E4, self._rng.choice(self._tape.symbols)
        )

    def _manual_sale(self) -> None:
        """A person sells (a part of) what the agent holds: first they cancel what rests on it."""
        held = [(symbol, e4) for symbol, e4 in self._exchange.ours_e4().items() if e4 > 0]
        if held:
            symbol, quantity_e4 = self._rng.choice(held)
            part_e4 = quantity_e4 if self._rng.random() < 0.6 else quantity_e4 // 2 // SHARE_E4 * SHARE_E4
            for each in self._exchange.open_orders(symbol):
                if each.is_exit:
                    self._exchange.cancel(each.order.client_order_id, reason="by the person")
            at_ms = self._outside.now_ms + 2_000
            self._outside.at(at_ms, lambda: self._by_hand("manual_sale", -part_e4, symbol))

    def _by_hand(self, kind: str, quantity_e4: int, symbol: str) -> None:
        if self._faults.is_calm or not quantity_e4:
            return
        self._numbers += 1
        if self._exchange.trade_by_hand(symbol, quantity_e4, order_id=f"app-{self._numbers}"):
            self._faults.happened(kind)

    def _manual_cancel(self) -> None:
        """A person cancels one of the agent's orders."""
        ours = [
            each for each in self._exchange.open_orders() if each.order.client_order_id in self._witness.sent
        ]
        if ours and not self._faults.is_calm:
            self._exchange.cancel(self._rng.choice(ours).order.client_order_id, reason="by the person")
            self._faults.happened("manual_cancel")

    def _cash_flow(self) -> None:
        """Money comes or goes."""
        if not self._faults.is_calm:
            self._numbers += 1
            amount_e8 = self._rng.choice((-1, 1)) * self._rng.randrange(100, 20_000) * 100_000_000
            kind = "deposit" if amount_e8 > 0 else "withdrawal"
            flow = BrokerCashFlow(
                flow_id=f"flow-{self._numbers}", at_ms=self._outside.now_ms, kind=kind, amount_e8=amount_e8
            )
            self._exchange.flows(flow)
            self._faults.happened("cash_flow")

    # ------------------------------------------------------------ the machine
    def _clock_forward(self) -> None:
        self._turn("clock_forward", self._rng.randrange(1_000, 90_000))

    def _clock_back(self) -> None:
        self._turn("clock_back", -self._rng.randrange(1_000, 50_000))

    def _turn(self, kind: str, by_ms: int) -> None:
        if not self._faults.is_calm and self._machine.turn_clock(by_ms):
            self._faults.happened(kind)
            self._outside.at(self._outside.now_ms + self._rng.randrange(5_000, 600_000), self._clock_right)

    def _clock_right(self) -> None:
        self._machine.turn_clock(0)

    def _sleep(self) -> None:
        for_ms = self._rng.choice((5_000, 70_000, 400_000))
        if not self._faults.is_calm and self._machine.sleep(for_ms):
            self._faults.happened("slept")

    def _power(self, session: Session) -> None:
        rng, faults = self._rng, self._faults
        for kind, from_ms, until_ms in (
            ("down_over_window", session.open_ms - 2 * MINUTE_MS, session.open_ms + 12 * MINUTE_MS),
            ("down_over_close", session.close_ms - rng.randrange(1, 9) * MINUTE_MS, session.close_ms + 5 * MINUTE_MS),
            ("down_over_night", session.close_ms - rng.randrange(0, 4) * MINUTE_MS, session.close_ms + 900 * MINUTE_MS),
        ):  # fmt: skip
            if faults.strikes(kind):
                self._outside.at(from_ms, lambda kind=kind, until_ms=until_ms: self._cut(kind, until_ms))  # type: ignore[misc]

    def _cut(self, kind: str, until_ms: int) -> None:
        if self._machine.cut_power(until_ms, kind):
            self._faults.happened(kind)
