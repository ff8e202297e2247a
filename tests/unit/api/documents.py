"""Documents of a day as the views give them: what pages and routes are tried with."""

from finagent.context import Document

PLAN_ID = "7f3a9c21d4e8b5066f1c"
PENDING: Document = {
    "plan_id": PLAN_ID,
    "plan_hash": "ab" * 32,
    "session": "2018-03-01",
    "scan_tick": "open",
    "symbol": "NVDA",
    "rank": 1,
    "preset": "classic",
    "setup": "next_open",
    "direction": "long",
    "state": "pending",
    "score": 0.81,
    "entry": "241.5",
    "stop": "235.12",
    "target": "260.64",
    "quantity": "78",
    "risk": "497.64",
    "notional": "18837.00",
    "target_r": 3.0,
    "seconds_left": 412,
    "expires_at": "2018-03-01T14:41:00Z",
    "reasons": [],
    "nonce": None,
}
PLANS: Document = {
    "plans": [
        PENDING,
        {
            **PENDING,
            "plan_id": "91be" * 5,
            "symbol": "BRK.B",
            "state": "refused",
            "seconds_left": None,
            "reasons": ["max_open_positions: 3 of 3"],
            "quantity": None,
        },
        {**PENDING, "plan_id": "c0de" * 5, "symbol": "AMD", "state": "expired", "seconds_left": 0},
        {
            **PENDING,
            "plan_id": "beef" * 5,
            "symbol": "MU",
            "state": "armed",
            "seconds_left": None,
            "setup": "opening_range_break",
            "entry": "48.215",
            "stop": "46.77",
            "target": "52.55",
            "quantity": "346",
        },
    ]
}
TRADES: Document = {
    "trades": [
        {
            "trade_id": "t1",
            "plan_id": "aa" * 10,
            "session": "2018-03-01",
            "symbol": "SQ",
            "setup": "next_open",
            "direction": "long",
            "quantity": "210",
            "entry_ts": "2018-03-01T14:32:00Z",
            "entry_price": "47.12",
            "exit_ts": "2018-03-01T16:05:00Z",
            "exit_price": "49.5012",
            "exit_reason": "target",
            "exits": [],
            "stop": "46.33",
            "target": "49.50",
            "risk_per_share": "0.79",
            "r_multiple": 3.01,
            "mae_r": -0.2,
            "mfe_r": 3.1,
            "slippage_bps": 4.2,
            "fees": "0.31",
            "pnl": "499.74",
            "ambiguous": False,
        },
        {
            "trade_id": "t2",
            "plan_id": "bb" * 10,
            "session": "2018-03-01",
            "symbol": "TSLA",
            "setup": "next_open",
            "direction": "long",
            "quantity": "55",
            "entry_ts": "2018-03-01T14:33:00Z",
            "entry_price": "345.01",
            "exit_ts": "2018-03-01T15:10:00Z",
            "exit_price": "336.00",
            "exit_reason": "stop",
            "exits": [],
            "stop": "336.00",
            "target": "372",
            "risk_per_share": "9.01",
            "r_multiple": -1.02,
            "mae_r": -1.02,
            "mfe_r": 0.3,
            "slippage_bps": 3.0,
            "fees": "0.20",
            "pnl": "-495.75",
            "ambiguous": True,
        },
    ]
}
POSITIONS: Document = {
    "positions": [
        {
            "symbol": "MU",
            "quantity": "346",
            "entry_price": "48.22",
            "mark": "49.01",
            "stop": "46.77",
            "target": "52.55",
            "open_pnl": "273.34",
            "r_multiple": 0.54,
            "protected": True,
        },
        {
            "symbol": "GME",
            "quantity": "120",
            "entry_price": "15.1",
            "mark": "14.9",
            "stop": "14.6",
            "target": "16.6",
            "open_pnl": "-24.00",
            "r_multiple": -0.4,
            "protected": False,
        },
    ]
}
STATUS: Document = {
    "mode": "approve",
    "version": "0.1.0",
    "clock": {"now": "2018-03-01T14:34:08Z", "zone": "America/New_York"},
    "session": {
        "session": "2018-03-01",
        "phase": "open",
        "open": "2018-03-01T14:30:00Z",
        "close": "2018-03-01T21:00:00Z",
    },
    "account": {
        "currency": "USD",
        "equity": "100253.33",
        "cash": "63200.10",
        "day_start_equity": "100997.00",
        "day_pnl": "-743.67",
    },
    "control": {"paused": False, "killed": False, "gate_reason": None, "locked_symbols": ["GME"]},
    "services": [{"name": "scanner", "state": "running", "restarts": 0}],
    "counts": {"plans_pending": 1, "positions_open": 2, "trades_today": 2},
    "problems": [
        {
            "severity": "critical",
            "code": "unprotected",
            "message": "GME has no resting stop",
            "mend": "finagent flatten GME",
        }
    ],
    "next_jobs": [
        {"name": "scan second-look", "at": "2018-03-01T17:15:00Z"},
        {"name": "flatten close-15m", "at": "2018-03-01T20:45:00Z"},
    ],
}
RISK: Document = {
    "profile": "standard",
    "limits": {
        "pause_loss": {"limit": "1514.96", "used": "743.67", "used_ratio": 0.49},
        "flatten_loss": {"limit": "2019.94", "used": "743.67", "used_ratio": 0.37},
    },
}
RISK_IN_FULL: Document = {
    "session": "2018-03-01",
    "profile": "standard",
    "account": {"currency": "USD", "day_pnl": "-1987.30", "pause_at": "-1500.00", "flatten_at": "-2000.00"},
    "loss_tier": "pause",
    "breakers": ["losses_in_a_row"],
    "limits": {
        "flatten_loss": {
            "limit": "2000.00", "used": "1987.30", "left": "12.70", "used_ratio": 0.99365, "unit": "money",
            "reopens": "rearm",
        },
        "trades_per_day": {
            "limit": 5, "used": 2, "left": 3, "used_ratio": 0.4, "unit": "count", "reopens": "next session",
        },
    },
    "raised_limits": [{"limit": "max_open_positions", "profile": "3", "in_force": "5"}],
    "waiting_limits": [{"limit": "risk_per_trade_pct", "accepted": "0.5", "wanted": "1"}],
    "reservations": [
        {"plan_id": "pl_amd001", "symbol": "AMD", "notional": "10000.00", "worst_case": "450.00"}
    ],
    "locks": [{"symbol": "GME", "since": "2018-03-01T14:31:00Z"}],
    "control": {"paused": True, "gate_reason": "paused"},
}  # fmt: skip

