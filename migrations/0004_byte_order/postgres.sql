-- Keys are compared and sorted by their bytes: an upgrade of the system's collations changes no index of ours.

ALTER TABLE gw.users
    ALTER COLUMN email_key TYPE TEXT COLLATE "C",
    ALTER COLUMN username_key TYPE TEXT COLLATE "C",
    ALTER COLUMN role TYPE TEXT COLLATE "C",
    ALTER COLUMN state TYPE TEXT COLLATE "C";
ALTER TABLE gw.credentials ALTER COLUMN kind TYPE TEXT COLLATE "C";
ALTER TABLE gw.counters ALTER COLUMN name TYPE TEXT COLLATE "C";
ALTER TABLE gw.clients ALTER COLUMN id TYPE TEXT COLLATE "C";
ALTER TABLE gw.keys
    ALTER COLUMN id TYPE TEXT COLLATE "C",
    ALTER COLUMN algorithm TYPE TEXT COLLATE "C",
    ALTER COLUMN state TYPE TEXT COLLATE "C";
ALTER TABLE gw.jobs ALTER COLUMN name TYPE TEXT COLLATE "C";
ALTER TABLE gw.peppers ALTER COLUMN state TYPE TEXT COLLATE "C";
ALTER TABLE gw.realm ALTER COLUMN master_key_id TYPE TEXT COLLATE "C";
ALTER TABLE gw.audit_events ALTER COLUMN kind TYPE TEXT COLLATE "C";
