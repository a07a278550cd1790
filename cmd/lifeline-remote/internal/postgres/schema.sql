-- What lifeline-remote needs in a PostgreSQL database (12 or later), version 3.
-- A session renews its row by counting beats, and standbys measure by their own
-- clocks how long the count has stood still. Each function is a single statement
-- for the client, so a client that is stopped or cut off holds no lock.
BEGIN;

CREATE SCHEMA IF NOT EXISTS lifeline;

CREATE TABLE IF NOT EXISTS lifeline.version (version int PRIMARY KEY);
INSERT INTO lifeline.version VALUES (3) ON CONFLICT DO NOTHING;

-- One row for each name; its lock serializes decisions about the name. The row of
-- the name '' has the highest fence of all forgotten names.
CREATE TABLE IF NOT EXISTS lifeline.name (
	name       text PRIMARY KEY,
	fence      bigint NOT NULL DEFAULT 0,   -- of the latest grant; only rises
	wish       text,                        -- the node that is to have it
	wish_until timestamptz,
	claimed    timestamptz,                 -- the ticks: the latest begun
	done       timestamptz,                 -- and the latest that ended
	skipped    bigint NOT NULL DEFAULT 0
);
ALTER TABLE lifeline.name ADD COLUMN IF NOT EXISTS serial bigint NOT NULL DEFAULT 0; -- of the changes of the ticks
ALTER TABLE lifeline.name ADD COLUMN IF NOT EXISTS options text;                     -- what all nodes agree on
ALTER TABLE lifeline.name ADD COLUMN IF NOT EXISTS joins bigint NOT NULL DEFAULT 0;  -- sessions so far

-- One row for each session; slot is the number of the slot that it holds.
CREATE TABLE IF NOT EXISTS lifeline.member (
	id      text PRIMARY KEY,
	name    text NOT NULL REFERENCES lifeline.name,
	node    text NOT NULL,
	since   timestamptz NOT NULL,
	slot    int,
	fence   bigint,
	UNIQUE (name, slot)
);
ALTER TABLE lifeline.member ADD COLUMN IF NOT EXISTS ahead interval; -- the node's clock, of the database's

-- One row for each drained node; until is null for a drain without end.
CREATE TABLE IF NOT EXISTS lifeline.drain (node text PRIMARY KEY, until timestamptz);

-- The latest scheduled runs of each name; a new run replaces the row with its place.
CREATE TABLE IF NOT EXISTS lifeline.run (
	name   text NOT NULL,
	place  bigint NOT NULL,
	serial bigint NOT NULL,
	label  timestamptz NOT NULL,
	node   text NOT NULL,
	fence  bigint NOT NULL,
	began  timestamptz NOT NULL,
	ended  timestamptz,
	code   int NOT NULL,
	PRIMARY KEY (name, place)
);

-- The status of a name on a node, as that node has shared it.
CREATE TABLE IF NOT EXISTS lifeline.status (
	name    text NOT NULL,
	node    text NOT NULL,
	text    bytea NOT NULL, -- JSON, in UTF-8 whatever the database's encoding is
	written timestamptz NOT NULL,
	PRIMARY KEY (name, node)
);

DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM information_schema.columns
		WHERE table_schema = 'lifeline' AND table_name = 'member' AND column_name = 'beat') THEN
		DELETE FROM lifeline.member; -- of version 1
		ALTER TABLE lifeline.member DROP COLUMN IF EXISTS expires,
			ADD COLUMN joined bigint NOT NULL, ADD COLUMN beat bigint NOT NULL DEFAULT 0,
			ADD COLUMN renewed timestamptz NOT NULL DEFAULT clock_timestamp(), ADD COLUMN ttl interval NOT NULL;
		DROP FUNCTION IF EXISTS lifeline.join_name(text, text, text, interval);
		DROP FUNCTION IF EXISTS lifeline.renew(text, bigint, interval);
		DROP FUNCTION IF EXISTS lifeline.acquire(text, text, int);
		DROP FUNCTION IF EXISTS lifeline.claim(text, text, bigint, timestamptz, timestamptz, bigint, timestamptz, timestamptz, bigint);
	END IF;
END $$;

-- epoch changes whenever the server may have lost data: a restored data directory has
-- another start time, and a promoted standby another timeline.
CREATE OR REPLACE FUNCTION lifeline.epoch() RETURNS text
LANGUAGE sql AS $$
	SELECT concat_ws('.', (SELECT system_identifier FROM pg_control_system()),
		left(pg_walfile_name(pg_current_wal_insert_lsn()), 8), extract(epoch FROM pg_postmaster_start_time()))
