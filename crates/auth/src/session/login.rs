//! Login: one read, one hash without a connection, one write.

use model::{Email, Event, EventKind, Intent, Secret, SessionId, UserId, Username, event::Reason};
use protocol::password_hash::{Rules, StoredHash};
use protocol::scope::Scope;
use store::queries::{credential, revocation, session};
use store::{Call, Tx};

use super::active::{ActiveSession, PendingSession};
use crate::password::{open_stored, received};
use crate::token::{MintError, Tokens, mint};
use crate::{OpContext, Services};
use hashing::{Refusal, RehashTicket, normalise};

/// What a login form says.
#[derive(Debug)]
pub struct Credentials {
    /// An email address if it has an `@`, else a username.
    pub identifier: String,
    /// The password as typed.
    pub password: Secret<String>,
    /// The scope asked for; all that the role may have when absent.
    pub scope: Option<String>,
}

/// Why nobody was logged in.
#[derive(Debug)]
pub enum LoginError {
    /// Unknown, wrong, inactive or changed meanwhile: one answer for all.
    Refused,
    /// The password was right, the scope is not the role's.
    Scope,
    /// The password was not hashed.
    Hash(Refusal),
    /// No token could be signed.
    Mint(MintError),
    /// The database did not answer.
    Store(store::Error),
}

