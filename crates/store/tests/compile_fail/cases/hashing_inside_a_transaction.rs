//! Nothing slow runs between BEGIN and COMMIT: the proof of having no connection ends before a transaction.

use model::{event, intent};
use runtime::Parked;
use store::{Error, Lease};

async fn hash(_: &Parked<'_>) {}

async fn handler(lease: &mut Lease) -> Result<(), Error> {
    let parked = lease.park();
    lease
        .transact(intent::RowsCleaned {}, async |_| {
            hash(&parked).await;
            Ok((event::RowsCleaned { sessions: 0, revocations: 0, networks: 0 }, ()))
        })
        .await
}

fn main() {}
