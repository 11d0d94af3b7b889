//! The interface of sinks, and the database as a sink.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use model::Now;
use runtime::Parked;
use store::audit_db::{Audit, Place, Shipment, Shipped};

/// How far ahead partitions are created: a month, or a little more.
const AHEAD: Duration = Duration::from_hours(24 * 31);

/// Rounds of retention in one maintenance, a minute apart while there is more: a thousand rows each on
/// SQLite.
const ROUNDS: u32 = 60;

/// Accepts batches of records and stores the offset of each journal.
pub trait Sink: Send + Sync + 'static {
    /// The stored offset of a journal; `None` where there is none.
    fn resume(&self, journal: [u8; 16]) -> impl Future<Output = Result<Option<Place>, SinkError>> + Send;

    /// Accepts a whole batch, or nothing of it.
    fn take(
        &self,
        parked: &Parked<'_>,
        shipment: Shipment,
    ) -> impl Future<Output = Result<Shipped, SinkError>> + Send;

    /// Prepares space for new records, and removes those before a time; true where more is to be done soon.
    fn tidy(&self, now: Now, before: Now) -> impl Future<Output = Result<bool, SinkError>> + Send;
}

/// Why a sink did not accept a batch; it is retried.
#[derive(Debug)]
pub enum SinkError {
    /// The database failed.
    Store(store::Error),
    /// A file or a pipe failed.
    Io(std::io::Error),
    /// A remote program failed.
    Remote {
        /// The reason.
        why: String,
        /// The earliest time for a retry, as requested.
        after: Option<Duration>,
    },
}

impl SinkError {
    /// A failure of a remote program.
    pub(crate) fn outside(why: String) -> Self {
        Self::Remote { why, after: None }
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Remote { why, .. } => f.write_str(why),
        }
    }
}

impl std::error::Error for SinkError {}

impl From<store::Error> for SinkError {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

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
    async fn tidy(&self, now: Now, before: Now) -> Result<bool, SinkError> {
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
