-- Limits as a person accepted them; the settings may ask for less at any time, for more only once it is accepted.
CREATE TABLE accepted_limit (
    name        TEXT    PRIMARY KEY,
    value       INTEGER,
    accepted_by TEXT    NOT NULL,
    accepted_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
