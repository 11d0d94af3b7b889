//! `gatewright recover`

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use audit::ReadJournal;
use auth::recover::{Plan, plan, recover};
use clap::Args;
use model::{Journaled, Now, hex};
use serde_json::{Value, json};
use store::audit_db;
use uuid::Uuid;

use super::command_context::{CommandContext, configure};
use super::looking::Looking;
use super::{Failure, Global, Output};
use crate::app::audit_setup::{JournalOwner, audit_dir};
use crate::app::bootstrap::IfMissing;
use crate::app::file_owner::as_operator;

/// How far the clock may be behind the newest time in the database and the journals.
const CLOCKS_DIFFER: Duration = Duration::from_mins(1);

/// Brings a database that was restored to an older state to what the journals say happened later
///
/// Run it after a database was restored from a backup, or failed over to a replica that was behind, before
/// any server starts. It reads the journals of every node and applies each later end of a session,
/// deactivation, activation, erasure and change of a role; where a password was changed later, the old one
/// does not work and `gatewright user set-password` sets a new one. Signing keys and clients that were
/// removed go again. User numbers that a journal names are given to no other user. Access tokens of before
/// are refused. For 24 hours each session accepts one refresh token that is newer than the database.
///
/// It can be run again: what is in force already is not changed.
#[derive(Args, Debug)]
pub(super) struct Recover {
    /// The data directory of another node, or a copy of its `audit` directory; may be repeated
    ///
    /// The journals of this data directory (setting `data_dir`) are read anyway.
    #[arg(long, value_name = "DIR")]
    journal: Vec<PathBuf>,
    /// Goes on without the journals of this node, or without the journal of this id, and ends every
    /// session; may be repeated
    #[arg(long, value_name = "NODE")]
    without_journal: Vec<String>,
    /// Goes on although the clock is doubted: check it first
    ///
    /// The new epoch, and the 24 hours for newer refresh tokens, begin at the time of this clock.
    #[arg(long)]
    clock_is_right: bool,
    /// Only shows what would be changed
    #[arg(long)]
    plan: bool,
}

impl Recover {
    pub(super) async fn run(self, global: &Global, out: &mut Output) -> Result<(), Failure> {
        let config = configure(global)?;
        let places = as_operator(|| self.places(&config.data_dir))?;
        let _locks = as_operator(|| stop_servers(&places))?;
        let known = known_journals(&config).await?;
        let command = CommandContext::open(global, config, IfMissing::Fail).await?;
        if !self.plan {
            command.ensure_auditable().await?;
        }

        let mut lease = command.lease();
        let ctx = &mut command.op_context(&mut lease);
        let realm =
            auth::realm::find(ctx).await?.ok_or_else(|| Failure::failed("the database has no realm"))?;
        // The database has all that happened until then.
        let state = auth::clock_watch::heads(ctx).await?.clock;
        ctx.lease.park();
        let read = audit::blocking(move || as_operator(|| read_all(&places, realm.uuid))).await??;
        let newest = read.iter().filter_map(|one| one.last).max().max(state);
        let is_behind = newest.is_some_and(|newest| ctx.now.plus(CLOCKS_DIFFER) < newest);
        if !self.clock_is_right && (is_behind || !ctx.services.clock_watch.is_believed()) {
            return Err(Failure::failed(doubted(ctx.now, newest)));
        }

        let missing = missing(&known, &read, state);
        let (excluded, lacking): (Vec<_>, Vec<_>) =
            missing.into_iter().partition(|one| self.without_journal.iter().any(|named| one.is(named)));
        if !lacking.is_empty() {
            return Err(Failure::failed(refusal(&lacking)));
        }
        let without = !self.without_journal.is_empty();
        let plan = plan(ctx, &changes(read)).await?;
        let done = if self.plan { None } else { Some(recover(ctx, &plan, without).await?) };
        tell(out, &plan, done.as_ref().map(|done| done.epoch), &excluded, without)
    }

