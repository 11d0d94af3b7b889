//! What every new password goes through after the policy: the breach filter, and its hash.

use std::time::Duration;

use hashing::{Priority, Refusal};
use model::Secret;
use model::profile::FieldError;

use crate::OpContext;

/// Why a new password was not hashed.
#[derive(Debug)]
pub enum NotHashed {
    /// It must not be one.
    Invalid(FieldError),
    /// It was not hashed in time, or it cannot be found out whether it may be one.
    Refused(Refusal),
}

/// When to come back while the breach filter cannot be read.
const UNREADABLE: Duration = Duration::from_secs(30);

/// Hashes a new password that the policy has accepted, for the member `field`; `account` is whose turn it takes.
///
/// # Errors
/// [`NotHashed`]: a password that appeared in a breach is refused before anything is computed.
pub(crate) async fn hash_new(
    ctx: &mut OpContext<'_>,
    field: &'static str,
    purpose: Priority,
    account: Option<String>,
    password: Secret<Vec<u8>>,
) -> Result<String, NotHashed> {
    let requester = ctx.requester(account);
    let parked = ctx.lease.park();
    if let Some(breaches) = &ctx.services.settings.passwords.breaches {
        match breaches.has(&parked, &password).await {
            Some(false) => {}
            Some(true) => {
                return Err(NotHashed::Invalid(FieldError {
                    field,
                    kind: "password_blocklisted",
                    message: "has appeared in a data breach, so attackers know it".into(),
                }));
            }
            None => return Err(NotHashed::Refused(Refusal::Busy(UNREADABLE))),
        }
    }
    ctx.services.hasher.hash(parked, purpose, requester, password).await.map_err(NotHashed::Refused)
}
