-- The signed statement that the records up to `kept_sequence` were removed by retention, or were never here.
ALTER TABLE audit_journals ADD COLUMN kept_proof BLOB;

PRAGMA user_version = 2;
