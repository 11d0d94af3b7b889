//! Records as JSON Lines, for other programs; also writes them to standard output.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::{Checkpoint, Hash, JournalId};
use model::hex;
use serde_json::{Value, json};
use store::audit_db::{Record, Shipment};

use super::Carried;
use super::sink::SinkError;
use crate::record::row;

/// Writes one line per record.
#[derive(Clone)]
pub struct JsonLines(Arc<Mutex<Box<dyn Write + Send>>>);

impl JsonLines {
    /// Writes lines to `to`.
    pub fn new(to: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(to))))
    }

    pub(super) async fn carry(&self, shipment: &Shipment) -> Result<Carried, SinkError> {
        let (to, text) = (Arc::clone(&self.0), text(shipment));
        let write = move || {
            let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
            to.write_all(text.as_bytes())?;
            to.flush()
        };
        let done = tokio::task::spawn_blocking(write).await;
        done.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(SinkError::Io)?;
        Ok(Carried::Taken)
    }
}

impl fmt::Debug for JsonLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}

/// All lines of a batch.
pub(super) fn text(shipment: &Shipment) -> String {
    shipment.records.iter().flat_map(|record| [line(record, &shipment.node), "\n".to_owned()]).collect()
}

/// One line, without its end. It contains an event byte by byte as in the journal, so that the chain can be
/// recomputed from all lines.
pub(super) fn line(record: &Record, node: &str) -> String {
    let (journal, hash) = (JournalId(record.journal), Hash(record.hash));
    let (sequence, time) = (record.sequence, record.at.micros());
    let at = json!(record.at);
    let kind = json!(record.kind);
    let node = json!(node);
    let (name, said) = match (record.kind.as_str(), event(&record.payload)) {
        (row::CHECKPOINT, _) => ("head", head(&record.payload).to_string()),
        (_, Some(event)) => ("event", event.to_owned()),
        (_, None) => ("payload", json!(STANDARD.encode(&record.payload)).to_string()),
    };
    format!(
        "{{\"journal\":\"{journal}\",\"sequence\":{sequence},\"at\":{at},\"time\":{time},\"node\":{node},\
         \"kind\":{kind},\"hash\":\"{hash}\",\"{name}\":{said}}}"
    )
}

/// The head that a checkpoint signs, and its signature: [`Checkpoint::message`] can be built from it.
fn head(payload: &[u8]) -> Value {
    let Some(checkpoint) = Checkpoint::parse(payload) else { return Value::Null };
    json!({
        "journal": checkpoint.head.journal.to_string(),
        "sequence": checkpoint.head.sequence,
        "hash": checkpoint.head.hash.to_string(),
        "previous": checkpoint.previous,
        "time": checkpoint.time.0,
        "statement": STANDARD.encode(&checkpoint.statement),
        "key": hex::encode(&checkpoint.key_id),
        "signature": STANDARD.encode(&checkpoint.signature),
    })
}

/// The payload, where it is JSON in one line.
fn event(payload: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(payload).ok()?;
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    (is_json && !text.contains(['\n', '\r'])).then_some(text)
}
