//! Registration: one hash without a connection, then one write.

use model::event::Obstacle;
use model::profile::{FieldError, Profile};
use model::{Email, Event, EventKind, Intent, Now, Secret, UserId, UserUuid, Username};
use serde_json::{Map, Value};
use store::queries::{credential, session, user};

use super::BASIC_USER;
use crate::OpContext;
use crate::password::{NotHashed, Policy, hash_new};
use crate::session::{ActiveSession, PendingSession};
use crate::token::{MintError, Tokens, mint};
use hashing::{Priority, Refusal};

/// Somebody who wants an account: every word of his has been checked.
#[derive(Debug)]
pub struct Candidate {
    pub(crate) email: Email,
    pub(crate) username: Option<Username>,
    pub(crate) password: Secret<Vec<u8>>,
    pub(crate) profile: Profile,
}

/// A new account.
#[derive(Debug)]
pub struct Registered {
    /// The user.
    pub user: user::User,
    /// Tokens of his first session, where one was asked for.
    pub tokens: Option<Tokens>,
}

/// Why no account was made.
#[derive(Debug)]
pub enum RegisterError {
    /// The email belongs to somebody.
    EmailTaken,
    /// The username belongs to somebody.
    UsernameTaken,
    /// What is wrong with the password.
    Invalid(FieldError),
    /// The password was not hashed.
    Hash(Refusal),
    /// No token could be signed.
    Mint(MintError),
    /// The database did not answer.
    Store(store::Error),
}

impl From<store::Error> for RegisterError {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<NotHashed> for RegisterError {
    fn from(error: NotHashed) -> Self {
        match error {
            NotHashed::Invalid(error) => Self::Invalid(error),
            NotHashed::Refused(refusal) => Self::Hash(refusal),
        }
    }
}

impl Candidate {
    /// Checks what somebody wrote: `members` are the request's, of which attributes are taken and others ignored.
    ///
    /// # Errors
    /// Everything that is wrong, a line each.
    pub fn parse(
        ctx: &OpContext<'_>,
        email: &str,
        username: Option<&str>,
        password: &Secret<String>,
        members: Map<String, Value>,
    ) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let email = Email::parse(email).map_err(|error| errors.push(error.into())).ok();
        let username =
            username.and_then(|name| Username::parse(name).map_err(|error| errors.push(error.into())).ok());
        let policy = Policy(&ctx.services.settings.passwords);
        let password = policy
            .accept("password", password.expose(), email.as_ref(), username.as_ref())
            .map_err(|error| errors.push(error))
            .ok();
        let profile = parse_profile(ctx, Profile::default(), members, &mut errors);
        match (email, password, profile) {
            (Some(email), Some(password), Some(profile)) if errors.is_empty() => {
                Ok(Self { email, username, password, profile })
            }
            _ => {
                refuse(ctx, Obstacle::Invalid);
                Err(errors)
            }
        }
    }
}

/// Says that no account was made.
fn refuse(ctx: &OpContext<'_>, reason: Obstacle) {
    ctx.audit.note(Event::RegistrationRefused { reason });
}

/// The hash of a new account's password.
pub(super) async fn hash_of(ctx: &mut OpContext<'_>, candidate: &Candidate) -> Result<String, NotHashed> {
    let password = candidate.password.clone();
    let hashed = hash_new(ctx, "password", Priority::Registration, None, password).await;
    if matches!(hashed, Err(NotHashed::Invalid(_))) {
        refuse(ctx, Obstacle::Invalid);
    }
    hashed
}

/// A profile with members put in, if that is one.
pub(super) fn parse_profile(
    ctx: &OpContext<'_>,
    profile: Profile,
    mut members: Map<String, Value>,
    errors: &mut Vec<FieldError>,
) -> Option<Profile> {
    let attributes = &ctx.services.settings.attributes;
    attributes.select(&mut members);
    let merged = profile.merge(members).map_err(|some| errors.extend(some)).ok()?;
    attributes.check(merged.extra()).map_err(|error| errors.push(error)).ok()?;
    Some(merged)
}