SCAN: Document = {
    "session": "2018-03-01",
    "as_of": "2018-03-01T14:31:00Z",
    "universe": 7292,
    "elapsed_ms": 412,
    "market": {"spy_gap_pct": -0.31, "breadth": 0.43},
    "candidates": [
        {
            "symbol": "NVDA",
            "gap_pct": 4.23,
            "indication": "241.50",
            "indication_source": "open",
            "prev_close": "231.70",
            "prev_close_adjusted": "231.70",
            "direction": "long",
            "volume": 1234567,
            "premarket_volume": None,
            "adv_usd": 3400000000,
            "rvol": 3.24,
            "atr_pct": 2.9,
            "score": 0.812,
            "factors": {
                "volatility": {"value": 0.9},
                "catalyst": {"value": 0.7},
                "sentiment": {"value": None},
                "liquidity": {"value": 1.0},
            },
            "flags": ["earnings", "thin_premarket"],
        },
    ],
    "dropped": {"gap_too_small": 7100, "price": 12, "adv": 150},
    "data_issues": [
        {"symbol": "JCI", "kind": "split_mismatch", "detail": "close falls to a third without a split"}
    ],
}
JOURNAL: Document = {
    "entries": [
        {
            "seq": 1,
            "at": "2018-03-01T14:31:00Z",
            "kind": "scan",
            "ref": "open",
            "data": {"candidates": 5},
            "hash": "00" * 32,
        },
        {
            "seq": 2,
            "at": "2018-03-01T14:31:00Z",
            "kind": "plan",
            "ref": PLAN_ID,
            "data": {"symbol": "NVDA", "note": "\x1b[31mred"},
            "hash": "11" * 32,
        },
    ],
    "next_after": 2,
}
PNL: Document = {
    "sessions": [
        {
            "session": "2018-02-28",
            "trades": 3,
            "pnl": "-120.50",
            "fees": "1.02",
            "day_start_equity": "100000",
        },
        {"session": "2018-03-01", "trades": 2, "pnl": "3.99", "fees": "0.51", "day_start_equity": "99879.50"},
    ],
    "totals": {"trades": 5, "pnl": "-116.51", "fees": "1.53", "win_rate": 0.4},
}
ORDERS: Document = {
    "orders": [
        {
            "created_at": "2018-03-01T14:31:01Z",
            "symbol": "NVDA",
            "leg": "entry-1",
            "side": "buy",
            "type": "market",
            "quantity": "78",
            "filled": "78",
            "price": None,
            "average_price": "241.55",
            "state": "filled",
            "client_order_id": "fa-7f3a9c21-entry-1",
        },
    ]
}
JOBS: Document = {
    "jobs": [
        {
            "id": 12,
            "type": "send",
            "status": "done",
            "attempts": 1,
            "run_at": "2018-03-01T14:31:01Z",
            "idempotency_key": "send:fa-7f3a9c21-entry-1",
            "last_error": None,
        },
    ]
}
JOB: Document = {
    "id": 12,
    "type": "send",
    "status": "dead",
    "payload": {"order": "x"},
    "attempts": [{"attempt": 1, "started_at": "2018-03-01T14:31:01Z", "outcome": "error", "error": "boom"}],
}
STATS: Document = {
    "by_status": {"done": 120, "dead": 1},
    "by_type": {"send": {"done": 4, "dead": 1}},
    "oldest_ready_s": None,
    "dead": [{"id": 9, "type": "send", "status": "dead", "attempts": 5, "last_error": "broker said no"}],
}
REPLAY: Document = {
    "result_id": "r1",
    "outcome_hash": "ff" * 32,
    "from": "2018-03-01",
    "to": "2018-03-01",
    "sessions": [
        {
            "session": "2018-03-01",
            "candidates": 5,
            "plans": 4,
            "approved": 3,
            "orders": 9,
            "fills": 6,
            "trades": 2,
            "pnl": "3.99",
            "flat": True,
            "held_over": [],
        }
    ],
    "trades": TRADES["trades"],
    "totals": {
        "trades": 2,
        "pnl": "3.99",
        "fees": "0.51",
        "win_rate": 0.5,
        "max_drawdown": "495.75",
        "ambiguous": 1,
    },
    "jobs": {"done": 812, "dead": 0, "live": 0},
    "elapsed_ms": 2412,
}
DAY: Document = {
    "session": "2018-03-01",
    "scan": SCAN,
    "plans": PLANS["plans"],
    "trades": TRADES["trades"],
    "no_plan": [{"symbol": "AMZN", "reason": "price_above_limit", "detail": "1,493.45 is above 300"}],
    "totals": REPLAY["totals"],
    "flat": True,
    "problems": [],
}
DOCTOR: Document = {
    "checks": [
        {"name": "home", "status": "ok", "detail": "writable", "mend": ""},
        {"name": "disk", "status": "warn", "detail": "1 GB free", "mend": "Free some space"},
    ]
}
IMPORT: Document = {
    "files": [
        {"file": "daily/a.csv", "kind": "daily", "rows": 100, "accepted": 99, "rejected": 1, "duplicates": 0}
    ],
    "symbols": 12,
    "issues": [{"kind": "negative_price", "symbol": "X", "count": 1, "example": "row 7: -3"}],
}
EXPLANATION: Document = {
    "symbol": "AAPL",
    "session": "2014-06-09",
    "as_of": "2014-06-09T13:31:00Z",
    "reasons": ["dropped: gap 1.6 % is below 4 %"],
    "measured": {"gap_pct": 1.6, "prev_close": "645.57", "split": "7:1", "rvol": None},
}
JOB_IN_FULL: Document = {
    **{key: value for key, value in JOB.items() if key != "attempts"},
    "status": "leased",
    "key": "NVDA",
    "idempotency_key": "send:fa-7f3a9c21-entry-1",
    "priority": 1,
    "failures": 1,
    "max_attempts": 5,
    "tries": 2,
    "created_at": "2018-03-01T14:31:00Z",
    "run_at": "2018-03-01T14:31:00.250Z",
    "started_at": "2018-03-01T14:31:03Z",
    "finished_at": None,
    "deadline_at": "2018-03-01T15:00:00Z",
    "age_s": 90.0,
    "wait_s": 0.004,
    "trace_id": "t-1",
    "last_error": "boom",
    "lease": {"boot": 3, "number": 2, "pid": 42, "left_s": 12.0},
    "parent": {"id": 3, "type": "send", "status": "dead", "idempotency_key": "x"},
    "children": [{"id": 13, "type": "risk", "status": "ready", "idempotency_key": "2018-03-01/open/1"}],
    "children_count": 8,
    "attempts": [
        {
            "attempt": 1,
            "boot": 3,
            "started_at": "2018-03-01T14:31:01Z",
            "finished_at": "2018-03-01T14:31:02Z",
            "duration_s": 1.0,
            "outcome": "retry",
            "error": "boom " * 30,
        },
    ],
    "attempts_omitted": 4,
}
WATCH: Document = {
    "now": "2018-03-01T14:31:00Z",
    "by_status": {"ready": 2, "leased": 1, "scheduled": 0, "done": 1200, "dead": 1, "cancelled": 0},
    "by_type": {"send": {"ready": 2, "leased": 1, "done": 1200}, "scan": {"dead": 1}},
    "per_s": {"done": 12.5, "dead": 0.5, "cancelled": 0.0},
    "oldest_ready_s": 4.2,
    "next_run_at": "2018-03-01T17:15:00Z",
    "running": [
        {
            "id": 12 + n,
            "type": "send",
            "running_s": 0.25,
            "attempts": 1,
            "max_attempts": 5,
            "idempotency_key": "k" * 50,
        }
        for n in range(10)
    ],
    "failed": [
        {
            "id": 9,
            "type": "scan",
            "status": "dead",
            "attempts": 5,
            "max_attempts": 5,
            "error": "boom " * 30,
            "at": None,
        }
    ],
    "wal_bytes": 3 << 20,
    "database_bytes": 4096,
    "note": None,
}
ISSUES: Document = {
    "files": [],
    "symbols": 12,
    "issues": [
        {"kind": "ohlc", "symbol": "CZR", "count": 10, "example": "2018-02-16: high below close"},
        {"kind": "ohlc", "symbol": "JCI", "count": 1000, "example": "2016-09-02: high below close"},
        {"kind": "hole", "symbol": "LDOS", "count": 3, "example": "2013-09-30"},
    ],
    "issues_file": "reports/x.csv",
    "problems": [],
    "changed": True,
}
NO_MINUTES: Document = {
    "sessions": [{"session": "2014-06-09", "candidates": 2, "plans": 0}],
    "without_minutes": [{"session": "2014-06-09", "symbols": ["DG", "NCLH"]}],
    "totals": {"trades": 0},
    "trades": [],
}
EXTERNAL: Document = {
    "external": [
        {
            "symbol": "BRK.B",
            "quantity": "12",
            "acknowledged_quantity": "12",
            "is_acknowledged": True,
            "first_seen_at": "2018-02-28T15:00:00Z",
            "acknowledged_at": "2018-02-28T16:00:00Z",
            "acknowledged_by": "cli:ann",
        },
        {
            "symbol": "KO",
            "quantity": "40",
            "acknowledged_quantity": None,
            "is_acknowledged": False,
            "first_seen_at": "2018-03-01T14:31:00Z",
            "acknowledged_at": None,
            "acknowledged_by": None,
        },
    ]
}
