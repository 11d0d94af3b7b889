//! The interface of sinks.

use std::future::Future;
use std::time::Duration;

use model::Now;
use runtime::Parked;
use store::audit_db::{Place, Shipment, Shipped};

/// Accepts batches of records and stores the offset of each journal.
pub trait Sink: Send + Sync + 'static {
    /// Whether what was stored is still there, as far as that is known at once. After a failure the offsets
    /// are read again.
    fn check(&self) -> Result<(), SinkError> {
        Ok(())
    }

    /// The stored offset of a journal; `None` where there is none.
    fn resume(&self, journal: [u8; 16]) -> impl Future<Output = Result<Option<Place>, SinkError>> + Send;

    /// Accepts a whole batch, or nothing of it.
    fn take(
        &self,
        parked: &Parked<'_>,
        shipment: Shipment,
    ) -> impl Future<Output = Result<Shipped, SinkError>> + Send;

    /// Prepares space for new records, and removes those before a time; true where more is to be done soon.
    fn maintain(&self, now: Now, before: Now) -> impl Future<Output = Result<bool, SinkError>> + Send;
}

/// Why a sink did not accept a batch; it is retried.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A file or a pipe failed.
    #[error(transparent)]
    Io(std::io::Error),
    /// A remote program failed.
    #[error("{why}")]
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
