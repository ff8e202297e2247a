"""The write side of the store: each kind of fact becomes rows, inside the writer's one commit."""

import json
from functools import singledispatch

from finagent.adapters.sqlite import facts_account, recovered
from finagent.adapters.sqlite.codec import encode, pack
from finagent.adapters.sqlite.session import WriteSession
from finagent.domain.book import GATE_COMMA
from finagent.domain.evidence import Evidence
from finagent.domain.facts import (
    AccountBound,
    AccountSeen,
    ApprovalAnswered,
    ApprovalRequested,
    CandidateRefused,
    CandidateScored,
    ControlChanged,
    DayClosed,
    DayStarted,
    DifferencesFound,
    EntryUnwanted,
    ExternalAcknowledged,
    ExternalIntended,
    ExternalOrderMoved,
    ExternalSeen,
    FillRecorded,
    FillRecovered,
    IntentRecorded,
    Journalled,
    LimitsAccepted,
    LiveAllowed,
    OrderMoved,
    OrderRecovered,
    PlanMoved,
    PlanRecorded,
    PlanReopened,
    PlanSized,
    PositionRecorded,
    RecoveryMoved,
    ReservationReduced,
    ReservationReleased,
    ScanRecorded,
    StopMoved,
    SymbolLocked,
    TradeRecorded,
)
from finagent.domain.journal import GENESIS, canonical_json, entry_hash
from finagent.domain.orders import TERMINAL_ORDER_STATES, OrderState, next_order_state
from finagent.domain.plan import REOPENED_FROM, PlanState, next_plan_state
from finagent.queue.errors import GuardFailedError

_EVIDENCE = "journal.evidence"


def apply_fact(session: WriteSession, fact: object) -> None:
    """Store one fact; GuardFailedError when it no longer fits what is committed, TypeError for an unknown kind."""
    _apply(fact, session)


@singledispatch
def _apply(fact: object, session: WriteSession) -> None:
    raise TypeError(f"the store knows no fact {type(fact).__name__}: give it a writer in facts.py")


def _refuse(row: str) -> GuardFailedError:
    return GuardFailedError(row, expected=1, found=0)


LAST_ENTRY = "SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1"
APPEND = "INSERT INTO journal (seq, at, kind, ref, data, inputs, hash) VALUES (?, ?, ?, ?, ?, ?, ?)"


@_apply.register
def _(fact: Journalled, session: WriteSession) -> None:
    row = session.conn.execute(LAST_ENTRY).fetchone()
    seq, previous = (row[0] + 1, row[1]) if row else (1, GENESIS)
    data = canonical_json(fact.data)
    inputs = _kept(fact.evidence, session)
    digest = entry_hash(previous, seq, session.now_ms, fact.kind, fact.ref, data, inputs)
    session.conn.execute(APPEND, (seq, session.now_ms, fact.kind, fact.ref, data, inputs, digest))


HAS_INPUT = "SELECT 1 FROM journal_input WHERE hash = ?"
PUT_INPUT = "INSERT INTO journal_input (hash, body) VALUES (?, ?)"


def _kept(evidence: Evidence | None, session: WriteSession) -> str:
    """Store each text of the evidence that is not there yet; gives its head, empty where there is none."""
    if evidence is None:
        return ""
    if session.scratch.get(_EVIDENCE) is not evidence:  # the rows of one step share it
        for name, text in evidence.texts.items():
            key = bytes.fromhex(name)
            if session.conn.execute(HAS_INPUT, (key,)).fetchone() is None:
                session.conn.execute(PUT_INPUT, (key, pack(text)))
        session.scratch[_EVIDENCE] = evidence
    return evidence.head


PUT_SCAN = """
INSERT INTO scan (session, tick, kind, as_of, universe, candidates, body) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (session, tick) DO NOTHING"""
PUT_CANDIDATE = """
INSERT INTO candidate (session, tick, symbol, place, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (session, tick, symbol) DO NOTHING"""


