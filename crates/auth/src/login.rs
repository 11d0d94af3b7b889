//! Login: one read, one hash without a database connection, one write.

use hashing::Refusal;
use model::bounds::SESSIONS_PER_USER;
use model::event::{self, LoginMethod, Reason};
use model::{Email, Event, Secret, SessionId, UserKey, Username, intent};
use protocol::wire::scope::Scope;
use store::queries::credential::Login;
use store::queries::session::{OpenedSession, Room};
use store::queries::user::{self, User};
use store::queries::{credential, revocation, session};
use store::{Call, Tx};

use crate::OpContext;
use crate::password::{check_password, rehash_if_outdated};
use crate::session::{ActiveSession, PendingSession, RequestClient};
use crate::token::{MintError, Tokens, mint};

/// A login request.
#[derive(Debug)]
pub struct Credentials {
    /// An email address if it has an `@`, else a username.
    pub identifier: String,
    /// The password as typed.
    pub password: Secret<String>,
    /// The requested scope; when absent, every scope of the role.
    pub scope: Option<String>,
}

/// Why the login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Unknown user, wrong password, inactive user or concurrent change: one error for all.
    #[error("the user or the password is wrong, or the account cannot log in")]
    Refused,
    /// The password is correct, but the role does not have the scope.
    #[error("the role does not have the requested scope")]
    Scope,
    /// The password was not hashed.
    #[error(transparent)]
    Hash(Refusal),
    /// No token could be signed.
    #[error(transparent)]
    Mint(MintError),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Checks a password and opens a session.
///
/// # Errors
/// [`LoginError`]; nothing was changed then.
pub async fn login(ctx: &mut OpContext<'_>, given: &Credentials) -> Result<(Tokens, User), LoginError> {
    let digest = ctx.services.identifier_digest(&identifier_key(&given.identifier));
    let client = RequestClient::of(ctx).stored();
    let found = match lookup(&given.identifier, client.as_deref()) {
        Some(call) => ctx.lease.read().await?.one(call).await?,
        None => None,
    };

    let failed = |user, reason| Event::LoginFailed {
        user,
        identifier: digest.clone(),
        reason,
        method: LoginMethod::Password,
    };

    let checked = check_password(ctx, found, &given.password, &digest).await;
    let login = match checked.map_err(LoginError::Hash)? {
        Ok(login) => login,
        Err((user, reason)) => {
            ctx.audit.note(failed(user, reason));
            return Err(LoginError::Refused);
        }
    };

    let Some(scope) = granted(ctx, &login.user.role, given.scope.as_deref()) else {
        ctx.audit.note(failed(Some(login.user.uuid), Reason::Scope));
        return Err(LoginError::Scope);
    };

    let pending = PendingSession::new(ctx, scope);
    let opened = if login.superseded > 0 { None } else { open_beside_few(ctx, &pending, &login).await? };
    let (user, opened) = match opened {
        Some(opened) => (login.user.clone(), opened),
        None => open_in_place(ctx, &pending, &login, client).await.inspect_err(|error| {
            if matches!(error, LoginError::Refused) {
                ctx.audit.note(failed(Some(login.user.uuid), Reason::Changed));
            }
        })?,
    };

    rehash_if_outdated(ctx, &login, &given.password);
    let live = ActiveSession::opened(&pending, opened, &user, &ctx.services.settings);
    let tokens = mint(ctx, &live, &pending.token).map_err(LoginError::Mint)?;
    Ok((tokens, user))
}

