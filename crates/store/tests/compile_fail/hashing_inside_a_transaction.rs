//! Nothing slow between BEGIN and COMMIT: the lease is not to be had inside.

use model::Event;
use store::{Error, Lease, Parked};

async fn hash(_: Parked<'_>) {}

async fn handler(lease: &mut Lease, event: Event) -> Result<(), Error> {
    lease
        .transact(async move |_| {
            hash(lease.park()).await;
            Ok((event.clone(), ()))
        })
        .await
}

fn main() {}