@_apply.register
def _(fact: ScanRecorded, session: WriteSession) -> None:
    scan = fact.scan
    body = {
        "dropped": scan.drop_counts(),
        "why": {d.symbol: [d.reason, d.detail] for d in scan.dropped},
        "data_issues": [[i.symbol, i.kind, i.detail] for i in scan.data_issues],
        "market": dict(scan.market),
    }
    session.conn.execute(
        PUT_SCAN,
        (
            scan.session,
            fact.tick,
            fact.kind,
            scan.as_of_ms,
            scan.universe,
            len(scan.candidates),
            json.dumps(body),
        ),
    )
    session.conn.executemany(
        PUT_CANDIDATE,
        [(scan.session, fact.tick, c.symbol, place, encode(c)) for place, c in enumerate(scan.candidates, 1)],
    )


SCORE = """
UPDATE candidate SET rank = ?, score = ?, is_selected = ?, factors = ?
WHERE session = ? AND tick = ? AND symbol = ?"""


@_apply.register
def _(fact: CandidateScored, session: WriteSession) -> None:
    symbol = fact.scored.candidate.symbol
    factors = encode(fact.scored)
    values = (
        fact.rank,
        fact.scored.score_e6,
        int(fact.is_selected),
        factors,
        fact.session,
        fact.tick,
        symbol,
    )
    session.conn.execute(SCORE, values)


REFUSE = "UPDATE candidate SET outcome = ? WHERE session = ? AND tick = ? AND symbol = ?"


@_apply.register
def _(fact: CandidateRefused, session: WriteSession) -> None:
    session.conn.execute(REFUSE, (f"{fact.reason}: {fact.detail}", fact.session, fact.tick, fact.symbol))


PUT_PLAN = """
INSERT INTO plan (plan_id, session, tick, symbol, rank, state, created_at, updated_at, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (plan_id) DO NOTHING"""


@_apply.register
def _(fact: PlanRecorded, session: WriteSession) -> None:
    plan, now = fact.plan, session.now_ms
    session.conn.execute(
        PUT_PLAN,
        (
            plan.plan_id,
            plan.session,
            plan.scan_tick,
            plan.symbol,
            plan.rank,
            fact.state.value,
            now,
            now,
            encode(plan),
        ),
    )


PLAN_STATE = "SELECT state FROM plan WHERE plan_id = ?"
MOVE_PLAN = "UPDATE plan SET state = ?, reason = ?, updated_at = ? WHERE plan_id = ?"


@_apply.register
def _(fact: PlanMoved, session: WriteSession) -> None:
    row = session.conn.execute(PLAN_STATE, (fact.plan_id,)).fetchone()
    state = PlanState(row[0]) if row else None
    if state is None or state not in fact.from_states:
        raise _refuse(f"plan {fact.plan_id} ({state or 'absent'})")
    to_state = next_plan_state(state, fact.to_state)
    session.conn.execute(MOVE_PLAN, (to_state.value, fact.reason, session.now_ms, fact.plan_id))


@_apply.register
def _(fact: PlanReopened, session: WriteSession) -> None:
    row = session.conn.execute(PLAN_STATE, (fact.plan_id,)).fetchone()
    if row is None or PlanState(row[0]) not in REOPENED_FROM:
        raise _refuse(f"plan {fact.plan_id} ({row[0] if row else 'absent'})")
    values = (PlanState.OPEN.value, "", session.now_ms, fact.plan_id)
    session.conn.execute(MOVE_PLAN, values)
    session.conn.execute("DELETE FROM trade WHERE plan_id = ?", (fact.plan_id,))


SEAL = "UPDATE plan SET body = ?, plan_hash = ?, updated_at = ? WHERE plan_id = ?"
PUT_DECISION = """
INSERT INTO risk_decision (plan_id, is_approved, at, body) VALUES (?, ?, ?, ?)
ON CONFLICT (plan_id) DO UPDATE SET is_approved = excluded.is_approved, at = excluded.at, body = excluded.body"""
RESERVE = """
INSERT INTO reservation (plan_id, symbol, session, notional, worst_case) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (plan_id) DO UPDATE SET notional = excluded.notional, worst_case = excluded.worst_case"""


