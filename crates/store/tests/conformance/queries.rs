//! Sessions, revocations, keys, clients, jobs and the realm, on both engines.

use std::sync::Arc;
use std::time::Duration;

use model::{ClientId, ClientRight, ClientRights, KeyId, Now, SessionId};
use store::queries::realm::Realm;
use store::queries::session::{Ended, Ending, Room, Rotation};
use store::queries::signing_key::{Key, State};
use store::queries::{client, credential, pepper, realm, revocation, session, signing_key};
use store::{Call, Error, Lease};
use uuid::Uuid;

use crate::fixtures::{NOON, TestDb, new_session, register, session_id, stored, uuid};

on_both!(
    the_realm_is_made_once,
    a_client_is_added_rotated_and_removed,
    a_key_moves_through_its_states,
    a_pepper_in_use_cannot_be_removed,
    only_unchanged_hashes_are_sealed,
    a_job_is_claimed_by_one,
    a_session_rotates_for_one_of_two,
    sessions_are_revoked_and_recorded,
    a_login_ends_the_sessions_above_the_maximum,
    expired_rows_are_deleted_in_batches
);

const EVENT: model::event::RowsCleaned =
    model::event::RowsCleaned { sessions: 0, revocations: 0, networks: 0 };
const INTENT: model::intent::RowsCleaned = model::intent::RowsCleaned {};

async fn write<T: Send + 'static>(
    lease: &mut Lease,
    call: impl Fn() -> Call<T> + Send + Sync + 'static,
) -> Vec<T> {
    let done: Result<_, Error> =
        lease.transact(INTENT, async move |tx| Ok((EVENT, tx.all(call()).await?))).await;
    done.unwrap()
}

async fn read<T>(lease: &mut Lease, call: Call<T>) -> Vec<T> {
    lease.read().await.unwrap().all(call).await.unwrap()
}

async fn the_realm_is_made_once(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    assert!(read(&mut lease, realm::find()).await.is_empty());
    let made = Realm {
        uuid: Uuid::from_u128(u128::MAX - 1),
        master_key_id: "k1".into(),
        created_at: NOON,
        sealed_key: None,
    };
    let (one, two) = (made.clone(), Realm { uuid: Uuid::nil(), ..made.clone() });
    assert_eq!(write(&mut lease, move || realm::insert(&one)).await, [made.uuid]);
    assert!(write(&mut lease, move || realm::insert(&two)).await.is_empty());
    assert_eq!(write(&mut lease, || realm::set_key(vec![1])).await, [made.uuid]);
    assert!(write(&mut lease, || realm::set_key(vec![2])).await.is_empty(), "it has one");
    assert_eq!(write(&mut lease, || realm::reseal("k2", vec![3])).await, [made.uuid]);
    let now = Realm { master_key_id: "k2".into(), sealed_key: Some(vec![3]), ..made };
    assert_eq!(read(&mut lease, realm::find()).await, [now]);
}

async fn a_pepper_in_use_cannot_be_removed(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let user = register(&mut lease, 1).await.unwrap().unwrap();
    for version in [1, 2] {
        assert_eq!(write(&mut lease, move || pepper::insert(version, vec![9], NOON)).await, [version]);
    }
    assert!(write(&mut lease, || pepper::insert(2, vec![8], NOON)).await.is_empty());
    let later = NOON.plus(Duration::from_mins(1));
    assert_eq!(write(&mut lease, move || pepper::retire_older(2, later)).await, [1]);
    assert_eq!(write(&mut lease, || pepper::set_sealed(2, vec![7])).await, [2]);
    let all = read(&mut lease, pepper::all()).await;
    let states: Vec<_> = all.iter().map(|row| (row.version, row.is_active, row.changed_at)).collect();
    assert_eq!(states, [(1, false, later), (2, true, NOON)]);
    assert_eq!(all[1].sealed, [7]);

    assert_eq!(write(&mut lease, move || credential::set(user, &stored("pepper:1:AA"), NOON)).await, [2]);
    assert!(write(&mut lease, || pepper::remove_unused(1)).await.is_empty(), "a hash uses it");
    let needed = if db.is_sqlite() { "FOREIGN KEY" } else { "foreign key" };
    let unknown: Result<(), Error> = lease
        .transact(INTENT, async move |tx| {
            tx.one(credential::set(user, &stored("pepper:3:AA"), NOON)).await?;
            Ok((EVENT, ()))
        })
        .await;
    assert!(unknown.unwrap_err().to_string().contains(needed), "nothing is sealed with a missing pepper");
    assert_eq!(write(&mut lease, move || credential::set(user, &stored("$hash"), NOON)).await, [3]);
    assert!(write(&mut lease, || pepper::remove_unused(2)).await.is_empty(), "it is active");
    assert_eq!(write(&mut lease, || pepper::remove_unused(1)).await, [1]);
    // A text that looks sealed must name an existing pepper.
    let forged: Result<(), Error> = lease
        .transact(INTENT, async move |tx| {
            tx.one(credential::set(user, &stored("pepper:x:AA"), NOON)).await?;
            Ok((EVENT, ()))
        })
        .await;
    assert!(forged.is_err());
}

