//! The layout of the file: SQL, and nothing but SQL.

use crate::sqlite::Layout;

/// The file of a journal, marked `pvej`.
pub(super) const LAYOUT: Layout = Layout { mark: 0x7076_656a, migrations: &[VERSION_1, VERSION_2, VERSION_3] };

/// `type` is read out of the payload, so that the hash over the payload covers it. Times are microseconds since 1970.
///
/// A row of `checkpoint` stands for a run of events that prune took out: their first and last number, the hash before
/// the first and the hash of the last. A delete is let through exactly where a checkpoint covers it.
///
/// The indexes of `operation` that lead with a filter go on with the time, so that they are read in the order of the
/// list; columns after that spare the visit to the row while rows are passed over.
pub(super) const VERSION_1: &str = "
PRAGMA application_id = 0x7076656a;

CREATE TABLE event (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    operation INTEGER NOT NULL,
    time      INTEGER NOT NULL,
    type      TEXT NOT NULL AS (payload ->> '$.event') STORED
              CHECK (type IN ('planned', 'sent', 'upid', 'target', 'step', 'ended')),
    payload   TEXT NOT NULL,
    prev_hash BLOB NOT NULL,
    hash      BLOB NOT NULL
);
CREATE INDEX event_operation ON event (operation, type);

CREATE TABLE checkpoint (
    first     INTEGER PRIMARY KEY,
    last      INTEGER NOT NULL,
    prev_hash BLOB NOT NULL,
    hash      BLOB NOT NULL
);

CREATE TRIGGER event_never_changes BEFORE UPDATE ON event BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;
CREATE TRIGGER event_stays BEFORE DELETE ON event
WHEN NOT EXISTS (SELECT 1 FROM checkpoint WHERE OLD.id BETWEEN first AND last) BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;

CREATE VIEW operation_of_events AS
SELECT
    planned.operation AS id,
    planned.payload ->> '$.verb' AS verb,
    planned.payload ->> '$.target' AS target,
    coalesce(found.payload ->> '$.vmid', planned.payload ->> '$.vmid') AS vmid,
    planned.payload ->> '$.name' AS name,
    coalesce(found.payload ->> '$.node', planned.payload ->> '$.node') AS node,
    planned.payload ->> '$.context' AS context,
    planned.payload ->> '$.user' AS user,
    planned.payload ->> '$.host' AS host,
    task.payload ->> '$.upid' AS upid,
    CASE latest.type
        WHEN 'sent' THEN 'sent'
        WHEN 'upid' THEN 'running'
        WHEN 'ended' THEN latest.payload ->> '$.verdict'
        ELSE 'planned'
    END AS status,
    CASE latest.type WHEN 'ended' THEN latest.payload ->> '$.exit_status' END AS exit_status,
    planned.time AS started,
    CASE latest.type WHEN 'ended' THEN latest.time END AS ended,
    CASE latest.type WHEN 'ended' THEN latest.payload ->> '$.error' END AS error,
    planned.payload ->> '$.config_before' IS NOT NULL AS has_config
FROM event AS planned
LEFT JOIN event AS found ON found.id =
    (SELECT max(id) FROM event WHERE operation = planned.operation AND type = 'target')
LEFT JOIN event AS task ON task.id =
    (SELECT max(id) FROM event WHERE operation = planned.operation AND type = 'upid')
LEFT JOIN event AS latest ON latest.id =
    (SELECT max(id) FROM event WHERE operation = planned.operation AND type IN ('sent', 'upid', 'ended'))
WHERE planned.type = 'planned';

CREATE TABLE operation (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    verb        TEXT NOT NULL,
    target      TEXT NOT NULL,
    vmid        INTEGER,
    name        TEXT,
    node        TEXT,
    context     TEXT NOT NULL,
    user        TEXT NOT NULL,
    host        TEXT NOT NULL,
    upid        TEXT,
    status      TEXT NOT NULL,
    exit_status TEXT,
    started     INTEGER NOT NULL,
    ended       INTEGER,
    error       TEXT,
    has_config  INTEGER NOT NULL
);
CREATE INDEX operation_started ON operation (started);
CREATE INDEX operation_status ON operation (status, started, verb, context);
CREATE INDEX operation_verb ON operation (verb, started, context);
CREATE INDEX operation_context ON operation (context, started);
CREATE INDEX operation_vmid ON operation (vmid, started);
CREATE INDEX operation_name ON operation (name, started);
CREATE INDEX operation_target ON operation (target, started);

CREATE TRIGGER event_tells_operation AFTER INSERT ON event WHEN NEW.type <> 'step' BEGIN
    INSERT INTO operation SELECT * FROM operation_of_events WHERE id = NEW.operation
    ON CONFLICT (id) DO UPDATE SET
        vmid = excluded.vmid, node = excluded.node, upid = excluded.upid, status = excluded.status,
        exit_status = excluded.exit_status, ended = excluded.ended, error = excluded.error;