@_apply.register
def _(fact: PlanSized, session: WriteSession) -> None:
    plan, decision = fact.plan, fact.decision
    session.conn.execute(SEAL, (encode(plan), fact.plan_hash, session.now_ms, plan.plan_id))
    session.conn.execute(
        PUT_DECISION, (plan.plan_id, int(decision.is_approved), session.now_ms, encode(decision))
    )
    if decision.is_approved:
        session.conn.execute(
            RESERVE, (plan.plan_id, plan.symbol, plan.session, decision.notional_e8, decision.worst_case_e8)
        )


RELEASE = "UPDATE reservation SET released_at = ? WHERE plan_id = ? AND released_at IS NULL"


@_apply.register
def _(fact: ReservationReleased, session: WriteSession) -> None:
    session.conn.execute(RELEASE, (session.now_ms, fact.plan_id))


REDUCE = """
UPDATE reservation SET notional = min(notional, ?), worst_case = min(worst_case, ?)
WHERE plan_id = ? AND released_at IS NULL"""


@_apply.register
def _(fact: ReservationReduced, session: WriteSession) -> None:
    session.conn.execute(REDUCE, (fact.notional_e8, fact.worst_case_e8, fact.plan_id))


ASK = """
INSERT INTO approval (plan_id, plan_hash, nonce, state, created_at, expires_at) VALUES (?, ?, ?, 'pending', ?, ?)
ON CONFLICT (plan_id) DO NOTHING"""


@_apply.register
def _(fact: ApprovalRequested, session: WriteSession) -> None:
    values = (fact.plan_id, fact.plan_hash, fact.nonce, session.now_ms, fact.expires_at_ms)
    session.conn.execute(ASK, values)


ANSWER = """
UPDATE approval SET state = ?, answered_at = ?, channel = ?, identity = ?
WHERE plan_id = ? AND plan_hash = ? AND state = 'pending'"""


@_apply.register
def _(fact: ApprovalAnswered, session: WriteSession) -> None:
    values = (fact.state, session.now_ms, fact.channel, fact.identity, fact.plan_id, fact.plan_hash)
    if session.conn.execute(ANSWER, values).rowcount != 1:
        raise _refuse(f"approval {fact.plan_id}")


PUT_INTENT = """
INSERT INTO broker_order (client_order_id, plan_id, session, symbol, leg, generation, state, quantity, created_at,
                          body_hash, body)
VALUES (?, ?, ?, ?, ?, ?, 'intent', ?, ?, ?, ?)"""


@_apply.register
def _(fact: IntentRecorded, session: WriteSession) -> None:
    i = fact.intent
    session.conn.execute(
        PUT_INTENT,
        (
            i.client_order_id,
            i.plan_id,
            fact.session,
            i.symbol,
            i.leg,
            i.generation,
            i.quantity_e4,
            session.now_ms,
            fact.body_hash,
            encode(i),
        ),
    )


ORDER_STATE = "SELECT state FROM broker_order WHERE client_order_id = ?"
MOVE_ORDER = """
UPDATE broker_order SET state = ?, reason = ?, ended_at = ? WHERE client_order_id = ?"""
# Told twice, or behind a fill: the earliest instant is when the broker had it.
DATE_ACCEPTANCE = """
UPDATE broker_order SET accepted_at = min(coalesce(accepted_at, ?1), ?1) WHERE client_order_id = ?2"""


