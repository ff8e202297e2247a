-- After a restore: what our orders of the lost time did at the broker. One recovery at a time; it ends with rearm.
CREATE TABLE recovery (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    since      INTEGER NOT NULL,
    is_settled INTEGER NOT NULL CHECK (is_settled IN (0, 1)),
    ended_at   INTEGER
) STRICT;

CREATE TABLE recovered_order (
    client_order_id TEXT    PRIMARY KEY,
    session         TEXT    NOT NULL,
    symbol          TEXT    NOT NULL,
    adopted_at      INTEGER NOT NULL,
    body            TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE recovered_fill (
    execution_id    TEXT    PRIMARY KEY,
    client_order_id TEXT    NOT NULL,
    session         TEXT    NOT NULL,
    symbol          TEXT    NOT NULL,
    at              INTEGER NOT NULL,
    body            TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
