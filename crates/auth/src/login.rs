//! Login: one read, one hash without a database connection, one write.

use std::time::Duration;

use model::bounds::SESSIONS_PER_USER;
use model::event::{self, LoginMethod, Reason};
use model::{Email, Event, Secret, SessionId, UserKey, Username, intent};
use protocol::wire::scope::Scope;
use store::queries::credential::{AskingClient, Login};
use store::queries::session::{OpenedSession, Room};
use store::queries::user::{self, User};
use store::queries::{credential, revocation, session};
use store::{Call, Tx};

use crate::OpContext;
use crate::limits::Budget;
use crate::password::{Unchecked, check_password, rehash_if_outdated};
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
    /// The password was not checked.
    #[error(transparent)]
    Unchecked(Unchecked),
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
    let identifier = identifier_key(&given.identifier);
    let digest = ctx.services.identifier_digest(&identifier);
    let failed = |user, reason| Event::LoginFailed {
        user,
        identifier: digest.clone(),
        reason,
        method: LoginMethod::Password,
    };

    let client = RequestClient::of(ctx);
    let asking = client.asking();
    let found = find(ctx, &given.identifier, &asking).await.inspect_err(|_| {
        ctx.audit.note(failed(None, Reason::Unavailable));
    })?;

    let user = found.as_ref().map(|login| login.user.uuid);
    let budget = budget(ctx, &identifier, found.as_ref(), &asking);
    let checked = check_password(ctx, found, &given.password, &digest, budget).await.inspect_err(|why| {
        if let Some(reason) = why.reason() {
            ctx.audit.note(failed(user, reason));
        }
    });
    let login = match checked.map_err(LoginError::Unchecked)? {
        Ok(login) => login,
        Err((user, reason)) => {
            watch_failure(ctx, &digest, &asking, &given.password);
            ctx.audit.note(failed(user, reason));
            return Err(LoginError::Refused);
        }
    };

    let Some(scope) = granted(ctx, &login.user.role, given.scope.as_deref()) else {
        ctx.audit.note(failed(Some(login.user.uuid), Reason::Scope));
        return Err(LoginError::Scope);
    };

    let pending = PendingSession::new(ctx, &client, scope);
    let is_settled = login.superseded == 0 && login.failures == 0;
    let opened = if is_settled { open_beside_few(ctx, &pending, &login).await? } else { None };
    let (user, opened) = match opened {
        Some(opened) => (login.user.clone(), opened),
        None => open_in_place(ctx, &pending, &login, asking.mark.clone()).await.inspect_err(|error| {
            if matches!(error, LoginError::Refused) {
                ctx.audit.note(failed(Some(login.user.uuid), Reason::Changed));
            }
        })?,
    };
    let network = asking.networks[0].filter(|_| is_new_network(ctx, &login));
    ctx.services.limits.unstored.succeeded(user.key(), network, ctx.now);
    ctx.services.limits.attacks.succeeded();

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
                credential::forget_failures(row.id),
                revocation::bump_for_room(&room),
                session::make_room(&room),
                revocation::record(user, room.ending.at),
            );
            let (found, opened, _, _, ended, _) = tx.commit_with(calls).await?;
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

/// Finds the user by email or username.
async fn find(
    ctx: &mut OpContext<'_>,
    identifier: &str,
    client: &AskingClient,
) -> Result<Option<Login>, store::Error> {
    match lookup(identifier, client) {
        Some(call) => ctx.lease.read().await?.one(call).await,
        None => Ok(None),
    }
}

/// The budget in which this try counts: that of the client's network if the user has logged in from it, else
/// that of all strangers. Both are counted by the identifier, so that an account that does not exist has one
/// too.
fn budget(ctx: &OpContext<'_>, identifier: &str, found: Option<&Login>, client: &AskingClient) -> Budget {
    let known =
        client.networks[0].filter(|network| found.is_some_and(|login| is_known(ctx, login, *network)));
    match known {
        Some(network) => Budget::KnownNetwork {
            account_and_network: ctx.services.identifier_number(identifier, Some(&network)),
        },
        None => Budget::Strangers { account: ctx.services.identifier_number(identifier, None) },
    }
}

/// Counts a failed login among those of all accounts.
fn watch_failure(ctx: &OpContext<'_>, account: &str, client: &AskingClient, password: &Secret<String>) {
    let at = ctx.services.clock.monotonic();
    let network = client.networks[0].unwrap_or_default();
    ctx.services.limits.attacks.failed(account, &network, password.expose(), at, ctx.now);
}

/// How long a network is known after a login.
pub const KNOWN_FOR: Duration = Duration::from_hours(90 * 24);
/// How exact the time of the last login from a network is.
const SEEN_WITHIN: Duration = Duration::from_hours(24);

fn is_known(ctx: &OpContext<'_>, login: &Login, network: [u8; 8]) -> bool {
    login.network_seen_at.is_some_and(|seen| seen > ctx.now.minus(KNOWN_FOR))
        || ctx.services.limits.unstored.has_network(login.user.key(), network)
}

/// Whether the client's network is to be recorded.
fn is_new_network(ctx: &OpContext<'_>, login: &Login) -> bool {
    login.network_seen_at.is_none_or(|seen| seen < ctx.now.minus(SEEN_WITHIN))
}

/// The statement that finds the user by email or username; None for an identifier that no user can have.
fn lookup(identifier: &str, client: &AskingClient) -> Option<Call<Login>> {
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
    email.or_else(|_| username()).unwrap_or_else(|_| identifier.trim().to_owned())
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
