-- The newest snapshot of each stream; see infra/src/snapshots.
CREATE TABLE snapshots (
    stream text COLLATE "C" PRIMARY KEY,
    shape text NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    body bytea NOT NULL,
    checksum bytea NOT NULL
);
