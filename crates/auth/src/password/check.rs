//! The check of a password: the same work whatever is found.

use std::time::Duration;

use hashing::Refusal;
use model::bounds::PASSWORD_CHARS;
use model::event::Reason;
use model::{Secret, UserUuid};
use protocol::wire::password_hash::{Rules, StoredHash};
use store::queries::credential;
use store::queries::user::State;

use super::{open_stored, received};
use crate::OpContext;

/// When to come back while the database cannot be asked for a new pepper.
const NO_PEPPER: Duration = Duration::from_secs(1);

/// Checks a password against what was found, doing the same work whatever was found. `account` stands for what was
/// asked for, the same each time.
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
                tracing::warn!(%why, "a pepper that is not known here could not be asked for");
                return Err(Refusal::Busy(NO_PEPPER));
            }
        },
    };
    let active = found.as_ref().is_none_or(|login| login.user.state == State::Active);
    let missing = if active { missing } else { Reason::Inactive };
    // Without a hash that can be checked, a decoy's is computed; from here on all of them go the same way.
    let real = stored.is_some();
    let stored = stored.or_else(|| ctx.services.hasher.dummy_hash(account));
    let rules = stored.as_ref().map_or(Rules::Ours, StoredHash::rules);
    // Longer passwords cannot be anybody's; they cost what every other one costs, and no more.
    let fits = password.expose().len() <= PASSWORD_CHARS * 4;
    let given = if fits { password.expose().as_str() } else { "" };
    let bytes = received(given, rules);
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
