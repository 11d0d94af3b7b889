//! Brings a database that was restored to an older state, or failed over to one, to what the journals say
//! happened later.
//!
//! Clocks may have been wrong, so times decide last. Within one journal the sequence decides. Between
//! journals a change counts by its time; where clocks went back, the change that takes rights away counts as
//! the later one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{ClientId, ClientRights, Journaled, JournaledUser, KeyId, Now, Place, SessionId};
use model::{UserId, UserKey, UserUuid};
use model::{event, intent};
use protocol::sealed::realm_key::RealmKey;
use store::Tx;
use store::queries::revocation::Heads;
use store::queries::user::{State, User};
use store::queries::{client, credential, realm, revocation, session, signing_key, transfer, user};
use uuid::Uuid;

use crate::OpContext;
use crate::account::{BASIC_USER, Traces};

/// How far apart the events of two changes at once may be recorded, in either order.
const AT_ONCE: Duration = Duration::from_mins(1);

/// What a recovery changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The sessions that end, and their users.
    pub sessions: BTreeMap<SessionId, UserKey>,
    /// The users whose password was changed: none of theirs works until an operator sets one.
    pub passwords: Vec<UserKey>,
    /// The users that are activated or deactivated.
    pub states: Vec<(UserKey, State)>,
    /// The users that get another role.
    pub roles: Vec<(UserKey, String)>,
    /// The users that are erased.
    pub erased: Vec<UserKey>,
    /// The signing keys that are removed.
    pub keys: Vec<KeyId>,
    /// The clients that are removed.
    pub clients: Vec<ClientId>,
    /// The clients whose secret was replaced: the old one works again until it is replaced again.
    pub rotated: Vec<ClientId>,
    /// The clients that lose rights, and those that they keep.
    pub rights: Vec<(ClientId, ClientRights)>,
    /// Whether every session ends: an earlier recovery, which the database does not know, has ended them.
    pub every_session: bool,
    /// The number of users that the journals name and the database does not have: they were registered
    /// later, or are of another realm.
    pub lost_users: u64,
    /// Other realms that the journals name.
    pub other_realms: BTreeSet<Uuid>,
    /// The highest user number of the journals.
    pub highest: Option<UserId>,
    /// The highest epoch of the journals.
    epoch: i64,
}

/// Compares what the journals name with the database. No journal may be given twice.
///
/// # Errors
/// When the database did not answer.
pub async fn plan(ctx: &mut OpContext<'_>, journals: &[Journaled]) -> Result<Plan, store::Error> {
    let mut plan = Plan {
        highest: journals.iter().filter_map(|one| one.highest).filter(|one| *one <= UserId::LARGEST).max(),
        epoch: journals.iter().map(|one| one.epoch).max().unwrap_or(0),
        other_realms: journals.iter().flat_map(|one| one.other_realms.iter().copied()).collect(),
        ..Plan::default()
    };
    for uuid in journals.iter().flat_map(|one| one.users.keys()).collect::<BTreeSet<_>>() {
        let mut read = ctx.lease.read().await?;
        let found = match read.one(user::trace(*uuid)).await? {
            Some((id, ..)) => read.one(user::find(UserKey { id, uuid: *uuid })).await?,
            None => None,
        };
        match found {
            Some(found) => plan.add_user(ctx, &found, journals).await?,
            None => plan.lost_users += 1,
        }
    }

    for id in journals.iter().flat_map(|one| &one.sessions).collect::<BTreeSet<_>>() {
        let found = ctx.lease.read().await?.one(session::find(*id)).await?;
        if let Some(found) = found.filter(|found| !found.revoked) {
            plan.sessions.insert(found.id, found.user);
        }
    }

    let calls = (signing_key::all(), client::all(), revocation::epoch());
    let (keys, clients, epoch) = ctx.lease.read().await?.batch(calls).await?;
    let ended = journals.iter().map(|one| one.ended_every_session).max().unwrap_or(0);
    plan.every_session = epoch.first().is_some_and(|known| *known < ended);
    let is_removed = |key: &KeyId| journals.iter().any(|one| one.keys.contains(key));
    plan.keys = keys.into_iter().map(|key| key.id).filter(is_removed).collect();
    for client in clients {
        let changes: Vec<_> = journals.iter().filter_map(|one| one.clients.get(&client.id)).collect();
        if changes.iter().any(|one| one.removed.contains(&client.created_at)) {
            plan.clients.push(client.id);
            continue;
        }
        // A recovery takes rights away, and gives none.
        let taken = changes.iter().filter_map(|one| later(&one.rights, |(at, _)| *at, client.rights_at));
        let kept = taken.fold(client.rights.clone(), |kept, (_, rights)| kept.intersection(rights));
        if kept != client.rights {
            plan.rights.push((client.id.clone(), kept));
        }
        if changes.iter().any(|one| later(&one.secrets, |at: &Now| *at, client.rotated_at).is_some()) {
            plan.rotated.push(client.id);
        }
    }
    Ok(plan)
}

