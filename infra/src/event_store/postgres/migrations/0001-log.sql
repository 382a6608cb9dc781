-- The log. Nothing in it is ever updated or deleted, so that no dead rows pile up behind somebody's
-- long transaction: where the log and each of its streams end is read from the indexes.

-- One row, which whoever appends locks until it has committed: commits happen one after the other,
-- in the order of their positions.
CREATE TABLE turn (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);
INSERT INTO turn DEFAULT VALUES;

CREATE TABLE streams (
    id bigint PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE events (
    position bigint PRIMARY KEY,
    stream_id bigint NOT NULL,
    version bigint NOT NULL,
    id uuid NOT NULL,
    type text NOT NULL,
    schema integer NOT NULL,
    recorded_at timestamptz NOT NULL,
    metadata bytea NOT NULL,
    data bytea NOT NULL,
    UNIQUE (stream_id, version)
);

-- Not unique: a command that is retried after everybody has forgotten it is decided anew, and its
-- events have the ids that they had.
CREATE INDEX events_by_id ON events (stream_id, id);

-- The version at which these events begin, where they stand in the stream as an append with this
-- expectation (-1: any) would have put them; null where they do not.
CREATE FUNCTION appended_before(of_stream bigint, ids uuid[], expected bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    starts bigint[];
    start bigint;
BEGIN
    IF expected < 0 THEN
        starts := ARRAY(
            SELECT e.version FROM events e
            WHERE e.stream_id = of_stream AND e.id = ids[1]
            ORDER BY e.version DESC
        );
    ELSE
        starts := ARRAY[expected + 1];
    END IF;
    FOREACH start IN ARRAY starts LOOP
        IF ids = ARRAY(
            SELECT e.id FROM events e
            WHERE e.stream_id = of_stream AND e.version >= start
            ORDER BY e.version LIMIT cardinality(ids)
        ) THEN
            RETURN start;
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

-- Appends the events of many requests; each request is taken or not, whatever becomes of the others.
--
-- "stream_names" has every stream once. Of each request come the index of its stream's name, the
-- version that is expected (-1: any, 0: there is no stream), the index of its first event and how
-- many it has; of each event the index of its request and what is stored. Indexes begin at 1. No two
-- requests to one stream share an event id.
--
-- Of each request is answered
--   outcome 0: appended; its first event has this version and this position, and so on;
--   outcome 1: it was appended before; its first event has this version, and "earlier" has, after
--              those of the requests before it, the positions of its events;
--   outcome 2: a conflict; the stream ends at this version.
-- "head" is the last position if anything was appended, otherwise null.
CREATE FUNCTION append(
    stream_names text[],
    request_streams integer[],
    request_expected bigint[],
    request_firsts integer[],
    request_counts integer[],
    event_requests integer[],
    event_ids uuid[],
    event_types text[],
    event_schemas integer[],
    event_metadata bytea[],
    event_data bytea[],
    now timestamptz,
    OUT outcomes integer[],
    OUT versions bigint[],
    OUT positions bigint[],
    OUT earlier bigint[],
    OUT head bigint
) LANGUAGE plpgsql AS $$
DECLARE
    requests CONSTANT integer := cardinality(request_streams);
    last_position bigint;
    last_recorded_at timestamptz;
    -- By the index of the name: its number, 0 where there is no stream yet, and where it ends.
    stream_ids bigint[];
    ends bigint[];
    stream_id_max bigint;
    stream_id_last bigint;
    -- Requests with any version, the first event of which the stream has already.
    suspects integer[] := '{}';
    -- By the index of the request: what is to be added to the index of an event to get its version
    -- and its position; null where it is not appended.
    version_offsets bigint[] := array_fill(NULL::bigint, ARRAY[requests]);
    position_offsets bigint[] := array_fill(NULL::bigint, ARRAY[requests]);
    stream integer;
    expected bigint;
    first_event integer;
    count integer;
    start bigint;
BEGIN
    outcomes := array_fill(0, ARRAY[requests]);
    versions := array_fill(0::bigint, ARRAY[requests]);
    positions := array_fill(0::bigint, ARRAY[requests]);
    earlier := '{}';

    PERFORM FROM turn FOR UPDATE;
    -- Each statement from here on sees what all who had the turn before have committed.
    SELECT e.position, e.recorded_at INTO last_position, last_recorded_at
    FROM events e ORDER BY e.position DESC LIMIT 1;
    last_position := coalesce(last_position, 0);
    head := last_position;

    SELECT array_agg(found.id ORDER BY found.index), array_agg(found.version ORDER BY found.index)
    INTO stream_ids, ends
    FROM (
        SELECT named.index, coalesce(s.id, 0) AS id, coalesce((
            SELECT e.version FROM events e
            WHERE e.stream_id = s.id ORDER BY e.version DESC LIMIT 1
        ), 0) AS version
        FROM unnest(stream_names) WITH ORDINALITY AS named (name, index)
        LEFT JOIN streams s ON s.name = named.name
    ) found;

    IF -1 = ANY (request_expected) THEN
        suspects := ARRAY(
            SELECT r.index FROM (
                SELECT generate_series(1, requests) AS index,
                       unnest(request_streams) AS stream,
                       unnest(request_expected) AS expected,
                       unnest(request_firsts) AS first_event
            ) r
            WHERE r.expected = -1 AND EXISTS (
                SELECT FROM events e
                WHERE e.stream_id = stream_ids[r.stream] AND e.id = event_ids[r.first_event]
            )
        );
    END IF;

    FOR request IN 1 .. requests LOOP
        stream := request_streams[request];
        expected := request_expected[request];
        first_event := request_firsts[request];
        count := request_counts[request];
        start := NULL;
        IF request = ANY (suspects) OR (expected >= 0 AND expected < ends[stream]) THEN
            start := appended_before(
                stream_ids[stream], event_ids[first_event : first_event + count - 1], expected
            );
        END IF;
        IF start IS NOT NULL THEN
            outcomes[request] := 1;
            versions[request] := start;
            earlier := earlier || ARRAY(
                SELECT e.position FROM events e
                WHERE e.stream_id = stream_ids[stream] AND e.version >= start
                ORDER BY e.version LIMIT count
            );
        ELSIF expected >= 0 AND expected <> ends[stream] THEN
            outcomes[request] := 2;
            versions[request] := ends[stream];
        ELSE
            IF stream_ids[stream] = 0 THEN
                IF stream_id_last IS NULL THEN
                    SELECT coalesce(max(s.id), 0) INTO stream_id_max FROM streams s;
                    stream_id_last := stream_id_max;
                END IF;
                stream_id_last := stream_id_last + 1;
                stream_ids[stream] := stream_id_last;
            END IF;
            versions[request] := ends[stream] + 1;
            positions[request] := head + 1;
            version_offsets[request] := ends[stream] + 1 - first_event;
            position_offsets[request] := head + 1 - first_event;
            ends[stream] := ends[stream] + count;
            head := head + count;
        END IF;
    END LOOP;

    IF head = last_position THEN
        head := NULL;
        RETURN;
    END IF;
    IF stream_id_last IS NOT NULL THEN
        INSERT INTO streams (id, name)
        SELECT named.id, named.name FROM (
            SELECT unnest(stream_ids) AS id, unnest(stream_names) AS name
        ) named
        WHERE named.id > stream_id_max;
    END IF;
    INSERT INTO events
        (position, stream_id, version, id, type, schema, recorded_at, metadata, data)
    SELECT position_offsets[e.request] + e.index, stream_ids[request_streams[e.request]],
           version_offsets[e.request] + e.index, e.id, e.type, e.schema,
           greatest(last_recorded_at, now), e.metadata, e.data
    FROM (
        SELECT generate_series(1, cardinality(event_ids)) AS index,
               unnest(event_requests) AS request,
               unnest(event_ids) AS id,
               unnest(event_types) AS type,
               unnest(event_schemas) AS schema,
               unnest(event_metadata) AS metadata,
               unnest(event_data) AS data
    ) e
    WHERE position_offsets[e.request] IS NOT NULL;
    PERFORM pg_notify(current_schema(), head::text);
END $$;