/// Makes an account, and with `log_in` its first session, in one transaction.
///
/// # Errors
/// [`RegisterError`]; nothing was changed then.
pub async fn register(
    ctx: &mut OpContext<'_>,
    candidate: Candidate,
    log_in: bool,
) -> Result<Registered, RegisterError> {
    let hash = hash_of(ctx, &candidate).await?;
    let new = new_user(ctx, &candidate, BASIC_USER);
    let hash = ctx.services.peppers.store(new.uuid, &hash);
    let pending = log_in.then(|| {
        let scope = ctx.services.settings.scopes.get(BASIC_USER).cloned().unwrap_or_default();
        PendingSession::new(ctx, scope)
    });
    let (row, first) = (new.clone(), pending.as_ref().map(|pending| pending.row.clone()));
    let intent =
        Intent { session: first.as_ref().map(|first| first.id), ..Intent::to(EventKind::UserRegistered) };
    let intent = intent.user(row.uuid);
    let inserted = ctx
        .lease
        .transact(intent, async move |tx| {
            let (user, session) = (row.uuid, first.as_ref().map(|first| first.id));
            // Each statement but the first finds the user by uuid, so all of them do nothing when he is taken.
            let account = (user::insert(&row), credential::insert(user, &hash, row.at));
            let ids = match &first {
                None => tx.commit_with(account).await?.0,
                Some(first) => {
                    tx.commit_with((account.0, account.1, session::open_registered(user, first))).await?.0
                }
            };
            let id = ids.into_iter().next().ok_or(Conflict::Taken)?;
            Ok((Event::UserRegistered { user, role: row.role.clone(), session }, id))
        })
        .await;
    let id = match inserted {
        Ok(id) => id,
        Err(Conflict::Store(error)) => return Err(error.into()),
        Err(Conflict::Taken) => return Err(whose(ctx, &candidate).await?),
    };
    let user = stored(id, &new);
    let tokens = pending.map(|pending| {
        let live = ActiveSession::registered(&pending, id, user.uuid, &user.role);
        mint(ctx, &live, &pending.token)
    });
    Ok(Registered { user, tokens: tokens.transpose().map_err(RegisterError::Mint)? })
}

/// Why nobody was inserted.
pub(super) enum Conflict {
    Taken,
    Store(store::Error),
}

impl From<store::Error> for Conflict {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

/// Whether the email or the username is in the way.
pub(super) async fn whose(
    ctx: &mut OpContext<'_>,
    candidate: &Candidate,
) -> Result<RegisterError, RegisterError> {
    let call = user::taken(&candidate.email, candidate.username.as_ref());
    let taken = ctx.lease.read().await?.one(call).await?;
    // Whoever was in the way a moment ago may have gone; the email is what most likely was.
    let (error, reason) = match taken {
        Some((false, true)) => (RegisterError::UsernameTaken, Obstacle::UsernameTaken),
        _ => (RegisterError::EmailTaken, Obstacle::EmailTaken),
    };
    refuse(ctx, reason);
    Ok(error)
}

pub(super) fn new_user(ctx: &OpContext<'_>, candidate: &Candidate, role: &str) -> user::NewUser {
    user::NewUser {
        uuid: UserUuid::generate(ctx.now, &ctx.services.rng),
        email: candidate.email.clone(),
        username: candidate.username.clone(),
        role: role.to_owned(),
        profile: serde_json::to_string(&candidate.profile).unwrap_or_else(|_| "{}".to_owned()),
        at: ctx.now,
    }
}

/// The row as it stands after the insert.
pub(super) fn stored(id: UserId, new: &user::NewUser) -> user::User {
    let at: Now = new.at;
    user::User {
        id,
        uuid: new.uuid,
        email: Some(new.email.address().to_owned()),
        username: new.username.as_ref().map(|username| username.name().to_owned()),
        role: new.role.clone(),
        state: user::State::Active,
        profile: new.profile.clone(),
        created_at: at,
        updated_at: at,
    }
}
