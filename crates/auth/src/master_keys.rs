//! The lines of the master key file: what hangs on each in the database, and whether one can be taken out.
//!
//! How each purpose of a master key moves on is declared in [`protocol::sealed::purpose`].

use std::fmt;

use model::{Now, event, intent};
use protocol::sealed::checkpoint::{CheckpointKey, Succession};
use protocol::sealed::keyring::{Keyring, LineState};
use store::queries::master_key::{self, MasterKey};
use store::queries::{pepper, signing_key};

use crate::OpContext;

/// What hangs on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The id of the master key.
    pub id: String,
    /// What the line does; `None` where the key file does not have it.
    pub state: Option<LineState>,
    /// When it was first used.
    pub first_seen: Now,
    /// When `keys reseal` moved away from it.
    pub resealed_at: Option<Now>,
    /// The public key of its checkpoints, in hexadecimal digits.
    pub checkpoint_key: String,
    /// What needs it.
    pub needs: Needs,
}

/// What needs a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Signing keys that it has sealed.
    pub signing_keys: u64,
    /// Peppers that it has sealed.
    pub peppers: u64,
    /// Detail keys of the audit trail that it has sealed.
    pub detail_keys: u64,
    /// Detail keys for which the database has not noted what sealed them.
    pub unknown_detail_keys: u64,
    /// Sessions whose refresh tokens it may have authenticated.
    pub sessions: u64,
    /// When the last of those sessions ends.
    pub sessions_until: Option<Now>,
    /// Whether no other line vouches for its checkpoints yet.
    pub is_unvouched: bool,
}

impl Needs {
    /// Whether it has to open something: then it cannot be retired.
    pub fn to_open(&self) -> bool {
        let sealed = [self.signing_keys, self.peppers, self.detail_keys, self.unknown_detail_keys];
        sealed.iter().any(|count| *count > 0) || self.is_unvouched
    }

    /// Whether it has to verify refresh tokens: then it cannot be taken out.
    pub fn to_verify(&self) -> bool {
        self.sessions > 0
    }
}

/// One phrase for each need, divided by semicolons.
impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |count: u64, one: &str, many: &str| {
            (count > 0).then(|| format!("{count} {}", if count == 1 { one } else { many }))
        };
        let until = self.sessions_until.map(|until| until.to_string());
        let day = until.as_deref().and_then(|until| until.get(..10)).unwrap_or("the end of its sessions");
        let phrases = [
            counted(self.signing_keys, "signing key", "signing keys"),
            counted(self.peppers, "pepper", "peppers"),
            counted(self.detail_keys, "audit detail key", "audit detail keys"),
            counted(
                self.unknown_detail_keys,
                "audit detail key of unknown seal",
                "audit detail keys of unknown seal",
            ),
            self.is_unvouched.then(|| "checkpoints of the audit trail".to_owned()),
            self.to_verify().then(|| format!("refresh tokens until {day}")),
        ];
        let phrases: Vec<_> = phrases.into_iter().flatten().collect();
        f.write_str(if phrases.is_empty() { "nothing" } else { "" })?;
        f.write_str(&phrases.join("; "))
    }
}

/// A line that is needed, and is not in the key file or is retired there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the master key {:?} {}, and is needed: {}. {}", .0.id, missing(.0.state), .0.needs, remedy(.0))]
pub struct LineNeeded(pub Box<Line>);

fn missing(state: Option<LineState>) -> &'static str {
    match state {
        Some(_) => "is `retired` in the key file",
        None => "is not in the key file",
    }
}

fn remedy(line: &Line) -> &'static str {
    if line.needs.to_open() {
        "Put its line back after the first one, without `retired`, start the server, and run `gatewright \
         keys reseal`; then it can be `retired`"
    } else {
        "Put its line back with the word `retired` behind the key"
    }
}