    /// The audit directories: those of this data directory, and those that are named.
    fn places(&self, data_dir: &Path) -> Result<Vec<PathBuf>, Failure> {
        let mut places = BTreeSet::new();
        places.extend([JournalOwner::Server, JournalOwner::Command].map(|owner| audit_dir(data_dir, owner)));
        for named in &self.journal {
            // A machine with commands only has no journal of a server.
            let has_journal = |audit: &Path| {
                [audit.join("journal"), audit.join("cli/journal")].iter().any(|place| place.is_dir())
            };
            let is_of_commands = named.file_name().is_some_and(|name| name == "cli");
            let above = named.parent().filter(|_| is_of_commands).map(Path::to_owned);
            let mut audits = [Some(named.join("audit")), Some(named.clone()), above].into_iter().flatten();
            let audit = audits.find(|audit| has_journal(audit));
            let Some(audit) = audit else {
                let text =
                    format!("{} is neither a data directory nor its `audit` directory", named.display());
                return Err(Failure::usage(text));
            };
            places.extend([audit.join("cli"), audit]);
        }
        Ok(places.into_iter().collect())
    }
}

/// Takes the locks of the servers' journals: no server runs with these directories until they are dropped.
fn stop_servers(places: &[PathBuf]) -> Result<Vec<File>, Failure> {
    let mut locks = Vec::new();
    for place in places.iter().filter(|place| place.file_name().is_none_or(|name| name != "cli")) {
        match File::open(place.join("journal/journal.lock")) {
            Ok(lock) if lock.try_lock().is_ok() => locks.push(lock),
            Ok(_) => {
                let text = format!("a server runs with {}: stop it first", place.display());
                return Err(Failure::failed(text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(locks)
}

/// The journals that the database knows.
async fn known_journals(config: &crate::config::Config) -> Result<Vec<audit_db::Journal>, Failure> {
    let trail = Looking::begin(config).await?;
    Ok(trail.audit.journals().await?)
}

/// Reads the journals of every place, also those that were set aside.
fn read_all(places: &[PathBuf], realm: Uuid) -> Result<Vec<ReadJournal>, Failure> {
    let mut all = Vec::new();
    for place in places {
        let entries = match fs::read_dir(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let Some(rest) = name.strip_prefix("journal") else { continue };
            let intents = place.join(format!("intents{rest}"));
            let intents = intents.is_dir().then_some(intents);
            let directory = place.join(&name);
            let read = audit::read_journaled(&directory, intents.as_deref(), realm);
            all.extend(read.map_err(|why| {
                Failure::failed(format!("the journal in {} cannot be read: {why}", directory.display()))
            })?);
        }
    }
    Ok(all)
}

/// The changes of each journal; of several copies of one, those of the one that goes on furthest.
fn changes(read: Vec<ReadJournal>) -> Vec<Journaled> {
    let mut furthest = BTreeMap::<_, ReadJournal>::new();
    for one in read {
        match furthest.entry(one.id.0) {
            Entry::Occupied(mut known) if known.get().end < one.end => {
                known.insert(one);
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(place) => {
                place.insert(one);
            }
        }
    }
    furthest.into_values().map(|one| one.changes).collect()
}

/// A journal that cannot say all that the database may lack.
struct Missing {
    id: String,
    node: Option<String>,
    why: String,
}

impl Missing {
    fn is(&self, named: &str) -> bool {
        self.id == named || self.node.as_deref() == Some(named)
    }
}

/// The journals that are not given, are damaged, end too early, or do not reach back to `state`, the time of
/// the database's state.
fn missing(known: &[audit_db::Journal], read: &[ReadJournal], state: Option<Now>) -> Vec<Missing> {
    let mut missing = Vec::new();
    for one in known.iter().filter(|one| read.iter().all(|read| read.id.0 != one.id)) {
        let why = "it was not given".to_owned();
        missing.push(Missing { id: hex::encode(&one.id), node: Some(one.node.clone()), why });
    }

    let heads: Vec<_> = read.iter().flat_map(|one| &one.others).collect();
    let named: BTreeSet<_> = heads.iter().map(|head| head.journal.0).collect();
    for id in named {
        let is_here = known.iter().any(|one| one.id == id) || read.iter().any(|read| read.id.0 == id);
        if !is_here {
            let why = "it was not given, and the checkpoint of another journal names it".to_owned();
            missing.push(Missing { id: hex::encode(&id), node: None, why });
        }
    }

    for one in read {
        let known = known.iter().find(|known| known.id == one.id.0);
        let reaches_back =
            one.before == 0 || one.oldest.zip(state).is_some_and(|(oldest, state)| oldest <= state);
        let removed = (!reaches_back)
            .then(|| format!("its records up to {} were removed, also those after the backup", one.before));
        let shipped = known.map_or(0, |known| u64::try_from(known.shipped.sequence).unwrap_or(0));
        let stated = heads.iter().filter(|head| head.journal == one.id).map(|head| head.sequence).max();
        // Another copy may be whole.
        let end = read.iter().filter(|other| other.id == one.id).map(|other| other.end).max();
        let is_short = end.is_some_and(|end| end < shipped.max(stated.unwrap_or(0)));
        let short = is_short.then(|| {
            format!("it ends with record {}, and later ones have existed: this is an older copy", one.end)
        });
        let damage = one.damage.as_ref().map(|damage| format!("it is damaged: {damage}"));
        let why = damage.or(short).or(removed);
        let (id, node) = (hex::encode(&one.id.0), known.map(|known| known.node.clone()));
        missing.extend(why.map(|why| Missing { id, node, why }));
    }
    missing
}

fn doubted(now: Now, newest: Option<Now>) -> String {
    let newest = newest.map_or_else(String::new, |newest| {
        format!("; the newest time in the database and the journals is {newest}")
    });
    format!(
        "nothing was changed, because the clock of this machine is doubted: it shows {now}{newest}. Set the \
         clock, or give --clock-is-right"
    )
}

fn refusal(lacking: &[Missing]) -> String {
    let mut text = String::from("nothing was changed, because what happened later is not known whole:\n");
    for one in lacking {
        let node = one.node.as_deref().unwrap_or("a node that the database does not know");
        let _ = writeln!(text, "  journal {} of {node}: {}", one.id, one.why);
    }
    text.push_str(
        "give the data directory of the node with --journal DIR, or end every session with \
         --without-journal NODE",
    );
    text
}

fn tell(
    out: &mut Output,
    plan: &Plan,
    epoch: Option<i64>,
    excluded: &[Missing],
    without: bool,
) -> Result<(), Failure> {
    let activated =
        plan.states.iter().filter(|(_, state)| *state == store::queries::user::State::Active).count();
    let value = json!({
        "plan": epoch.is_none(),
        "epoch": epoch,
        "sessions": plan.sessions.len(),
        "every_session": without || plan.every_session,
        "passwords": uuids(plan.passwords.iter()),
        "activated": activated,
        "deactivated": plan.states.len() - activated,
        "roles": plan.roles.len(),
        "erased": plan.erased.len(),
        "keys": plan.keys,
        "clients": plan.clients,
        "clients_to_rotate": plan.rotated,
        "client_rights": plan.rights.iter().map(|(id, _)| id).collect::<Vec<_>>(),
        "lost_users": plan.lost_users,
        "other_realms": plan.other_realms,
        "highest": plan.highest,
        "without_journals": excluded.iter().map(|one| one.id.clone()).collect::<Vec<_>>(),
    });

    out.fields(
        &[
            "epoch",
            "sessions",
            "every_session",
            "passwords",
            "activated",
            "deactivated",
            "roles",
            "erased",
            "keys",
            "clients",
            "clients_to_rotate",
            "client_rights",
            "lost_users",
            "other_realms",
            "highest",
            "without_journals",
        ],
        &value,
    )?;

    out.line(match epoch {
        None => "nothing was changed: this is the plan",
        Some(_) => "the database was recovered; access tokens of before are refused",
    })?;
    Ok(())
}

fn uuids<'a>(users: impl Iterator<Item = &'a model::UserKey>) -> Vec<Value> {
    users.map(|user| json!(user.uuid)).collect()
}
