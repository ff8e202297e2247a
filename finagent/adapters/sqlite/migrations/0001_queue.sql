-- The durable queue. Instants are business milliseconds UTC, except lease_until (machinery time of its epoch).
CREATE TABLE job_queue (
    id              INTEGER PRIMARY KEY,
    type            TEXT    NOT NULL,
    key             TEXT,
    payload         TEXT    NOT NULL,
    payload_version INTEGER NOT NULL DEFAULT 1 CHECK (payload_version >= 1),
    status          TEXT    NOT NULL
                    CHECK (status IN ('scheduled', 'ready', 'leased', 'done', 'dead', 'cancelled')),
    priority        INTEGER NOT NULL,
    run_at          INTEGER NOT NULL,
    deadline_at     INTEGER,
    attempts        INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    failures        INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    max_attempts    INTEGER NOT NULL CHECK (max_attempts >= 1),
    epoch           INTEGER,
    lease_seq       INTEGER NOT NULL DEFAULT 0 CHECK (lease_seq >= 0),
    lease_until     INTEGER,
    idem_key        TEXT    NOT NULL,
    trace_id        TEXT,
    parent_id       INTEGER,
    created_at      INTEGER NOT NULL,
    started_at      INTEGER,
    finished_at     INTEGER,
    error           TEXT,
    UNIQUE (type, idem_key),
    CHECK ((status = 'leased') = (lease_until IS NOT NULL)),
    CHECK (status <> 'leased' OR (epoch IS NOT NULL AND started_at IS NOT NULL AND attempts >= 1)),
    CHECK ((status IN ('done', 'dead', 'cancelled')) = (finished_at IS NOT NULL)),
    CHECK (status NOT IN ('dead', 'cancelled') OR error IS NOT NULL),
    CHECK (status <> 'done' OR started_at IS NOT NULL)
) STRICT;
CREATE INDEX job_ready ON job_queue (type, priority, run_at, id) WHERE status = 'ready';
CREATE INDEX job_due ON job_queue (run_at) WHERE status = 'scheduled';
CREATE INDEX job_lease ON job_queue (lease_until) WHERE status = 'leased';
CREATE INDEX job_deadline ON job_queue (deadline_at)
    WHERE deadline_at IS NOT NULL AND status IN ('scheduled', 'ready');
CREATE INDEX job_finished ON job_queue (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX job_dead ON job_queue (id) WHERE status = 'dead';
CREATE UNIQUE INDEX job_live_key ON job_queue (key) WHERE key IS NOT NULL AND status = 'leased';

-- Attempts that did not end in done; the last, successful one is the job's own row.
CREATE TABLE job_attempt (
    job_id      INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    lease_seq   INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    outcome     TEXT    NOT NULL CHECK (outcome IN ('retry', 'dead', 'cancelled', 'return', 'expired', 'killed')),
    error       TEXT    NOT NULL,
    PRIMARY KEY (job_id, lease_seq)
) STRICT, WITHOUT ROWID;

-- Idempotency keys that outlive pruned jobs.
CREATE TABLE job_key (
    type        TEXT    NOT NULL,
    idem_key    TEXT    NOT NULL,
    job_id      INTEGER NOT NULL,
    status      TEXT    NOT NULL CHECK (status IN ('done', 'cancelled')),
    finished_at INTEGER NOT NULL,
    PRIMARY KEY (type, idem_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE cron_fire (
    name     TEXT    NOT NULL,
    fire_at  INTEGER NOT NULL,
    fired_at INTEGER NOT NULL,
    skipped  TEXT,
    PRIMARY KEY (name, fire_at)
) STRICT, WITHOUT ROWID;

CREATE TABLE boot (
    epoch      INTEGER PRIMARY KEY,
    pid        INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    stopped_at INTEGER,
    clean      INTEGER NOT NULL DEFAULT 0 CHECK (clean IN (0, 1)),
    CHECK ((stopped_at IS NOT NULL) = (clean = 1))
) STRICT;

CREATE TABLE row_version (
    row     TEXT    PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version >= 1)
) STRICT, WITHOUT ROWID;

CREATE TABLE clock (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    now_ms INTEGER NOT NULL
) STRICT;
INSERT INTO clock (id, now_ms) VALUES (1, 0);

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Boots, adoptions and repairs: outside the identity of a run, so stamped with the wall clock.
CREATE TABLE operations_journal (
    seq        INTEGER PRIMARY KEY,
    at_wall_ms INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    data       TEXT    NOT NULL
) STRICT;