/// Why the lines cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeysError {
    /// A line is needed.
    #[error(transparent)]
    Needed(#[from] LineNeeded),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Notes the lines of the key file that the database does not know yet, and has the checkpoint key of the
/// first line vouch for those of the others, so that checkpoints stay verifiable without them.
///
/// # Errors
/// When the database did not answer.
pub async fn register(ctx: &mut OpContext<'_>) -> Result<(), store::Error> {
    let keyring = &ctx.services.keyring;
    let known = ctx.lease.read().await?.all(master_key::all()).await?;
    let open = keyring.lines().filter(|(_, state)| *state != LineState::Retired).map(|(id, _)| id);
    let keys: Vec<(String, CheckpointKey)> =
        open.map(str::to_owned).zip(CheckpointKey::all(keyring)).collect();
    let Some(((_, first), others)) = keys.split_first() else { return Ok(()) };

    for (id, key) in &keys {
        if known.iter().all(|line| line.id != *id) {
            add(ctx, id, key).await?;
        }
    }
    let is_back = |line: &&MasterKey| line.id == keyring.first_key_id() && line.resealed_at.is_some();
    if let Some(line) = known.iter().find(is_back) {
        ctx.lease.return_to_master_key(&line.id).await?;
    }
    for (id, key) in others {
        // A line that waited behind another first one was vouched for by that one.
        let stored = known.iter().find(|line| line.id == *id).and_then(|line| line.succession.as_deref());
        let is_by_first = stored.and_then(Succession::parse).is_some_and(|one| one.is_by(&first.public()));
        if !is_by_first {
            ctx.lease.vouch_for_master_key(id, Succession::sign(key, first).format()).await?;
        }
    }
    Ok(())
}

async fn add(ctx: &mut OpContext<'_>, id: &str, key: &CheckpointKey) -> Result<(), store::Error> {
    let (master_key, public, now) = (id.to_owned(), *key.public().bytes(), ctx.now);
    ctx.lease
        .transact(intent::MasterKeyAdded {}, async move |tx| {
            tx.commit_with((master_key::insert(&master_key, &public, now),)).await?;
            Ok::<_, store::Error>((event::MasterKeyAdded { master_key: master_key.clone() }, ()))
        })
        .await
}

/// The statements by which newer lines vouch for the checkpoint keys of older ones.
///
/// # Errors
/// When the database did not answer.
pub async fn successions(ctx: &mut OpContext<'_>) -> Result<Vec<Succession>, store::Error> {
    let lines = ctx.lease.read().await?.all(master_key::all()).await?;
    Ok(lines.iter().filter_map(|line| Succession::parse(line.succession.as_deref()?)).collect())
}

/// Every line that the database has seen, with what needs it.
///
/// # Errors
/// When the database did not answer.
pub async fn list(ctx: &mut OpContext<'_>) -> Result<Vec<Line>, store::Error> {
    let known = ctx.lease.read().await?.all(master_key::all()).await?;
    let mut lines = Vec::with_capacity(known.len());
    for line in known {
        lines.push(with_needs(ctx, line).await?);
    }
    Ok(lines)
}

/// Checks that no line is missing, or retired, that something needs.
///
/// # Errors
/// [`MasterKeysError::Needed`] names the line, what needs it, and until when.
pub async fn check(ctx: &mut OpContext<'_>) -> Result<(), MasterKeysError> {
    let known = ctx.lease.read().await?.all(master_key::all()).await?;
    for line in known {
        let state = ctx.services.keyring.state_of(&line.id);
        if matches!(state, Some(LineState::First | LineState::Opens)) {
            continue;
        }
        let line = with_needs(ctx, line).await?;
        let is_needed = line.needs.to_open() || (state.is_none() && line.needs.to_verify());
        if is_needed {
            return Err(LineNeeded(Box::new(line)).into());
        }
    }
    Ok(())
}

/// What needs a line that is not in the key file, `None` where the database has never seen it.
pub(crate) async fn needs_of(ctx: &mut OpContext<'_>, id: &str) -> Result<Option<Line>, store::Error> {
    let known = ctx.lease.read().await?.all(master_key::all()).await?;
    match known.into_iter().find(|line| line.id == id) {
        Some(line) => Ok(Some(with_needs(ctx, line).await?)),
        None => Ok(None),
    }
}

async fn with_needs(ctx: &mut OpContext<'_>, line: MasterKey) -> Result<Line, store::Error> {
    let state = ctx.services.keyring.state_of(&line.id);
    let is_first = state == Some(LineState::First);
    // A token is authenticated by the line that is the first; until it is resealed, every session may have
    // one.
    let until = line.resealed_at.unwrap_or(ctx.now);
    let calls = (
        signing_key::all(),
        pepper::all(),
        master_key::detail_keys(Some(&line.id)),
        master_key::detail_keys(None),
        master_key::sessions(until, ctx.now),
    );
    let (keys, peppers, detail_keys, unknown, sessions) = ctx.lease.read().await?.batch(calls).await?;

    let sealed_by = |sealed: &[u8]| Keyring::sealed_by(sealed).is_ok_and(|id| id == line.id);
    let count = |counted: Vec<i64>| counted.first().map_or(0, |count| count.unsigned_abs());
    let (sessions, sessions_until) = sessions.into_iter().next().unwrap_or_default();
    let needs = Needs {
        signing_keys: keys.iter().filter(|key| sealed_by(&key.sealed)).count() as u64,
        peppers: peppers.iter().filter(|pepper| sealed_by(&pepper.sealed)).count() as u64,
        detail_keys: count(detail_keys),
        unknown_detail_keys: count(unknown),
        sessions: sessions.unsigned_abs(),
        sessions_until,
        is_unvouched: line.succession.is_none() && !is_first,
    };
    let checkpoint_key = model::hex::encode(&line.checkpoint_key);
    let (first_seen, resealed_at) = (line.first_seen, line.resealed_at);
    Ok(Line { id: line.id, state, first_seen, resealed_at, checkpoint_key, needs })
}
