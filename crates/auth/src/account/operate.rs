//! What an operator does to accounts, from the command line.

use model::{Email, Event, Intent, Kind, Secret, UserId, Username};
use store::noun::user::{State, User};
use store::noun::{audit_key, credential, user};

use super::register::{Candidate, Conflict, hash_of, new_user, stored, whose};
use super::{ROLES, RegisterError};
use crate::Visit;
use crate::password::{NotHashed, Policy, Purpose, Refusal, hash_new};
use crate::session::revoke_all;

/// Why an operator's change was not made.
#[derive(Debug)]
pub enum OperateError {
    /// No user is called so.
    Unknown,
    /// There is no such role.
    Role,
    /// What is wrong with the password.
    Invalid(model::profile::FieldError),
    /// The password was not hashed.
    Hash(Refusal),
    /// The account was not made.
    Register(RegisterError),
    /// The database did not answer.
    Store(store::Error),
}

impl From<store::Error> for OperateError {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<NotHashed> for OperateError {
    fn from(error: NotHashed) -> Self {
        match error {
            NotHashed::Invalid(error) => Self::Invalid(error),
            NotHashed::Refused(refusal) => Self::Hash(refusal),
        }
    }
}

/// Makes an account with a role.
///
/// # Errors
/// [`OperateError`]; nothing was changed then.
pub async fn add(visit: &mut Visit<'_>, candidate: Candidate, role: &str) -> Result<User, OperateError> {
    check_role(role)?;
    let hash = hash_of(visit, &candidate).await?;
    let new = new_user(visit, &candidate, role);
    let hash = visit.rooms.vault.store(new.uuid, &hash);
    let row = new.clone();
    let inserted = visit
        .lease
        .transact(Intent::to(Kind::UserRegistered).user(row.uuid), async move |tx| {
            let account = (user::insert(&row), credential::insert(row.uuid, &hash, row.at));
            let (ids, _) = tx.last(account).await?;
            let id = ids.into_iter().next().ok_or(Conflict::Taken)?;
            Ok((Event::UserRegistered { user: row.uuid, session: None }, id))
        })
        .await;
    match inserted {
        Ok(id) => Ok(stored(id, &new)),
        Err(Conflict::Store(error)) => Err(error.into()),
        Err(Conflict::Taken) => {
            Err(OperateError::Register(whose(visit, &candidate).await.map_err(OperateError::Register)?))
        }
    }
}

/// The user of this number, email or username.
///
/// # Errors
/// [`OperateError::Unknown`].
pub async fn find(visit: &mut Visit<'_>, name: &str) -> Result<User, OperateError> {
    // `2` is a number; `02` and `+2` are names that somebody may have.
    let number = name.parse::<i64>().ok().filter(|number| number.to_string() == name);
    let call = if let Some(number) = number {
        user::find(UserId(number))
    } else if name.contains('@') {
        user::find_by_email(&Email::parse(name).map_err(|_| OperateError::Unknown)?)
    } else {
        user::find_by_username(&Username::parse(name).map_err(|_| OperateError::Unknown)?)
    };
    visit.lease.read().await?.one(call).await?.ok_or(OperateError::Unknown)
}

/// Says that an operator looked at an account: before it is shown.
pub fn showing(visit: &Visit<'_>, user: &User) {
    visit.trail.note(Event::UserShown { user: user.uuid });
}

/// Says that an operator begins to list accounts: before the first is shown.
pub fn begin_list(visit: &Visit<'_>) {
    visit.trail.note(Event::UsersListed {});
}

/// At most `limit` users after a number.
///
/// # Errors
/// When the database did not answer.
pub async fn page(visit: &mut Visit<'_>, after: UserId, limit: i64) -> Result<Vec<User>, OperateError> {
    Ok(visit.lease.read().await?.all(user::page(after, limit)).await?)
}

/// Gives a user a role; his next token says it, and his rights follow it at once.
///
/// # Errors
/// [`OperateError::Role`], [`OperateError::Unknown`].
pub async fn set_role(visit: &mut Visit<'_>, user: &User, role: &str) -> Result<(), OperateError> {
    check_role(role)?;
    let (id, uuid, now, role) = (user.id, user.uuid, visit.now, role.to_owned());
    visit
        .lease
        .transact(Intent::to(Kind::RoleChanged).user(uuid).stamp(now), async move |tx| {
            let (set,) = tx.last((user::set_role(id, &role, now),)).await?;
            set.first().ok_or(OperateError::Unknown)?;
            Ok((Event::RoleChanged { user: uuid, role: role.clone() }, ()))
        })
        .await
}

/// Sets a password whatever there was; every session of the user ends.
///
/// # Errors
/// [`OperateError::Invalid`], [`OperateError::Unknown`].
pub async fn set_password(
    visit: &mut Visit<'_>,
    user: &User,
    password: &Secret<String>,
) -> Result<(), OperateError> {
    if user.state == State::Erased {
        return Err(OperateError::Unknown);
    }
    let email = user.email.as_deref().and_then(|email| Email::parse(email).ok());
    let username = user.username.as_deref().and_then(|name| Username::parse(name).ok());
    let policy = Policy(&visit.rooms.settings.passwords);
    let bytes = policy
        .accept("password", password.expose(), email.as_ref(), username.as_ref())
        .map_err(OperateError::Invalid)?;
    let hash = hash_new(visit, "password", Purpose::Login, Some(user.uuid.to_string()), bytes).await?;
    let hash = visit.rooms.vault.store(user.uuid, &hash);
    let (id, uuid, now, keep) = (user.id, user.uuid, visit.now, visit.rooms.keep_until(visit.now));
    visit
        .lease
        .transact(Intent::to(Kind::PasswordChanged).user(uuid).stamp(now), async move |tx| {
            tx.one(credential::set(id, &hash, now)).await?;
            let ended = revoke_all(tx, id, None, keep).await?;
            Ok((Event::PasswordChanged { user: uuid, sessions: ended.len() as u64 }, ()))
        })
        .await
}

/// Activates or deactivates; a deactivated user's sessions end.
///
/// # Errors
/// [`OperateError::Unknown`] for a tombstone.
pub async fn set_state(visit: &mut Visit<'_>, user: &User, active: bool) -> Result<(), OperateError> {
    let (id, uuid, now, keep) = (user.id, user.uuid, visit.now, visit.rooms.keep_until(visit.now));
    let (state, kind) =
        if active { (State::Active, Kind::UserActivated) } else { (State::Inactive, Kind::UserDeactivated) };
    visit
        .lease
        .transact(Intent::to(kind).user(uuid).stamp(now), async move |tx| {
            tx.one(user::set_state(id, state, now)).await?.ok_or(OperateError::Unknown)?;
            if active {
                return Ok((Event::UserActivated { user: uuid }, ()));
            }
            let ended = revoke_all(tx, id, None, keep).await?;
            Ok((Event::UserDeactivated { user: uuid, sessions: ended.len() as u64 }, ()))
        })
        .await
}

/// Erases an account as its owner could, without his password.
///
/// # Errors
/// [`OperateError::Unknown`] when it is erased already.
pub async fn delete(visit: &mut Visit<'_>, user: &User) -> Result<(), OperateError> {
    let (id, uuid, now, keep) = (user.id, user.uuid, visit.now, visit.rooms.keep_until(visit.now));
    visit
        .lease
        .transact(Intent::to(Kind::UserErased).user(uuid).stamp(now), async move |tx| {
            tx.one(user::erase(id, now)).await?.ok_or(OperateError::Unknown)?;
            // His details in the audit trail can be read no more; the trail itself stays whole.
            tx.batch((credential::remove(id), audit_key::remove_of_user(uuid))).await?;
            let ended = revoke_all(tx, id, None, keep).await?;
            Ok((Event::UserErased { user: uuid, sessions: ended.len() as u64 }, ()))
        })
        .await
}

fn check_role(role: &str) -> Result<(), OperateError> {
    if ROLES.contains(&role) { Ok(()) } else { Err(OperateError::Role) }
}
