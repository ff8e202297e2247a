"""The kinds of journal entries: a filter by one that is none of these, and stands nowhere, is a slip of the pen."""

DECIDED = (
    "answer_refused", "approval_requested", "approved", "cancelled", "day_report", "day_start", "entry_waits",
    "exit",
    "exit_escalated", "external_exit", "halt_exit", "halt_over", "intent", "limit", "limit_due", "move_stop", "no_plan",
    "plan", "plan_ended", "plan_revised", "position_due", "protect", "rejected", "risk", "scan", "scan_skipped",
    "score", "state", "too_late", "trade", "trigger", "unprotected", "withdrawn",
)  # fmt: skip
"""What the agent decided, or what its clock and the market made due."""
HEARD = (
    "accepted", "difference", "external", "external_closed", "external_order_ended", "fill", "fill_refused",
    "fill_told", "flatten_late", "in_doubt", "manual", "never_arrived", "order_ended", "orders_out", "reconcile",
    "recovered", "recovered_gone", "recovery", "restored", "ticket_ended", "tie_out", "unknown",
)  # fmt: skip
"""What became of orders, shares and money, as the broker, a person or a comparison told it."""
DONE_BY_A_PERSON = (
    "access_refused", "account_bound", "external_acknowledged", "external_included", "flatten", "gate", "job_cancelled",
    "job_retried", "jobs_redriven", "kill", "limits_accepted", "live_allowed", "live_revoked", "lock", "note", "pause",
    "rearm", "resume", "token_created", "token_expired", "token_revoked", "unlock",
)  # fmt: skip
"""Controls, consents, keys, and what shut a gate."""
KINDS = frozenset((*DECIDED, *HEARD, *DONE_BY_A_PERSON))