/// Why a session was not opened by the one statement.
#[derive(Debug, thiserror::Error)]
enum Unopened {
    #[error("the user has many sessions, has changed, or logs in elsewhere at the same time")]
    NotFew,
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Opens a session of a user who has few, by one statement. It does not see sessions that are opened at the
/// same time; half of the maximum is far more than those. None when the user has more, or has changed since
/// it was read.
async fn open_beside_few(
    ctx: &mut OpContext<'_>,
    pending: &PendingSession,
    login: &Login,
) -> Result<Option<OpenedSession>, store::Error> {
    let (row, user, version) = (pending.row.clone(), login.user.clone(), login.version);
    let intent = intent::LoginSucceeded { user: user.uuid, session: row.id };
    let opened = ctx
        .lease
        .transact(intent, async move |tx: &mut Tx| {
            let call = session::open_beside_few(&user, version, &row, SESSIONS_PER_USER / 2);
            let (opened,) = tx.commit_with((call,)).await?;
            let opened = opened.into_iter().next().ok_or(Unopened::NotFew)?;
            Ok((succeeded(user.key(), row.id), opened))
        })
        .await;
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(Unopened::NotFew) => Ok(None),
        Err(Unopened::Store(error)) => Err(error),
    }
}

/// Opens a session and ends those that it takes the place of.
async fn open_in_place(
    ctx: &mut OpContext<'_>,
    pending: &PendingSession,
    login: &Login,
    client: Option<Vec<u8>>,
) -> Result<(User, OpenedSession), LoginError> {
    let (row, user, version) = (pending.row.clone(), login.user.key(), login.version);
    let room = Room {
        opened: row.id,
        user,
        ending: ctx.ending(),
        idle_since: ctx.now.minus(ctx.services.settings.refresh_ttl),
        client,
        ends_superseded: login.superseded > 0,
        most: SESSIONS_PER_USER,
    };
    let intent = intent::LoginSucceeded { user: user.uuid, session: row.id };
    let (found, opened, ended) = ctx
        .lease
        .transact(intent, async move |tx: &mut Tx| {
            // The user may have changed during the hash: the second statement checks again that the user is
            // active and the password version is unchanged, and the others have no effect without it.
            let calls = (
                user::lock(user),
                session::open(user, version, &row),
                revocation::bump_for_room(&room),
                session::make_room(&room),
                revocation::record(user, room.ending.at),
            );
            let (found, opened, _, ended, _) = tx.commit_with(calls).await?;
            let opened = opened.into_iter().next().ok_or(LoginError::Refused)?;
            let found = found.into_iter().next().ok_or(LoginError::Refused)?;
            Ok::<_, LoginError>((succeeded(user, row.id), (found, opened, ended)))
        })
        .await?;

    ctx.services.revocations.add(&ended, &ctx.services.clock, ctx.now);
    Ok((found, opened))
}

fn succeeded(user: UserKey, session: SessionId) -> event::LoginSucceeded {
    event::LoginSucceeded { user: user.uuid, session, method: LoginMethod::Password }
}

/// The statement that finds the user by email or username; None for an identifier that no user can have.
fn lookup(identifier: &str, client: Option<&[u8]>) -> Option<Call<Login>> {
    if identifier.contains('@') {
        Email::parse(identifier).ok().map(|email| credential::by_email(&email, client))
    } else {
        Username::parse(identifier).ok().map(|username| credential::by_username(&username, client))
    }
}

/// The canonical form of the identifier, so that spellings of one account count as one.
fn identifier_key(identifier: &str) -> String {
    let email = Email::parse(identifier).map(|email| email.key().to_owned());
    let username = || Username::parse(identifier).map(|username| username.key().to_owned());
    email.or_else(|_| username()).unwrap_or_else(|_| identifier.to_owned())
}

/// The granted scope: the requested one if the role has all of it, or every scope of the role if none is
/// requested.
pub(crate) fn granted(ctx: &OpContext<'_>, role: &str, asked: Option<&str>) -> Option<Scope> {
    let allowed = ctx.services.settings.scopes.get(role).cloned().unwrap_or_default();
    match asked.filter(|asked| !asked.is_empty()) {
        None => Some(allowed),
        Some(asked) => Scope::parse(asked).ok().filter(|asked| asked.is_subset(&allowed)),
    }
}
