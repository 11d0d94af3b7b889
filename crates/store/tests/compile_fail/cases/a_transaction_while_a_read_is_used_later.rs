//! A transaction runs on the connection that the read would still be using.

use model::{Event, Intent};
use store::queries::realm;
use store::{Error, Lease};

async fn handler(lease: &mut Lease, intent: Intent, event: Event) -> Result<(), Error> {
    let mut read = lease.read().await?;
    let done: Result<(), Error> = lease.transact(intent, async move |_| Ok((event.clone(), ()))).await;
    done?;
    read.one(realm::find()).await?;
    Ok(())
}

fn main() {}
