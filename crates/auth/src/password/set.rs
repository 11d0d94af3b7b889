//! Prepares a new password after the policy: checks the breach filter and hashes it.

use std::time::Duration;

use hashing::{Priority, Refusal};
use model::Secret;
use model::profile::FieldError;

use crate::OpContext;

/// Why a new password was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum NotHashed {
    /// The password is not acceptable.
    #[error(transparent)]
    Invalid(FieldError),
    /// It was not hashed in time, or the breach filter cannot be read.
    #[error(transparent)]
    Refused(Refusal),
}

/// Retry-After while the breach filter cannot be read.
const UNREADABLE: Duration = Duration::from_secs(30);

/// Hashes a new password that the policy has accepted, for the member `field`; `account` is the requester's
/// account for fair queueing.
///
/// # Errors
/// [`NotHashed`]. A breached password is refused before anything is hashed.
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
