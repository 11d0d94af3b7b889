//! Records as entries of a Redis stream.

use journal::JournalId;
use store::audit_db::Shipment;
use store::redis::RedisStream;

use super::sink::SinkError;
use super::{Carried, json_lines};

/// Adds one entry per record, with `journal`, `sequence`, `kind` and the whole line as `record`.
pub(super) async fn carry(stream: &RedisStream, shipment: &Shipment) -> Result<Carried, SinkError> {
    let journal = JournalId(shipment.journal).to_string();
    let texts: Vec<(String, String)> = shipment
        .records
        .iter()
        .map(|record| (record.sequence.to_string(), json_lines::line(record, &shipment.node)))
        .collect();
    let entries: Vec<_> = shipment
        .records
        .iter()
        .zip(&texts)
        .map(|(record, (sequence, line))| {
            vec![
                ("journal", journal.as_bytes()),
                ("sequence", sequence.as_bytes()),
                ("kind", record.kind.as_bytes()),
                ("record", line.as_bytes()),
            ]
        })
        .collect();
    stream.add(&entries).await?;
    Ok(Carried::Taken)
}
