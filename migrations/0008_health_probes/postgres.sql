-- Filled and emptied by the health probe after a write has failed, to learn whether the disk has room again.
CREATE TABLE gw.health_probes (
    id     BIGINT PRIMARY KEY,
    filler TEXT   NOT NULL
);
