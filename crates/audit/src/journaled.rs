//! Reads from a journal what a database that was restored to an older state may lack.

use std::path::Path;

use journal::{Head, JournalId, Kind, ReadError, Reader};
use model::intent::IntentKind;
use model::{
    ClientId, EventKind, Intent, Journaled, JournaledClient, JournaledUser, KeyId, Now, SessionId, UserId,
};
use serde_json::Value;
use uuid::Uuid;

use crate::intent_log;
use crate::record::row::Members;
use crate::statement::latest_statement;
use crate::user_numbers::highest_user;

/// How long before its event a change may have written its time into a row, where the event does not tell.
const OPERATION: std::time::Duration = std::time::Duration::from_mins(1);

/// A journal that was read whole.
#[derive(Debug)]
pub struct ReadJournal {
    /// Its id.
    pub id: JournalId,
    /// The sequence of the record before the oldest one that it still has.
    pub before: u64,
    /// When that one was written; None for a journal without records.
    pub oldest: Option<Now>,
    /// What is wrong with it, if anything: records are missing after that.
    pub damage: Option<String>,
    /// The sequence of the last record.
    pub end: u64,
    /// Other journals that its latest checkpoint names, with the last record of each that is known.
    pub others: Vec<Head>,
    /// The changes.
    pub changes: Journaled,
}

/// Reads the changes of the database `realm` from the journal in `directory`, and from the intents beside it
/// that have no outcome. None when there is no journal. Blocks the thread.
///
/// # Errors
/// [`ReadError`], but not for damage.
pub fn read_journaled(
    directory: &Path,
    intents: Option<&Path>,
    realm: Uuid,
) -> Result<Option<ReadJournal>, ReadError> {
    let mut reader = Reader::open(directory);
    match reader.read_up_to(0) {
        Ok(_) => {}
        Err(ReadError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let Some(first) = reader.position() else { return Ok(None) };
    let mut found = ReadJournal {
        id: first.journal,
        before: first.sequence,
        oldest: None,
        end: first.sequence,
        others: Vec::new(),
        damage: None,
        changes: Journaled::default(),
    };

    // What is before the realm begins, or after another one has begun, belongs to another database.
    let mut is_ours = true;
    loop {
        let record = match reader.read() {
            Ok(Some(record)) => record,
            Ok(None) => break,
            Err(ReadError::Damaged(finding)) => {
                found.damage = Some(finding.to_string());
                match reader.skip()? {
                    Some(_) => continue,
                    None => break,
                }
            }
            Err(error) => return Err(error),
        };
        found.oldest = found.oldest.or(Some(Now::from_micros(record.time.0)));
        if record.kind != Kind::Data {
            continue;
        }
        let members = Members::of(record.payload);
        let written = Now::from_micros(record.time.0);
        let Some(kind) = members.kind() else { continue };
        if kind == EventKind::RealmOpened.as_str() {
            found.changes = Journaled::default();
            is_ours = uuid(&members, "realm") == Some(realm);
        } else if is_ours && let Some((_, rule)) = RULES.iter().find(|(known, _)| known.as_str() == kind) {
            rule(&mut found.changes, &Told::of(&members, written));
        }
    }

    found.end = reader.position().map_or(found.end, |last| last.sequence);
    found.others = latest_statement(directory).map_err(ReadError::Io)?.unwrap_or_default().journals;
    // Retention may have removed the records that name the highest number.
    found.changes.highest = found.changes.highest.max(highest_user(directory, realm)?);
    for intent in intents.map(|intents| unresolved(directory, intents)).transpose()?.unwrap_or_default() {
        note_intent(&mut found.changes, &intent.1, intent.0);
    }
    Ok(Some(found))
}

/// The intents that have neither an end nor an event, with the time of each.
fn unresolved(directory: &Path, intents: &Path) -> Result<Vec<(Now, Intent)>, ReadError> {
    let left = match intent_log::unfinished(intents) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        left => left.map_err(ReadError::Io)?,
    };
    let recorded = intent_log::recorded(directory, &left)?;
    let open = left.into_iter().filter(|intent| !recorded.contains(&intent.number));
    Ok(open.map(|intent| (intent.at, intent.intent)).collect())
}

/// An event that tells of a change.
struct Told<'a> {
    members: &'a Members,
    at: Now,
    session: Option<SessionId>,
}

impl<'a> Told<'a> {
    fn of(members: &'a Members, written: Now) -> Self {
        let at = time(members, "at").unwrap_or(written);
        Self { members, at, session: uuid(members, "session").map(SessionId) }
    }

