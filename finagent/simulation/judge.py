"""The judge: what must hold after every commit, at every order sent and at every execution, read with plain SQL.

No rule of the agent is used to judge it. Each check is named by the invariant of the design that it stands for.
"""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

from finagent.domain.orders import BrokerFill, OrderIntent
from finagent.simulation.budget import allowed_e8, spent_e8
from finagent.simulation.exchange import Books
from finagent.simulation.observer import Change, Commit, Observer
from finagent.simulation.witness import SHARE_E4, Witness

OVER = ("filled", "cancelled", "rejected", "expired", "never_arrived")
PLAN_OVER = ("closed", "refused", "rejected", "expired", "cancelled", "not_filled", "superseded")
BEFORE_ENTRY = ("planned", "pending", "approved", "armed")
BUSINESS = ("plan", "order", "approval", "position")
SIGNED = (
    "CASE json_extract(body, '$.side') WHEN 'buy' THEN 1 ELSE -1 END * json_extract(body, '$.quantity_e4')"
)
EXTERNAL = "SELECT 1 FROM external_order WHERE client_order_id = ?"
BY_HAND = f"""
SELECT coalesce(-sum({SIGNED}), 0) FROM fill WHERE leg = 'manual' AND json_extract(body, '$.symbol') = ?"""
UNWANTED = """
SELECT client_order_id FROM broker_order
WHERE unwanted <> '' AND state IN ('intent', 'accepted', 'partially_filled', 'unknown')"""
SHUTS = ("pause", "kill", "flatten", "lock", "limit", "reconcile")
"""Rows of the journal that may shut the gate."""
MOST_OPEN, MOST_TRADES = 3, 5
ON_THE_WAY_MS = 6_000
"""From the look at what shuts entries to the request lie up to four reads at the door, each 1.5 s on a slow disk."""
REQUEST_MS = 1_000
"""An order that is on its way while entries are shut, or while it becomes unwanted, is not called back."""
SLACK = 50
"""A plan is sized at its reference and filled where the market is: so much of the limit is the stated bound."""
MOST_AGE_MS = 90_000
"""An entry leaves at a price that is no older: what the scenario's settings say."""
Broken = Callable[[str, str], None]
Offers = Callable[[str, str, int], tuple[bool, int | None]]
"""(date, symbol, instant) -> whether it is halted then, and the instant of the newest price known then."""


