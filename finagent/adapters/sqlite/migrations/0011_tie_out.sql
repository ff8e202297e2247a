-- The account at each day's close, and whether its change since the snapshot before is explained to the last unit.
-- Money is in 1e-8; fill_seq is the last fill that the snapshot contains.
CREATE TABLE account_snapshot (
    session         TEXT    PRIMARY KEY,
    at              INTEGER NOT NULL,
    fill_seq        INTEGER NOT NULL,
    equity          INTEGER NOT NULL,
    own             INTEGER NOT NULL,
    external        INTEGER NOT NULL,
    baseline        TEXT,
    pnl             INTEGER NOT NULL DEFAULT 0,
    fees            INTEGER NOT NULL DEFAULT 0,
    flows           INTEGER NOT NULL DEFAULT 0,
    external_change INTEGER NOT NULL DEFAULT 0,
    difference      INTEGER,
    is_tied         INTEGER CHECK (is_tied IN (0, 1)),
    CHECK ((difference IS NULL) = (is_tied IS NULL))
) STRICT, WITHOUT ROWID;

-- Money that came or went without a trade, each counted once, in the session whose tie-out first saw it.
CREATE TABLE cash_flow (
    flow_id TEXT    PRIMARY KEY,
    session TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    amount  INTEGER NOT NULL,
    symbol  TEXT
) STRICT, WITHOUT ROWID;
