-- The paper venue: a broker of its own in the same file, committed apart from the agent's facts. Instants are business
-- milliseconds UTC; prices and quantities are integers of 1e-4, money of 1e-8.
CREATE TABLE venue_account (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    currency      TEXT    NOT NULL,
    start_equity  INTEGER NOT NULL CHECK (start_equity >= 0),
    cash          INTEGER NOT NULL,
    next_sequence INTEGER NOT NULL DEFAULT 1 CHECK (next_sequence >= 1)
) STRICT;

CREATE TABLE venue_order (
    client_order_id       TEXT    PRIMARY KEY CHECK (length(client_order_id) BETWEEN 1 AND 48),
    sequence              INTEGER NOT NULL UNIQUE,
    session               TEXT    NOT NULL,
    plan_id               TEXT    NOT NULL,
    symbol                TEXT    NOT NULL,
    leg                   TEXT    NOT NULL,
    side                  TEXT    NOT NULL CHECK (side IN ('buy', 'sell')),
    type                  TEXT    NOT NULL CHECK (type IN ('market', 'limit', 'stop')),
    asked                 INTEGER NOT NULL,
    quantity              INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND asked),
    filled                INTEGER NOT NULL DEFAULT 0 CHECK (filled BETWEEN 0 AND quantity),
    armed                 INTEGER NOT NULL DEFAULT 0,
    limit_price           INTEGER CHECK (limit_price > 0),
    stop_price            INTEGER CHECK (stop_price > 0),
    reference             INTEGER,
    parent_id             TEXT    REFERENCES venue_order,
    is_exit               INTEGER NOT NULL CHECK (is_exit IN (0, 1)),
    ignores_participation INTEGER NOT NULL CHECK (ignores_participation IN (0, 1)),
    is_triggered          INTEGER NOT NULL DEFAULT 0 CHECK (is_triggered IN (0, 1)),
    state                 TEXT    NOT NULL
                          CHECK (state IN ('accepted', 'partially_filled', 'filled', 'cancelled', 'expired')),
    reason                TEXT    NOT NULL DEFAULT '',
    accepted_at           INTEGER NOT NULL,
    ended_at              INTEGER,
    is_reported           INTEGER NOT NULL DEFAULT 0 CHECK (is_reported IN (0, 1)),
    CHECK ((type = 'limit') = (limit_price IS NOT NULL)),
    CHECK ((type = 'stop') = (stop_price IS NOT NULL)),
    CHECK ((state IN ('accepted', 'partially_filled')) = (ended_at IS NULL)),
    CHECK (is_reported = 0 OR ended_at IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX venue_order_open ON venue_order (symbol, sequence) WHERE ended_at IS NULL;
CREATE INDEX venue_order_unreported ON venue_order (symbol, sequence) WHERE ended_at IS NOT NULL AND is_reported = 0;
CREATE INDEX venue_order_session ON venue_order (session, sequence);
CREATE INDEX venue_order_parent ON venue_order (parent_id) WHERE parent_id IS NOT NULL;

CREATE TABLE venue_fill (
    sequence        INTEGER PRIMARY KEY,
    execution_id    TEXT    NOT NULL UNIQUE,
    client_order_id TEXT    NOT NULL REFERENCES venue_order,
    session         TEXT    NOT NULL,
    symbol          TEXT    NOT NULL,
    side            TEXT    NOT NULL CHECK (side IN ('buy', 'sell')),
    quantity        INTEGER NOT NULL CHECK (quantity > 0),
    price           INTEGER NOT NULL CHECK (price > 0),
    reference       INTEGER NOT NULL CHECK (reference > 0),
    at              INTEGER NOT NULL,
    fees            INTEGER NOT NULL CHECK (fees >= 0),
    is_ambiguous    INTEGER NOT NULL CHECK (is_ambiguous IN (0, 1)),
    best            INTEGER,
    worst           INTEGER,
    is_forced_close INTEGER NOT NULL CHECK (is_forced_close IN (0, 1))
) STRICT;
CREATE INDEX venue_fill_order ON venue_fill (client_order_id);
CREATE INDEX venue_fill_session ON venue_fill (session, sequence);

CREATE TABLE venue_position (
    symbol   TEXT    PRIMARY KEY,
    quantity INTEGER NOT NULL,
    mark     INTEGER NOT NULL CHECK (mark > 0),
    mark_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