async fn only_unchanged_hashes_are_sealed(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let mut users = Vec::new();
    for number in 1..=4 {
        users.push(register(&mut lease, number).await.unwrap().unwrap().id);
    }
    for version in [1, 2] {
        write(&mut lease, move || pepper::insert(version, vec![9], NOON)).await;
    }

    let plain = read(&mut lease, credential::plain(users[0], 2)).await;
    assert_eq!(plain.iter().map(|row| row.user).collect::<Vec<_>>(), users[1..3]);
    assert_eq!((plain[0].uuid, plain[0].hash.as_str()), (uuid(2), "hash"));
    let (one, two, three) = (users[0], users[1], users[2]);
    let second = model::UserKey { id: two, uuid: uuid(2) };

    let sealed = write(&mut lease, move || {
        let (was, other, new) = (stored("hash"), stored("another"), stored("pepper:1:AA"));
        credential::seal(Some(1), [(one, &was, &new), (two, &other, &new), (three, &was, &new)])
    });
    assert_eq!(sealed.await, [1, 1], "the versions stay, and a changed hash is left alone");

    let plain = read(&mut lease, credential::plain(model::UserId(0), 9)).await;
    assert_eq!(plain.iter().map(|row| row.user).collect::<Vec<_>>(), [two, users[3]]);
    assert_eq!(write(&mut lease, move || credential::set(second, &stored("pepper:2:AA"), NOON)).await, [2]);

    let before = async |lease: &mut Lease, version, after| {
        let rows = read(lease, credential::sealed_before(version, after, 9)).await;
        rows.iter().map(|row| (row.hash.pepper(), row.user)).collect::<Vec<_>>()
    };
    let start = (0, model::UserId(0));
    assert_eq!(before(&mut lease, 2, start).await, [(Some(1), one), (Some(1), three)]);
    assert_eq!(before(&mut lease, 2, (1, one)).await, [(Some(1), three)]);
    assert_eq!(before(&mut lease, 9, (1, three)).await, [(Some(2), two)]);
    assert_eq!(before(&mut lease, 1, start).await, []);

    let bare =
        write(&mut lease, move || credential::seal(None, [(one, &stored("pepper:1:AA"), &stored("hash"))]));
    assert_eq!(bare.await, [1]);
    assert_eq!(before(&mut lease, 2, start).await, [(Some(1), three)]);
}

async fn a_client_is_added_rotated_and_removed(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let id = || ClientId::parse("introspector").unwrap();
    let feed = || ClientRights::from_iter([ClientRight::Feed]);
    let add = move |name: &'static str| client::insert(&id(), name, [1; 32], &feed(), NOON);
    assert_eq!(write(&mut lease, move || add("An API ✓")).await, [id()]);
    assert!(write(&mut lease, move || add("x")).await.is_empty());
    let later = NOON.plus(Duration::from_mins(1));
    assert_eq!(write(&mut lease, move || client::rotate(&id(), [3; 32], later)).await, [id()]);
    let found = read(&mut lease, client::find(&id())).await.remove(0);
    assert_eq!((found.name.as_str(), found.secret_hash, found.rotated_at), ("An API ✓", [3; 32], later));
    assert_eq!((&found.rights, found.rights_at), (&feed(), NOON));
    assert_eq!(read(&mut lease, client::all()).await, [found]);
    let all = || ClientRights::from_iter(ClientRight::ALL);
    assert_eq!(write(&mut lease, move || client::set_rights(&id(), &all(), later)).await, [id()]);
    let found = read(&mut lease, client::find(&id())).await.remove(0);
    assert_eq!((&found.rights, found.rights_at), (&all(), later));
    assert_eq!(write(&mut lease, move || client::remove(&id())).await, [found]);
    assert!(write(&mut lease, move || client::remove(&id())).await.is_empty());
    assert!(write(&mut lease, move || client::rotate(&id(), [3; 32], NOON)).await.is_empty());
}

