-- Who allowed live trading for which account, and who took it back; the newest row counts.
CREATE TABLE live_consent (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT    NOT NULL,
    is_allowed INTEGER NOT NULL CHECK (is_allowed IN (0, 1)),
    given_by   TEXT    NOT NULL,
    given_at   INTEGER NOT NULL
) STRICT;
CREATE TRIGGER live_consent_no_update BEFORE UPDATE ON live_consent
BEGIN SELECT RAISE(ABORT, 'a consent is taken back by another row'); END;
CREATE TRIGGER live_consent_no_delete BEFORE DELETE ON live_consent
BEGIN SELECT RAISE(ABORT, 'a consent is taken back by another row'); END;
