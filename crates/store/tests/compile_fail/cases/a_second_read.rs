//! One lease, one connection, one use of it at a time.

use store::queries::realm;
use store::{Error, Lease};

async fn handler(lease: &mut Lease) -> Result<(), Error> {
    let mut first = lease.read().await?;
    let mut second = lease.read().await?;
    second.one(realm::find()).await?;
    first.one(realm::find()).await?;
    Ok(())
}

fn main() {}
