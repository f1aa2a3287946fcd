-- Tables of the clinic's records. Run again and again by the owner, role clinicpbx: what is there stays.
-- Columns of cdr, cel and queue_log are the file's, in its order (services/ledger/core.py), then where the row was read:
-- `head` names the file (digest of its first line), `position` is the byte of its line. A line can be stored only once.

SET client_min_messages = warning;

-- A later change is a numbered block of ALTERs at the end, guarded by schema_version.
CREATE TABLE IF NOT EXISTS schema_version (version integer PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now());
INSERT INTO schema_version (version) VALUES (1) ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS cdr (
    start timestamptz NOT NULL, answer timestamptz, "end" timestamptz,
    clid text NOT NULL, src text NOT NULL, dst text NOT NULL, dcontext text NOT NULL,
    channel text NOT NULL, dstchannel text NOT NULL, lastapp text NOT NULL, lastdata text NOT NULL,
    duration integer NOT NULL, billsec integer NOT NULL,  -- seconds
    disposition text NOT NULL, amaflags text NOT NULL, accountcode text NOT NULL,
    uniqueid text NOT NULL, linkedid text NOT NULL, sequence bigint NOT NULL, userfield text NOT NULL,
    direction text NOT NULL, did text NOT NULL, trunk text NOT NULL, stage text NOT NULL, recording text NOT NULL,
    head text NOT NULL, position bigint NOT NULL,
    CONSTRAINT cdr_place UNIQUE (head, position),
    CONSTRAINT cdr_record UNIQUE (uniqueid, sequence)
);
CREATE INDEX IF NOT EXISTS cdr_start ON cdr (start);
CREATE INDEX IF NOT EXISTS cdr_linkedid ON cdr (linkedid);

CREATE TABLE IF NOT EXISTS cel (
    eventtype text NOT NULL, eventtime timestamptz NOT NULL,
    cidname text NOT NULL, cidnum text NOT NULL, exten text NOT NULL, context text NOT NULL, channame text NOT NULL,
    appname text NOT NULL, appdata text NOT NULL, amaflags text NOT NULL, accountcode text NOT NULL,
    uniqueid text NOT NULL, linkedid text NOT NULL, bridgepeer text NOT NULL, userfield text NOT NULL,
    userdeftype text NOT NULL, eventextra text NOT NULL,
    head text NOT NULL, position bigint NOT NULL,
    CONSTRAINT cel_place UNIQUE (head, position)
);
CREATE INDEX IF NOT EXISTS cel_eventtime ON cel (eventtime);
CREATE INDEX IF NOT EXISTS cel_linkedid ON cel (linkedid);

CREATE TABLE IF NOT EXISTS queue_log (
    time timestamptz NOT NULL, callid text NOT NULL, queuename text NOT NULL, agent text NOT NULL, event text NOT NULL,
    data1 text NOT NULL, data2 text NOT NULL, data3 text NOT NULL, data4 text NOT NULL, data5 text NOT NULL,
    head text NOT NULL, position bigint NOT NULL,
    CONSTRAINT queue_log_place UNIQUE (head, position)
);
CREATE INDEX IF NOT EXISTS queue_log_time ON queue_log (time);
CREATE INDEX IF NOT EXISTS queue_log_callid ON queue_log (callid);

-- One row a call that no human answered, whatever the number of events that say so.
CREATE TABLE IF NOT EXISTS missed_calls (
    linkedid text PRIMARY KEY, at timestamptz NOT NULL,
    caller text NOT NULL, did text NOT NULL, flow text NOT NULL, stage text NOT NULL,
    wait_seconds integer  -- null when the event does not tell
);
CREATE INDEX IF NOT EXISTS missed_calls_at ON missed_calls (at);

-- How far each file is in the tables above: moved in the transaction that stores its rows. Inode and path are for people.
CREATE TABLE IF NOT EXISTS ledger_offsets (
    stream text NOT NULL, head text NOT NULL, position bigint NOT NULL,
    inode numeric(20) NOT NULL, path text NOT NULL, updated timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, head)
);

-- Lines that are no record, as they were. They never hold up what follows.
CREATE TABLE IF NOT EXISTS ledger_rejects (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(),
    stream text NOT NULL, path text NOT NULL, head text NOT NULL, position bigint NOT NULL,
    reason text NOT NULL, line text NOT NULL,
    CONSTRAINT ledger_rejects_place UNIQUE (head, position, reason)
);

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, "clinic-ledger", reports;
-- The ledger adds; it can neither change, remove nor read a record. ON CONFLICT needs to see the columns it names.
GRANT INSERT ON cdr, cel, queue_log, missed_calls, ledger_rejects TO "clinic-ledger";
GRANT SELECT (head, position) ON cdr, cel, queue_log TO "clinic-ledger";
GRANT SELECT (linkedid) ON missed_calls TO "clinic-ledger";
GRANT SELECT, INSERT, UPDATE ON ledger_offsets TO "clinic-ledger";
GRANT SELECT ON ALL TABLES IN SCHEMA public TO reports;
