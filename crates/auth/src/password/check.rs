//! The check of a password, with the same work for known and unknown users.

use std::time::Duration;

use hashing::Refusal;
use model::event::Reason;
use model::{Secret, UserUuid};
use protocol::wire::password_hash::{Rules, StoredHash};
use store::queries::credential;
use store::queries::user::State;

use super::{PASSWORD_BYTES, open_stored, received};
use crate::OpContext;

/// Retry-After while the database cannot be asked for a new pepper.
const NO_PEPPER: Duration = Duration::from_secs(1);

/// Checks a password against a stored hash, if there is one, with the same work either way. Every operation
/// that takes a password calls this: each is a guess like a login. `account` identifies the submitted name
/// for fair queueing, the same for each attempt.
pub(crate) async fn check_password(
    ctx: &mut OpContext<'_>,
    found: Option<credential::Login>,
    password: &Secret<String>,
    account: &str,
) -> Result<Result<credential::Login, (Option<UserUuid>, Reason)>, Refusal> {
    let user = found.as_ref().map(|login| login.user.uuid);
    let (stored, missing) = match found.as_ref().map(|login| (login.user.uuid, login.hash.as_ref())) {
        None => (None, Reason::UnknownUser),
        Some((_, None)) => (None, Reason::NoPassword),
        Some((uuid, Some(stored))) => match open_stored(ctx, uuid, stored).await {
            Ok(Ok(stored)) => (Some(stored), Reason::WrongPassword),
            Ok(Err(why)) => {
                tracing::warn!(user = %uuid, %why, "a stored password hash cannot be used");
                (None, Reason::UnusableHash)
            }
            Err(why) => {
                tracing::warn!(%why, "a pepper that this node does not know could not be loaded");
                return Err(Refusal::Busy(NO_PEPPER));
            }
        },
    };

    let active = found.as_ref().is_none_or(|login| login.user.state == State::Active);
    let missing = if active { missing } else { Reason::Inactive };

    // Without a usable hash, a dummy hash is computed; from here on, both cases take the same path.
    let real = stored.is_some();
    let stored = stored.or_else(|| ctx.services.hasher.dummy_hash(account));
    let rules = stored.as_ref().map_or(Rules::Ours, StoredHash::rules);

    // A longer password cannot be correct; it costs as much as any other.
    let bytes = received(password.expose(), rules);
    let fits = bytes.expose().len() <= PASSWORD_BYTES;
    let bytes = if fits { bytes } else { received("", rules) };
    let requester = ctx.requester(account.to_owned());
    let same = match stored {
        Some(stored) => ctx.services.hasher.verify(ctx.lease.park(), requester, bytes, stored).await?,
        None => false,
    };

    Ok(match found {
        Some(login) if same && real && fits && active => Ok(login),
        _ => Err((user, missing)),
    })
}
