-- What a decision rested on, stored once under the SHA-256 of its text (canonical JSON, compressed by zlib).
-- A journal row names the head of its evidence in `inputs`, inside its own hash; the head lists the other texts.
CREATE TABLE journal_input (
    hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
    body BLOB NOT NULL
) STRICT;
CREATE TRIGGER journal_input_no_update BEFORE UPDATE ON journal_input
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER journal_input_no_delete BEFORE DELETE ON journal_input
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;

ALTER TABLE journal ADD COLUMN inputs TEXT NOT NULL DEFAULT '';
