//! Registration: one hash without a database connection, then one write.

use model::event::Obstacle;
use model::profile::{FieldError, Profile};
use model::{Email, Event, Now, Secret, UserId, UserUuid, Username, event, intent};
use protocol::sealed::pepper::StoredText;
use serde_json::{Map, Value};
use store::queries::{credential, session, user};

use super::BASIC_USER;
use super::user_numbers::pass_taken_numbers;
use crate::password::{NotHashed, Policy, hash_new};
use crate::session::{ActiveSession, PendingSession, RequestClient};
use crate::token::{MintError, Tokens, mint};
use crate::{OpContext, Settings};
use hashing::{Priority, Refusal};

/// A validated registration request.
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
    /// Tokens of the first session, if requested.
    pub tokens: Option<Tokens>,
}

/// Why no account was created.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Another account has the email.
    #[error("the email is taken")]
    EmailTaken,
    /// Another account has the username.
    #[error("the username is taken")]
    UsernameTaken,
    /// The password is not acceptable.
    #[error(transparent)]
    Invalid(FieldError),
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

impl From<NotHashed> for RegisterError {
    fn from(error: NotHashed) -> Self {
        match error {
            NotHashed::Invalid(error) => Self::Invalid(error),
            NotHashed::Refused(refusal) => Self::Hash(refusal),
        }
    }
}

impl Candidate {
    /// Validates a request. Of its `members`, attributes are taken and others ignored.
    ///
    /// # Errors
    /// The validation errors.
    pub fn parse(
        ctx: &OpContext<'_>,
        email: &str,
        username: Option<&str>,
        password: &Secret<String>,
        members: Map<String, Value>,
    ) -> Result<Self, Vec<FieldError>> {
        let checked = Self::check(&ctx.services.settings, email, username, password, members);
        checked.inspect_err(|_| refuse(ctx, Obstacle::Invalid))
    }

    /// Validates the email and the username of a new account.
    ///
    /// # Errors
    /// The validation errors.
    pub fn names(
        settings: &Settings,
        email: &str,
        username: Option<&str>,
    ) -> Result<(Email, Option<Username>), Vec<FieldError>> {
        let mut errors = Vec::new();
        match parse_names(settings, email, username, &mut errors) {
            (Some(email), username) if errors.is_empty() => Ok((email, username)),
            _ => Err(errors),
        }
    }

    /// Validates a new account without a database. Of its `members`, attributes are taken and others ignored.
    ///
    /// # Errors
    /// The validation errors.
    pub fn check(
        settings: &Settings,
        email: &str,
        username: Option<&str>,
        password: &Secret<String>,
        members: Map<String, Value>,
    ) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let (email, username) = parse_names(settings, email, username, &mut errors);
        let policy = Policy(&settings.passwords);
        let password = policy
            .accept("password", password.expose(), email.as_ref(), username.as_ref())
            .map_err(|error| errors.push(error))
            .ok();

        let profile = parse_profile(settings, Profile::default(), members, &mut errors);
        match (email, password, profile) {
            (Some(email), Some(password), Some(profile)) if errors.is_empty() => {
                Ok(Self { email, username, password, profile })
            }
            _ => Err(errors),
        }
    }
}

/// The email and the username that are valid; the others are in `errors`.
fn parse_names(
    settings: &Settings,
    email: &str,
    username: Option<&str>,
    errors: &mut Vec<FieldError>,
) -> (Option<Email>, Option<Username>) {
    let email = Email::parse_new(email).map_err(|error| errors.push(error.into())).ok();
    let username = username
        .map(|name| Username::parse_new(name, &settings.reserved_usernames))
        .and_then(|parsed| parsed.map_err(|error| errors.push(error.into())).ok());
    (email, username)
}

/// Records that a registration was refused.
fn refuse(ctx: &OpContext<'_>, reason: Obstacle) {
    ctx.audit.note(Event::RegistrationRefused { reason });
}

/// Hashes the password of a new account.
pub(super) async fn hash_of(ctx: &mut OpContext<'_>, candidate: &Candidate) -> Result<String, NotHashed> {
    let password = candidate.password.clone();
    let hashed = hash_new(ctx, "password", Priority::Registration, None, password).await;
    if matches!(hashed, Err(NotHashed::Invalid(_))) {
        refuse(ctx, Obstacle::Invalid);
    }
    hashed
}

