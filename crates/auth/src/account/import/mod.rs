//! Imports accounts of another system or instance: validated like registrations, inserted in batches.
//!
//! A row that cannot be imported is refused with its reason, and the other rows are imported. Existing
//! accounts stay as they are unless an update is asked for, so an interrupted import can simply be run
//! again.

mod check;
mod hash;
mod members;
mod options;
mod row;
mod second_factors;
mod survey;
pub mod systems;
mod update;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_lc_rs::digest;
use model::{UserId, event, intent};
use protocol::sealed::realm_key::RealmKey;
use serde_json::{Map, Value};
use store::queries::transfer::{self, Match, OriginHash};
use store::queries::user::State;
use store::queries::{erased_email, second_factor};
use uuid::Uuid;

pub use self::check::{CheckError, check_import};
pub use self::members::{MEMBERS, Suspicion, folded, suspicion};
pub use self::options::ImportOptions;
pub use self::row::Label;
use self::row::Ready;
use self::second_factors::SecondFactor;
pub use self::survey::Survey;
use self::update::Judgement;
use super::ADMIN;
use crate::{OpContext, Services};

/// Rows that are looked up and inserted in one transaction.
pub const IMPORT_BATCH: usize = 500;
/// The largest number of ignored member names that are reported.
const IGNORED: usize = 50;

/// The result of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The account was created with this id. In a dry run it would be created; it has an id only if the row
    /// has one.
    Imported(Option<UserId>),
    /// The account exists, and got what it lacked, or the hash that the origin has now.
    Updated(UserId),
    /// The account exists already, and stays as it is.
    Unchanged(UserId),
    /// The row was refused, for this reason.
    Refused(String),
}

/// A row and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The line that it begins in.
    pub line: u64,
    /// What names it.
    pub label: Label,
    /// What became of it.
    pub verdict: Verdict,
    /// What was left out, or is worth a look.
    pub warnings: Vec<String>,
    /// What the account is; none for a refused row.
    pub account: Option<AccountOutline>,
}

/// What an imported account is, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountOutline {
    /// Whether the user may log in.
    pub state: State,
    /// The role.
    pub role: String,
    /// The kind of the password hash; none without a password.
    pub password: Option<&'static str>,
    /// Whether there is an email address.
    pub has_email: bool,
    /// Number of second factors that are kept.
    pub second_factors: usize,
}

/// Collects rows and imports them in batches.
pub struct Importer {
    options: ImportOptions,
    pending: Vec<Pending>,
    /// Digests of every id, public identifier, email and username so far, with the line of each.
    seen: HashMap<[u8; 16], u64>,
    ignored: BTreeSet<String>,
}

struct Pending {
    line: u64,
    label: Label,
    row: Result<Ready, String>,
}