/// The last of these changes of one journal, if it came after the one whose time is `stored`.
fn later<T>(changes: &[T], time: impl Fn(&T) -> Now, stored: Now) -> Option<&T> {
    match changes.iter().rposition(|change| time(change) == stored) {
        Some(at) => changes.iter().skip(at + 1).next_back(),
        None => changes.iter().rfind(|change| time(change) > stored),
    }
}

/// The change of one kind that counts, of the last ones of each journal.
fn counting<T: Clone>(
    journals: &[Journaled],
    user: UserUuid,
    of: impl Fn(&JournaledUser) -> Option<&(Place, T)>,
    takes: impl Fn(&T) -> bool,
    stored: Now,
) -> Option<T> {
    let told = journals.iter().filter_map(|one| Some((one, of(one.users.get(&user)?)?)));
    let (taking, giving): (Vec<_>, Vec<_>) = told.partition(|(_, (_, value))| takes(value));
    let taken = taking.into_iter().max_by_key(|(_, (place, _))| place.at);
    // A change that is older than the row may have been undone by one that is in no journal any more.
    // Such a change takes rights away, and gives none.
    let given = giving.into_iter().map(|(one, (place, value))| (one.set_back.latest(*place), value));
    let given = given.filter(|(at, _)| *at >= stored).max_by_key(|(at, _)| *at);
    match (taken, given) {
        (Some((_, (place, _))), Some((at, value))) if at > place.at => Some(value.clone()),
        (Some((_, (_, value))), _) | (None, Some((_, value))) => Some(value.clone()),
        (None, None) => None,
    }
}

/// The last change of the password in a journal, if it came after the one whose time is `stored`.
fn later_password(journals: &[Journaled], one: &Journaled, user: UserUuid, stored: Now) -> Option<Place> {
    let changes = |one: &Journaled| one.users.get(&user).map(|user| user.passwords.clone());
    let changes_here = changes(one)?;
    let last = *changes_here.last()?;
    let is_stored = |change: &Place| change.at == stored;
    if changes_here.iter().any(is_stored) {
        return Some(last).filter(|last| !is_stored(last));
    }
    let elsewhere = journals.iter().find_map(|other| {
        let found = changes(other)?.into_iter().rfind(is_stored)?;
        Some(other.set_back.latest(found))
    });
    // A password that no journal has is the first one, or older than all records.
    Some(last).filter(|last| elsewhere.is_none_or(|stored| last.at > stored))
}

/// Whether a session began before the change `end` in the journal `one`.
fn began_before(journals: &[Journaled], one: &Journaled, session: &session::Session, end: Place) -> bool {
    if let Some(began) = one.begun.get(&session.id) {
        let is_at_once = began.at <= end.at && began.at >= end.at.minus(AT_ONCE);
        return began.sequence < end.sequence || is_at_once;
    }
    let began = journals.iter().filter_map(|other| Some((other, *other.begun.get(&session.id)?)));
    let latest = began.map(|(other, began)| other.set_back.latest(began)).min();
    latest.map_or(session.created_at, |latest| latest.min(session.created_at)) <= end.at
}

impl Plan {
    async fn add_user(
        &mut self,
        ctx: &mut OpContext<'_>,
        found: &User,
        journals: &[Journaled],
    ) -> Result<(), store::Error> {
        if found.state == State::Erased {
            return Ok(());
        }
        let key = found.key();
        let changes = |one: &Journaled| one.users.get(&key.uuid).cloned().unwrap_or_default();
        if journals.iter().any(|one| changes(one).erased) {
            self.erased.push(key);
            return self.end(ctx, key, |_| true).await;
        }

        let active =
            counting(journals, key.uuid, |user| user.active.as_ref(), |active| !active, found.updated_at);
        let state = active.map(|active| if active { State::Active } else { State::Inactive });
        self.states.extend(state.filter(|state| *state != found.state).map(|state| (key, state)));
        let role = counting(
            journals,
            key.uuid,
            |user| user.role.as_ref(),
            |role| role == BASIC_USER,
            found.updated_at,
        );
        self.roles.extend(role.filter(|role| *role != found.role).map(|role| (key, role)));

        let stored = ctx.lease.read().await?.one(credential::changed_at(key)).await?;
        let mut ends = Vec::new();
        for one in journals {
            ends.extend(changes(one).ended.map(|end| (one, end)));
            let later = stored.and_then(|stored| later_password(journals, one, key.uuid, stored));
            if let Some(later) = later {
                ends.push((one, later));
                if self.passwords.last() != Some(&key) {
                    self.passwords.push(key);
                }
            }
        }
        if ends.is_empty() {
            return Ok(());
        }
        self.end(ctx, key, |session| ends.iter().any(|(one, end)| began_before(journals, one, session, *end)))
            .await
    }

    /// Ends the sessions of a user that `ends` names.
    async fn end(
        &mut self,
        ctx: &mut OpContext<'_>,
        user: UserKey,
        ends: impl Fn(&session::Session) -> bool,
    ) -> Result<(), store::Error> {
        let all = session::of_user(user, ctx.now, Now::from_micros(0), Now::from_micros(i64::MAX));
        let found = ctx.lease.read().await?.all(all).await?;
        self.sessions.extend(found.into_iter().filter(|one| ends(one)).map(|one| (one.id, user)));
        Ok(())
    }
}

