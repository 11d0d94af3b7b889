//! Reads from a journal what a database that was restored to an older state may lack.

use std::path::Path;

use journal::{Head, JournalId, Kind, ReadError, Reader};
use model::intent::IntentKind;
use model::{
    ClientId, ClientRight, EventKind, Intent, Journaled, JournaledClient, JournaledUser, KeyId, Now, Place,
    SessionId, UserId,
};
use serde_json::Value;
use uuid::Uuid;

use crate::intent_log;
use crate::record::row::Members;
use crate::statement::latest_statement;

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
    /// When the last one was written.
    pub last: Option<Now>,
    /// What is wrong with it, if anything: records are missing after that.
    pub damage: Option<String>,
    /// The sequence of the last record.
    pub end: u64,
    /// Other journals that its latest checkpoint names, with the last record of each that is known.
    pub others: Vec<Head>,
    /// The changes.
    pub changes: Journaled,
}

/// Reads the changes from the journal in `directory`, and from the intents beside it that have no outcome.
/// None when there is no journal. Blocks the thread.
///
/// A journal may have records of several realms: a server was started once with another database. Users,
/// sessions and keys have ids of one realm, so that all of them are read; `realm` is the one that is asked
/// for.
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
        last: None,
        end: first.sequence,
        others: Vec::new(),
        damage: None,
        changes: Journaled::default(),
    };

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
        let written = Place { sequence: record.sequence, at: Now::from_micros(record.time.0) };
        found.oldest = found.oldest.or(Some(written.at));
        found.last = Some(written.at);
        found.changes.set_back.note(written);
        if record.kind != Kind::Data {
            continue;
        }
        let members = Members::of(record.payload);
        let Some(kind) = members.kind() else { continue };
        if let Some((_, rule)) = RULES.iter().find(|(known, _)| known.as_str() == kind) {
            rule(&mut found.changes, &Told::of(&members, written, realm));
        }
    }

    found.end = reader.position().map_or(found.end, |last| last.sequence);
    let stated = latest_statement(directory).map_err(ReadError::Io)?.unwrap_or_default();
    found.others = stated.journals;
    // Retention may have removed the records that name the highest number.
    found.changes.highest = found.changes.highest.max(stated.max_user_id.map(UserId));
    for (at, intent) in intents.map(|intents| unresolved(directory, intents)).transpose()?.unwrap_or_default()
    {
        note_intent(&mut found.changes, &intent, Place { sequence: u64::MAX, at });
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
    place: Place,
    session: Option<SessionId>,
    /// The realm that is asked for.
    realm: Uuid,
}

impl<'a> Told<'a> {
    fn of(members: &'a Members, written: Place, realm: Uuid) -> Self {
        let place = Place { at: time(members, "at").unwrap_or(written.at), ..written };
        Self { members, place, session: uuid(members, "session").map(SessionId), realm }
    }

    fn text(&self, member: &str) -> Option<&'a str> {
        self.members.get(member)?.as_str()
    }

    fn raise(&self, changes: &mut Journaled, member: &str) {
        let number = self.members.get(member).and_then(Value::as_i64).map(UserId);
        changes.highest = changes.highest.max(number);
    }

    fn began(&self, changes: &mut Journaled) {
        changes.begun.extend(self.session.map(|session| (session, self.place)));
    }

    /// Adds a change of the client that the event names.
    fn of_client(&self, changes: &mut Journaled, change: impl FnOnce(&mut JournaledClient)) {
        if let Some(client) = self.text("client").and_then(ClientId::parse) {
            change(changes.clients.entry(client).or_default());
        }
    }

    fn got_secret(&self, changes: &mut Journaled) {
        self.of_client(changes, |client| client.secrets.push(self.changed_at()));
    }

    /// Adds the rights of the client. A name that this version does not know is left out.
    fn got_rights(&self, changes: &mut Journaled) {
        let names = self.members.get("rights").and_then(Value::as_array).into_iter().flatten();
        let rights = names.filter_map(|name| ClientRight::parse(name.as_str()?)).collect();
        self.of_client(changes, |client| client.rights.push((self.changed_at(), rights)));
    }

    /// The time that the change has written into a row.
    fn changed_at(&self) -> Now {
        time(self.members, "changed_at").unwrap_or(self.place.at)
    }

    /// Adds a change of the user that the event names.
    fn of_user(&self, changes: &mut Journaled, change: impl FnOnce(&mut JournaledUser)) {
        if let Some(user) = self.members.user() {
            change(changes.user(user));
        }
    }
}

