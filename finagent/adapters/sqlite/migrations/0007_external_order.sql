-- Orders that sell (or buy back) what is not ours, because a person asked for it by name; they belong to no plan.
CREATE TABLE external_order (
    client_order_id TEXT    PRIMARY KEY CHECK (length(client_order_id) <= 48),
    session         TEXT    NOT NULL,
    symbol          TEXT    NOT NULL,
    generation      INTEGER NOT NULL CHECK (generation >= 1),
    state           TEXT    NOT NULL CHECK (state IN ('intent', 'accepted', 'partially_filled', 'filled', 'cancelled',
                    'rejected', 'expired')),
    quantity        INTEGER NOT NULL CHECK (quantity > 0),
    filled          INTEGER NOT NULL DEFAULT 0 CHECK (filled >= 0),
    created_at      INTEGER NOT NULL,
    ended_at        INTEGER,
    reason          TEXT    NOT NULL DEFAULT '',
    body_hash       TEXT    NOT NULL,
    body            TEXT    NOT NULL,
    UNIQUE (session, symbol, generation)
) STRICT, WITHOUT ROWID;
