-- The trading day. Instants are business milliseconds UTC; prices and quantities are integers of 1e-4, money of 1e-8.
CREATE TABLE scan (
    session    TEXT    NOT NULL,
    tick       TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    as_of      INTEGER NOT NULL,
    universe   INTEGER NOT NULL,
    candidates INTEGER NOT NULL,
    body       TEXT    NOT NULL,
    PRIMARY KEY (session, tick)
) STRICT, WITHOUT ROWID;

CREATE TABLE candidate (
    session     TEXT    NOT NULL,
    tick        TEXT    NOT NULL,
    symbol      TEXT    NOT NULL,
    place       INTEGER NOT NULL,
    rank        INTEGER,
    score       INTEGER,
    is_selected INTEGER NOT NULL DEFAULT 0 CHECK (is_selected IN (0, 1)),
    outcome     TEXT    NOT NULL DEFAULT '',
    body        TEXT    NOT NULL,
    factors     TEXT,
    PRIMARY KEY (session, tick, symbol),
    CHECK ((rank IS NULL) = (score IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE plan (
    plan_id     TEXT    PRIMARY KEY,
    session     TEXT    NOT NULL,
    tick        TEXT    NOT NULL,
    symbol      TEXT    NOT NULL,
    rank        INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('planned', 'pending', 'approved', 'armed', 'entering', 'open', 'closed',
                'refused', 'rejected', 'expired', 'cancelled', 'not_filled', 'superseded')),
    reason      TEXT    NOT NULL DEFAULT '',
    plan_hash   TEXT    NOT NULL DEFAULT '',
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    body        TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX plan_session ON plan (session, symbol);
CREATE INDEX plan_live ON plan (state, symbol)
    WHERE state IN ('planned', 'pending', 'approved', 'armed', 'entering', 'open');

CREATE TABLE risk_decision (
    plan_id     TEXT    PRIMARY KEY REFERENCES plan,
    is_approved INTEGER NOT NULL CHECK (is_approved IN (0, 1)),
    at          INTEGER NOT NULL,
    body        TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE reservation (
    plan_id     TEXT    PRIMARY KEY REFERENCES plan,
    symbol      TEXT    NOT NULL,
    session     TEXT    NOT NULL,
    notional    INTEGER NOT NULL CHECK (notional >= 0),
    worst_case  INTEGER NOT NULL CHECK (worst_case >= 0),
    released_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX reservation_active ON reservation (symbol) WHERE released_at IS NULL;

CREATE TABLE approval (
    plan_id     TEXT    PRIMARY KEY REFERENCES plan,
    plan_hash   TEXT    NOT NULL,
    nonce       TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'expired', 'superseded')),
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    answered_at INTEGER,
    channel     TEXT    NOT NULL DEFAULT '',
    identity    TEXT    NOT NULL DEFAULT '',
    CHECK ((state = 'pending') = (answered_at IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX approval_pending ON approval (expires_at) WHERE state = 'pending';

CREATE TABLE broker_order (
    client_order_id TEXT    PRIMARY KEY CHECK (length(client_order_id) <= 48),
    plan_id         TEXT    NOT NULL REFERENCES plan,
    session         TEXT    NOT NULL,
    symbol          TEXT    NOT NULL,
    leg             TEXT    NOT NULL,
    generation      INTEGER NOT NULL CHECK (generation >= 1),
    state           TEXT    NOT NULL CHECK (state IN ('intent', 'accepted', 'partially_filled', 'unknown', 'filled',
                    'cancelled', 'rejected', 'expired', 'never_arrived')),
    quantity        INTEGER NOT NULL CHECK (quantity > 0),
    filled          INTEGER NOT NULL DEFAULT 0 CHECK (filled >= 0),
    created_at      INTEGER NOT NULL,
    accepted_at     INTEGER,
    ended_at        INTEGER,
    reason          TEXT    NOT NULL DEFAULT '',
    body_hash       TEXT    NOT NULL,
    body            TEXT    NOT NULL,
    UNIQUE (plan_id, leg, generation)
) STRICT, WITHOUT ROWID;
CREATE INDEX broker_order_plan ON broker_order (plan_id, created_at);
CREATE INDEX broker_order_session ON broker_order (session, created_at);
CREATE INDEX broker_order_live ON broker_order (symbol)
    WHERE state IN ('intent', 'accepted', 'partially_filled', 'unknown');

CREATE TABLE fill (
    execution_id    TEXT    PRIMARY KEY,
    client_order_id TEXT    NOT NULL REFERENCES broker_order,
    plan_id         TEXT    NOT NULL REFERENCES plan,
    session         TEXT    NOT NULL,
    leg             TEXT    NOT NULL,
    reason          TEXT,
    at              INTEGER NOT NULL,
    recorded_seq    INTEGER NOT NULL,
    body            TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX fill_plan ON fill (plan_id, recorded_seq);
CREATE INDEX fill_session ON fill (session, recorded_seq);

CREATE TABLE position (
    plan_id   TEXT    PRIMARY KEY REFERENCES plan,
    symbol    TEXT    NOT NULL,
    session   TEXT    NOT NULL,
    quantity  INTEGER NOT NULL,
    stop      INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    body      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX position_session ON position (session);
CREATE INDEX position_open ON position (symbol) WHERE quantity <> 0;

CREATE TABLE trade (
    trade_id TEXT    PRIMARY KEY,
    plan_id  TEXT    NOT NULL UNIQUE REFERENCES plan,
    session  TEXT    NOT NULL,
    exit_session TEXT NOT NULL,
    symbol   TEXT    NOT NULL,
    exit_at  INTEGER NOT NULL,
    pnl      INTEGER NOT NULL,
    fees     INTEGER NOT NULL,
    body     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX trade_session ON trade (session, exit_at, symbol);
CREATE INDEX trade_exit_session ON trade (exit_session, exit_at, symbol);

CREATE TABLE day (
    session   TEXT    PRIMARY KEY,
    closed_at INTEGER NOT NULL,
    is_flat   INTEGER NOT NULL CHECK (is_flat IN (0, 1)),
    pnl       INTEGER NOT NULL,
    fees      INTEGER NOT NULL,
    trades    INTEGER NOT NULL,
    held_over TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE control (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    is_paused    INTEGER NOT NULL DEFAULT 0 CHECK (is_paused IN (0, 1)),
    pause_reason TEXT,
    paused_by    TEXT,
    is_killed    INTEGER NOT NULL DEFAULT 0 CHECK (is_killed IN (0, 1)),
    needs_rearm  INTEGER NOT NULL DEFAULT 0 CHECK (needs_rearm IN (0, 1)),
    gate_reason  TEXT,
    updated_at   INTEGER NOT NULL
) STRICT;
INSERT INTO control (id, updated_at) VALUES (1, 0);

CREATE TABLE symbol_lock (
    symbol    TEXT    PRIMARY KEY,
    locked_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Append-only: the writer assigns seq and hash, the chain is verified at start.
CREATE TABLE journal (
    seq  INTEGER PRIMARY KEY,
    at   INTEGER NOT NULL,
    kind TEXT    NOT NULL,
    ref  TEXT    NOT NULL,
    data TEXT    NOT NULL,
    hash TEXT    NOT NULL
) STRICT;
CREATE INDEX journal_ref ON journal (ref, seq);
CREATE INDEX journal_kind ON journal (kind, seq);
CREATE TRIGGER journal_no_update BEFORE UPDATE ON journal BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;

-- How far the tick has come: bars, fills and cron ticks up to this instant are in the same commit.
CREATE TABLE feed (
    source TEXT    PRIMARY KEY,
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
