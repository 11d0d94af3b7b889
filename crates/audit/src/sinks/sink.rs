//! Where records go.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use model::Now;
use runtime::Parked;
use store::audit_db::{Audit, Place, Shipment, Shipped};

/// How far ahead there is a partition: a month, or one and a bit.
const AHEAD: Duration = Duration::from_hours(24 * 31);

/// Rounds of retention in one tidying, a minute apart while there is more: on SQLite a thousand rows each.
const ROUNDS: u32 = 60;

/// Takes batches of records and remembers how far each journal came.
pub trait Sink: Send + Sync + 'static {
    /// The place that it has of a journal; `None` where it has none.
    fn resume(&self, journal: [u8; 16]) -> impl Future<Output = Result<Option<Place>, SinkError>> + Send;

    /// Takes a batch, or nothing of it.
    fn take(
        &self,
        parked: &Parked<'_>,
        shipment: Shipment,
    ) -> impl Future<Output = Result<Shipped, SinkError>> + Send;

    /// Makes room for what comes, and removes what is from before a time; true where there is more to do soon.
    fn tidy(&self, now: Now, before: Now) -> impl Future<Output = Result<bool, SinkError>> + Send;
}

/// Why a sink did not take anything; it is tried again.
#[derive(Debug)]
pub enum SinkError {
    /// The database did not.
    Store(store::Error),
    /// A file or a pipe did not.
    Io(std::io::Error),
    /// A program elsewhere did not.
    Remote {
        /// Why.
        why: String,
        /// When it wants to be asked again, at the earliest.
        after: Option<Duration>,
    },
}

impl SinkError {
    /// Somebody elsewhere did not, for this reason.
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

/// The trail in the database.
#[derive(Debug)]
pub struct Database(pub Arc<Audit>);

impl Sink for Database {
    async fn resume(&self, journal: [u8; 16]) -> Result<Option<Place>, SinkError> {
        Ok(self.0.journal(journal).await?.map(|journal| journal.shipped))
    }

    async fn take(&self, _: &Parked<'_>, shipment: Shipment) -> Result<Shipped, SinkError> {
        Ok(self.0.insert(shipment).await?)
    }

    /// Partitions are made before they are needed.
    async fn tidy(&self, now: Now, before: Now) -> Result<bool, SinkError> {
        self.0.prepare(&[now, now.plus(AHEAD)]).await?;
        let mut rounds = 0;
        // A round is short, so that what comes meanwhile is not kept waiting for long.
        while self.0.retire(before).await?.more {
            rounds += 1;
            if rounds == ROUNDS {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