async fn a_key_moves_through_its_states(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let made = Key {
        id: KeyId("k1".into()),
        algorithm: "ES256".into(),
        state: State::Next,
        sealed: vec![0, 255, 0],
        created_at: NOON,
        changed_at: NOON,
        signs_at: Some(NOON),
    };
    let row = made.clone();
    let id = || KeyId("k1".into());

    assert_eq!(write(&mut lease, move || signing_key::insert(&row)).await, [id()]);
    let row = made.clone();
    assert!(write(&mut lease, move || signing_key::insert(&row)).await.is_empty());
    let to_active = move || signing_key::set_state(&id(), State::Next, State::Active, NOON);
    assert_eq!(write(&mut lease, to_active).await, [id()]);
    assert!(write(&mut lease, to_active).await.is_empty());
    assert_eq!(write(&mut lease, move || signing_key::set_sealed(&id(), vec![])).await, [id()]);

    let before = read(&mut lease, revocation::heads()).await;
    assert_eq!(write(&mut lease, signing_key::bump).await, ["keys"]);
    let after = read(&mut lease, revocation::heads()).await;
    let keys = |heads: &[(String, i64)]| heads.iter().find(|(name, _)| name == "keys").unwrap().1;
    assert_eq!(keys(&after), keys(&before) + 1);

    let found = read(&mut lease, signing_key::all()).await;
    assert_eq!(found, [Key { state: State::Active, sealed: vec![], ..made }]);
    assert_eq!(write(&mut lease, move || signing_key::remove(&id())).await, [id()]);
}

async fn a_job_is_claimed_by_one(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let at = |minutes| NOON.plus(Duration::from_mins(minutes));
    let until = |now: Now| now.plus(Duration::from_mins(5));

    let held = at(0);
    assert!(lease.claim_job("cleanup", a, until(held), held).await.unwrap());
    assert!(!lease.claim_job("cleanup", b, until(at(1)), at(1)).await.unwrap());
    assert!(lease.claim_job("cleanup", a, until(at(2)), at(2)).await.unwrap());

    // An expired lease goes to another holder, and only that one can release it.
    assert!(lease.claim_job("cleanup", b, until(at(7)), at(7)).await.unwrap());
    lease.release_job("cleanup", a).await.unwrap();
    assert!(!lease.claim_job("cleanup", a, until(at(8)), at(8)).await.unwrap());
    lease.release_job("cleanup", b).await.unwrap();
    assert!(lease.claim_job("cleanup", a, until(at(8)), at(8)).await.unwrap());
}

fn rotation(generation: i64, secret: u8) -> Rotation {
    Rotation {
        session: session_id(1),
        generation,
        secret_hash: [secret; 32],
        successor_hash: [secret + 1; 32],
        successor: format!("entry{generation}"),
        at: NOON.plus(Duration::from_secs(1)),
        idle_since: NOON.minus(Duration::from_hours(1)),
        created_by: NOON,
        kept_chars: 6,
        expires_at: NOON.plus(Duration::from_hours(1)),
        address: Some("192.0.2.1".into()),
        user_agent: None,
        client: None,
        tokens_end: NOON.plus(Duration::from_mins(40)),
    }
}

