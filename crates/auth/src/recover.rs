//! Brings a database that was restored to an older state, or failed over to one, to what the journals say
//! happened later.

use std::collections::{BTreeMap, BTreeSet};

use model::{ClientId, Journaled, JournaledUser, KeyId, Now, SessionId, UserId, UserKey};
use model::{event, intent};
use store::Tx;
use store::queries::user::{State, User};
use store::queries::{client, credential, revocation, session, signing_key, transfer, user};

use crate::OpContext;
use crate::account::{BASIC_USER, remove_traces};

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
    /// Whether every session ends: an earlier recovery, which the database does not know, has ended them.
    pub every_session: bool,
    /// The number of users that the journals name and the database does not have.
    pub lost_users: u64,
    /// The highest user number of the journals.
    pub highest: Option<UserId>,
    /// The highest epoch of the journals.
    epoch: i64,
}

/// Compares what the journals name with the database.
///
/// # Errors
/// When the database did not answer.
pub async fn plan(ctx: &mut OpContext<'_>, journaled: &Journaled) -> Result<Plan, store::Error> {
    let mut plan = Plan { highest: journaled.highest, epoch: journaled.epoch, ..Plan::default() };
    for (uuid, changes) in &journaled.users {
        let mut read = ctx.lease.read().await?;
        let found = match read.one(user::trace(*uuid)).await? {
            Some((id, ..)) => read.one(user::find(UserKey { id, uuid: *uuid })).await?,
            None => None,
        };
        match found {
            Some(found) => plan.add_user(ctx, &found, changes).await?,
            None => plan.lost_users += 1,
        }
    }

    for id in &journaled.sessions {
        let found = ctx.lease.read().await?.one(session::find(*id)).await?;
        if let Some(found) = found.filter(|found| !found.revoked) {
            plan.sessions.insert(found.id, found.user);
        }
    }

    let calls = (signing_key::all(), client::all(), revocation::epoch());
    let (keys, clients, epoch) = ctx.lease.read().await?.batch(calls).await?;
    plan.every_session = epoch.first().is_some_and(|known| *known < journaled.ended_every_session);
    plan.keys = keys.into_iter().map(|key| key.id).filter(|key| journaled.keys.contains(key)).collect();
    for client in clients {
        let changes = journaled.clients.get(&client.id).copied().unwrap_or_default();
        if changes.removed.is_some_and(|at| client.created_at <= at) {
            plan.clients.push(client.id);
        } else if changes.secret.is_some_and(|at| client.rotated_at < at) {
            plan.rotated.push(client.id);
        }
    }
    Ok(plan)
}

impl Plan {
    async fn add_user(
        &mut self,
        ctx: &mut OpContext<'_>,
        found: &User,
        changes: &JournaledUser,
    ) -> Result<(), store::Error> {
        if found.state == State::Erased {
            return Ok(());
        }
        let key = found.key();
        if changes.erased {
            self.erased.push(key);
            return self.end_until(ctx, key, Now::from_micros(i64::MAX)).await;
        }

        // A change that is older than the row may have been undone by one that is in no journal any more.
        // Such a change takes rights away, and gives none.
        let is_newer = |at: Now| at >= found.updated_at;
        let active = changes.active.filter(|(at, active)| !active || is_newer(*at));
        let state = active.map(|(_, active)| if active { State::Active } else { State::Inactive });
        self.states.extend(state.filter(|state| *state != found.state).map(|state| (key, state)));
        let role = changes.role.as_ref().filter(|(at, role)| role == BASIC_USER || is_newer(*at));
        let role = role.map(|(_, role)| role).filter(|role| **role != found.role);
        self.roles.extend(role.map(|role| (key, role.clone())));

        let mut ended = changes.ended;
        if let Some(changed) = changes.password {
            let stored = ctx.lease.read().await?.one(credential::changed_at(key)).await?;
            if stored.is_some_and(|stored| stored < changed) {
                self.passwords.push(key);
                ended = ended.max(Some(changed));
            }
        }
        match ended {
            Some(until) => self.end_until(ctx, key, until).await,
            None => Ok(()),
        }
    }

    /// Ends the sessions of a user that began until then.
    async fn end_until(
        &mut self,
        ctx: &mut OpContext<'_>,
        user: UserKey,
        until: Now,
    ) -> Result<(), store::Error> {
        let all = session::of_user(user, ctx.now, Now::from_micros(0), Now::from_micros(i64::MAX));
        let found = ctx.lease.read().await?.all(all).await?;
        let before = found.into_iter().filter(|found| found.created_at <= until);
        self.sessions.extend(before.map(|found| (found.id, user)));
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
    ctx.lease
        .transact(intent::DatabaseRecovered {}, async move |tx| {
            let mut done = event::DatabaseRecovered {
                epoch: 0,
                sessions: 0,
                passwords: 0,
                activated: 0,
                deactivated: 0,
                roles: 0,
                erased: 0,
                keys: 0,
                clients: 0,
                highest: plan.highest,
                without_journal: all_sessions,
            };

            tx.one(revocation::bump()).await?;
            for (id, user) in &plan.sessions {
                done.sessions += tx.all(session::revoke(*id, *user, ending)).await?.len() as u64;
            }
            for user in plan.sessions.values().collect::<BTreeSet<_>>() {
                tx.all(revocation::record(*user, ending.at)).await?;
            }

            change_users(tx, &plan, now, &mut done).await?;
            if all_sessions {
                done.sessions += end_all(tx, ending).await?;
            }

            for key in &plan.keys {
                done.keys += tx.all(signing_key::remove(key)).await?.len() as u64;
            }
            for id in &plan.clients {
                done.clients += tx.all(client::remove(id)).await?.len() as u64;
            }
            tx.one(signing_key::bump()).await?;

            if let Some(highest) = plan.highest {
                tx.batch((transfer::begin_numbers(), transfer::raise(highest))).await?;
            }
            let raised = tx.one(revocation::raise_epoch(epoch)).await?;
            done.epoch = raised.ok_or_else(|| store::Error::Corrupt("no epoch".into()))?;
            Ok((done.clone(), done))
        })
        .await
}

async fn change_users(
    tx: &mut Tx,
    plan: &Plan,
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
        done.erased += tx.all(user::erase(*user, now)).await?.len() as u64;
        remove_traces(tx, *user).await?;
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
