//! A transaction runs on the connection that the read would still be using.

use model::{event, intent};
use store::queries::realm;
use store::{Error, Lease};

async fn handler(lease: &mut Lease) -> Result<(), Error> {
    let mut read = lease.read().await?;
    let done: Result<(), Error> = lease
        .transact(intent::RowsCleaned {}, async |_| {
            Ok((event::RowsCleaned { sessions: 0, revocations: 0, networks: 0 }, ()))
        })
        .await;
    done?;
    read.one(realm::find()).await?;
    Ok(())
}

fn main() {}