$$;

-- ring notifies the nodes that wait for changes of a name. It sends a hash of the
-- name, because every user of the database can LISTEN.
CREATE OR REPLACE FUNCTION lifeline.ring(a_name text) RETURNS void
LANGUAGE sql AS $$
	SELECT pg_notify('lifeline', encode(sha256(convert_to(a_name, 'UTF8')), 'hex'))
$$;

-- join_name begins a session. If living nodes have other options, it returns those.
CREATE OR REPLACE FUNCTION lifeline.join_name(a_name text, a_id text, a_node text, a_ttl interval, a_options text, force boolean)
RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	stands text;
BEGIN
	INSERT INTO lifeline.name (name, fence)
		SELECT a_name, coalesce((SELECT fence FROM lifeline.name WHERE name = ''), 0) ON CONFLICT DO NOTHING;
	SELECT options INTO stands FROM lifeline.name WHERE name = a_name FOR UPDATE;
	IF stands IS DISTINCT FROM a_options THEN
		IF NOT force AND stands <> '' AND EXISTS (SELECT FROM lifeline.member
			WHERE name = a_name AND abs(extract(epoch FROM clock_timestamp() - renewed)) < 3 * extract(epoch FROM ttl)) THEN
			RETURN stands;
		END IF;
		UPDATE lifeline.name SET options = a_options WHERE name = a_name;
	END IF;
	UPDATE lifeline.name SET joins = joins + 1 WHERE name = a_name;
	INSERT INTO lifeline.member (id, name, node, since, ttl, joined)
		SELECT a_id, a_name, a_node, clock_timestamp(), a_ttl, joins FROM lifeline.name WHERE name = a_name;
	PERFORM lifeline.ring(a_name);
	RETURN '';
END $$;

