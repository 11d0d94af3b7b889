//! Nothing is committed that does not say what happened.

use store::noun::realm;
use store::{Error, Lease};

async fn handler(lease: &mut Lease) -> Result<(), Error> {
    lease
        .transact(async |tx| {
            tx.one(realm::find()).await?;
            Ok::<(), Error>(())
        })
        .await
}

fn main() {}