async fn a_session_rotates_for_one_of_two(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let user = register(&mut lease, 1).await.unwrap().unwrap();
    assert_eq!(write(&mut lease, || session::rotate(&rotation(1, 7))).await, [user.id]);
    assert!(write(&mut lease, || session::rotate(&rotation(1, 7))).await.is_empty());
    assert!(write(&mut lease, || session::rotate(&rotation(2, 9))).await.is_empty());
    assert_eq!(write(&mut lease, || session::rotate(&rotation(2, 8))).await, [user.id]);
    let found = read(&mut lease, session::find(session_id(1))).await.remove(0);
    assert_eq!((found.generation, found.successors.as_str()), (3, "entry2entry1"));
    assert_eq!((found.address.as_deref(), found.user.uuid), (Some("192.0.2.1"), uuid(1)));
    assert_eq!(write(&mut lease, || session::rotate(&rotation(3, 9))).await, [user.id]);
    let found = read(&mut lease, session::find(session_id(1))).await.remove(0);
    assert_eq!(found.successors, "entry3entry2", "older entries are dropped");
    assert!(write(&mut lease, || session::replayed_late(session_id(1), 3, 2, 1, NOON)).await.is_empty());
    assert_eq!(write(&mut lease, || session::replayed_late(session_id(1), 4, 3, 1, NOON)).await, [user.id]);
    let idle = Rotation { idle_since: NOON.plus(Duration::from_mins(1)), ..rotation(4, 10) };
    assert!(write(&mut lease, move || session::rotate(&idle)).await.is_empty());
    let from_the_future = Rotation { created_by: NOON.minus(Duration::from_secs(1)), ..rotation(4, 10) };
    assert!(write(&mut lease, move || session::rotate(&from_the_future)).await.is_empty());
    let ended = Rotation { at: NOON.plus(Duration::from_hours(25)), ..rotation(4, 10) };
    assert!(write(&mut lease, move || session::rotate(&ended)).await.is_empty());
}

async fn sessions_are_revoked_and_recorded(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let user = register(&mut lease, 1).await.unwrap().unwrap();
    for n in 2..=4 {
        write(&mut lease, move || session::open(user, 1, &new_session(n))).await;
    }
    let keep = NOON.plus(Duration::from_mins(31));
    let ending = Ending { at: NOON, keep };

    let one: Result<_, Error> = lease
        .transact(INTENT, async move |tx| {
            let calls = (
                revocation::bump(),
                session::revoke(session_id(1), user, ending),
                revocation::record(user, NOON),
            );
            Ok((EVENT, tx.commit_with(calls).await?))
        })
        .await;
    let first = Ended { session: session_id(1), expires_at: keep };
    assert_eq!(one.unwrap(), (vec![1], vec![first], vec![1]));

    let rest: Result<_, Error> = lease
        .transact(INTENT, async move |tx| {
            let number = tx.one(revocation::bump()).await?;
            let ended = tx.all(session::revoke_of_user(user, Some(session_id(3)), ending)).await?;
            Ok((EVENT, (number, ended, tx.all(revocation::record(user, NOON)).await?)))
        })
        .await;
    let (number, mut ended, recorded) = rest.unwrap();
    ended.sort();
    let ended: Vec<_> = ended.into_iter().map(|one| one.session).collect();
    assert_eq!((number, ended), (Some(2), vec![session_id(2), session_id(4)]));
    assert_eq!(recorded, [2, 2]);

    for (n, is_kept) in [(1, false), (2, false), (3, true), (4, false)] {
        let found = read(&mut lease, session::find(session_id(n))).await.remove(0);
        assert_eq!((found.address.is_some(), found.user_agent.is_some()), (is_kept, is_kept), "{n}");
    }

    let all = read(&mut lease, revocation::after(0, SessionId(Uuid::nil()), 100)).await;
    let ids: Vec<_> = all.iter().map(|row| (row.number, row.session)).collect();
    assert_eq!(ids, [(1, session_id(1)), (2, session_id(2)), (2, session_id(4))]);
    assert_eq!(all[0].expires_at, keep);
    let some = read(&mut lease, revocation::after(2, session_id(2), 1)).await;
    assert_eq!(some, all[2..]);
    let live = read(&mut lease, session::of_user(user, NOON, NOON.minus(Duration::from_secs(1)), NOON)).await;
    assert_eq!(live.iter().map(|session| session.id).collect::<Vec<_>>(), [session_id(3)]);
    assert!(write(&mut lease, move || session::revoke(session_id(1), user, ending)).await.is_empty());
}