-- renew counts a beat, if the session and its slot are still there.
CREATE OR REPLACE FUNCTION lifeline.renew(a_id text, a_fence bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE lifeline.member SET beat = beat + 1, renewed = clock_timestamp()
		WHERE id = a_id AND (a_fence = 0 OR fence = a_fence);
	RETURN FOUND;
END $$;

-- bury removes sessions whose beats have stood still for a whole TTL.
CREATE OR REPLACE FUNCTION lifeline.bury(a_name text, dead text[], beats bigint[]) RETURNS void
LANGUAGE sql AS $$
	DELETE FROM lifeline.member m USING unnest(dead, beats) d(id, beat) WHERE m.name = a_name AND m.id = d.id AND m.beat = d.beat
$$;

-- acquire takes the lowest free slot below slots, with a fence higher than above. It
-- returns the fence; 0 if all slots are taken; -1 if the session has ended or the
-- options have changed; -2 if the epoch has changed.
CREATE OR REPLACE FUNCTION lifeline.acquire(a_name text, a_id text, slots int, a_options text, a_epoch text, above bigint,
	dead text[], beats bigint[], OUT granted bigint)
LANGUAGE plpgsql AS $$
DECLARE
	free   int;
	had    bigint;
	stands text;
BEGIN
	SELECT options INTO stands FROM lifeline.name WHERE name = a_name FOR UPDATE;
	SELECT fence INTO had FROM lifeline.member WHERE id = a_id FOR UPDATE;
	IF NOT FOUND OR stands IS DISTINCT FROM a_options THEN
		granted := -1;
		RETURN;
	END IF;
	IF a_epoch <> lifeline.epoch() THEN
		granted := -2;
		RETURN;
	END IF;
	IF had IS NOT NULL THEN
		granted := had;
		UPDATE lifeline.member SET beat = beat + 1, renewed = clock_timestamp() WHERE id = a_id;
		RETURN;
	END IF;
	PERFORM lifeline.bury(a_name, dead, beats);
	SELECT min(s) INTO free FROM generate_series(0, slots - 1) s
		WHERE NOT EXISTS (SELECT FROM lifeline.member m WHERE m.name = a_name AND m.slot = s);
	IF free IS NULL THEN
		granted := 0;
		RETURN;
	END IF;
	UPDATE lifeline.name SET fence = greatest(fence, above) + 1 WHERE name = a_name RETURNING fence INTO granted;
	UPDATE lifeline.member SET slot = free, fence = granted, since = clock_timestamp(), beat = beat + 1, renewed = clock_timestamp()
		WHERE id = a_id;
	IF NOT FOUND THEN
		granted := -1;
	END IF;
END $$;

-- drain_node keeps a node from taking a lease; a null interval has no end, and a
-- negative interval ends the drain.
CREATE OR REPLACE FUNCTION lifeline.drain_node(a_node text, lasts interval) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM lifeline.drain WHERE node = a_node;
	IF lasts IS NULL OR lasts > interval '0' THEN
		INSERT INTO lifeline.drain (node, until) VALUES (a_node, clock_timestamp() + lasts);
	END IF;
	PERFORM lifeline.ring(name) FROM lifeline.name;
END $$;

-- forget_name removes a name; false if the name has living sessions.
CREATE OR REPLACE FUNCTION lifeline.forget_name(a_name text, dead text[], beats bigint[]) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
	had bigint;
BEGIN
	SELECT fence INTO had FROM lifeline.name WHERE name = a_name FOR UPDATE;
	PERFORM lifeline.bury(a_name, dead, beats);
	IF EXISTS (SELECT FROM lifeline.member WHERE name = a_name) THEN
		RETURN false;
	END IF;
	INSERT INTO lifeline.name AS n (name, fence) VALUES ('', coalesce(had, 0))
		ON CONFLICT (name) DO UPDATE SET fence = greatest(n.fence, excluded.fence);
	DELETE FROM lifeline.run WHERE name = a_name;
	DELETE FROM lifeline.status WHERE name = a_name;
	DELETE FROM lifeline.name WHERE name = a_name;
	RETURN true;
END $$;

-- raise_name raises the fence and the mark, after a database has gone back in time. A later
-- tick that was claimed since then stays, unless it is taken back or of the future.
CREATE OR REPLACE FUNCTION lifeline.raise_name(a_name text, a_fence bigint,
	a_claimed timestamptz, a_done timestamptz, a_skipped bigint, a_serial bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO lifeline.name (name) VALUES (a_name) ON CONFLICT DO NOTHING;
	UPDATE lifeline.name SET fence = greatest(fence, a_fence) WHERE name = a_name;
	UPDATE lifeline.name SET claimed = a_claimed, done = a_done, skipped = a_skipped, serial = a_serial
		WHERE name = a_name AND serial < a_serial
		AND (claimed > a_claimed AND claimed <= clock_timestamp() + interval '1 minute'
			AND NOT (a_serial = serial + 1 AND a_done IS NOT DISTINCT FROM done)) IS NOT TRUE;
	UPDATE lifeline.name SET serial = a_serial + 1 WHERE name = a_name AND serial < a_serial;
	PERFORM lifeline.ring(a_name);
END $$;

-- release gives the slot back and keeps the session.
CREATE OR REPLACE FUNCTION lifeline.release(a_name text, a_id text, a_fence bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE lifeline.member SET slot = NULL, fence = NULL, since = clock_timestamp() WHERE id = a_id AND fence = a_fence;
	PERFORM lifeline.ring(a_name);
END $$;

CREATE OR REPLACE FUNCTION lifeline.leave(a_name text, a_id text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM lifeline.member WHERE id = a_id;
	PERFORM lifeline.ring(a_name);
END $$;

CREATE OR REPLACE FUNCTION lifeline.make_wish(a_name text, a_node text, lasts interval) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE lifeline.name SET wish = nullif(a_node, ''), wish_until = clock_timestamp() + lasts WHERE name = a_name;
	PERFORM lifeline.ring(a_name);
END $$;

-- claim moves the mark of the ticks. It returns 1; 0 if the mark has changed since; -1
-- if the session has lost its slot.
CREATE OR REPLACE FUNCTION lifeline.claim(a_name text, a_id text, a_fence bigint,
	from_claimed timestamptz, from_done timestamptz, from_skipped bigint, from_serial bigint,
	to_claimed timestamptz, to_done timestamptz, to_skipped bigint, to_serial bigint) RETURNS int
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM 1 FROM lifeline.name WHERE name = a_name FOR UPDATE;
	PERFORM 1 FROM lifeline.member WHERE id = a_id AND fence = a_fence;
	IF NOT FOUND THEN
		RETURN -1;
	END IF;
	UPDATE lifeline.name SET claimed = to_claimed, done = to_done, skipped = to_skipped, serial = to_serial
		WHERE name = a_name AND claimed IS NOT DISTINCT FROM from_claimed
		AND done IS NOT DISTINCT FROM from_done AND skipped = from_skipped AND serial = from_serial;
	IF NOT FOUND THEN
		RETURN 0;
	END IF;
	PERFORM lifeline.ring(a_name); -- every node remembers how far they are
	RETURN 1;
END $$;

COMMIT;
