//! The database as a sink.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::Now;
use runtime::Parked;
use store::audit_db::{Audit, Place, Prove, Shipment, Shipped};

use super::sink::{Sink, SinkError};
use crate::statement::Voucher;

/// How far ahead partitions are created: a month, or a little more.
const AHEAD: Duration = Duration::from_hours(24 * 31);

/// Rounds of retention in one maintenance, a minute apart while there is more: a thousand rows each on
/// SQLite.
const ROUNDS: u32 = 60;

/// The audit trail in the database.
#[derive(Debug)]
pub struct Database {
    audit: Arc<Audit>,
    voucher: Arc<Voucher>,
    /// How often its file was lost, as far as this sink has told.
    lost: AtomicU64,
}

impl Database {
    /// The trail in the database. `voucher` signs where its rows begin, and is told what has arrived.
    pub fn new(audit: Arc<Audit>, voucher: Arc<Voucher>) -> Self {
        Self { audit, voucher, lost: AtomicU64::new(0) }
    }

    fn prove(&self) -> Prove {
        let voucher = Arc::clone(&self.voucher);
        Arc::new(move |journal, place| voucher.kept(journal, place))
    }
}

impl Sink for Database {
    fn check(&self) -> Result<(), SinkError> {
        let lost = self.audit.files_lost();
        if self.lost.swap(lost, Ordering::Relaxed) == lost {
            return Ok(());
        }
        Err(store::Error::Unavailable("the file of the audit trail was removed or replaced".into()).into())
    }

    async fn resume(&self, journal: [u8; 16]) -> Result<Option<Place>, SinkError> {
        Ok(self.audit.journal(journal).await?.map(|journal| journal.shipped))
    }

    async fn take(&self, _: &Parked<'_>, mut shipment: Shipment) -> Result<Shipped, SinkError> {
        let (journal, before, after) = (shipment.journal, shipment.before, shipment.after);
        if shipment.known.is_none() && before.sequence > 0 {
            shipment.kept_proof = self.voucher.kept(journal, before);
        }
        let shipped = self.audit.insert(shipment).await?;
        if matches!(shipped, Shipped::Stored(_)) {
            self.voucher.arrived(journal, after);
        }
        Ok(shipped)
    }

    /// Creates partitions before they are needed, and notes the journals of other nodes.
    async fn maintain(&self, now: Now, before: Now) -> Result<bool, SinkError> {
        self.audit.prepare(&[now, now.plus(AHEAD)]).await?;
        self.voucher.seen(&self.audit.journals().await?);
        let mut rounds = 0;
        // A round is short, so that other statements do not wait for long.
        while self.audit.retire(before, self.prove()).await?.more {
            rounds += 1;
            if rounds == ROUNDS {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
