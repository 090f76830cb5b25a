-- One text for SQLite and PostgreSQL. Times are unix milliseconds.

CREATE TABLE sessions (
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    -- The number of the newest turn. Writing it first makes writers of one session wait for each other.
    last_turn BIGINT NOT NULL,
    PRIMARY KEY (owner, id)
);

CREATE INDEX sessions_by_change ON sessions (owner, changed_at, id);

CREATE TABLE turns (
    owner TEXT NOT NULL,
    session TEXT NOT NULL,
    number BIGINT NOT NULL,
    -- What its writer knows it by: a turn that is written again is no second turn.
    id TEXT NOT NULL,
    channel TEXT NOT NULL,
    said_at BIGINT NOT NULL,
    latency_ms DOUBLE PRECISION,
    user_text TEXT NOT NULL,
    reply_text TEXT NOT NULL,
    -- JSON; empty where no tool was called.
    exchange TEXT NOT NULL,
    PRIMARY KEY (owner, session, number),
    FOREIGN KEY (owner, session) REFERENCES sessions (owner, id) ON DELETE CASCADE
);

CREATE UNIQUE INDEX turns_by_id ON turns (id);
CREATE INDEX turns_by_age ON turns (said_at);
