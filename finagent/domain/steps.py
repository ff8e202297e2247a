"""The steps of the day: each is a job type; the order of steps at one instant is their priority, lower first."""

from enum import StrEnum


class Step(StrEnum):
    """Job types; flatten and exits come before scans, scans before risk, risk before entries."""

    FLATTEN = "flatten"
    BROKER_EVENT = "broker_event"
    CATCH_UP = "catch_up"
    EXIT = "exit"
    PROTECT = "protect"
    HALT_CHECK = "halt_check"
    MOVE_STOP = "move_stop"
    REPLACE = "replace"
    SEND_EXIT = "send_exit"
    SELL_EXTERNAL = "sell_external"
    RECORD_TRADE = "record_trade"
    LIMIT = "limit"
    SCAN = "scan"
    SCORE = "score"
    PLAN = "plan"
    RISK = "risk"
    APPROVE = "approve"
    APPROVAL_EXPIRY = "approval_expiry"
    PLAN_EXPIRY = "plan_expiry"
    EXECUTE = "execute"
    SEND = "send"
    CANCEL_ENTRY = "cancel_entry"
    RECONCILE = "reconcile"
    DAY_CLOSE = "day_close"
    TIE_OUT = "tie_out"


PRIORITY: dict[Step, int] = {
    Step.FLATTEN: 0,
    Step.BROKER_EVENT: 1,
    Step.CATCH_UP: 1,
    Step.EXIT: 2,
    Step.PROTECT: 2,
    Step.HALT_CHECK: 2,
    Step.MOVE_STOP: 2,
    Step.REPLACE: 2,
    Step.SEND_EXIT: 2,
    Step.SELL_EXTERNAL: 2,
    Step.RECORD_TRADE: 3,
    Step.LIMIT: 4,
    Step.SCAN: 5,
    Step.SCORE: 6,
    Step.PLAN: 7,
    Step.RISK: 8,
    Step.APPROVE: 9,
    Step.APPROVAL_EXPIRY: 9,
    Step.PLAN_EXPIRY: 10,
    Step.EXECUTE: 11,
    Step.SEND: 12,
    Step.CANCEL_ENTRY: 12,
    Step.RECONCILE: 13,
    Step.DAY_CLOSE: 14,
    Step.TIE_OUT: 15,
}
"""Fills and exits, limits and halts, scan to risk, entries: the order of events at one instant (backtest parity)."""
