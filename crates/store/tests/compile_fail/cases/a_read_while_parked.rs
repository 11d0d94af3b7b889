//! A task that holds the proof of having no connection cannot take one.

use store::queries::realm;
use runtime::Parked;
use store::{Error, Lease};

async fn hash(_: Parked<'_>) {}

async fn handler(lease: &mut Lease) -> Result<(), Error> {
    let parked = lease.park();
    lease.read().await?.one(realm::find()).await?;
    hash(parked).await;
    Ok(())
}

fn main() {}
