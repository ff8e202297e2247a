-- The capital of each session at a broker outside, with its parts; written once. Money is in 1e-8.
CREATE TABLE day_start (
    session       TEXT    PRIMARY KEY,
    at            INTEGER NOT NULL,
    equity        INTEGER NOT NULL CHECK (equity >= 0),
    base          INTEGER NOT NULL,
    is_last_close INTEGER NOT NULL CHECK (is_last_close IN (0, 1)),
    flows         INTEGER NOT NULL,
    external      INTEGER NOT NULL,
    pnl           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
