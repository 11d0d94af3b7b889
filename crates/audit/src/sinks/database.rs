//! The database as a sink.

use std::sync::Arc;
use std::time::Duration;

use model::Now;
use runtime::Parked;
use store::audit_db::{Audit, Place, Shipment, Shipped};

use super::sink::{Sink, SinkError};

/// How far ahead partitions are created: a month, or a little more.
const AHEAD: Duration = Duration::from_hours(24 * 31);

/// Rounds of retention in one maintenance, a minute apart while there is more: a thousand rows each on
/// SQLite.
const ROUNDS: u32 = 60;

/// The audit trail in the database.
#[derive(Debug)]
pub struct Database(pub Arc<Audit>);

impl Sink for Database {
    async fn resume(&self, journal: [u8; 16]) -> Result<Option<Place>, SinkError> {
        Ok(self.0.journal(journal).await?.map(|journal| journal.shipped))
    }

    async fn take(&self, _: &Parked<'_>, shipment: Shipment) -> Result<Shipped, SinkError> {
        Ok(self.0.insert(shipment).await?)
    }

    /// Creates partitions before they are needed.
    async fn maintain(&self, now: Now, before: Now) -> Result<bool, SinkError> {
        self.0.prepare(&[now, now.plus(AHEAD)]).await?;
        let mut rounds = 0;
        // A round is short, so that other statements do not wait for long.
        while self.0.retire(before).await?.more {
            rounds += 1;
            if rounds == ROUNDS {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
