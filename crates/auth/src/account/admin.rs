//! Changes of accounts by an operator, from the command line.

use model::{Email, Event, Secret, UserId, UserUuid, Username, event, intent};
use store::queries::session::Ended;
use store::queries::user::{Listed, State, User};
use store::queries::{credential, user};
use store::{Call, Lease};

use super::register::{Candidate, hash_of, insert, new_user, stored};
use super::{ROLES, RegisterError, Traces};
use crate::OpContext;
use crate::password::{NotHashed, Policy, hash_new};
use crate::session::revoke_all;
use hashing::{Priority, Refusal};

/// Why an operator's change failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No user has this number, uuid, email or username.
    #[error("there is no such user")]
    Unknown,
    /// The name means more than one user.
    #[error("the name means more than one user")]
    Ambiguous,
    /// There is no such role.
    #[error("there is no such role")]
    Role,
    /// The password is not acceptable.
    #[error(transparent)]
    Invalid(model::profile::FieldError),
    /// The password was not hashed.
    #[error(transparent)]
    Hash(Refusal),
    /// The account was not created.
    #[error(transparent)]
    Register(RegisterError),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<NotHashed> for AdminError {
    fn from(error: NotHashed) -> Self {
        match error {
            NotHashed::Invalid(error) => Self::Invalid(error),
            NotHashed::Refused(refusal) => Self::Hash(refusal),
        }
    }
}

/// Creates an account with a role.
///
/// # Errors
/// [`AdminError`]; nothing was changed then.
pub async fn add(ctx: &mut OpContext<'_>, candidate: Candidate, role: &str) -> Result<User, AdminError> {
    check_role(role)?;
    let hash = hash_of(ctx, &candidate).await?;
    let new = new_user(ctx, &candidate, role);
    let hash = ctx.services.peppers.store(new.uuid, &hash);
    match insert(ctx, &candidate, &new, &hash, None).await {
        Ok((id, _)) => Ok(stored(id, &new)),
        Err(RegisterError::Store(error)) => Err(error.into()),
        Err(error) => Err(AdminError::Register(error)),
    }
}

/// The words that say what the rest of a name is; `id`, as lists call the number, is another word for it.
const KINDS: [&str; 6] = ["number", "uuid", "email", "username", "id", "external_id"];

/// Finds a user by number, uuid, email, username or the identifier in another system. `id:` or `number:`,
/// `uuid:`, `email:`, `username:` or `external_id:` in front says which of them is meant.
///
/// # Errors
/// [`AdminError::Unknown`]; [`AdminError::Ambiguous`] when one user has this number or uuid and another one
/// this username.
pub async fn find(ctx: &mut OpContext<'_>, name: &str) -> Result<User, AdminError> {
    find_with(ctx.lease, name).await
}

/// [`find`], for a command that has only a lease.
///
/// # Errors
/// Those of [`find`].
pub async fn find_with(lease: &mut Lease, name: &str) -> Result<User, AdminError> {
    let name = name.trim();
    let exact = name.split_once(':').filter(|(kind, _)| KINDS.contains(kind));
    let calls: Vec<_> = match exact {
        Some((kind, rest)) => lookup(kind, rest).into_iter().collect(),
        None => KINDS.iter().filter_map(|kind| lookup(kind, name)).collect(),
    };

    let mut read = lease.read().await?;
    let mut found: Vec<User> = Vec::new();
    for call in calls {
        let user = read.one(call).await?;
        found.extend(user.filter(|user| found.iter().all(|other| other.id != user.id)));
    }
    match found.len() {
        0 | 1 => found.pop().ok_or(AdminError::Unknown),
        _ => Err(AdminError::Ambiguous),
    }
}

/// The statement that finds a user by a name of this kind; `None` when no user can have it.
fn lookup(kind: &str, name: &str) -> Option<Call<User>> {
    match kind {
        // `2` is a number; `02` and `+2` may be usernames.
        "number" | "id" => {
            let number = name.parse::<i64>().ok().filter(|number| number.to_string() == name)?;
            Some(user::find_by_number(UserId(number)))
        }
        "uuid" => Some(user::find_by_uuid(UserUuid(name.parse().ok()?))),
        "email" => Some(user::find_by_email(&Email::parse(name).ok()?)),
        "external_id" => Some(user::find_by_external_id(name)),
        _ => Some(user::find_by_username(&Username::parse(name).ok()?)),
    }
}

/// Records that an operator views an account, before it is shown.
pub fn showing(ctx: &OpContext<'_>, user: &User) {
    ctx.audit.note(Event::UserShown { user: user.uuid });
}

/// The identifier that a user had in another system, if any.
///
/// # Errors
/// When the database did not answer.
pub async fn external_id(ctx: &mut OpContext<'_>, user: &User) -> Result<Option<String>, AdminError> {
    Ok(ctx.lease.read().await?.one(user::external_id(user.id)).await?.flatten())
}

/// Records that an operator lists accounts, before the first one is shown.
pub fn begin_list(ctx: &OpContext<'_>) {
    ctx.audit.note(Event::UsersListed {});
}

/// At most `limit` of the listed users, with ids above `after`.
///
/// # Errors
/// When the database did not answer.
pub async fn list(
    ctx: &mut OpContext<'_>,
    listed: &Listed,
    after: UserId,
    limit: i64,
) -> Result<Vec<User>, AdminError> {
    Ok(ctx.lease.read().await?.all(user::list(listed, after, limit)).await?)
}

