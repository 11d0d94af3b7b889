//! Imports accounts of another system or instance: validated like registrations, inserted in batches.
//!
//! A row that cannot be imported is refused with its reason, and the other rows are imported. Existing
//! accounts stay unchanged, so an interrupted import can simply be run again.

mod row;

use std::collections::{BTreeSet, HashMap};

use aws_lc_rs::digest;
use model::{UserId, event, intent};
use protocol::wire::password_hash::FirebaseProject;
use serde_json::{Map, Value};
use store::queries::transfer::{self, Identity, Match};
use store::queries::user::State;

use self::row::Ready;
use super::ADMIN;
use crate::OpContext;
use crate::password::PepperService;

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
    /// The account exists already, with the same password hash.
    Unchanged(UserId),
    /// The row was refused, for this reason.
    Refused(String),
}

/// Collects rows and imports them in batches.
pub struct Importer {
    firebase: Option<FirebaseProject>,
    dry_run: bool,
    pending: Vec<(u64, Result<Ready, String>)>,
    /// Digests of every id, public identifier, email and username so far, with the line of each.
    seen: HashMap<[u8; 16], u64>,
    ignored: BTreeSet<String>,
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
    /// An importer. With `firebase` it accepts hashes of that project. A dry run validates every row and
    /// writes nothing.
    pub fn new(firebase: Option<FirebaseProject>, dry_run: bool) -> Self {
        Self { firebase, dry_run, pending: Vec::new(), seen: HashMap::new(), ignored: BTreeSet::new() }
    }

    /// Adds the row of a line: an object, or the reason why the line has none. Returns whether the batch is
    /// full.
    pub fn add(&mut self, ctx: &OpContext<'_>, line: u64, row: Result<Map<String, Value>, String>) -> bool {
        let ready = row.and_then(|members| {
            let (ready, ignored) = row::read(ctx, members, self.firebase.as_ref())?;
            for name in ignored {
                if self.ignored.len() < IGNORED {
                    self.ignored.insert(name);
                }
            }
            self.claim(line, &ready)?;
            Ok(ready)
        });
        self.pending.push((line, ready));
        self.pending.len() >= IMPORT_BATCH
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

    /// Imports the rows added since the last call; returns line and verdict of each row, in order.
    ///
    /// # Errors
    /// When the database did not answer. Nothing of this batch was written then, unless the connection was
    /// lost during the commit; running the import again resolves that.
    pub async fn flush(&mut self, ctx: &mut OpContext<'_>) -> Result<Vec<(u64, Verdict)>, store::Error> {
        let pending = std::mem::take(&mut self.pending);
        let asked: Vec<usize> =
            (0..).zip(&pending).filter(|(_, (_, row))| row.is_ok()).map(|(at, _)| at).collect();
        let identities = pending.iter().filter_map(|(_, row)| row.as_ref().ok()).map(Ready::identity);
        let found = if asked.is_empty() {
            Vec::new()
        } else {
            ctx.lease.read().await?.all(transfer::matches(identities)).await?
        };

        let mut in_the_way: HashMap<usize, Vec<Match>> = HashMap::new();
        for found in found {
            let place = usize::try_from(found.place).ok().and_then(|place| asked.get(place));
            in_the_way.entry(place.copied().unwrap_or_default()).or_default().push(found);
        }

        let mut verdicts = Vec::with_capacity(pending.len());
        let mut fresh = Vec::new();
        for (at, (line, row)) in pending.into_iter().enumerate() {
            verdicts.push((
                line,
                match (row, in_the_way.get(&at)) {
                    (Err(reason), _) => Verdict::Refused(reason),
                    (Ok(ready), Some(found)) => judge(&ctx.services.peppers, &ready, found),
                    (Ok(ready), None) => {
                        let verdict = Verdict::Imported(ready.identity().id);
                        fresh.push((at, ready));
                        verdict
                    }
                },
            ));
        }

        if !self.dry_run && !fresh.is_empty() {
            let (places, rows): (Vec<usize>, Vec<Ready>) = fresh.into_iter().unzip();
            for (at, verdict) in places.into_iter().zip(insert(ctx, rows).await?) {
                if let Some(slot) = verdicts.get_mut(at) {
                    slot.1 = verdict;
                }
            }
        }

        Ok(verdicts)
    }
}

/// Inserts rows in one transaction; returns the verdict of each.
async fn insert(ctx: &mut OpContext<'_>, rows: Vec<Ready>) -> Result<Vec<Verdict>, store::Error> {
    let uuids: Vec<_> = rows.iter().map(|row| row.user.uuid).collect();
    let mut hashes = HashMap::new();
    let mut users = Vec::with_capacity(rows.len());
    for row in rows {
        let uuid = row.user.uuid;
        hashes.extend(row.hash.map(|hash| (uuid, ctx.services.peppers.store(uuid, &hash))));
        users.push(row.user);
    }

    let highest = users.iter().filter_map(|user| user.id).max().unwrap_or(UserId(0));
    let now = ctx.now;
    let inserted = ctx
        .lease
        .transact(intent::UsersImported {}, async move |tx| {
            let (_, inserted) = tx.batch((transfer::raise(highest), transfer::insert(&users))).await?;
            let passwords: Vec<_> =
                inserted.iter().filter_map(|(id, uuid)| Some((*id, hashes.get(uuid)?))).collect();
            if inserted.is_empty() {
                return Err(Untouched::Nobody);
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

    let taken = "another account has just taken its number, uuid, email or username";
    let verdict = |id: Option<&UserId>| match id {
        Some(id) => Verdict::Imported(Some(*id)),
        None => Verdict::Refused(taken.to_owned()),
    };

    Ok(uuids.iter().map(|uuid| verdict(ids.get(uuid))).collect())
}

/// The verdict on a row with an identifier that existing users have.
fn judge(peppers: &PepperService, ready: &Ready, found: &[Match]) -> Verdict {
    let wanted = ready.identity();
    let (email, username) = (wanted.email.map(model::Email::key), wanted.username.map(model::Username::key));
    if let [only] = found {
        let same_number = wanted.id.is_none_or(|id| id == only.id);
        let same_uuid = wanted.uuid.is_none_or(|uuid| uuid == only.uuid);
        let gone = (ready.user.state == State::Erased, only.state == State::Erased);
        if same_number && same_uuid && email == only.email_key.as_deref() && gone.0 == gone.1 {
            let same = match (&ready.hash, &only.hash) {
                (None, None) => true,
                (Some(hash), Some(stored)) => {
                    peppers.open(only.uuid, stored).is_ok_and(|found| found.to_string() == *hash)
                }
                _ => false,
            };
            return if same {
                Verdict::Unchanged(only.id)
            } else {
                Verdict::Refused(format!("user {} exists already, with another password hash", only.id))
            };
        }
    }

    let reasons: Vec<String> = found.iter().map(|found| taken(&wanted, email, username, found)).collect();
    Verdict::Refused(reasons.join("; "))
}

fn taken(wanted: &Identity<'_>, email: Option<&str>, username: Option<&str>, found: &Match) -> String {
    let same = [
        ("number", wanted.id == Some(found.id)),
        ("uuid", wanted.uuid == Some(found.uuid)),
        ("email", email.is_some() && email == found.email_key.as_deref()),
        ("username", username.is_some() && username == found.username_key.as_deref()),
    ];
    let words: Vec<&str> = same.into_iter().filter(|(_, same)| *same).map(|(word, _)| word).collect();
    format!("user {} has its {}", found.id, words.join(" and "))
}
