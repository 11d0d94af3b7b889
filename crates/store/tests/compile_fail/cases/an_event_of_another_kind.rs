//! A transaction records the event that it announced.

use model::{UserUuid, event, intent};
use store::{Error, Lease};

async fn handler(lease: &mut Lease, user: UserUuid) -> Result<(), Error> {
    lease.transact(intent::RealmOpened {}, async move |_| Ok((event::ProfileChanged { user }, ()))).await
}

fn main() {}