    fn text(&self, member: &str) -> Option<&'a str> {
        self.members.get(member)?.as_str()
    }

    fn raise(&self, changes: &mut Journaled, member: &str) {
        let number = self.members.get(member).and_then(Value::as_i64).map(UserId);
        changes.highest = changes.highest.max(number);
    }

    /// Adds a change of the client that the event names.
    fn of_client(&self, changes: &mut Journaled, change: JournaledClient) {
        let client = self.text("client").and_then(ClientId::parse);
        let clients = client.map(|client| (client, change)).into_iter().collect();
        changes.add(Journaled { clients, ..Journaled::default() });
    }

    fn got_secret(&self, changes: &mut Journaled) {
        let secret = Some(self.changed_at());
        self.of_client(changes, JournaledClient { secret, ..JournaledClient::default() });
    }

    /// The time that the change has written into a row.
    fn changed_at(&self) -> Now {
        time(self.members, "changed_at").unwrap_or(self.at)
    }

    /// Adds a change of the user that the event names.
    fn of_user(&self, changes: &mut Journaled, change: impl FnOnce(&mut JournaledUser)) {
        if let Some(user) = self.members.user() {
            let mut one = JournaledUser::default();
            change(&mut one);
            changes.add(Journaled { users: [(user, one)].into(), ..Journaled::default() });
        }
    }
}

type Rule = fn(&mut Journaled, &Told<'_>);

/// What each kind of event tells; other kinds tell nothing.
const RULES: [(EventKind, Rule); 18] = [
    (EventKind::UserRegistered, |changes, told| told.raise(changes, "number")),
    (EventKind::UsersImported, |changes, told| told.raise(changes, "highest")),
    (EventKind::DatabaseOutdated, |changes, told| told.raise(changes, "highest")),
    (EventKind::DatabaseRecovered, |changes, told| {
        told.raise(changes, "highest");
        let epoch = told.members.get("epoch").and_then(Value::as_i64).unwrap_or(0);
        changes.epoch = changes.epoch.max(epoch);
        if told.members.get("without_journal") == Some(&Value::Bool(true)) {
            changes.ended_every_session = changes.ended_every_session.max(epoch);
        }
    }),
    (EventKind::SessionRevoked, |changes, told| changes.sessions.extend(told.session)),
    (EventKind::RefreshStolen, |changes, told| changes.sessions.extend(told.session)),
    (EventKind::SessionsRevoked, |changes, told| {
        told.of_user(changes, |user| user.ended = Some(told.at));
    }),
    (EventKind::PasswordChanged, |changes, told| {
        told.of_user(changes, |user| user.password = Some(told.changed_at()));
    }),
    (EventKind::UserActivated, |changes, told| {
        told.of_user(changes, |user| user.active = Some((told.at, true)));
    }),
    (EventKind::UserDeactivated, |changes, told| {
        told.of_user(changes, |user| deactivate(user, told.at));
    }),
    (EventKind::UserErased, |changes, told| told.of_user(changes, |user| user.erased = true)),
    (EventKind::RoleChanged, |changes, told| {
        let role = told.text("role").map(|role| (told.at, role.to_owned()));
        told.of_user(changes, |user| user.role = role);
    }),
    (EventKind::KeyRemoved, |changes, told| changes.keys.extend(told.text("key").map(key))),
    (EventKind::KeysReplaced, |changes, told| {
        let removed = told.members.get("removed").and_then(Value::as_array).into_iter().flatten();
        changes.keys.extend(removed.filter_map(Value::as_str).map(key));
    }),
    (EventKind::ClientAdded, |changes, told| told.got_secret(changes)),
    (EventKind::ClientRotated, |changes, told| told.got_secret(changes)),
    (EventKind::ClientRemoved, |changes, told| {
        told.of_client(changes, JournaledClient { removed: Some(told.at), ..JournaledClient::default() });
    }),
    (EventKind::OutcomeUnknown, |changes, told| {
        let (user, session) = (told.members.user(), told.session);
        let stamp = Some(told.at.minus(OPERATION));
        if let Some(kind) = told.text("intended").and_then(IntentKind::parse) {
            note_intent(changes, &Intent { kind, user, session, generation: None, stamp }, told.at);
        }
    }),
];

fn key(id: &str) -> KeyId {
    KeyId(id.to_owned())
}

fn deactivate(user: &mut JournaledUser, at: Now) {
    user.active = Some((at, false));
    user.ended = Some(at);
}

/// Notes a change that was begun at `at` and may have happened. An erasure is not taken for done, as it
/// cannot be undone; nor is an activation.
fn note_intent(changes: &mut Journaled, intent: &Intent, at: Now) {
    let mut one = JournaledUser::default();
    if [IntentKind::SessionRevoked, IntentKind::RefreshStolen].contains(&intent.kind) {
        changes.sessions.extend(intent.session);
    } else if intent.kind == IntentKind::SessionsRevoked {
        one.ended = Some(at);
    } else if intent.kind == IntentKind::PasswordChanged {
        one.password = Some(intent.stamp.unwrap_or(at));
    } else if intent.kind == IntentKind::UserDeactivated {
        deactivate(&mut one, at);
    }
    let users = intent.user.map(|user| (user, one)).into_iter().collect();
    changes.add(Journaled { users, ..Journaled::default() });
}

fn uuid(members: &Members, member: &str) -> Option<Uuid> {
    Uuid::try_parse(members.get(member)?.as_str()?).ok()
}

fn time(members: &Members, member: &str) -> Option<Now> {
    Now::parse(members.get(member)?.as_str()?)
}