/// The profile with `members` applied, if it is valid.
pub(super) fn parse_profile(
    settings: &Settings,
    profile: Profile,
    mut members: Map<String, Value>,
    errors: &mut Vec<FieldError>,
) -> Option<Profile> {
    let attributes = &settings.attributes;
    attributes.select(&mut members);
    let merged = profile.merge(members).map_err(|some| errors.extend(some)).ok()?;
    attributes.check(merged.extra()).map_err(|error| errors.push(error)).ok()?;
    Some(merged)
}

/// Creates an account, and with `log_in` its first session, in one transaction.
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
    let client = RequestClient::of(ctx);
    let pending = log_in.then(|| {
        let scope = ctx.services.settings.scopes.get(BASIC_USER).cloned().unwrap_or_default();
        PendingSession::new(ctx, &client, scope)
    });

    let first = pending.as_ref().map(|pending| &pending.row);
    let (id, opened) = insert(ctx, &candidate, &new, &hash, first).await?;

    let user = stored(id, &new);
    let [network, _] = client.asking().networks;
    ctx.services.limits.unstored.succeeded(user.key(), network, ctx.now);
    let tokens = pending.zip(opened).map(|(pending, opened)| {
        let live = ActiveSession::opened(&pending, opened, &user, &ctx.services.settings);
        mint(ctx, &live, &pending.token)
    });

    Ok(Registered { user, tokens: tokens.transpose().map_err(RegisterError::Mint)? })
}

/// Inserts an account with the hash of its password, and its first session if there is one. A number that is
/// taken moves the sequence past every number, and the account is inserted once more.
///
/// # Errors
/// [`RegisterError`]; nothing was inserted then.
pub(super) async fn insert(
    ctx: &mut OpContext<'_>,
    candidate: &Candidate,
    new: &user::NewUser,
    hash: &StoredText,
    first: Option<&session::NewSession>,
) -> Result<(UserId, Option<session::OpenedSession>), RegisterError> {
    for is_first_try in [true, false] {
        match try_insert(ctx, new, hash, first).await {
            Ok(inserted) => return Ok(inserted),
            Err(Conflict::Store(error)) => return Err(error.into()),
            Err(Conflict::Taken) => {}
        }
        if let Some((error, reason)) = whose(ctx, candidate).await? {
            refuse(ctx, reason);
            return Err(error);
        }
        if is_first_try {
            pass_taken_numbers(ctx).await?;
        }
    }

    Err(store::Error::Conflict("a new account conflicts in neither email nor username".to_owned()).into())
}

async fn try_insert(
    ctx: &mut OpContext<'_>,
    new: &user::NewUser,
    hash: &StoredText,
    first: Option<&session::NewSession>,
) -> Result<(UserId, Option<session::OpenedSession>), Conflict> {
    let session = first.map(|first| first.id);
    let (new, hash, first) = (new.clone(), hash.clone(), first.cloned());
    ctx.lease
        .transact(intent::UserRegistered { user: new.uuid, session }, async move |tx| {
            // Each statement but the first selects the user by public identifier, so that none has an effect
            // when the first finds a conflict.
            let account = (user::insert(&new), credential::insert(new.uuid, &hash, new.at));
            let (ids, opened) = match &first {
                None => (tx.commit_with(account).await?.0, Vec::new()),
                Some(first) => {
                    let calls = (account.0, account.1, session::open_registered(new.uuid, first));
                    let (ids, _, opened) = tx.commit_with(calls).await?;
                    (ids, opened)
                }
            };

            let number = ids.into_iter().next().ok_or(Conflict::Taken)?;
            let (user, role) = (new.uuid, new.role.clone());
            let event = event::UserRegistered { user, number, role, session };
            Ok((event, (number, opened.first().copied())))
        })
        .await
}

/// Why no user was inserted.
#[derive(Debug, thiserror::Error)]
enum Conflict {
    #[error("the email, the username or the number is taken")]
    Taken,
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Determines whether the email or the username caused the conflict. With neither, the conflicting account
/// was erased meanwhile, or the database gives numbers that are taken.
async fn whose(
    ctx: &mut OpContext<'_>,
    candidate: &Candidate,
) -> Result<Option<(RegisterError, Obstacle)>, store::Error> {
    let call = user::taken(&candidate.email, candidate.username.as_ref());
    Ok(match ctx.lease.read().await?.one(call).await? {
        Some((true, _)) => Some((RegisterError::EmailTaken, Obstacle::EmailTaken)),
        Some((false, true)) => Some((RegisterError::UsernameTaken, Obstacle::UsernameTaken)),
        Some((false, false)) | None => None,
    })
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

/// The row as stored by the insert.
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
