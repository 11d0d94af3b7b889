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
use crate::limits::Budget;

/// Retry-After while the database cannot be asked for a new pepper.
const NO_PEPPER: Duration = Duration::from_secs(1);

/// Why a password was not checked.
#[derive(Debug, thiserror::Error)]
pub enum Unchecked {
    /// Too many passwords were tried for the account; one may be tried after this time.
    #[error("too many passwords were tried for the account")]
    Limited(Duration),
    /// It was not hashed.
    #[error(transparent)]
    Hash(#[from] Refusal),
}

impl Unchecked {
    /// The reason in events; `None` when the client is gone, and nothing was tried.
    pub(crate) fn reason(&self) -> Option<Reason> {
        match self {
            Self::Limited(_) => Some(Reason::Limited),
            Self::Hash(Refusal::Busy(_)) => Some(Reason::Overloaded),
            Self::Hash(Refusal::Gone) => None,
        }
    }
}

/// Checks a password against a stored hash, if there is one, with the same work either way. Every operation
/// that takes a password calls this: each is a guess like a login, and counts in a `budget`. `account`
/// identifies the submitted name for fair queueing, the same for each attempt.
pub(crate) async fn check_password(
    ctx: &mut OpContext<'_>,
    found: Option<credential::Login>,
    password: &Secret<String>,
    account: &str,
    budget: Budget,
) -> Result<Result<credential::Login, (Option<UserUuid>, Reason)>, Unchecked> {
    let limits = &ctx.services.limits;
    // Redis may be asked: no connection is held meanwhile.
    ctx.lease.park();
    let attempt = limits.attempt(budget).await.map_err(Unchecked::Limited)?;
    let user = found.as_ref().map(|login| login.user.key());
    let is_closed = found.as_ref().is_some_and(|login| limits.is_closed(&attempt, login));

    let checked = match compare(ctx, found, password, account).await {
        Ok(checked) => checked,
        Err(refusal) => {
            limits.undecided(&attempt).await;
            return Err(refusal.into());
        }
    };
    Ok(match checked {
        Ok(_) if is_closed => Err((user.map(|user| user.uuid), Reason::Closed)),
        Ok(login) => {
            limits.succeeded(&attempt).await;
            Ok(login)
        }
        Err(reason) => {
            limits.failed(&attempt, user);
            Err((user.map(|user| user.uuid), reason))
        }
    })
}

/// Compares a password with a hash that no account has: an operator checks a file before it is imported.
///
/// # Errors
/// When it was not hashed.
pub(crate) async fn matches_hash(
    ctx: &mut OpContext<'_>,
    hash: &StoredHash,
    password: &str,
) -> Result<bool, Refusal> {
    let requester = ctx.requester(String::new());
    let bytes = received(password, hash.rules());
    ctx.services.hasher.verify(ctx.lease.park(), requester, bytes, hash.clone()).await
}

/// Compares a password with a stored hash, or with a dummy hash.
async fn compare(
    ctx: &mut OpContext<'_>,
    found: Option<credential::Login>,
    password: &Secret<String>,
    account: &str,
) -> Result<Result<credential::Login, Reason>, Refusal> {
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
        _ => Err(missing),
    })
}
