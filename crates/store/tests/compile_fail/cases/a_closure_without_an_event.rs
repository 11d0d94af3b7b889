//! Nothing is committed that does not say what happened.

use model::intent;
use store::queries::realm;
use store::{Error, Lease};

async fn handler(lease: &mut Lease) -> Result<(), Error> {
    lease
        .transact(intent::RealmOpened {}, async |tx| {
            tx.one(realm::find()).await?;
            Ok::<(), Error>(())
        })
        .await
}

fn main() {}