class Judge:
    """Judges one seed; ``broken(invariant, detail)`` is told of each promise that was not kept."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        observer: Observer,
        books: Books,
        witness: Witness,
        external_e4: Counter[str],
        *,
        start_e8: int,
        written: Callable[[], Collection[str]],
        now_ms: Callable[[], int],
        broken: Broken,
        offers: Offers,
    ) -> None:
        self._connection, self._observer = connection, observer
        self._books, self._witness = books, witness
        self._now_ms, self._broken = now_ms, broken
        self.jobs_inserted = self.jobs_deleted = 0
        self.start_e8 = start_e8
        self.written = written
        self.external_e4 = external_e4
        self._offers = offers
        self._hash, self._at_ms = "0" * 64, 0
        self._sends: dict[str, tuple[int, bool]] = {}
        self._told: set[tuple[str, str]] = set()
        self._rows: Sequence[tuple[int, int, str, str, str, str, str]] = ()
        self._gates_before = self._gates()
        self._shut_ms: dict[str, int] = {}

    # ------------------------------------------------------------ after each commit
    def committed(self) -> Commit:
        """Look at what the last commit changed."""
        commit = self._observer.take()
        self._journal(commit)
        self._rows = commit.journal
        plans: dict[str, None] = {}
        orders: dict[str, None] = {}
        for change in commit.changes:
            match change.table:
                case "plan":
                    self._plan(change)
                case "order":
                    self._order(change)
                    orders[change.ref] = None
                case "approval":
                    if change.old not in ("", "pending"):
                        self.break_once("approval_once", change.ref, f"{change.old} became {change.new}")
                case "reservation":
                    self._reservation(change)
                case "position" | "fill":
                    plans[change.ref] = None
                case "job":
                    self.jobs_inserted += not change.old
                    self.jobs_deleted += not change.new
        for plan_id in plans:
            self._position(plan_id)
        for order_id in orders:
            self._filled(order_id)
        self._gates_before = self._gates()
        self._shut_ms = {what: self._shut_ms.get(what, self._now_ms()) for what in self._shut()}
        return commit

    def _shut(self) -> list[str]:
        """Whatever keeps entries back now: flags, locked symbols, entries that a flatten wants gone."""
        (paused, killed, rearm, gates), locked = self._gates_before
        flags = [
            name for name, is_set in (("paused", paused), ("killed", killed), ("rearm", rearm)) if is_set
        ]
        flags += [f"gate {name}" for name in (gates or "").split(", ") if name]
        return [*flags, *locked, *(order_id for (order_id,) in self._connection.execute(UNWANTED))]

    def _journal(self, commit: Commit) -> None:
        """The chain holds, time does not run back, and a change of the business has a row in its commit."""
        for seq, at_ms, kind, ref, data, inputs, found in commit.journal:
            parts = ["journal", self._hash, seq, at_ms, kind, ref, data, *([inputs] if inputs else [])]
            text = json.dumps(parts, separators=(",", ":"))
            self._hash = hashlib.sha256(text.encode("ascii")).hexdigest()
            if self._hash != found:
                self._broken("journal_chain", f"row {seq} {kind} {ref}")
                self._hash = found
            if at_ms < self._at_ms:
                self._broken("journal_time", f"row {seq} is of {at_ms}, the one before of {self._at_ms}")
            self._at_ms = at_ms
        if not commit.journal:
            for change in commit.changes:
                if change.table in BUSINESS and change.old != change.new:
                    self.break_once("journalled", change.ref, f"{change.table} {change.old} -> {change.new}")

    def _plan(self, change: Change) -> None:
        """A plan that is over stays over; an entry begins only from a plan that was approved."""
        if change.old in PLAN_OVER and change.new != change.old:
            self.break_once("plan_one_end", change.ref, f"{change.old} became {change.new}")
        if change.new == "entering" and change.old not in ("approved", "armed"):
            self.break_once("plan_approved", change.ref, f"{change.old} became entering")

    def _order(self, change: Change) -> None:
        """An order that is over stays over but for late fills; no end without the broker's evidence."""
        if change.old in OVER and change.new not in (change.old, "filled"):
            self.break_once("order_one_end", change.ref, f"{change.old} became {change.new}")
        if not change.old:
            if self._value("SELECT leg = 'entry' FROM broker_order WHERE client_order_id = ?", change.ref):
                self._entry_intent(change.ref)
        elif change.new in OVER and change.old not in OVER:
            resting = self._books.orders.get(change.ref)
            if resting is not None and resting.is_open:
                self.break_once("done_has_evidence", change.ref, f"{change.new}, and it works at the broker")

    def _reservation(self, change: Change) -> None:
        """What an entry may still cost stays reserved until it is over: once free it is not held again."""
        if (change.old, change.new) == ("free", "held"):
            self.break_once("reservation_once", change.ref, "was free and is held again")
        if change.new != "free":
            return
        sql = "SELECT state FROM plan WHERE plan_id = ?"
        (state,) = self._row(sql, change.ref)
        sql = "SELECT state, filled FROM broker_order WHERE plan_id = ? AND leg = 'entry' ORDER BY generation DESC"
        entry = self._row(sql, change.ref)
        is_live = bool(entry) and entry[0] not in OVER
        if state in BEFORE_ENTRY or (is_live and not self._is_exiting(change.ref)):
            self.break_once("reservation_held", change.ref, f"freed while {state}, its entry {tuple(entry)}")

    def _is_exiting(self, plan_id: str) -> bool:
        """Whether an exit of everything was written: it takes the place of what was reserved."""
        sql = "SELECT count(*) FROM broker_order WHERE plan_id = ? AND leg = 'exit'"
        return self._value(sql, plan_id) > 0

    def _position(self, plan_id: str) -> None:
        """A position is the sum of its fills."""
        held = self._value("SELECT quantity FROM position WHERE plan_id = ?", plan_id) or 0
        filled = self._value(f"SELECT sum({SIGNED}) FROM fill WHERE plan_id = ?", plan_id) or 0
        if held != filled:
            self.break_once("position_is_fills", plan_id, f"position {held}, fills {filled}")

        self._by_hand(plan_id)

    def _by_hand(self, plan_id: str) -> None:
        """What the agent says a person sold, a person sold."""
        symbol = str(self._row("SELECT symbol FROM plan WHERE plan_id = ?", plan_id)[0])
        said_e4, sold_e4 = self._value(BY_HAND, symbol), self._witness.sold_by_hand_e4[symbol]
        if said_e4 > sold_e4:
            detail = f"{said_e4 // SHARE_E4} {symbol} said to be sold by hand, {sold_e4 // SHARE_E4} were"
            self.break_once("manual_is_true", plan_id, detail)

    def _filled(self, order_id: str) -> None:
        """What an order says is filled is the sum of its fills."""
        said = self._value("SELECT filled FROM broker_order WHERE client_order_id = ?", order_id)
        sql = (
            "SELECT coalesce(sum(json_extract(body, '$.quantity_e4')), 0) FROM fill WHERE client_order_id = ?"
        )
        if said != (total := self._value(sql, order_id)):
            self.break_once("order_is_fills", order_id, f"says {said}, its fills {total}")

    # ------------------------------------------------------------ an entry's intent
    def _entry_intent(self, order_id: str) -> None:
        """No entry while a gate is shut; every limit holds with this one counted."""
        row = self._row(
            "SELECT p.plan_id, p.symbol, p.session, p.plan_hash, d.is_approved FROM broker_order o"
            " JOIN plan p USING (plan_id) LEFT JOIN risk_decision d USING (plan_id) WHERE o.client_order_id = ?",
            order_id,
        )
        plan_id, symbol, session, digest, is_approved = row
        if not is_approved:
            self.break_once("entry_approved", order_id, "risk has not approved its plan")
        control, locked = self._gates()
        if (any(control) or symbol in locked) and not self._was_shut_later(plan_id, symbol):
            detail = f"paused, killed, rearm, gate: {control}, locked: {sorted(locked)}"
            self.break_once("entry_gate", order_id, detail)
        said_yes = self._value("SELECT count(*) FROM journal WHERE kind = 'approved' AND ref = ?", plan_id)
        if not said_yes:
            self.break_once("entry_approved", order_id, "nobody said yes")
        asked = self._row(
            "SELECT state, plan_hash, answered_at, expires_at FROM approval WHERE plan_id = ?", plan_id
        )
        if asked and (asked[0] != "approved" or asked[1] != digest or asked[2] >= asked[3]):
            self.break_once("entry_approved", order_id, f"the question was {tuple(asked)}, the plan {digest}")
        self._limits(order_id, session)
        self._tradable(order_id, symbol, session)

    def _tradable(self, order_id: str, symbol: str, session: str) -> None:
        """No entry into a halt, none at a price that is too old; by the agent's own clock, which dates its intent."""
        body, plan = self._row(
            "SELECT o.body, p.body FROM broker_order o JOIN plan p USING (plan_id) WHERE client_order_id = ?",
            order_id,
        )
        at_ms = json.loads(body)["created_at_ms"]
        looks = [
            (instant, *self._offers(session, symbol, instant)) for instant in (at_ms, at_ms + REQUEST_MS)
        ]
        if all(is_halted for _, is_halted, _ in looks):
            self.break_once("entry_in_halt", order_id, f"{symbol} is halted at {at_ms}")
        is_old = [newest is None or instant - newest > MOST_AGE_MS for instant, _, newest in looks]
        if at_ms >= json.loads(plan)["entry_from_ms"] and all(is_old):
            self.break_once("entry_stale", order_id, f"the newest price is of {looks[0][2]}, now is {at_ms}")

    def _gates(self) -> tuple[tuple[Any, ...], frozenset[str]]:
        """What shuts every entry, and the symbols that are locked, as the last commit left it."""
        control = self._row("SELECT is_paused, is_killed, needs_rearm, gate_reason FROM control")
        locked = self._connection.execute("SELECT symbol FROM symbol_lock").fetchall()
        return control, frozenset(symbol for (symbol,) in locked)

    def _was_shut_later(self, plan_id: str, symbol: str) -> bool:
        """Whether one commit holds an entry's intent and, behind it in the journal, what shut the gate."""
        control, locked = self._gates_before
        rows = [(kind, ref) for _, _, kind, ref, *_ in self._rows]
        intended = rows.index(("intent", plan_id)) if ("intent", plan_id) in rows else 0
        shut = [place for place, (kind, _) in enumerate(rows) if kind in SHUTS]
        return bool(shut) and min(shut) > intended and not any(control) and symbol not in locked

    def _limits(self, order_id: str, session: str) -> None:
        busy = self._value(
            "SELECT count(*) FROM (SELECT plan_id FROM reservation WHERE released_at IS NULL"
            " UNION SELECT plan_id FROM position WHERE quantity <> 0)"
        )
        if busy > MOST_OPEN:
            self.break_once("limit_open_positions", order_id, f"{busy} open or reserved")
        entered = self._value(
            "SELECT count(DISTINCT plan_id) FROM broker_order WHERE session = ? AND leg = 'entry'"
            " AND (filled > 0 OR state NOT IN ('cancelled', 'rejected', 'expired', 'never_arrived'))", session
        )  # fmt: skip
        if entered > MOST_TRADES:
            self.break_once("limit_trades", order_id, f"{entered} entries in {session}")
        same = self._value(
            "SELECT count(DISTINCT e.plan_id) FROM broker_order o JOIN broker_order e USING (symbol, session)"
            " WHERE o.client_order_id = ? AND e.leg = 'entry'"
            " AND (e.filled > 0 OR e.state NOT IN ('cancelled', 'rejected', 'expired', 'never_arrived'))",
            order_id,
        )
        if same > 1:
            self.break_once("limit_symbol", order_id, f"{same} entries of one symbol in {session}")
        spent, allowed = (
            spent_e8(self._connection, session),
            allowed_e8(self._connection, session, self.start_e8, self._books.flows),
        )
        if spent > allowed + allowed // SLACK:
            self.break_once("limit_loss", order_id, f"at risk {spent}, allowed {allowed} (1e-8)")

    # ------------------------------------------------------------ at the broker's door
    def sends(self, intents: Sequence[OrderIntent]) -> None:
        """What leaves has a committed intent with this very body, and was looked up before it leaves again."""
        now_ms = self._now_ms()
        for intent in intents:
            order_id = intent.client_order_id
            row = self._row(
                "SELECT state, body, plan_id, session FROM broker_order WHERE client_order_id = ?", order_id
            )
            if not row and order_id in self.written():
                continue  # the database is locked: its intent is in the emergency log
            if not row and self._row(EXTERNAL, order_id):
                self._witness.closing.add(order_id)
                continue
            if not row:
                self.break_once("order_has_intent", order_id, "sent without a committed intent")
                continue
            state, body, plan_id, _ = row
            self._witness.sent[order_id] = plan_id
            stored = json.loads(body)
            sent = (intent.symbol, intent.side.value, intent.quantity_e4, intent.limit_e4, intent.stop_e4)
            written = tuple(stored[k] for k in ("symbol", "side", "quantity_e4", "limit_e4", "stop_e4"))
            if sent != written:
                self.break_once("body_is_intent", order_id, f"sent {sent}, written {written}")
            if state in OVER:
                self.break_once("send_live", order_id, f"sent when {state}")
        head = intents[0]
        before = self._sends.get(head.client_order_id)
        if before is not None and not before[1]:
            self.break_once("looked_up", head.client_order_id, "sent again without a look")
        self._sends[head.client_order_id] = (now_ms, False)
        if head.leg == "entry":
            self._entry_leaves(head, now_ms)

    def looked_up(self, order_id: str) -> None:
        """The agent has asked for an order by its id."""
        if order_id in self._sends:
            self._sends[order_id] = (self._sends[order_id][0], True)

    def _entry_leaves(self, intent: OrderIntent, now_ms: int) -> None:
        """Nothing shuts entries, and a person's yes covers it: this plan, no more shares, no worse price, in time."""
        self._entry_is_free(intent, now_ms)
        plan_id = self._witness.sent.get(intent.client_order_id, "")
        yes = self._witness.yes.get(plan_id)
        if yes is None:
            if plan_id in self._witness.shown:
                self.break_once(
                    "yes_covers", intent.client_order_id, "a person was asked and has not said yes"
                )
            return
        shown = yes.shown
        if (intent.symbol, intent.limit_e4) != (shown.symbol, shown.limit_e4):
            self.break_once(
                "yes_covers", intent.client_order_id, f"{intent.symbol} {intent.limit_e4} is not {shown}"
            )
        if intent.quantity_e4 > yes.quantity_e4:
            self.break_once(
                "yes_covers", intent.client_order_id, f"{intent.quantity_e4} shares, yes to {yes.quantity_e4}"
            )
        if yes.at_ms >= shown.expires_ms:
            self.break_once(
                "yes_in_time", intent.client_order_id, f"yes at {yes.at_ms}, asked until {shown.expires_ms}"
            )

    def _entry_is_free(self, intent: OrderIntent, now_ms: int) -> None:
        """No entry leaves, or leaves again, while it is shut out."""
        own = {"paused", "killed", "rearm", intent.symbol, intent.client_order_id}
        for what, since_ms in self._shut_ms.items():
            is_meant = what in own or what.startswith("gate ")
            if is_meant and now_ms - since_ms > ON_THE_WAY_MS:
                self.break_once(
                    "entry_shut_out", intent.client_order_id, f"{what} since {now_ms - since_ms} ms"
                )

    # ------------------------------------------------------------ at the broker
    def executed(self, fill: BrokerFill) -> None:
        """Never more is sold than we bought, never what is not ours; an entry is entered once."""
        if fill.client_order_id in self._witness.closing:
            detail = f"{fill.side} {fill.quantity_e4 // SHARE_E4} {fill.symbol}, and no person asked for it"
            self.break_once("external_untouched", fill.client_order_id, detail)
        if fill.client_order_id not in self._witness.sent:
            if fill.side.value == "sell":
                self._witness.sold_by_hand_e4[fill.symbol] += fill.quantity_e4
            return
        resting = self._books.orders[fill.client_order_id]
        self._witness.fills(fill, is_entry=not resting.is_exit)
        external_e4 = self.external_e4[fill.symbol]
        over_e4 = external_e4 - self._books.held_e4[fill.symbol]
        if over_e4 > 0:
            invariant = "external_untouched" if external_e4 else "oversold"
            detail = f"{over_e4 // SHARE_E4} of {fill.symbol} too many"
            self.break_once(invariant, fill.client_order_id, detail)
        if not resting.is_exit:
            self._entered(fill)

    def _entered(self, fill: BrokerFill) -> None:
        plan_id = self._witness.sent[fill.client_order_id]
        yes = self._witness.yes.get(plan_id)
        total_e4 = self._witness.entered_e4[plan_id] - self._witness.overfilled_e4.get(plan_id, 0)
        if yes is not None and total_e4 > yes.quantity_e4:
            self.break_once(
                "entered_once", fill.client_order_id, f"{total_e4} shares, yes to {yes.quantity_e4}"
            )

    # ------------------------------------------------------------ reading
    def break_once(self, invariant: str, ref: str, detail: str) -> None:
        """Tell a broken promise, once of each thing."""
        if (invariant, ref) not in self._told:
            self._told.add((invariant, ref))
            self._broken(invariant, f"{ref}: {detail}")

    def _row(self, sql: str, *values: object) -> tuple[Any, ...]:
        found: tuple[Any, ...] | None = self._connection.execute(sql, values).fetchone()
        return found or ()

    def _value(self, sql: str, *values: object) -> int:
        found = self._connection.execute(sql, values).fetchone()
        return cast("int", found[0]) if found else 0