@_apply.register
def _(fact: OrderMoved, session: WriteSession) -> None:
    """What has ended stays ended: the broker tells twice, and late. A step that does not exist is an error."""
    row = session.conn.execute(ORDER_STATE, (fact.client_order_id,)).fetchone()
    if row is None:
        raise _refuse(f"order {fact.client_order_id} (absent)")
    state = OrderState(row[0])
    if fact.accepted_at_ms is not None:
        session.conn.execute(DATE_ACCEPTANCE, (fact.accepted_at_ms, fact.client_order_id))
    if state in TERMINAL_ORDER_STATES or state is fact.to_state:
        return
    if fact.to_state is OrderState.ACCEPTED and state is OrderState.PARTIALLY_FILLED:
        return  # its first fill was told before its acceptance
    to_state = next_order_state(state, fact.to_state)
    ended = session.now_ms if to_state in TERMINAL_ORDER_STATES else None
    values = (to_state.value, fact.reason, ended, fact.client_order_id)
    session.conn.execute(MOVE_ORDER, values)


WANT_NO_MORE = """
UPDATE broker_order SET unwanted = ?1 WHERE client_order_id = ?2 AND unwanted = ''
    AND state IN ('intent', 'accepted', 'partially_filled', 'unknown')"""


@_apply.register
def _(fact: EntryUnwanted, session: WriteSession) -> None:
    """The first reason stays; what has ended meanwhile is left as it is."""
    session.conn.execute(WANT_NO_MORE, (fact.reason, fact.client_order_id))


PUT_FILL = """
INSERT INTO fill (execution_id, client_order_id, plan_id, session, leg, reason, at, recorded_seq, body)
VALUES (?, ?, ?, ?, ?, ?, ?, (SELECT coalesce(max(recorded_seq), 0) + 1 FROM fill), ?)
ON CONFLICT (execution_id) DO NOTHING"""
FILL_ORDER = """
UPDATE broker_order SET filled = filled + ?1,
    accepted_at = min(coalesce(accepted_at, ?2), ?2),
    reason = CASE WHEN filled + ?1 >= quantity THEN '' ELSE reason END,
    state = CASE WHEN filled + ?1 >= quantity THEN 'filled'
                 WHEN state IN ('intent', 'accepted', 'unknown') THEN 'partially_filled' ELSE state END,
    ended_at = CASE WHEN filled + ?1 >= quantity THEN ?3 ELSE ended_at END
WHERE client_order_id = ?4"""


@_apply.register
def _(fact: FillRecorded, session: WriteSession) -> None:
    fill = fact.fill
    reason = fact.reason.value if fact.reason is not None else None
    values = (
        fill.execution_id,
        fill.client_order_id,
        fact.plan_id,
        fact.session,
        fact.leg,
        reason,
        fill.at_ms,
        encode(fill),
    )
    if session.conn.execute(PUT_FILL, values).rowcount == 1:
        session.conn.execute(FILL_ORDER, (fill.quantity_e4, fill.at_ms, session.now_ms, fill.client_order_id))


PUT_POSITION = """
INSERT INTO position (plan_id, symbol, session, quantity, stop, opened_at, body) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (plan_id) DO UPDATE SET quantity = excluded.quantity, body = excluded.body"""


@_apply.register
def _(fact: PositionRecorded, session: WriteSession) -> None:
    held = fact.position
    opened = held.opened_at_ms if held.opened_at_ms is not None else session.now_ms
    values = (held.plan_id, held.symbol, held.session, held.quantity_e4, fact.stop_e4, opened, encode(held))
    session.conn.execute(PUT_POSITION, values)


@_apply.register
def _(fact: StopMoved, session: WriteSession) -> None:
    session.conn.execute("UPDATE position SET stop = ? WHERE plan_id = ?", (fact.stop_e4, fact.plan_id))


PUT_TRADE = """
INSERT INTO trade (trade_id, plan_id, session, exit_session, symbol, exit_at, pnl, fees, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""


@_apply.register
def _(fact: TradeRecorded, session: WriteSession) -> None:
    t = fact.trade
    session.conn.execute(
        PUT_TRADE,
        (
            t.trade_id,
            t.plan_id,
            t.session,
            fact.exit_session,
            t.symbol,
            t.exit_at_ms,
            t.pnl_e8,
            t.fees_e8,
            encode(t),
        ),
    )


SET_CONTROL = """
UPDATE control SET is_paused = coalesce(?, is_paused), is_killed = coalesce(?, is_killed),
    needs_rearm = coalesce(?, needs_rearm), pause_reason = ?, paused_by = ?, gate_reason = ?, updated_at = ?
