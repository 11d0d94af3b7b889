//! Reads and changes the caller's own account.

use model::profile::{FieldError, Profile};
use model::{Email, Username, event, intent};
use serde_json::{Map, Value};
use store::queries::user::{self, State, User};

use super::note_unknown;
use super::register::parse_profile;
use crate::OpContext;
use crate::token::Caller;

/// Why the caller's account cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MeError {
    /// The account is not active any more.
    #[error("the account is not active any more")]
    Gone,
    /// The database did not answer, and the user is not in the cache.
    #[error(transparent)]
    Store(store::Error),
}

/// Why the caller's account was not changed.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The validation errors.
    #[error("the username or the attributes are not acceptable")]
    Invalid(Vec<FieldError>),
    /// Another account has the username.
    #[error("the username is taken")]
    UsernameTaken,
    /// The account is not active any more.
    #[error("the account is not active any more")]
    Gone,
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// The caller's account: from the database, or from the cache when the database has just failed.
///
/// # Errors
/// [`MeError`].
pub async fn me(ctx: &mut OpContext<'_>, caller: &Caller) -> Result<User, MeError> {
    let services = ctx.services;
    if let Some(user) = services.user_cache.user(caller.user).filter(|_| services.outage.is_on()) {
        return Ok(user);
    }

    let asked = async { ctx.lease.read().await?.one(user::find(caller.user)).await }.await;
    services.outage.note(&asked);
    match asked {
        Ok(Some(user)) if user.state == State::Active => {
            services.user_cache.keep(&user);
            Ok(user)
        }
        Ok(found) => {
            services.user_cache.forget(caller.user);
            if found.is_none() {
                note_unknown(ctx, caller).await.map_err(MeError::Store)?;
            }
            Err(MeError::Gone)
        }
        Err(error) if error.is_unavailable() => {
            services.user_cache.user(caller.user).ok_or(MeError::Store(error))
        }
        Err(error) => Err(MeError::Store(error)),
    }
}

/// How many times a change is tried when other requests change the same row.
const TRIES: usize = 16;

/// Changes username and attributes: absent members stay unchanged, `null` removes what it names.
///
/// # Errors
/// [`PatchError`]; nothing was changed then.
pub async fn patch(
    ctx: &mut OpContext<'_>,
    caller: &Caller,
    members: Map<String, Value>,
) -> Result<User, PatchError> {
    let mut user = current(ctx, caller).await?;
    for _ in 0..TRIES {
        if let Some(changed) = change(ctx, &user, members.clone()).await? {
            ctx.services.user_cache.keep(&changed);
            return Ok(changed);
        }
        user = current(ctx, caller).await?;
    }
    Err(PatchError::Store(store::Error::Serialization))
}

async fn current(ctx: &mut OpContext<'_>, caller: &Caller) -> Result<User, PatchError> {
    let found = ctx.lease.read().await?.one(user::find(caller.user)).await?;
    if found.is_none() {
        note_unknown(ctx, caller).await?;
    }
    found.filter(|user| user.state == State::Active).ok_or(PatchError::Gone)
}

