//! The layout of the file: SQL, and nothing but SQL.

use crate::sqlite::Layout;

/// The file of the state of this host's VMs, marked `pvel`.
pub(super) const LAYOUT: Layout = Layout { mark: 0x7076_656c, migrations: &[VERSION_1, VERSION_2, VERSION_3] };

/// Times are microseconds since 1970. Configurations are JSON objects of texts, as Proxmox writes them in its files;
/// name, lock, template and protection are keys of it and are read out of it, so that there is one truth.
///
/// A VM has at most one intent, and an intent always has a VM: what is done to nobody's VM cannot be finished. What a
/// task's worker is (`worker`, a process) stands beside the UPID, since the UPID's numbers are only its name.
const VERSION_1: &str = "
PRAGMA application_id = 0x7076656c;

CREATE TABLE vm (
    vmid       INTEGER PRIMARY KEY CHECK (vmid BETWEEN 100 AND 999999999),
    uuid       TEXT NOT NULL UNIQUE,
    config     TEXT NOT NULL CHECK (json_type(config) = 'object'),
    pending    TEXT NOT NULL DEFAULT '{}' CHECK (json_type(pending) = 'object'),
    snapshots  TEXT NOT NULL DEFAULT '{}' CHECK (json_type(snapshots) = 'object'),
    phase      TEXT NOT NULL CHECK (phase IN ('creating', 'stopped', 'starting', 'running', 'stopping', 'deleting')),
    desired    TEXT NOT NULL CHECK (desired IN ('stopped', 'running')),
    generation INTEGER NOT NULL DEFAULT 0,
    pid        INTEGER,
    starttime  INTEGER,
    boot_id    TEXT,
    build      TEXT,
    cid        INTEGER NOT NULL UNIQUE CHECK (cid BETWEEN 3 AND 4294967294),
    ended      TEXT,
    created    INTEGER NOT NULL,
    name       TEXT AS (config ->> '$.name') VIRTUAL,
    lock       TEXT AS (config ->> '$.lock') VIRTUAL,
    template   INTEGER AS (coalesce(config ->> '$.template', '0') = '1') VIRTUAL,
    protection INTEGER AS (coalesce(config ->> '$.protection', '0') = '1') VIRTUAL,
    CHECK ((pid IS NULL) = (starttime IS NULL)),
    CHECK (pid IS NULL OR boot_id IS NOT NULL)
);
CREATE INDEX vm_name ON vm (name);

CREATE TABLE intent (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    vmid      INTEGER NOT NULL UNIQUE REFERENCES vm (vmid) ON DELETE CASCADE,
    verb      TEXT NOT NULL,
    committed INTEGER NOT NULL,
    upid      TEXT,
    worker    TEXT NOT NULL,
    began     INTEGER NOT NULL,
    work      TEXT NOT NULL
);

CREATE TABLE task (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    upid      TEXT NOT NULL UNIQUE,
    kind      TEXT NOT NULL,
    subject   TEXT NOT NULL,
    user      TEXT NOT NULL,
    worker    TEXT NOT NULL,
    started   INTEGER NOT NULL,
    ended     INTEGER,
    exit      TEXT,
    interrupt INTEGER NOT NULL DEFAULT 0,
    CHECK ((ended IS NULL) = (exit IS NULL))
);
CREATE INDEX task_running ON task (started) WHERE exit IS NULL;
CREATE INDEX task_ended ON task (ended);
CREATE INDEX task_subject ON task (subject, id);

CREATE TABLE line (
    task INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    n    INTEGER NOT NULL,
    time INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (task, n)
) WITHOUT ROWID;

CREATE TABLE image_use (
    image TEXT NOT NULL,
    vmid  INTEGER NOT NULL REFERENCES vm (vmid) ON DELETE CASCADE,
    PRIMARY KEY (image, vmid)
) WITHOUT ROWID;
CREATE INDEX image_use_vmid ON image_use (vmid);

CREATE TABLE queue (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    vmid   INTEGER NOT NULL REFERENCES vm (vmid) ON DELETE CASCADE,
    action TEXT NOT NULL,
    params TEXT NOT NULL,
    user   TEXT NOT NULL,
    added  INTEGER NOT NULL,
    intent INTEGER REFERENCES intent (id) ON DELETE SET NULL,
    error  TEXT
);
CREATE INDEX queue_vmid ON queue (vmid, id);
CREATE INDEX queue_intent ON queue (intent);
";

/// The networks of this host: a bridge each, which does not survive a boot and is made again from here. `boot_id` is the
/// boot in which it was last made whole.
const VERSION_2: &str = "
CREATE TABLE network (
    name     TEXT PRIMARY KEY,
    uuid     TEXT NOT NULL UNIQUE,
    address  TEXT NOT NULL,
    prefix   INTEGER NOT NULL CHECK (prefix BETWEEN 8 AND 30),
    nat      INTEGER NOT NULL,
    leaving  INTEGER NOT NULL DEFAULT 0,
    boot_id  TEXT,
    created  INTEGER NOT NULL
) WITHOUT ROWID;
";

/// Devices of the host that VMs have: the driver that each had before, in this boot. They outlast their VM's row, so that
/// one that could not be given back is not forgotten.
const VERSION_3: &str = "
CREATE TABLE lent (
    address    TEXT PRIMARY KEY,
    uuid       TEXT NOT NULL,
    id         TEXT NOT NULL,
    driver     TEXT,
    prescribed TEXT,
    boot_id    TEXT NOT NULL,
    error      TEXT
) WITHOUT ROWID;
";