WHERE id = 1"""
GET_CONTROL = "SELECT pause_reason, paused_by, gate_reason FROM control WHERE id = 1"


@_apply.register
def _(fact: ControlChanged, session: WriteSession) -> None:
    reason, paused_by, gate = session.conn.execute(GET_CONTROL).fetchone()
    if fact.is_paused is not None:
        reason, paused_by = (fact.pause_reason, fact.paused_by) if fact.is_paused else (None, None)
    reasons = [each for each in (gate or "").split(GATE_COMMA) if each and each != fact.gate_opened]
    if fact.gate_reason is not None and fact.gate_reason not in reasons:
        reasons.append(fact.gate_reason)
    flags = [
        None if flag is None else int(flag) for flag in (fact.is_paused, fact.is_killed, fact.needs_rearm)
    ]
    session.conn.execute(
        SET_CONTROL, (*flags, reason, paused_by, GATE_COMMA.join(reasons) or None, session.now_ms)
    )


_apply.register(AccountBound, facts_account.bind)
_apply.register(DifferencesFound, facts_account.differ)
_apply.register(ExternalSeen, facts_account.see_external)
_apply.register(ExternalAcknowledged, facts_account.acknowledge)
_apply.register(ExternalIntended, facts_account.intend)
_apply.register(ExternalOrderMoved, facts_account.move_external)
_apply.register(AccountSeen, facts_account.see_account)
_apply.register(DayStarted, facts_account.start_day)
_apply.register(OrderRecovered, recovered.adopt_order)
_apply.register(FillRecovered, recovered.recover_fill)
_apply.register(RecoveryMoved, recovered.move_recovery)


CONSENT = "INSERT INTO live_consent (account_id, is_allowed, given_by, given_at) VALUES (?, ?, ?, ?)"


@_apply.register
def _(fact: LiveAllowed, session: WriteSession) -> None:
    values = (fact.account_id, int(fact.is_allowed), fact.by, session.now_ms)
    session.conn.execute(CONSENT, values)


ACCEPT_LIMIT = """
INSERT INTO accepted_limit (name, value, accepted_by, accepted_at) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, accepted_by = excluded.accepted_by,
    accepted_at = excluded.accepted_at"""


@_apply.register
def _(fact: LimitsAccepted, session: WriteSession) -> None:
    rows = [(name, value, fact.by, session.now_ms) for name, value in fact.values]
    session.conn.executemany(ACCEPT_LIMIT, rows)


LOCK = "INSERT INTO symbol_lock (symbol, locked_at) VALUES (?, ?) ON CONFLICT (symbol) DO NOTHING"


@_apply.register
def _(fact: SymbolLocked, session: WriteSession) -> None:
    if fact.is_locked:
        session.conn.execute(LOCK, (fact.symbol, session.now_ms))
    else:
        session.conn.execute("DELETE FROM symbol_lock WHERE symbol = ?", (fact.symbol,))


CLOSE_DAY = """
INSERT INTO day (session, closed_at, is_flat, pnl, fees, trades, held_over) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (session) DO UPDATE SET closed_at = excluded.closed_at, is_flat = excluded.is_flat,
    pnl = excluded.pnl, fees = excluded.fees, trades = excluded.trades, held_over = excluded.held_over"""


@_apply.register
def _(fact: DayClosed, session: WriteSession) -> None:
    held = json.dumps(list(fact.held_over))
    values = (fact.session, session.now_ms, int(fact.is_flat), fact.pnl_e8, fact.fees_e8, fact.trades, held)
    session.conn.execute(CLOSE_DAY, values)
