//! Sinks: the database, and remote programs that receive records.
//!
//! A remote sink stores the offset of each journal in a file here, after the receiver has accepted a batch. A
//! crash between the two sends some records twice; every record contains its journal and sequence, by which a
//! receiver drops duplicates.

mod database;
mod json_lines;
mod offsets;
mod otlp;
mod redis_stream;
mod sink;
mod webhook;
mod webhook_signature;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use model::Now;
use outbound::Answer;
use runtime::Parked;
use store::audit_db::{Place, Shipment, Shipped};
use store::redis::RedisStream;
use tokio_util::sync::CancellationToken;

use self::offsets::Offsets;
use crate::blocking;
use crate::dead_letters::Refused;

pub use self::database::Database;
pub use self::json_lines::JsonLines;
pub use self::otlp::Otlp;
pub use self::sink::{Sink, SinkError};
pub use self::webhook::Webhook;
pub use self::webhook_signature::{WebhookSecretError, WebhookSecrets};

/// How often a single record is sent before it becomes a dead letter.
pub const TRIES: u32 = 8;

/// The transport of a sink.
#[derive(Debug)]
pub enum Transport {
    /// JSON Lines on standard output or another writer.
    JsonLines(JsonLines),
    /// A Redis stream.
    Stream(RedisStream),
    /// A webhook.
    Webhook(Webhook),
    /// An OpenTelemetry collector.
    Otlp(Otlp),
}

/// The result of a batch.
enum Carried {
    /// It was accepted.
    Taken,
    /// It was refused permanently.
    Refused(String),
}

/// A sink with a transport.
#[derive(Debug)]
pub struct RemoteSink {
    carrier: Transport,
    places: Offsets,
    stop: CancellationToken,
    /// The single record that was refused last, by its sequence, and how often.
    refused: Mutex<(i64, u32)>,
}

impl RemoteSink {
    /// Sends with `carrier`, and stores its offsets in the file `places`. Pending requests are abandoned at
    /// `stop`.
    pub fn new(carrier: Transport, places: PathBuf, stop: CancellationToken) -> Self {
        Self { carrier, places: Offsets::new(places), stop, refused: Mutex::default() }
    }

    async fn carry(&self, parked: &Parked<'_>, shipment: &Shipment) -> Result<Carried, SinkError> {
        match &self.carrier {
            Transport::JsonLines(lines) => lines.carry(shipment).await,
            Transport::Stream(stream) => redis_stream::carry(stream, shipment).await,
            Transport::Webhook(webhook) => webhook.carry(parked, shipment).await,
            Transport::Otlp(logs) => logs.carry(parked, shipment).await,
        }
    }

    /// A refused single record is sent some more times, because the fault may be the receiver's; a batch is
    /// halved at once, to find the record.
    fn refuse(&self, shipment: &Shipment, why: String) -> Result<Shipped, SinkError> {
        let [record] = shipment.records.as_slice() else { return Ok(Shipped::Refused(why)) };
        if Refused::in_row(record).is_some() {
            return Ok(Shipped::Refused(why));
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let tries = if refused.0 == record.sequence { refused.1.saturating_add(1) } else { 1 };
        *refused = (record.sequence, tries);
        if tries < TRIES { Err(SinkError::outside(why)) } else { Ok(Shipped::Refused(why)) }
    }
}

impl Sink for RemoteSink {
    async fn resume(&self, journal: [u8; 16]) -> Result<Option<Place>, SinkError> {
        let places = self.places.clone();
        blocking(move || places.get(journal)).await.flatten().map_err(SinkError::Io)
    }

    async fn take(&self, parked: &Parked<'_>, shipment: Shipment) -> Result<Shipped, SinkError> {
        if self.resume(shipment.journal).await? != shipment.known {
            return Ok(Shipped::Moved);
        }
        if !shipment.records.is_empty() {
            let carried = self.stop.run_until_cancelled(self.carry(parked, &shipment)).await;
            let carried =
                carried.unwrap_or_else(|| Err(SinkError::outside("the server is stopping".to_owned())))?;
            if let Carried::Refused(why) = carried {
                return self.refuse(&shipment, why);
            }
        }
        let places = self.places.clone();
        let journal = shipment.journal;
        let after = shipment.after;
        blocking(move || places.set(journal, after)).await.flatten().map_err(SinkError::Io)?;
        Ok(Shipped::Stored(shipment.records.len() as u64))
    }

    /// Retention is the receiver's task.
    async fn maintain(&self, _: Now, _: Now) -> Result<bool, SinkError> {
        Ok(false)
    }
}

/// Maps the status of a response: accepted, refused permanently, or to be retried.
fn judge(answer: &Answer) -> Result<Carried, SinkError> {
    let why = format!("it answered {}", answer.status);
    match answer.status {
        200..=299 => Ok(Carried::Taken),
        300..=399 => Err(SinkError::outside(format!("{why}, and no redirect is followed"))),
        408 | 425 | 429 | 500.. => Err(SinkError::Remote { why, after: answer.retry_after }),
        _ => Ok(Carried::Refused(why)),
    }
}
