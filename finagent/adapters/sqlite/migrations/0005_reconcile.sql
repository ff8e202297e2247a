-- Shares at the broker that finagent did not open; acknowledged: what a person has seen of them. Quantities are signed.
CREATE TABLE external_holding (
    symbol          TEXT    PRIMARY KEY,
    quantity        INTEGER NOT NULL CHECK (quantity <> 0),
    acknowledged    INTEGER NOT NULL DEFAULT 0,
    first_seen_at   INTEGER NOT NULL,
    changed_at      INTEGER NOT NULL,
    acknowledged_at INTEGER,
    acknowledged_by TEXT    NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

-- What broker and journal disagree on by the newest comparison.
CREATE TABLE reconcile_difference (
    kind   TEXT    NOT NULL,
    ref    TEXT    NOT NULL,
    detail TEXT    NOT NULL,
    since  INTEGER NOT NULL,
    PRIMARY KEY (kind, ref)
) STRICT, WITHOUT ROWID;