async fn a_login_ends_the_sessions_above_the_maximum(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let user = register(&mut lease, 1).await.unwrap().unwrap();
    let at = |n: u64| NOON.plus(Duration::from_secs(n));
    // Given a refreshed session (1), one of the client (2), two that were never refreshed (3, 4), one that is
    // idle (5), and one in which the client was superseded (6).
    write(&mut lease, || session::rotate(&rotation(1, 7))).await;
    for n in 2..=6 {
        let mut new = new_session(n);
        new.at = at(u64::try_from(n).unwrap());
        new.client = (n == 2).then(|| vec![9; 16]);
        if n == 5 {
            new.ends_at = at(10);
        }
        write(&mut lease, move || session::open(user, 1, &new)).await;
    }
    write(&mut lease, || session::superseded(session_id(6), &[9; 16])).await;

    // When a client opens one more and some may stay.
    let ending = Ending { at: at(60), keep: at(600) };
    let mut expected = vec![vec![], vec![5], vec![2], vec![3], vec![4, 6], vec![1]];
    for (opened, most) in [(7, 7), (7, 6), (7, 5), (7, 4), (7, 2), (7, 1)] {
        let room = Room {
            opened: session_id(opened),
            user,
            ending,
            idle_since: at(0).minus(Duration::from_hours(1)),
            client: Some(vec![9; 16]),
            ends_superseded: most == 2,
            most,
        };
        let ended: Result<_, Error> = lease
            .transact(INTENT, async move |tx| {
                let calls = (
                    session::open(user, 1, &new_session(opened)),
                    revocation::bump_for_room(&room),
                    session::make_room(&room),
                    revocation::record(user, ending.at),
                );
                let opened = most == 7;
                let (number, ended, recorded) = if opened {
                    let (_, number, ended, recorded) = tx.batch(calls).await?;
                    (number, ended, recorded)
                } else {
                    tx.batch((calls.1, calls.2, calls.3)).await?
                };
                assert_eq!(number.len(), usize::from(!ended.is_empty()), "a number only where some end");
                assert_eq!(recorded.len(), ended.len());
                Ok((EVENT, ended))
            })
            .await;

        // Then those go first that are of least use.
        let mut ended: Vec<_> = ended.unwrap().iter().map(|one| one.session).collect();
        ended.sort();
        let wanted: Vec<_> = expected.remove(0).into_iter().map(session_id).collect();
        assert_eq!(ended, wanted, "{most}");
    }

    // When no session was opened, nothing ends.
    let room = Room {
        opened: session_id(99),
        user,
        ending,
        idle_since: at(0),
        client: None,
        ends_superseded: true,
        most: 0,
    };
    let same = room.clone();
    assert!(write(&mut lease, move || session::make_room(&same)).await.is_empty());
    assert!(write(&mut lease, move || revocation::bump_for_room(&room)).await.is_empty());
}

async fn expired_rows_are_deleted_in_batches(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let user = register(&mut lease, 1).await.unwrap().unwrap();
    for n in 2..=5 {
        write(&mut lease, move || session::open(user, 1, &new_session(n))).await;
    }

    let soon = NOON.plus(Duration::from_hours(25));
    let keep = NOON.plus(Duration::from_mins(31));
    let ending = Ending { at: NOON, keep };
    let ended: Result<_, Error> = lease
        .transact(INTENT, async move |tx| {
            let calls = (
                revocation::bump(),
                session::revoke(session_id(5), user, ending),
                revocation::record(user, NOON),
            );
            Ok((EVENT, tx.commit_with(calls).await?))
        })
        .await;
    ended.unwrap();

    assert!(write(&mut lease, move || session::delete_expired(NOON, 10)).await.is_empty());
    assert_eq!(write(&mut lease, move || session::delete_expired(soon, 3)).await.len(), 3);
    assert_eq!(write(&mut lease, move || session::delete_expired(soon, 3)).await.len(), 1);

    assert!(write(&mut lease, move || session::delete_revoked(NOON, 3)).await.is_empty());
    assert_eq!(write(&mut lease, move || session::delete_revoked(keep, 3)).await, [session_id(5)]);
    assert!(write(&mut lease, move || revocation::delete_expired(NOON, 3)).await.is_empty());
    assert_eq!(write(&mut lease, move || revocation::delete_expired(keep, 3)).await, [1]);
    assert_eq!((db.count("sessions"), db.count("revocations")), (0, 0));
}
