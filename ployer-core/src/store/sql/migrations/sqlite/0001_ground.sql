-- The ground: what the engine, the facade and the secret store keep.
--
-- Ids are UUIDs as text, times RFC 3339 text in UTC: a person can read both in any SQLite shell. `version` counts
-- the writes of a row; a change names the one it was decided on. What is only ever read whole is JSON.

-- One row: the identity of this installation.
CREATE TABLE installation (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    version INTEGER NOT NULL CHECK (version > 0),
    instance TEXT NOT NULL,
    secret_key_id TEXT
) STRICT;

-- One row: who may act. Every write of an engine is refused unless it carries this epoch.
CREATE TABLE lease (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    version INTEGER NOT NULL CHECK (version > 0),
    holder TEXT NOT NULL,
    epoch INTEGER NOT NULL CHECK (epoch >= 0),
    expires_at TEXT NOT NULL
) STRICT;

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version > 0),
    -- A user signs in with it.
    email TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('admin', 'user')),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE servers (
    id TEXT PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version > 0),
    name TEXT NOT NULL UNIQUE,
    host TEXT NOT NULL,
    port INTEGER NOT NULL CHECK (port BETWEEN 0 AND 65535),
    username TEXT NOT NULL,
    is_local INTEGER NOT NULL CHECK (is_local IN (0, 1)),
    runtime TEXT NOT NULL CHECK (runtime IN ('process', 'docker', 'custom')),
    status TEXT NOT NULL CHECK (status IN ('online', 'offline', 'unknown')),
    last_seen_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE applications (
    id TEXT PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version > 0),
    -- It becomes a host name.
    name TEXT NOT NULL UNIQUE,
    server_id TEXT NOT NULL REFERENCES servers (id),
    owner TEXT REFERENCES users (id),
    git_url TEXT,
    git_branch TEXT,
    base_directory TEXT,
    build_strategy TEXT NOT NULL CHECK (build_strategy IN ('auto', 'dockerfile', 'image', 'procfile', 'static')),
    dockerfile_path TEXT,
    port INTEGER CHECK (port BETWEEN 0 AND 65535),
    auto_deploy INTEGER NOT NULL CHECK (auto_deploy IN (0, 1)),
    auto_deploy_paused INTEGER NOT NULL CHECK (auto_deploy_paused IN (0, 1)),
    rollout TEXT CHECK (rollout IN ('start-first', 'stop-first')),
    replicas TEXT NOT NULL CHECK (json_valid(replicas)),
    wanted TEXT NOT NULL CHECK (json_valid(wanted)),
    restarts_wanted INTEGER NOT NULL CHECK (restarts_wanted >= 0),
    allow_process_runtime INTEGER NOT NULL CHECK (allow_process_runtime IN (0, 1)),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

-- What the engine knows of an application. The journal is the engine's own JSON and of no concern to the schema.
CREATE TABLE machines (
    application_id TEXT PRIMARY KEY REFERENCES applications (id) ON DELETE CASCADE,
    version INTEGER NOT NULL CHECK (version > 0),
    active TEXT,
    degraded INTEGER NOT NULL CHECK (degraded IN (0, 1)),
    serving INTEGER NOT NULL CHECK (serving IN (0, 1)),
    journal_version INTEGER NOT NULL CHECK (journal_version >= 0),
    journal TEXT NOT NULL
) STRICT;

CREATE TABLE deployments (
    id TEXT PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version > 0),
    application_id TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    server_id TEXT NOT NULL REFERENCES servers (id),
    requested_by TEXT NOT NULL CHECK (json_valid(requested_by)),
    kind TEXT NOT NULL CHECK (json_valid(kind)),
    status TEXT NOT NULL
        CHECK (status IN ('queued', 'cloning', 'building', 'deploying', 'running', 'failed', 'cancelled')),
    step TEXT NOT NULL,
    -- `commit` is a word of SQL.
    commit_info TEXT CHECK (json_valid(commit_info)),
    release_id TEXT,
    image_tag TEXT NOT NULL,
    cancel TEXT CHECK (json_valid(cancel)),
    failure TEXT CHECK (json_valid(failure)),
    superseded_by TEXT,
    requested_at TEXT NOT NULL,
    build_started_at TEXT,
    routed_at TEXT,
    finished_at TEXT,
    retired_at TEXT,
    receipt TEXT CHECK (json_valid(receipt))
) STRICT;

