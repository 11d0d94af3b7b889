//! Nothing slow runs between BEGIN and COMMIT: the proof of having no connection ends before a transaction.

use model::{Event, Intent};
use runtime::Parked;
use store::{Error, Lease};

async fn hash(_: &Parked<'_>) {}

async fn handler(lease: &mut Lease, intent: Intent, event: Event) -> Result<(), Error> {
    let parked = lease.park();
    lease
        .transact(intent, async |_| {
            hash(&parked).await;
            Ok((event.clone(), ()))
        })
        .await
}

fn main() {}