/// Why the row was not changed.
#[derive(Debug, thiserror::Error)]
enum Unchanged {
    #[error("the row has changed since")]
    Moved,
    #[error("the account is not active any more")]
    Gone,
    #[error("the username is taken")]
    UsernameTaken,
    #[error(transparent)]
    Store(#[from] store::Error),
}

fn same(left: &User, right: &User) -> bool {
    (&left.profile, &left.username) == (&right.profile, &right.username)
}

/// Applies the members to exactly this state of the user; None when the row has changed since.
async fn change(
    ctx: &mut OpContext<'_>,
    user: &User,
    mut members: Map<String, Value>,
) -> Result<Option<User>, PatchError> {
    let mut errors = Vec::new();
    let username = new_username(ctx, members.remove("username"), user, &mut errors);
    refuse_others(&members, user, &mut errors);
    let old = serde_json::from_str::<Profile>(&user.profile)
        .map_err(|error| store::Error::Corrupt(format!("users.profile: {error}")))?;
    let profile = parse_profile(&ctx.services.settings, old, members, &mut errors);
    let (Some(profile), true) = (profile, errors.is_empty()) else {
        return Err(PatchError::Invalid(errors));
    };
    let profile = serde_json::to_string(&profile).unwrap_or_else(|_| "{}".to_owned());
    let old = user.clone();
    let now = ctx.now;
    let text = profile.clone();
    let name = username.clone();

    let set = ctx
        .lease
        .transact(intent::ProfileChanged { user: user.uuid, stamp: now }, async move |tx| {
            let set = user::set_profile(&old, name.as_ref(), &text, now);
            let (changed, found) = tx.commit_with((set, user::find(old.key()))).await?;
            match (changed.first(), found.first()) {
                (Some(_), _) => Ok((event::ProfileChanged { user: old.uuid }, ())),
                (None, Some(now)) if now.state != State::Active => Err(Unchanged::Gone),
                // The row is unchanged, so the username caused the conflict.
                (None, Some(now)) if same(now, &old) => Err(Unchanged::UsernameTaken),
                (None, _) => Err(Unchanged::Moved),
            }
        })
        .await;

    match set {
        Ok(()) => {
            let username = username.map(|username| username.name().to_owned());
            Ok(Some(User { username, profile, updated_at: now, ..user.clone() }))
        }
        Err(Unchanged::Moved) => Ok(None),
        Err(Unchanged::Gone) => Err(PatchError::Gone),
        Err(Unchanged::UsernameTaken) => Err(PatchError::UsernameTaken),
        Err(Unchanged::Store(error)) => Err(error.into()),
    }
}

fn new_username(
    ctx: &OpContext<'_>,
    given: Option<Value>,
    user: &User,
    errors: &mut Vec<FieldError>,
) -> Option<Username> {
    let old = user.username.as_deref().and_then(|name| Username::parse(name).ok());
    match given {
        None => old,
        Some(Value::Null) => None,
        Some(Value::String(name)) => {
            // The name that the account has may be sent again, also if it is none for new accounts.
            let is_kept = old.as_ref().is_some_and(|old| old.name() == name.trim());
            let reserved = &ctx.services.settings.reserved_usernames;
            let parsed = if is_kept { Username::parse(&name) } else { Username::parse_new(&name, reserved) };
            parsed.map_err(|error| errors.push(error.into())).ok()
        }
        Some(_) => {
            errors.push(FieldError::not_a_string("username"));
            None
        }
    }
}

/// Members of an account that are not changed here. Others of [`model::profile::RESERVED`] mean nothing and
/// are ignored, like every unknown member.
const UNCHANGED_HERE: [&str; 8] =
    ["created_at", "email", "id", "is_active", "new_password", "password", "role", "uuid"];

/// Refuses members of the account that are not changed here. What is the account's own may be sent again, as
/// clients do that send a whole account back.
fn refuse_others(members: &Map<String, Value>, user: &User, errors: &mut Vec<FieldError>) {
    let is_other = |name: &&str| members.get(*name).is_some_and(|given| !is_own(user, name, given));
    for name in UNCHANGED_HERE.into_iter().filter(is_other) {
        let message = match name {
            "password" | "new_password" => "the password is not changed here, but at /password".to_owned(),
            _ => format!("{name} is not changed here"),
        };
        errors.push(FieldError::value(name, message));
    }
}

/// Whether a member is what the account has.
fn is_own(user: &User, name: &str, given: &Value) -> bool {
    let key = |text: &str| Email::parse(text).ok().map(|email| email.key().to_owned());
    match name {
        "id" => *given == user.id.0,
        "uuid" => given.as_str() == Some(&user.uuid.to_string()),
        "email" => user.email.as_deref().is_some_and(|own| given.as_str().and_then(key) == key(own)),
        "role" => *given == user.role,
        "is_active" => *given == (user.state == State::Active),
        "created_at" => *given == user.created_at.in_millis(),
        _ => false,
    }
}
