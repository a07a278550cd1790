-- What lifeline-remote needs in a PostgreSQL database (12 or later), version 1.
-- Leases are judged by the clock of the database's machine alone. Each function
-- is one statement for the client: nobody holds a lock while he is stopped or
-- cut off.
BEGIN;

CREATE SCHEMA IF NOT EXISTS lifeline;

CREATE TABLE IF NOT EXISTS lifeline.version (version int PRIMARY KEY);
INSERT INTO lifeline.version VALUES (1) ON CONFLICT DO NOTHING;

-- One row for each name; its lock is what makes a decision about the name one
-- at a time.
CREATE TABLE IF NOT EXISTS lifeline.name (
	name       text PRIMARY KEY,
	fence      bigint NOT NULL DEFAULT 0,   -- of the latest grant; only rises
	wish       text,                        -- the node that is to have it
	wish_until timestamptz,
	claimed    timestamptz,                 -- the ticks: the latest begun
	done       timestamptz,                 -- and the latest that ended
	skipped    bigint NOT NULL DEFAULT 0
);

-- One row for each session; slot is the place that it holds.
CREATE TABLE IF NOT EXISTS lifeline.member (
	id      text PRIMARY KEY,
	name    text NOT NULL REFERENCES lifeline.name,
	node    text NOT NULL,
	since   timestamptz NOT NULL,
	expires timestamptz NOT NULL,
	slot    int,
	fence   bigint,
	UNIQUE (name, slot)
);

-- join begins a session.
CREATE OR REPLACE FUNCTION lifeline.join_name(a_name text, a_id text, a_node text, ttl interval) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO lifeline.name (name) VALUES (a_name) ON CONFLICT DO NOTHING;
	PERFORM 1 FROM lifeline.name WHERE name = a_name FOR UPDATE;
	DELETE FROM lifeline.member WHERE name = a_name AND expires <= clock_timestamp();
	INSERT INTO lifeline.member (id, name, node, since, expires)
		VALUES (a_id, a_name, a_node, clock_timestamp(), clock_timestamp() + ttl);
	PERFORM pg_notify('lifeline', a_name);
END $$;

-- renew lengthens it, if it hasn't ended.
CREATE OR REPLACE FUNCTION lifeline.renew(a_id text, a_fence bigint, ttl interval) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE lifeline.member SET expires = clock_timestamp() + ttl
		WHERE id = a_id AND expires > clock_timestamp() AND (a_fence = 0 OR fence = a_fence);
	RETURN FOUND;
END $$;

-- acquire takes the lowest free place below slots. It gives the fence; 0 where
-- all are taken, with the time until the first of them may come free; and -1
-- where the session has ended.
CREATE OR REPLACE FUNCTION lifeline.acquire(a_name text, a_id text, slots int, OUT granted bigint, OUT after interval)
LANGUAGE plpgsql AS $$
DECLARE
	free int;
	had  bigint;
BEGIN
	PERFORM 1 FROM lifeline.name WHERE name = a_name FOR UPDATE;
	SELECT fence INTO had FROM lifeline.member
		WHERE id = a_id AND expires > clock_timestamp() FOR UPDATE;
	IF NOT FOUND THEN
		granted := -1;
		RETURN;
	END IF;
	IF had IS NOT NULL THEN
		granted := had;
		RETURN;
	END IF;
	DELETE FROM lifeline.member WHERE name = a_name AND expires <= clock_timestamp();
	SELECT min(s) INTO free FROM generate_series(0, slots - 1) s
		WHERE NOT EXISTS (SELECT FROM lifeline.member m WHERE m.name = a_name AND m.slot = s);
	IF free IS NULL THEN
		granted := 0;
		SELECT min(expires) - clock_timestamp() INTO after FROM lifeline.member WHERE name = a_name AND slot IS NOT NULL;
		RETURN;
	END IF;
	UPDATE lifeline.name SET fence = fence + 1 WHERE name = a_name RETURNING fence INTO granted;
	UPDATE lifeline.member SET slot = free, fence = granted, since = clock_timestamp()
		WHERE id = a_id AND expires > clock_timestamp();
	IF NOT FOUND THEN
		granted := -1;
	END IF;
END $$;

-- release gives the place back and keeps the session.
CREATE OR REPLACE FUNCTION lifeline.release(a_name text, a_id text, a_fence bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE lifeline.member SET slot = NULL, fence = NULL, since = clock_timestamp() WHERE id = a_id AND fence = a_fence;
	PERFORM pg_notify('lifeline', a_name);
END $$;

CREATE OR REPLACE FUNCTION lifeline.leave(a_name text, a_id text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM lifeline.member WHERE id = a_id;
	PERFORM pg_notify('lifeline', a_name);
END $$;

CREATE OR REPLACE FUNCTION lifeline.make_wish(a_name text, a_node text, lasts interval) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE lifeline.name SET wish = nullif(a_node, ''), wish_until = clock_timestamp() + lasts WHERE name = a_name;
	PERFORM pg_notify('lifeline', a_name);
END $$;

-- claim moves the mark of the ticks, if it is what it was: 1 it has, 0 it
-- isn't, -1 the place isn't the session's any more.
CREATE OR REPLACE FUNCTION lifeline.claim(a_name text, a_id text, a_fence bigint,
	from_claimed timestamptz, from_done timestamptz, from_skipped bigint,
	to_claimed timestamptz, to_done timestamptz, to_skipped bigint) RETURNS int
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM 1 FROM lifeline.name WHERE name = a_name FOR UPDATE;
	PERFORM 1 FROM lifeline.member WHERE id = a_id AND fence = a_fence AND expires > clock_timestamp();
	IF NOT FOUND THEN
		RETURN -1;
	END IF;
	UPDATE lifeline.name SET claimed = to_claimed, done = to_done, skipped = to_skipped
		WHERE name = a_name AND claimed IS NOT DISTINCT FROM from_claimed
		AND done IS NOT DISTINCT FROM from_done AND skipped = from_skipped;
	RETURN CASE WHEN FOUND THEN 1 ELSE 0 END;
END $$;

COMMIT;
