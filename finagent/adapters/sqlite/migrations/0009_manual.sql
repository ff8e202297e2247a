-- The manual desk: tickets that a person types at a broker without an interface, and the fills they tell. Instants are
-- business milliseconds UTC; prices and quantities are integers of 1e-4, money of 1e-8.
CREATE TABLE manual_ticket (
    client_order_id TEXT    PRIMARY KEY CHECK (length(client_order_id) BETWEEN 1 AND 48),
    sequence        INTEGER NOT NULL UNIQUE,
    session         TEXT    NOT NULL,
    plan_id         TEXT    NOT NULL,
    symbol          TEXT    NOT NULL,
    leg             TEXT    NOT NULL,
    generation      INTEGER NOT NULL CHECK (generation >= 1),
    side            TEXT    NOT NULL CHECK (side IN ('buy', 'sell')),
    type            TEXT    NOT NULL CHECK (type IN ('market', 'limit', 'stop')),
    quantity        INTEGER NOT NULL CHECK (quantity > 0),
    filled          INTEGER NOT NULL DEFAULT 0 CHECK (filled BETWEEN 0 AND quantity),
    limit_price     INTEGER CHECK (limit_price > 0),
    stop_price      INTEGER CHECK (stop_price > 0),
    parent_id       TEXT    REFERENCES manual_ticket,
    state           TEXT    NOT NULL
                    CHECK (state IN ('accepted', 'partially_filled', 'filled', 'cancelled', 'expired')),
    reason          TEXT    NOT NULL DEFAULT '',
    accepted_at     INTEGER NOT NULL,
    ended_at        INTEGER,
    CHECK ((type = 'limit') = (limit_price IS NOT NULL)),
    CHECK ((type = 'stop') = (stop_price IS NOT NULL)),
    CHECK ((state IN ('accepted', 'partially_filled')) = (ended_at IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX manual_ticket_open ON manual_ticket (symbol, sequence) WHERE ended_at IS NULL;
CREATE INDEX manual_ticket_plan ON manual_ticket (plan_id, sequence);
CREATE INDEX manual_ticket_session ON manual_ticket (session, sequence);

CREATE TABLE manual_fill (
    sequence        INTEGER PRIMARY KEY,
    execution_id    TEXT    NOT NULL UNIQUE,
    client_order_id TEXT    NOT NULL REFERENCES manual_ticket,
    plan_id         TEXT    NOT NULL,
    session         TEXT    NOT NULL,
    symbol          TEXT    NOT NULL,
    side            TEXT    NOT NULL CHECK (side IN ('buy', 'sell')),
    quantity        INTEGER NOT NULL CHECK (quantity > 0),
    price           INTEGER NOT NULL CHECK (price > 0),
    at              INTEGER NOT NULL,
    fees            INTEGER NOT NULL CHECK (fees >= 0),
    recorded_at     INTEGER NOT NULL,
    identity        TEXT    NOT NULL
) STRICT;
CREATE INDEX manual_fill_plan ON manual_fill (plan_id, sequence);
CREATE INDEX manual_fill_session ON manual_fill (session, sequence);
CREATE TRIGGER manual_fill_no_update BEFORE UPDATE ON manual_fill
BEGIN SELECT RAISE(ABORT, 'fills are append-only'); END;
CREATE TRIGGER manual_fill_no_delete BEFORE DELETE ON manual_fill
BEGIN SELECT RAISE(ABORT, 'fills are append-only'); END;
