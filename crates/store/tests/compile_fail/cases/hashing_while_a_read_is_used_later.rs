//! A read that is used again after the hash would hold its connection through it.

use store::queries::realm;
use runtime::Parked;
use store::{Error, Lease};

async fn hash(_: Parked<'_>) {}

async fn handler(lease: &mut Lease) -> Result<(), Error> {
    let mut read = lease.read().await?;
    read.one(realm::find()).await?;
    hash(lease.park()).await;
    read.one(realm::find()).await?;
    Ok(())
}

fn main() {}