END;
CREATE TRIGGER operation_goes_with_events AFTER DELETE ON event WHEN OLD.type = 'planned' BEGIN
    DELETE FROM operation WHERE id = OLD.operation;
END;
";

/// Operations over several guests, of which each guest's is a part. Until it ended, one of those is at work, not planned.
const VERSION_2: &str = "
DROP TRIGGER event_tells_operation;
DROP VIEW operation_of_events;
ALTER TABLE operation ADD COLUMN parent INTEGER;
CREATE INDEX operation_parent ON operation (parent, vmid) WHERE parent IS NOT NULL;

CREATE VIEW operation_of_events AS
SELECT
    planned.operation AS id,
    planned.payload ->> '$.verb' AS verb,
    planned.payload ->> '$.target' AS target,
    coalesce(found.payload ->> '$.vmid', planned.payload ->> '$.vmid') AS vmid,
    planned.payload ->> '$.name' AS name,
    coalesce(found.payload ->> '$.node', planned.payload ->> '$.node') AS node,
    planned.payload ->> '$.context' AS context,
    planned.payload ->> '$.user' AS user,
    planned.payload ->> '$.host' AS host,
    task.payload ->> '$.upid' AS upid,
    CASE latest.type
        WHEN 'sent' THEN 'sent'
        WHEN 'upid' THEN 'running'
        WHEN 'ended' THEN latest.payload ->> '$.verdict'
        ELSE iif(planned.payload -> '$.bulk' IS NULL, 'planned', 'running')
    END AS status,
    CASE latest.type WHEN 'ended' THEN latest.payload ->> '$.exit_status' END AS exit_status,
    planned.time AS started,
    CASE latest.type WHEN 'ended' THEN latest.time END AS ended,
    CASE latest.type WHEN 'ended' THEN latest.payload ->> '$.error' END AS error,
    planned.payload ->> '$.config_before' IS NOT NULL AS has_config,
    planned.payload ->> '$.parent' AS parent
FROM event AS planned
LEFT JOIN event AS found ON found.id =
    (SELECT max(id) FROM event WHERE operation = planned.operation AND type = 'target')
LEFT JOIN event AS task ON task.id =
    (SELECT max(id) FROM event WHERE operation = planned.operation AND type = 'upid')
LEFT JOIN event AS latest ON latest.id =
    (SELECT max(id) FROM event WHERE operation = planned.operation AND type IN ('sent', 'upid', 'ended'))
WHERE planned.type = 'planned';

CREATE TRIGGER event_begins_operation AFTER INSERT ON event WHEN NEW.type = 'planned' BEGIN
    INSERT INTO operation (id, verb, target, vmid, name, node, context, user, host, status, started, has_config, parent)
    VALUES (
        NEW.operation, NEW.payload ->> '$.verb', NEW.payload ->> '$.target', NEW.payload ->> '$.vmid',
        NEW.payload ->> '$.name', NEW.payload ->> '$.node', NEW.payload ->> '$.context', NEW.payload ->> '$.user',
        NEW.payload ->> '$.host', iif(NEW.payload -> '$.bulk' IS NULL, 'planned', 'running'), NEW.time,
        NEW.payload ->> '$.config_before' IS NOT NULL, NEW.payload ->> '$.parent'
    );
END;
CREATE TRIGGER event_moves_operation AFTER INSERT ON event WHEN NEW.type IN ('sent', 'upid', 'ended') BEGIN
    UPDATE operation SET
        upid = iif(NEW.type = 'upid', NEW.payload ->> '$.upid', upid),
        status = CASE NEW.type WHEN 'sent' THEN 'sent' WHEN 'upid' THEN 'running' ELSE NEW.payload ->> '$.verdict' END,
        exit_status = iif(NEW.type = 'ended', NEW.payload ->> '$.exit_status', NULL),
        ended = iif(NEW.type = 'ended', NEW.time, NULL),
        error = iif(NEW.type = 'ended', NEW.payload ->> '$.error', NULL)
    WHERE id = NEW.operation;
END;
CREATE TRIGGER event_finds_target AFTER INSERT ON event WHEN NEW.type = 'target' BEGIN
    UPDATE operation SET
        vmid = coalesce(NEW.payload ->> '$.vmid', vmid), node = coalesce(NEW.payload ->> '$.node', node)
    WHERE id = NEW.operation;
END;
";

/// What was made of documents: no history, but what is known of each now. It is in no chain, and nothing is proved by it.
const VERSION_3: &str = "
CREATE TABLE applied (
    context TEXT NOT NULL,
    kind    TEXT NOT NULL,
    name    TEXT NOT NULL,
    vmid    INTEGER,
    done    TEXT,
    trying  TEXT,
    time    INTEGER NOT NULL,
    PRIMARY KEY (context, kind, name)
);
";