/// Carries out a plan in one transaction and begins a new epoch: access tokens of before are refused. Ends
/// every session if `all_sessions`, or if the plan says so.
///
/// # Errors
/// When the database did not answer; nothing was changed then.
pub async fn recover(
    ctx: &mut OpContext<'_>,
    plan: &Plan,
    all_sessions: bool,
) -> Result<event::DatabaseRecovered, store::Error> {
    let (plan, now, ending) = (plan.clone(), ctx.now, ctx.ending());
    let all_sessions = all_sessions || plan.every_session;
    let epoch = now.seconds().max(plan.epoch.saturating_add(1));
    let realm = ctx.lease.read().await?.one(realm::find()).await?;
    let realm = realm.ok_or_else(|| store::Error::Corrupt("no realm".into()))?.uuid;
    let key = ctx.services.realm_key()?.clone();
    ctx.lease
        .transact(intent::DatabaseRecovered {}, async move |tx| {
            let mut done = event::DatabaseRecovered {
                realm,
                epoch: 0,
                sessions: 0,
                passwords: 0,
                activated: 0,
                deactivated: 0,
                roles: 0,
                erased: 0,
                keys: 0,
                clients: 0,
                client_rights: 0,
                highest: plan.highest,
                without_journal: all_sessions,
            };

            for user in plan.sessions.values().collect::<BTreeSet<_>>() {
                // A number of its own: the feed has the sessions of one number on one page.
                tx.one(revocation::bump()).await?;
                for (id, _) in plan.sessions.iter().filter(|(_, of)| *of == user) {
                    done.sessions += tx.all(session::revoke(*id, *user, ending)).await?.len() as u64;
                }
                tx.all(revocation::record(*user, ending.at)).await?;
            }

            change_users(tx, &plan, &key, now, &mut done).await?;
            if all_sessions {
                done.sessions += end_all(tx, ending).await?;
            }

            for key in &plan.keys {
                done.keys += tx.all(signing_key::remove(key)).await?.len() as u64;
            }
            for id in &plan.clients {
                done.clients += tx.all(client::remove(id)).await?.len() as u64;
            }
            for (id, rights) in &plan.rights {
                done.client_rights += tx.all(client::set_rights(id, rights, now)).await?.len() as u64;
            }
            tx.one(signing_key::bump()).await?;

            if let Some(highest) = plan.highest {
                tx.batch((transfer::begin_numbers(), transfer::raise(highest))).await?;
            }
            let raised = tx.one(revocation::raise_epoch(epoch)).await?;
            done.epoch = raised.ok_or_else(|| store::Error::Corrupt("no epoch".into()))?;
            renumber(tx, done.epoch).await?;
            Ok((done.clone(), done))
        })
        .await
}

/// Numbers of revocations that a reader of the feed may have between two recoveries.
const NUMBERS_PER_SECOND: i64 = 1_000_000;

/// Gives the revocations new numbers, so that one of before is not taken for one of the recovered list: the
/// database may have lost some, and counts them again. Numbers stay below 2^53, which JSON can hold.
async fn renumber(tx: &mut Tx, epoch: i64) -> Result<(), store::Error> {
    let oldest = revocation::after(0, SessionId(Uuid::nil()), 1);
    let (heads, oldest) = tx.batch((revocation::heads(), oldest)).await?;
    let newest = Heads::of(&heads).revocations;
    let oldest = oldest.first().map_or(newest + 1, |oldest| oldest.number);
    let gone = epoch.saturating_mul(NUMBERS_PER_SECOND).max(newest);
    tx.batch(revocation::renumber(gone - (oldest - 1), gone)).await?;
    Ok(())
}

async fn change_users(
    tx: &mut Tx,
    plan: &Plan,
    key: &RealmKey,
    now: Now,
    done: &mut event::DatabaseRecovered,
) -> Result<(), store::Error> {
    for user in &plan.passwords {
        // Without a password a login costs and looks as one with a wrong password.
        done.passwords += tx.all(credential::remove(*user)).await?.len() as u64;
    }

    for (user, state) in &plan.states {
        let set = tx.all(user::set_state(*user, *state, now)).await?.len() as u64;
        if *state == State::Active {
            done.activated += set;
        } else {
            done.deactivated += set;
        }
    }

    for (user, role) in &plan.roles {
        done.roles += tx.all(user::set_role(*user, role, now)).await?.len() as u64;
    }

    for user in &plan.erased {
        let found = tx.one(user::find(*user)).await?;
        let traces = Traces::with_key(key, *user, found.and_then(|user| user.email).as_deref(), now);
        done.erased += tx.all(user::erase(*user, now)).await?.len() as u64;
        traces.remove(tx).await?;
    }
    Ok(())
}

/// Ends every session, in statements of bounded size.
async fn end_all(tx: &mut Tx, ending: session::Ending) -> Result<u64, store::Error> {
    let mut ended = 0;
    loop {
        let some = tx.all(session::revoke_some(ending)).await?.len() as u64;
        if some == 0 {
            return Ok(ended);
        }
        ended += some;
    }
}