/// Whether an email, and a username, are free.
///
/// # Errors
/// [`RegisterError::EmailTaken`], [`RegisterError::UsernameTaken`].
pub async fn ensure_free(
    lease: &mut Lease,
    email: &Email,
    username: Option<&Username>,
) -> Result<(), RegisterError> {
    match lease.read().await?.one(user::taken(email, username)).await? {
        Some((true, _)) => Err(RegisterError::EmailTaken),
        Some((false, true)) => Err(RegisterError::UsernameTaken),
        Some((false, false)) | None => Ok(()),
    }
}

/// Changes a user's role: the next token carries it, and permissions change at once.
///
/// # Errors
/// [`AdminError::Role`], [`AdminError::Unknown`].
pub async fn set_role(ctx: &mut OpContext<'_>, user: &User, role: &str) -> Result<(), AdminError> {
    check_role(role)?;
    let id = user.key();
    let uuid = user.uuid;
    let now = ctx.now;
    let role = role.to_owned();
    ctx.lease
        .transact(intent::RoleChanged { user: uuid, stamp: now }, async move |tx| {
            let (set,) = tx.commit_with((user::set_role(id, &role, now),)).await?;
            set.first().ok_or(AdminError::Unknown)?;
            Ok((event::RoleChanged { user: uuid, role: role.clone() }, ()))
        })
        .await
}

/// Sets a password without checking the old one; ends all sessions of the user.
///
/// # Errors
/// [`AdminError::Invalid`], [`AdminError::Unknown`].
pub async fn set_password(
    ctx: &mut OpContext<'_>,
    user: &User,
    password: &Secret<String>,
) -> Result<(), AdminError> {
    if user.state == State::Erased {
        return Err(AdminError::Unknown);
    }
    let email = user.email.as_deref().and_then(|email| Email::parse(email).ok());
    let username = user.username.as_deref().and_then(|name| Username::parse(name).ok());
    let policy = Policy(&ctx.services.settings.passwords);
    let bytes = policy
        .accept("password", password.expose(), email.as_ref(), username.as_ref())
        .map_err(AdminError::Invalid)?;
    let hash = hash_new(ctx, "password", Priority::Login, Some(user.uuid.to_string()), bytes).await?;

    let hash = ctx.services.peppers.store(user.uuid, &hash);
    let id = user.key();
    let uuid = user.uuid;
    let now = ctx.now;
    let ending = ctx.ending();
    let ended = ctx
        .lease
        .transact(intent::PasswordChanged { user: uuid, stamp: now }, async move |tx| {
            // The account may have been erased during the hash.
            tx.one(credential::set(id, &hash, now)).await?.ok_or(AdminError::Unknown)?;
            let ended = revoke_all(tx, id, None, ending).await?;
            let sessions = ended.len() as u64;
            Ok((event::PasswordChanged { user: uuid, sessions, changed_at: now }, ended))
        })
        .await;

    ended_here(ctx, ended)
}

/// Activates or deactivates a user; deactivation ends the user's sessions.
///
/// # Errors
/// [`AdminError::Unknown`] for a tombstone.
pub async fn set_state(ctx: &mut OpContext<'_>, user: &User, active: bool) -> Result<(), AdminError> {
    let id = user.key();
    let uuid = user.uuid;
    let now = ctx.now;
    let ending = ctx.ending();
    if active {
        return ctx
            .lease
            .transact(intent::UserActivated { user: uuid, stamp: now }, async move |tx| {
                tx.one(user::set_state(id, State::Active, now)).await?.ok_or(AdminError::Unknown)?;
                Ok((event::UserActivated { user: uuid }, ()))
            })
            .await;
    }

    let ended = ctx
        .lease
        .transact(intent::UserDeactivated { user: uuid, stamp: now }, async move |tx| {
            tx.one(user::set_state(id, State::Inactive, now)).await?.ok_or(AdminError::Unknown)?;
            let ended = revoke_all(tx, id, None, ending).await?;
            Ok((event::UserDeactivated { user: uuid, sessions: ended.len() as u64 }, ended))
        })
        .await;
    ended_here(ctx, ended)
}

/// Erases an account without the user's password.
///
/// # Errors
/// [`AdminError::Unknown`] when the account is already erased.
pub async fn delete(ctx: &mut OpContext<'_>, user: &User) -> Result<(), AdminError> {
    let id = user.key();
    let uuid = user.uuid;
    let now = ctx.now;
    let traces = Traces::of(ctx, id, user.email.as_deref())?;
    let ending = ctx.ending();
    let ended = ctx
        .lease
        .transact(intent::UserErased { user: uuid, stamp: now }, async move |tx| {
            tx.one(user::erase(id, now)).await?.ok_or(AdminError::Unknown)?;
            traces.remove(tx).await?;
            let ended = revoke_all(tx, id, None, ending).await?;
            Ok((event::UserErased { user: uuid, sessions: ended.len() as u64 }, ended))
        })
        .await;
    ended_here(ctx, ended)
}

/// Adds the sessions that an operation has ended to this node's revocation cache, which refuses them at once.
fn ended_here(ctx: &OpContext<'_>, ended: Result<Vec<Ended>, AdminError>) -> Result<(), AdminError> {
    ctx.services.revocations.add(&ended?, &ctx.services.clock, ctx.now);
    Ok(())
}

fn check_role(role: &str) -> Result<(), AdminError> {
    if ROLES.contains(&role) { Ok(()) } else { Err(AdminError::Role) }
}