CREATE INDEX deployments_of_application ON deployments (application_id, id);

-- Invariant: one deployment of an application is under way. The queue relies on it.
CREATE UNIQUE INDEX one_under_way ON deployments (application_id) WHERE status IN ('cloning', 'building', 'deploying');

-- The queue of an application is read at each of its turns, its whole history never is.
CREATE INDEX unfinished_deployments ON deployments (application_id, id)
    WHERE status IN ('queued', 'cloning', 'building', 'deploying');

CREATE TABLE releases (
    id TEXT PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version > 0),
    application_id TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    application_name TEXT NOT NULL,
    commit_sha TEXT,
    artifact TEXT NOT NULL CHECK (json_valid(artifact)),
    reuse_key TEXT NOT NULL,
    spec TEXT NOT NULL CHECK (json_valid(spec)),
    env TEXT NOT NULL CHECK (json_valid(env)),
    state TEXT NOT NULL CHECK (state IN ('made', 'ran', 'discarded', 'collecting', 'collected')),
    pinned_by TEXT,
    activated_at TEXT,
    created_at TEXT NOT NULL
) STRICT;

CREATE INDEX releases_of_application ON releases (application_id, id);

CREATE TABLE domains (
    id TEXT PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version > 0),
    application_id TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    -- A host leads to one application.
    domain TEXT NOT NULL UNIQUE,
    is_primary INTEGER NOT NULL CHECK (is_primary IN (0, 1)),
    generated INTEGER NOT NULL CHECK (generated IN (0, 1)),
    ssl_active INTEGER NOT NULL CHECK (ssl_active IN (0, 1)),
    created_at TEXT NOT NULL
) STRICT;

CREATE INDEX domains_of_application ON domains (application_id, id);

-- Invariant: one domain of an application is the one shown.
CREATE UNIQUE INDEX one_primary_domain ON domains (application_id) WHERE is_primary = 1;

-- A variable names the version of its value; the value itself is in the secret store, which may be another one.
CREATE TABLE env_vars (
    application_id TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    value TEXT NOT NULL,
    locked INTEGER NOT NULL CHECK (locked IN (0, 1)),
    updated_at TEXT NOT NULL,
    PRIMARY KEY (application_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE health_checks (
    id TEXT PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version > 0),
    -- One an application.
    application_id TEXT NOT NULL UNIQUE REFERENCES applications (id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    interval_seconds INTEGER NOT NULL CHECK (interval_seconds BETWEEN 1 AND 3600),
    timeout_seconds INTEGER NOT NULL CHECK (timeout_seconds BETWEEN 1 AND 300),
    healthy_threshold INTEGER NOT NULL CHECK (healthy_threshold BETWEEN 1 AND 100),
    unhealthy_threshold INTEGER NOT NULL CHECK (unhealthy_threshold BETWEEN 1 AND 100),
    created_at TEXT NOT NULL
) STRICT;

-- A persistent directory outlives its application, so it does not refer to it.
CREATE TABLE volumes (
    application_id TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    detached_from TEXT,
    created_at TEXT NOT NULL,
    PRIMARY KEY (application_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE members (
    application_id TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id),
    version INTEGER NOT NULL CHECK (version > 0),
    role TEXT NOT NULL CHECK (role IN ('viewer', 'deployer', 'owner')),
    PRIMARY KEY (application_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX members_of_user ON members (user_id);

-- Encrypted values, each immutable: nothing updates this table. Without an application they are the installation's.
CREATE TABLE secrets (
    id TEXT PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version = 1),
    application_id TEXT REFERENCES applications (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    key_id TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

CREATE INDEX secrets_of_application ON secrets (application_id);

-- What happened. Events outlive what they tell of, so they refer to nothing.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    actor TEXT NOT NULL CHECK (json_valid(actor)),
    application_id TEXT,
    kind TEXT NOT NULL CHECK (json_valid(kind))
) STRICT;

-- One row: the last event that is no longer kept. Numbers go on from here when no event is left.
CREATE TABLE event_log (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    trimmed_to INTEGER NOT NULL CHECK (trimmed_to >= 0)
) STRICT;

INSERT INTO event_log (only, trimmed_to) VALUES (1, 0);

-- Deployments whose build output, in a file of its own, is still to be removed: written with the deletion of their
-- application, so that a crash between the two files leaves nothing behind.
CREATE TABLE removed_logs (
    deployment_id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
