//! Rows of accounts that exist: what they add, and what is refused.

use model::{Email, Now, UserKey, Username, event, intent};
use serde_json::{Map, Value};
use store::queries::second_factor;
use store::queries::transfer::{self, Identity, Match, Missing, OriginHash};
use store::queries::user::{self, State};

use super::options::ImportOptions;
use super::row::Ready;
use super::second_factors::SecondFactor;
use super::{Verdict, origin_hash, sealed};
use crate::OpContext;
use crate::session::revoke_all;

/// What becomes of a row that has an identifier of an existing user.
pub(super) enum Judgement {
    /// The account stays as it is; with a word on what differs.
    Unchanged(model::UserId, Option<String>),
    /// The account is changed.
    Update(Box<Plan>),
    /// Why the row is refused.
    Refused(String),
}

/// What is changed of an account.
pub(super) struct Plan {
    pub(super) user: UserKey,
    /// The hash, and the version of the credential that it replaces.
    hash: Option<(OriginHash, i64)>,
    deactivates: bool,
    missing: Option<Missing>,
    second_factors: Vec<SecondFactor>,
}

/// The verdict on a row with an identifier that existing users have.
///
/// # Errors
/// When the realm was not opened before.
pub(super) fn judge(
    ctx: &OpContext<'_>,
    ready: &Ready,
    found: &[Match],
    options: &ImportOptions,
) -> Result<Judgement, store::Error> {
    let wanted = ready.identity();
    let (email, username) = (wanted.email.map(Email::key), wanted.username.map(Username::key));
    if let [only] = found
        && is_same(ready, &wanted, only)
    {
        return judge_same(ctx, ready, only, options);
    }
    let reasons: Vec<String> = found.iter().map(|found| taken(&wanted, email, username, found)).collect();
    Ok(Judgement::Refused(reasons.join("; ")))
}

/// Whether an account is the one that a row names.
fn is_same(ready: &Ready, wanted: &Identity<'_>, found: &Match) -> bool {
    let email = wanted.email.map(Email::key);
    let username = wanted.username.map(Username::key);
    // Without an email, the username is the name of the account.
    let same_name = if email.is_some() || found.email_key.is_some() {
        email == found.email_key.as_deref()
    } else {
        username == found.username_key.as_deref()
    };
    let same_origin = match (wanted.external_id, found.external_id.as_deref()) {
        (Some(wanted), Some(found)) => wanted == found,
        _ => true,
    };
    wanted.id.is_none_or(|id| id == found.id)
        && wanted.uuid.is_none_or(|uuid| uuid == found.uuid)
        && same_name
        && same_origin
        && (ready.user.state == State::Erased) == (found.state == State::Erased)
}

fn judge_same(
    ctx: &OpContext<'_>,
    ready: &Ready,
    found: &Match,
    options: &ImportOptions,
) -> Result<Judgement, store::Error> {
    let key = ctx.services.realm_key()?;
    let user = UserKey { id: found.id, uuid: found.uuid };
    let mut note = None;
    let mut hash = None;
    if let Some(wanted) = &ready.hash {
        let text = wanted.to_string();
        let offered = origin_hash(ctx.services, key, found.uuid, &text);
        let is_same_origin = found.origin.as_deref() == Some(offered.digest.as_slice());
        let is_untouched = found.origin_version == Some(found.version);
        let is_same_text = || {
            let opened = found.hash.as_ref().map(|stored| ctx.services.peppers.open(found.uuid, stored));
            opened.is_some_and(|opened| opened.is_ok_and(|opened| opened.to_string() == text))
        };
        match &found.hash {
            Some(_) if is_same_origin || is_same_text() => {}
            Some(_) if found.origin.is_some() && !is_untouched => {
                note = Some("its password was changed here since, and stays".to_owned());
            }
            Some(_) if found.origin.is_none() => {
                let why = format!("user {} exists already, with a password that was set here", found.id);
                return Ok(Judgement::Refused(why));
            }
            _ if options.update => hash = Some((offered, found.version)),
            Some(_) => {
                let why = format!(
                    "user {} exists already, and the file has another password hash now; --update takes it",
                    found.id
                );
                return Ok(Judgement::Refused(why));
            }
            None => {
                let why = format!("user {} exists already, without a password; --update sets it", found.id);
                return Ok(Judgement::Refused(why));
            }
        }
    }

    if !options.update || found.state == State::Erased {
        return Ok(Judgement::Unchanged(found.id, note));
    }
    let plan = Plan {
        user,
        hash,
        deactivates: ready.user.state == State::Inactive && found.state == State::Active,
        missing: missing(ready, found),
        second_factors: ready
            .second_factors
            .clone()
            .into_iter()
            .filter(|_| found.second_factors == 0)
            .collect(),
    };
    let changes =
        plan.hash.is_some() || plan.deactivates || plan.missing.is_some() || !plan.second_factors.is_empty();
    Ok(if changes { Judgement::Update(Box::new(plan)) } else { Judgement::Unchanged(found.id, note) })
}