impl From<store::Error> for LoginError {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

/// When to come back while the database cannot be asked for a new pepper.
const NO_PEPPER: std::time::Duration = std::time::Duration::from_secs(1);

/// Checks a password and opens a session.
///
/// # Errors
/// [`LoginError`]; nothing was changed then.
pub async fn login(
    ctx: &mut OpContext<'_>,
    given: &Credentials,
) -> Result<(Tokens, store::queries::user::User), LoginError> {
    let digest = ctx.services.identifier_digest(&identifier_key(&given.identifier));
    let found = match lookup(&given.identifier) {
        Some(call) => ctx.lease.read().await?.one(call).await?,
        None => None,
    };
    let failed = |user, reason| Event::LoginFailed { user, identifier: digest.clone(), reason };
    let checked = check_password(ctx, found, &given.password, &digest).await;
    let login = match checked.map_err(LoginError::Hash)? {
        Ok(login) => login,
        Err((user, reason)) => {
            ctx.trail.note(failed(user, reason));
            return Err(LoginError::Refused);
        }
    };
    let Some(scope) = granted(ctx, &login.user.role, given.scope.as_deref()) else {
        ctx.trail.note(failed(Some(login.user.uuid), Reason::Scope));
        return Err(LoginError::Scope);
    };
    let pending = PendingSession::new(ctx, scope);
    let (user, full) = (login.user.clone(), login.sessions >= model::bounds::SESSIONS_PER_USER);
    let (row, version, uuid, keep) =
        (pending.row.clone(), login.version, user.uuid, ctx.services.keep_until(ctx.now));
    let intent = Intent::to(EventKind::LoginSucceeded).user(uuid).session(row.id);
    let opened = ctx
        .lease
        .transact(intent, async move |tx: &mut Tx| {
            let event = Event::LoginSucceeded { user: uuid, session: row.id };
            if full {
                tx.one(session::open(user.id, version, &row)).await?.ok_or(LoginError::Refused)?;
                let ended = revoke_oldest(tx, user.id, keep).await?;
                return Ok((event, ended));
            }
            // The world moved while we hashed: the statement repeats that the user is active and the version stands.
            let (opened,) = tx.commit_with((session::open(user.id, version, &row),)).await?;
            opened.first().ok_or(LoginError::Refused)?;
            Ok((event, Vec::new()))
        })
        .await;
    match opened {
        Ok(ended) => ctx.services.revocations.add(&ended, keep),
        Err(LoginError::Refused) => {
            ctx.trail.note(failed(Some(uuid), Reason::Changed));
            return Err(LoginError::Refused);
        }
        Err(other) => return Err(other),
    }
    rehash_if_outdated(ctx, &login, &given.password);
    let live = ActiveSession::opened(&pending, &login.user);
    let tokens = mint(ctx, &live, &pending.token).map_err(LoginError::Mint)?;
    Ok((tokens, login.user))
}

/// Checks a password against what was found, doing the same work whatever was found. `account` stands for what was
/// asked for, the same each time.
pub(crate) async fn check_password(
    ctx: &mut OpContext<'_>,
    found: Option<credential::Login>,
    password: &Secret<String>,
    account: &str,
) -> Result<Result<credential::Login, (Option<model::UserUuid>, Reason)>, Refusal> {
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
    let active = found.as_ref().is_none_or(|login| login.user.state == store::queries::user::State::Active);
    let missing = if active { missing } else { Reason::Inactive };
    // Without a hash that can be checked, a decoy's is computed; from here on all of them go the same way.
    let real = stored.is_some();
    let stored = stored.or_else(|| ctx.services.hasher.decoy(account));
    let rules = stored.as_ref().map_or(Rules::Ours, StoredHash::rules);
    // Longer passwords cannot be anybody's; they cost what every other one costs, and no more.
    let fits = password.expose().len() <= model::bounds::PASSWORD_CHARS * 4;
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

/// Has a password that was right hashed anew, in the background, where its hash is of an older kind; where only the
/// pepper is missing or an older one, has the same hash stored anew.
fn rehash_if_outdated(ctx: &OpContext<'_>, login: &credential::Login, password: &Secret<String>) {
    let Services { hasher, peppers, .. } = ctx.services;
    let Some(text) = &login.hash else { return };
    let ticket = || RehashTicket {
        user: login.user.id,
        uuid: login.user.uuid,
        version: login.version,
        old: text.clone(),
    };

    match peppers.open(login.user.uuid, text) {
        Ok(stored) if hasher.should_rehash(&stored, password.expose()) => {
            hasher.rehash(ticket(), normalise(password.expose()));
        }
        Ok(stored) if peppers.is_outdated(text) => hasher.keep(ticket(), &stored),
        Ok(_) | Err(_) => {}
    }
}

/// The statement that finds whoever typed this; None when nobody can be called so.
fn lookup(identifier: &str) -> Option<Call<credential::Login>> {
    if identifier.contains('@') {
        Email::parse(identifier).ok().map(|email| credential::by_email(&email))
    } else {
        Username::parse(identifier).ok().map(|username| credential::by_username(&username))
    }
}

/// The canonical form of what was typed, so that spellings of one account count as one.
fn identifier_key(identifier: &str) -> String {
    let email = Email::parse(identifier).map(|email| email.key().to_owned());
    let username = || Username::parse(identifier).map(|username| username.key().to_owned());
    email.or_else(|_| username()).unwrap_or_else(|_| identifier.to_owned())
}

/// The scope a role is granted: what was asked for if it may have all of that, or everything it may have.
pub(crate) fn granted(ctx: &OpContext<'_>, role: &str, asked: Option<&str>) -> Option<Scope> {
    let allowed = ctx.services.settings.scopes.get(role).cloned().unwrap_or_default();
    match asked.filter(|asked| !asked.is_empty()) {
        None => Some(allowed),
        Some(asked) => Scope::parse(asked).ok().filter(|asked| asked.is_subset(&allowed)),
    }
}

async fn revoke_oldest(tx: &mut Tx, user: UserId, keep: model::Now) -> Result<Vec<SessionId>, store::Error> {
    let most = model::bounds::SESSIONS_PER_USER;
    let calls =
        (revocation::bump(), session::revoke_oldest(user, most, keep), revocation::record(user, keep));
    let (_, ended, _) = tx.commit_with(calls).await?;
    Ok(ended)
}

/// Ends every session of a user but one, as the last statements of a transaction.
pub(crate) async fn revoke_all(
    tx: &mut Tx,
    user: UserId,
    except: Option<SessionId>,
    keep: model::Now,
) -> Result<Vec<SessionId>, store::Error> {
    let calls =
        (revocation::bump(), session::revoke_of_user(user, except, keep), revocation::record(user, keep));
    let (_, ended, _) = tx.commit_with(calls).await?;
    Ok(ended)
}
