-- Filled and emptied by the health probe after a write has failed, to learn whether the disk has room again.
CREATE TABLE health_probes (
    id     INTEGER PRIMARY KEY,
    filler TEXT    NOT NULL
) STRICT;