type Rule = fn(&mut Journaled, &Told<'_>);

/// What each kind of event tells; other kinds tell nothing.
const RULES: [(EventKind, Rule); 21] = [
    (EventKind::RealmOpened, |changes, told| {
        changes.other_realms.extend(uuid(told.members, "realm").filter(|realm| *realm != told.realm));
    }),
    (EventKind::UserRegistered, |changes, told| {
        told.raise(changes, "number");
        told.began(changes);
    }),
    (EventKind::LoginSucceeded, |changes, told| told.began(changes)),
    (EventKind::UsersImported, |changes, told| told.raise(changes, "highest")),
    (EventKind::DatabaseOutdated, |changes, told| told.raise(changes, "highest")),
    (EventKind::DatabaseRecovered, |changes, told| {
        told.raise(changes, "highest");
        let epoch = told.members.get("epoch").and_then(Value::as_i64).unwrap_or(0);
        changes.epoch = changes.epoch.max(epoch);
        let is_ours = uuid(told.members, "realm") == Some(told.realm);
        if is_ours && told.members.get("without_journal") == Some(&Value::Bool(true)) {
            changes.ended_every_session = changes.ended_every_session.max(epoch);
        }
    }),
    (EventKind::SessionRevoked, |changes, told| changes.sessions.extend(told.session)),
    (EventKind::RefreshStolen, |changes, told| changes.sessions.extend(told.session)),
    (EventKind::SessionsRevoked, |changes, told| {
        told.of_user(changes, |user| user.ended = Some(told.place));
    }),
    (EventKind::PasswordChanged, |changes, told| {
        let changed = Place { at: told.changed_at(), ..told.place };
        told.of_user(changes, |user| user.passwords.push(changed));
    }),
    (EventKind::UserActivated, |changes, told| {
        told.of_user(changes, |user| user.active = Some((told.place, true)));
    }),
    (EventKind::UserDeactivated, |changes, told| {
        told.of_user(changes, |user| deactivate(user, told.place));
    }),
    (EventKind::UserErased, |changes, told| told.of_user(changes, |user| user.erased = true)),
    (EventKind::RoleChanged, |changes, told| {
        let role = told.text("role").map(|role| (told.place, role.to_owned()));
        told.of_user(changes, |user| user.role = role);
    }),
    (EventKind::KeyRemoved, |changes, told| changes.keys.extend(told.text("key").map(key))),
    (EventKind::KeysReplaced, |changes, told| {
        let removed = told.members.get("removed").and_then(Value::as_array).into_iter().flatten();
        changes.keys.extend(removed.filter_map(Value::as_str).map(key));
    }),
    (EventKind::ClientAdded, |changes, told| {
        told.got_secret(changes);
        told.got_rights(changes);
    }),
    (EventKind::ClientRightsChanged, |changes, told| told.got_rights(changes)),
    (EventKind::ClientRotated, |changes, told| told.got_secret(changes)),
    (EventKind::ClientRemoved, |changes, told| {
        told.of_client(changes, |client| client.removed.extend(time(told.members, "added_at")));
    }),
    (EventKind::OutcomeUnknown, |changes, told| {
        let (user, session) = (told.members.user(), told.session);
        let stamp = Some(told.place.at.minus(OPERATION));
        if let Some(kind) = told.text("intended").and_then(IntentKind::parse) {
            note_intent(changes, &Intent { kind, user, session, generation: None, stamp }, told.place);
        }
    }),
];

fn key(id: &str) -> KeyId {
    KeyId(id.to_owned())
}

fn deactivate(user: &mut JournaledUser, place: Place) {
    user.active = Some((place, false));
    user.ended = Some(place);
}

/// Notes a change that was begun then and may have happened. An erasure is not taken for done, as it cannot
/// be undone; nor is an activation.
fn note_intent(changes: &mut Journaled, intent: &Intent, place: Place) {
    if [IntentKind::SessionRevoked, IntentKind::RefreshStolen].contains(&intent.kind) {
        changes.sessions.extend(intent.session);
    }
    let Some(user) = intent.user else { return };
    if intent.kind == IntentKind::SessionsRevoked {
        changes.user(user).ended = Some(place);
    } else if intent.kind == IntentKind::PasswordChanged {
        let changed = Place { at: intent.stamp.unwrap_or(place.at), ..place };
        changes.user(user).passwords.push(changed);
    } else if intent.kind == IntentKind::UserDeactivated {
        deactivate(changes.user(user), place);
    }
}

fn uuid(members: &Members, member: &str) -> Option<Uuid> {
    Uuid::try_parse(members.get(member)?.as_str()?).ok()
}

fn time(members: &Members, member: &str) -> Option<Now> {
    Now::parse(members.get(member)?.as_str()?)
}