/// Why a batch was not inserted.
#[derive(Debug, thiserror::Error)]
enum Untouched {
    #[error("no account was inserted")]
    Nobody,
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Importer {
    /// An importer.
    pub fn new(options: ImportOptions) -> Self {
        Self { options, pending: Vec::new(), seen: HashMap::new(), ignored: BTreeSet::new() }
    }

    /// Adds the row of a line: an object, or the reason why the line has none. Returns whether the batch is
    /// full.
    pub fn add(&mut self, ctx: &OpContext<'_>, line: u64, row: Result<Map<String, Value>, String>) -> bool {
        let label = row.as_ref().map(Label::of).unwrap_or_default();
        let ready = row.and_then(|members| {
            let mut ready = row::read(ctx, members, &self.options)?;
            for name in std::mem::take(&mut ready.ignored) {
                if self.ignored.len() < IGNORED {
                    self.ignored.insert(name);
                }
            }
            self.claim(line, &ready)?;
            Ok(ready)
        });
        self.pending.push(Pending { line, label, row: ready });
        self.pending.len() >= IMPORT_BATCH
    }

    /// How rows are imported.
    pub fn options(&self) -> &ImportOptions {
        &self.options
    }

    /// Names of members that were ignored.
    pub fn ignored(&self) -> impl Iterator<Item = &str> {
        self.ignored.iter().map(String::as_str)
    }

    /// Refuses a row that has an identifier of an earlier row of the file.
    fn claim(&mut self, line: u64, ready: &Ready) -> Result<(), String> {
        let identity = ready.identity();
        let texts = [
            ("number", identity.id.map(|id| id.to_string())),
            ("uuid", identity.uuid.map(|uuid| uuid.to_string())),
            ("email", identity.email.map(|email| email.key().to_owned())),
            ("username", identity.username.map(|name| name.key().to_owned())),
            ("external_id", identity.external_id.map(str::to_owned)),
        ];
        let mut keys = Vec::new();
        for (kind, text) in texts {
            let Some(text) = text else { continue };
            let digest = digest::digest(&digest::SHA256, format!("{kind} {text}").as_bytes());
            let key = *digest.as_ref().first_chunk().unwrap_or(&[0; 16]);
            if let Some(first) = self.seen.get(&key) {
                return Err(format!("it has the same {kind} as line {first}"));
            }
            keys.push(key);
        }
        self.seen.extend(keys.into_iter().map(|key| (key, line)));
        Ok(())
    }

    /// Imports the rows added since the last call; returns the outcome of each row, in order.
    ///
    /// # Errors
    /// When the database did not answer. Accounts that were inserted or updated before stay so; running the
    /// import again goes on with the others.
    pub async fn flush(&mut self, ctx: &mut OpContext<'_>) -> Result<Vec<Outcome>, store::Error> {
        let pending = std::mem::take(&mut self.pending);
        let found = matches(ctx, &pending).await?;
        let erased =
            if self.options.restore_erased { BTreeSet::new() } else { erased(ctx, &pending, &found).await? };

        let mut outcomes = Vec::with_capacity(pending.len());
        let (mut fresh, mut updates) = (Vec::new(), Vec::new());
        for (at, Pending { line, label, row }) in pending.into_iter().enumerate() {
            let mut outcome = Outcome {
                line,
                label,
                verdict: Verdict::Imported(None),
                warnings: Vec::new(),
                account: row.as_ref().ok().map(outline),
            };
            match (row, found.get(&at)) {
                (Err(reason), _) => outcome.verdict = Verdict::Refused(reason),
                (Ok(ready), Some(found)) => {
                    outcome.warnings.clone_from(&ready.warnings);
                    match update::judge(ctx, &ready, found, &self.options)? {
                        Judgement::Refused(reason) => outcome.verdict = Verdict::Refused(reason),
                        Judgement::Unchanged(id, why) => {
                            outcome.verdict = Verdict::Unchanged(id);
                            outcome.warnings.extend(why);
                        }
                        Judgement::Update(plan) => {
                            outcome.verdict = Verdict::Updated(plan.user.id);
                            updates.push((at, *plan));
                        }
                    }
                }
                (Ok(_), None) if erased.contains(&at) => {
                    outcome.verdict = Verdict::Refused(
                        "the account of this email was erased here; --restore-erased imports it all the same"
                            .to_owned(),
                    );
                }
                (Ok(ready), None) => {
                    outcome.warnings.clone_from(&ready.warnings);
                    outcome.verdict = Verdict::Imported(ready.identity().id);
                    fresh.push((at, ready));
                }
            }
            outcomes.push(outcome);
        }

        if self.options.dry_run {
            return Ok(settled(outcomes));
        }
        let mut set = |at: usize, verdict| {
            if let Some(slot) = outcomes.get_mut(at) {
                slot.verdict = verdict;
            }
        };
        if !fresh.is_empty() {
            let (places, rows): (Vec<usize>, Vec<Ready>) = fresh.into_iter().unzip();
            for (at, verdict) in places.into_iter().zip(insert(ctx, rows).await?) {
                set(at, verdict);
            }
        }
        for (at, plan) in updates {
            set(at, update::apply(ctx, plan).await?);
        }
        Ok(settled(outcomes))
    }
}

/// A refused row has no account.
fn settled(mut outcomes: Vec<Outcome>) -> Vec<Outcome> {
    for outcome in &mut outcomes {
        if matches!(outcome.verdict, Verdict::Refused(_)) {
            outcome.account = None;
        }
    }
    outcomes
}

fn outline(ready: &Ready) -> AccountOutline {
    AccountOutline {
        state: ready.user.state,
        role: ready.user.role.clone(),
        password: ready.hash.as_ref().map(protocol::wire::password_hash::StoredHash::kind),
        has_email: ready.user.email.is_some(),
        second_factors: ready.second_factors.len(),
    }
}

/// The existing users that have an identifier of a row, by the row's place.
async fn matches(
    ctx: &mut OpContext<'_>,
    pending: &[Pending],
) -> Result<HashMap<usize, Vec<Match>>, store::Error> {
    let rows = pending.iter().enumerate().filter_map(|(at, row)| Some((at, row.row.as_ref().ok()?)));
    let (places, identities): (Vec<usize>, Vec<_>) = rows.map(|(at, row)| (at, row.identity())).unzip();
    let mut all: HashMap<usize, Vec<Match>> = HashMap::new();
    if places.is_empty() {
        return Ok(all);
    }
    for found in ctx.lease.read().await?.all(transfer::matches(identities)).await? {
        let place = usize::try_from(found.place).ok().and_then(|place| places.get(place));
        all.entry(place.copied().unwrap_or_default()).or_default().push(found);
    }
    Ok(all)
}

/// The places of rows of people whose account was erased.
async fn erased(
    ctx: &mut OpContext<'_>,
    pending: &[Pending],
    found: &HashMap<usize, Vec<Match>>,
) -> Result<BTreeSet<usize>, store::Error> {
    let key = ctx.services.realm_key()?;
    let digest = |(at, row): (usize, &Pending)| {
        let email = row.row.as_ref().ok().filter(|_| !found.contains_key(&at))?.user.email.as_ref()?;
        Some(key.erased_email_digest(email.key()))
    };
    let digests: Vec<_> = pending.iter().enumerate().map(digest).collect();
    if digests.iter().all(Option::is_none) {
        return Ok(BTreeSet::new());
    }
    let places = ctx.lease.read().await?.all(erased_email::among(&digests)).await?;
    Ok(places.into_iter().filter_map(|place| usize::try_from(place).ok()).collect())
}

/// What belongs to rows that are inserted, by the uuid of each.
#[derive(Default)]
struct Belongings {
    hashes: BTreeMap<Uuid, OriginHash>,
    factors: BTreeMap<Uuid, Vec<second_factor::SecondFactor>>,
}

/// A hash as it is stored, with the digest of its origin's text.
fn origin_hash(services: &Services, key: &RealmKey, uuid: model::UserUuid, hash: &str) -> OriginHash {
    OriginHash { stored: services.peppers.store(uuid, hash), digest: key.origin_hash_digest(hash) }
}

/// Second factors as they are stored.
fn sealed(
    services: &Services,
    key: &RealmKey,
    (id, uuid): (UserId, model::UserUuid),
    factors: &[SecondFactor],
) -> Vec<second_factor::SecondFactor> {
    let seal = |factor: &SecondFactor| {
        let (name, kind) = (Uuid::from_bytes(services.rng.bytes()), factor.kind.as_str());
        let sealed = key.seal_second_factor(name, uuid, kind, &factor.data, &services.rng);
        second_factor::SecondFactor { id: name, user: id, kind: kind.to_owned(), sealed }
    };
    factors.iter().map(seal).collect()
}

/// Inserts rows in one transaction; returns the verdict of each.
async fn insert(ctx: &mut OpContext<'_>, rows: Vec<Ready>) -> Result<Vec<Verdict>, store::Error> {
    let services = ctx.services;
    let key = services.realm_key()?;
    let uuids: Vec<_> = rows.iter().map(|row| row.user.uuid).collect();
    let mut belongings = Belongings::default();
    let mut users = Vec::with_capacity(rows.len());
    for row in rows {
        let uuid = row.user.uuid;
        if let Some(hash) = row.hash {
            belongings.hashes.insert(uuid.0, origin_hash(services, key, uuid, &hash.to_string()));
        }
        if !row.second_factors.is_empty() {
            // The number is known when the user is inserted.
            let sealed = sealed(services, key, (UserId(0), uuid), &row.second_factors);
            belongings.factors.insert(uuid.0, sealed);
        }
        users.push(row.user);
    }

    let highest = users.iter().filter_map(|user| user.id).max().unwrap_or(UserId(0));
    let now = ctx.now;
    let inserted = ctx
        .lease
        .transact(intent::UsersImported {}, async move |tx| {
            let (_, inserted) = tx.batch((transfer::raise(highest), transfer::insert(&users))).await?;
            if inserted.is_empty() {
                return Err(Untouched::Nobody);
            }
            let hash = |(id, uuid): &(UserId, model::UserUuid)| Some((*id, belongings.hashes.get(&uuid.0)?));
            let passwords: Vec<_> = inserted.iter().filter_map(hash).collect();
            let numbered = |(id, uuid): &(UserId, model::UserUuid)| {
                let factors = belongings.factors.get(&uuid.0).into_iter().flatten();
                let user = *id;
                factors.map(move |factor| second_factor::SecondFactor { user, ..factor.clone() })
            };
            let factors: Vec<_> = inserted.iter().flat_map(numbered).collect();
            if !factors.is_empty() {
                tx.all(second_factor::insert(&factors, now)).await?;
            }
            tx.commit_with((transfer::insert_passwords(&passwords, now),)).await?;
            let ids: HashMap<_, _> = inserted.into_iter().map(|(id, uuid)| (uuid, id)).collect();
            let made = || users.iter().filter(|user| ids.contains_key(&user.uuid));
            let event = event::UsersImported {
                users: ids.len() as u64,
                highest: ids.values().copied().max().unwrap_or(UserId(0)),
                admins: made().filter(|user| user.role == ADMIN).count() as u64,
                tombstones: made().filter(|user| user.state == State::Erased).count() as u64,
            };
            Ok((event, ids))
        })
        .await;

    let ids = match inserted {
        Ok(ids) => ids,
        Err(Untouched::Nobody) => HashMap::new(),
        Err(Untouched::Store(error)) => return Err(error),
    };

    let taken = "another account has just taken its number, uuid, email, username or external_id";
    let verdict = |id: Option<&UserId>| match id {
        Some(id) => Verdict::Imported(Some(*id)),
        None => Verdict::Refused(taken.to_owned()),
    };

    Ok(uuids.iter().map(|uuid| verdict(ids.get(uuid))).collect())
}