/// What a row has and the account lacks; none if it lacks nothing.
fn missing(ready: &Ready, found: &Match) -> Option<Missing> {
    let old: Map<String, Value> = serde_json::from_str(&found.profile).unwrap_or_default();
    let mut all: Map<String, Value> = serde_json::from_str(&ready.user.profile).unwrap_or_default();
    all.extend(old.clone());
    let missing = Missing {
        username: ready.user.username.clone().filter(|_| found.username_key.is_none()),
        external_id: ready.user.external_id.clone().filter(|_| found.external_id.is_none()),
        email_verified_at: ready.user.email_verified_at.filter(|_| found.email_verified_at.is_none()),
        profile: Value::Object(all.clone()).to_string(),
        old_profile: found.profile.clone(),
    };
    let lacks = missing.username.is_some()
        || missing.external_id.is_some()
        || missing.email_verified_at.is_some()
        || all.len() > old.len();
    lacks.then_some(missing)
}

/// Why an account was not changed.
#[derive(Debug, thiserror::Error)]
enum NotApplied {
    #[error("the account has changed meanwhile")]
    Moved,
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Changes an account, in a transaction for each kind of change.
///
/// # Errors
/// When the database did not answer.
pub(super) async fn apply(ctx: &mut OpContext<'_>, plan: Plan) -> Result<Verdict, store::Error> {
    let id = plan.user.id;
    match try_apply(ctx, plan).await {
        Ok(()) => Ok(Verdict::Updated(id)),
        Err(NotApplied::Moved) => Ok(Verdict::Refused(format!(
            "user {id} was changed by another command or the user at the same time; run the import again"
        ))),
        Err(NotApplied::Store(error)) => Err(error),
    }
}

async fn try_apply(ctx: &mut OpContext<'_>, plan: Plan) -> Result<(), NotApplied> {
    let (user, now) = (plan.user, ctx.now);
    if let Some((hash, expected)) = plan.hash {
        let ending = ctx.ending();
        let ended = ctx
            .lease
            .transact(intent::PasswordChanged { user: user.uuid, stamp: now }, async move |tx| {
                tx.one(transfer::take_password(user, expected, &hash, now))
                    .await?
                    .ok_or(NotApplied::Moved)?;
                let ended = revoke_all(tx, user, None, ending).await?;
                let sessions = ended.len() as u64;
                let event = event::PasswordChanged { user: user.uuid, sessions, changed_at: now };
                Ok::<_, NotApplied>((event, ended))
            })
            .await?;
        ctx.services.revocations.add(&ended, &ctx.services.clock, now);
    }

    if plan.deactivates {
        let ending = ctx.ending();
        let ended = ctx
            .lease
            .transact(intent::UserDeactivated { user: user.uuid, stamp: now }, async move |tx| {
                tx.one(user::set_state(user, State::Inactive, now)).await?.ok_or(NotApplied::Moved)?;
                let ended = revoke_all(tx, user, None, ending).await?;
                let event = event::UserDeactivated { user: user.uuid, sessions: ended.len() as u64 };
                Ok::<_, NotApplied>((event, ended))
            })
            .await?;
        ctx.services.revocations.add(&ended, &ctx.services.clock, now);
    }
    fill_in(ctx, user, plan.missing, &plan.second_factors, now).await
}

/// Sets what an account lacks.
async fn fill_in(
    ctx: &mut OpContext<'_>,
    user: UserKey,
    missing: Option<Missing>,
    factors: &[SecondFactor],
    now: Now,
) -> Result<(), NotApplied> {
    if missing.is_none() && factors.is_empty() {
        return Ok(());
    }
    let factors = sealed(ctx.services, ctx.services.realm_key()?, (user.id, user.uuid), factors);

    ctx.lease
        .transact(intent::ProfileChanged { user: user.uuid, stamp: now }, async move |tx| {
            match &missing {
                Some(missing) => tx.one(transfer::fill_in(user, missing, now)).await?,
                None => tx.one(user::touch(user, now)).await?,
            }
            .ok_or(NotApplied::Moved)?;
            if !factors.is_empty() {
                tx.all(second_factor::insert(&factors, now)).await?;
            }
            Ok::<_, NotApplied>((event::ProfileChanged { user: user.uuid }, ()))
        })
        .await
}

fn taken(wanted: &Identity<'_>, email: Option<&str>, username: Option<&str>, found: &Match) -> String {
    let same = [
        ("number", wanted.id == Some(found.id)),
        ("uuid", wanted.uuid == Some(found.uuid)),
        ("email", email.is_some() && email == found.email_key.as_deref()),
        ("username", username.is_some() && username == found.username_key.as_deref()),
        ("external_id", wanted.external_id.is_some() && wanted.external_id == found.external_id.as_deref()),
    ];
    let words: Vec<&str> = same.into_iter().filter(|(_, same)| *same).map(|(word, _)| word).collect();
    format!("user {} has its {}", found.id, words.join(" and "))
}
