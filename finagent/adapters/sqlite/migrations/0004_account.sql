-- The one account at the broker whose orders this database may hold; endpoint is paper or live.
CREATE TABLE account_binding (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    broker     TEXT    NOT NULL,
    account_id TEXT    NOT NULL,
    endpoint   TEXT    NOT NULL CHECK (endpoint IN ('paper', 'live')),
    bound_at   INTEGER NOT NULL
) STRICT;
CREATE TRIGGER account_binding_no_update BEFORE UPDATE ON account_binding
BEGIN SELECT RAISE(ABORT, 'a database stays bound to its account'); END;
