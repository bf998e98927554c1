/**
 * What makes the tables of one version those of the next, from nothing on. Never changed once released: what comes later
 * is added at the end. Moments are microseconds.
 */
export const migrations: readonly string[] = [
  `
  CREATE TABLE console (
    id      TEXT NOT NULL,
    created INTEGER NOT NULL
  ) STRICT;
  -- An account is disabled, never removed: a name in the audit log is one person for ever. key: the name as it is compared.
  CREATE TABLE accounts (
    key         TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    role        TEXT NOT NULL,
    enabled     INTEGER NOT NULL,
    password    TEXT NOT NULL,
    must_change INTEGER NOT NULL,
    totp        BLOB,
    totp_begun  BLOB,
    totp_step   INTEGER NOT NULL DEFAULT 0,
    created     INTEGER NOT NULL,
    last_sign_in INTEGER
  ) STRICT;
  CREATE TABLE sessions (
    hash    TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts,
    began   INTEGER NOT NULL,
    used    INTEGER NOT NULL,
    address TEXT NOT NULL
  ) STRICT;
  CREATE TABLE vaults (
    id        TEXT PRIMARY KEY,
    name      TEXT NOT NULL,
    host      TEXT NOT NULL,
    port      INTEGER NOT NULL,
    authority TEXT NOT NULL,
    site      TEXT,
    added     INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE agent_sites (
    agent TEXT PRIMARY KEY,
    site  TEXT NOT NULL
  ) STRICT;
  CREATE TABLE audit (
    number  INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    user    TEXT,
    address TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail  TEXT NOT NULL,
    hash    TEXT NOT NULL
  ) STRICT;
  -- Where the chain begins (the number and hash before the first record that is kept) and where it ends.
  CREATE TABLE audit_ends (
    before      INTEGER NOT NULL,
    before_hash TEXT NOT NULL,
    last        INTEGER NOT NULL,
    last_hash   TEXT NOT NULL
  ) STRICT;
  `,
  `
  -- key: rule and what it is about, of which one is open at a time. told: it was sent to the channels.
  CREATE TABLE alarms (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT NOT NULL UNIQUE,
    key      TEXT NOT NULL,
    instance TEXT,
    rule     TEXT NOT NULL,
    severity TEXT NOT NULL,
    vault    TEXT NOT NULL,
    agent    TEXT,
    source   TEXT,
    system   TEXT,
    subject  TEXT,
    facts    TEXT NOT NULL,
    message  TEXT NOT NULL,
    hint     TEXT NOT NULL,
    began    INTEGER NOT NULL,
    ended    INTEGER,
    acknowledged_by TEXT,
    acknowledged    INTEGER,
    told     INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE UNIQUE INDEX alarms_open ON alarms(key) WHERE ended IS NULL;
  CREATE INDEX alarms_ended ON alarms(ended);
  CREATE TABLE silences (
    key    TEXT PRIMARY KEY,
    by     TEXT NOT NULL,
    until  INTEGER NOT NULL
  ) STRICT;
  -- system: '' is everything.
  CREATE TABLE thresholds (
    system   TEXT PRIMARY KEY,
    settings TEXT NOT NULL
  ) STRICT;
  -- secrets: sealed; host and has_secret: what is told of them. tries, next_try, last_error: of what waits now; lost: given up since the last one that was taken.
  CREATE TABLE channels (
    id         TEXT PRIMARY KEY,
    settings   TEXT NOT NULL,
    secrets    BLOB NOT NULL,
    host       TEXT,
    has_secret INTEGER NOT NULL,
    created    INTEGER NOT NULL,
    tries      INTEGER NOT NULL DEFAULT 0,
    next_try   INTEGER,
    last_sent  INTEGER,
    last_error TEXT,
    lost       INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE outbox (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL REFERENCES channels ON DELETE CASCADE,
    event   TEXT NOT NULL,
    alarm   TEXT NOT NULL,
    at      INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX outbox_channel ON outbox(channel, number);
  `,
]
