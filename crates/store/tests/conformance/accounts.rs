//! Users and their credentials, on both engines.

use std::sync::Arc;

use model::{Email, Now, UserId, Username};
use store::queries::credential::AskingClient;
use store::queries::user::{NewUser, State};
use store::queries::{credential, session, user};
use store::{Call, Error, Lease};

use crate::fixtures::{
    NOON, TestDb, email, new_session, new_user, register, session_id, stored, username, uuid,
};

on_both!(
    a_user_is_read_as_stored,
    a_taken_user_inserts_nothing,
    a_profile_is_changed_only_for_an_active_user,
    an_erased_user_leaves_a_tombstone,
    a_credential_is_replaced_only_at_its_version,
    users_come_in_pages,
    every_value_survives_the_round_trip
);

const EVENT: model::event::RowsCleaned =
    model::event::RowsCleaned { sessions: 0, revocations: 0, networks: 0 };
const INTENT: model::intent::RowsCleaned = model::intent::RowsCleaned {};

/// Runs one call as a transaction.
async fn write<T: Send + 'static>(
    lease: &mut Lease,
    call: impl Fn() -> Call<T> + Send + Sync + 'static,
) -> Vec<T> {
    let done: Result<_, Error> =
        lease.transact(INTENT, async move |tx| Ok((EVENT, tx.all(call()).await?))).await;
    done.unwrap()
}

async fn a_user_is_read_as_stored(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let new =
        NewUser { username: None, profile: "{\"name\":\"Łukasz 🦀 \\u0000\"}".into(), ..new_user(1) };
    let row = new.clone();
    let id = write(&mut lease, move || user::insert(&row)).await[0];
    let mut read = lease.read().await.unwrap();
    let found = read.one(user::find(model::UserKey { id, uuid: new.uuid })).await.unwrap().unwrap();
    assert_eq!((found.id, found.uuid, found.username.as_deref()), (id, new.uuid, None));
    assert_eq!((found.email.as_deref(), found.profile), (Some(new.email.address()), new.profile));
    assert_eq!((found.role.as_str(), found.state, found.created_at), ("BASIC_USER", State::Active, NOON));
    let by_email = read.one(user::find_by_email(&new.email)).await.unwrap().unwrap();
    assert_eq!(by_email.id, id);
    assert_eq!(read.one(user::find_by_username(&username(1))).await.unwrap(), None);
    assert_eq!(read.one(user::find_by_number(UserId(i64::MAX))).await.unwrap(), None);
    assert_eq!(read.one(user::taken(&new.email, None)).await.unwrap(), Some((true, false)));
    let login = read.one(credential::by_email(&new.email, &AskingClient::default())).await.unwrap().unwrap();
    assert_eq!((login.hash, login.version, login.superseded), (None, 0, 0));
}

async fn a_taken_user_inserts_nothing(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    assert!(register(&mut lease, 1).await.unwrap().is_some());
    let same_email = NewUser { email: email(1), ..new_user(2) };
    let same_name = NewUser { username: Some(Username::parse("USER1").unwrap()), ..new_user(3) };
    for (n, user) in [(2, same_email), (3, same_name)] {
        let taken = crate::fixtures::register_as(&mut lease, user, new_session(n)).await.unwrap();
        assert_eq!(taken, None);
    }
    let counts = ["users", "credentials", "sessions"].map(|table| db.count(table));
    assert_eq!(counts, [1, 1, 1]);
    assert_eq!(db.events.all().len(), 1);
    let mut read = lease.read().await.unwrap();
    let taken = read.one(user::taken(&email(9), Some(&username(1)))).await.unwrap();
    assert_eq!(taken, Some((false, true)));
}

async fn a_profile_is_changed_only_for_an_active_user(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let one = register(&mut lease, 1).await.unwrap().unwrap();
    let two = register(&mut lease, 2).await.unwrap().unwrap();
    let set = async |lease: &mut Lease, id, name: Option<Username>| {
        let old = lease.read().await.unwrap().one(user::find(id)).await.unwrap().unwrap();
        write(lease, move || user::set_profile(&old, name.as_ref(), "{\"a\":1}", NOON)).await
    };
    assert!(set(&mut lease, two, Some(username(1))).await.is_empty());
    let stale = lease.read().await.unwrap().one(user::find(two)).await.unwrap().unwrap();
    assert_eq!(set(&mut lease, two, Some(username(2))).await, [two.id]);
    let late = write(&mut lease, move || user::set_profile(&stale, None, "{}", NOON)).await;
    assert!(late.is_empty(), "another writer has changed it meanwhile");
    assert_eq!(set(&mut lease, one, None).await, [one.id]);
    assert_eq!(set(&mut lease, two, Some(username(1))).await, [two.id]);
    assert_eq!(write(&mut lease, move || user::set_role(one, "ADMIN", NOON)).await, [one.id]);
    assert_eq!(write(&mut lease, move || user::set_state(one, State::Inactive, NOON)).await, [one.id]);
    assert!(set(&mut lease, one, None).await.is_empty());
    assert!(write(&mut lease, move || session::open(one, 1, &new_session(9))).await.is_empty());
    let found = lease.read().await.unwrap().one(user::find(one)).await.unwrap().unwrap();
    assert_eq!((found.role.as_str(), found.state, found.username), ("ADMIN", State::Inactive, None));
}

async fn an_erased_user_leaves_a_tombstone(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let one = register(&mut lease, 1).await.unwrap().unwrap();
    assert_eq!(write(&mut lease, move || user::erase(one, NOON)).await, [one.id]);
    assert!(write(&mut lease, move || user::erase(one, NOON)).await.is_empty());
    assert!(write(&mut lease, move || user::set_state(one, State::Active, NOON)).await.is_empty());
    assert!(write(&mut lease, move || user::set_role(one, "ADMIN", NOON)).await.is_empty());
    assert_eq!(write(&mut lease, move || credential::remove(one)).await, [1]);
    let found = lease.read().await.unwrap().one(user::find(one)).await.unwrap().unwrap();
    assert_eq!((found.uuid, found.email, found.state), (uuid(1), None, State::Erased));
    let again = NewUser { uuid: uuid(2), ..new_user(1) };
    let next = write(&mut lease, move || user::insert(&again)).await[0];
    assert!(next > one.id, "an id is never reused");
}

async fn a_credential_is_replaced_only_at_its_version(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let one = register(&mut lease, 1).await.unwrap().unwrap();
    assert!(write(&mut lease, move || credential::replace(one, 2, &stored("other"), NOON)).await.is_empty());
    assert_eq!(write(&mut lease, move || credential::replace(one, 1, &stored("second"), NOON)).await, [2]);
    assert!(write(&mut lease, move || session::open(one, 1, &new_session(8))).await.is_empty());
    assert_eq!(write(&mut lease, move || session::open(one, 2, &new_session(9))).await[0].user, one.id);
    assert_eq!(write(&mut lease, move || credential::set(one, &stored("fourth"), NOON)).await, [3]);
    let mut read = lease.read().await.unwrap();
    let by_name =
        read.one(credential::by_username(&username(1), &AskingClient::default())).await.unwrap().unwrap();
    assert_eq!((by_name.hash, by_name.version, by_name.superseded), (Some(stored("fourth")), 3, 0));
    assert_eq!(read.one(credential::of_user(one)).await.unwrap().unwrap().user, by_name.user);
    assert_eq!(write(&mut lease, move || user::set_state(one, State::Inactive, NOON)).await, [one.id]);
    assert!(write(&mut lease, move || credential::replace(one, 3, &stored("x"), NOON)).await.is_empty());
    assert_eq!(write(&mut lease, move || credential::remove(one)).await, [3]);
    assert_eq!(write(&mut lease, move || credential::set(one, &stored("again"), NOON)).await, [1]);
}

async fn users_come_in_pages(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let mut ids = Vec::new();
    for n in 1..=5 {
        ids.push(register(&mut lease, n).await.unwrap().unwrap().id);
    }
    let mut read = lease.read().await.unwrap();
    let mut page = async |after, limit| -> Vec<UserId> {
        read.all(user::page(after, limit)).await.unwrap().into_iter().map(|user| user.id).collect()
    };
    assert_eq!(page(UserId(0), 2).await, ids[..2]);
    assert_eq!(page(ids[1], 100).await, ids[2..]);
    assert_eq!(page(ids[4], 100).await, []);
}

/// NULLs, the bounds of integers, long and non-ASCII texts.
async fn every_value_survives_the_round_trip(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let one = register(&mut lease, 1).await.unwrap().unwrap();
    let long = "ß∂🦀".repeat(2000);
    let new = session::NewSession {
        id: session_id(u128::MAX),
        scope: long.clone(),
        address: Some(String::new()),
        user_agent: None,
        at: Now::from_micros(i64::MIN),
        ends_at: Now::from_micros(i64::MAX),
        expires_at: Now::from_micros(-1),
        secret_hash: std::array::from_fn(|n| u8::try_from(n * 8 % 256).unwrap()),
        client: Some(vec![0; 16]),
        tokens_end: Now::from_micros(0),
    };
    assert_eq!(write(&mut lease, move || session::open(one, 1, &new)).await[0].user, one.id);

    let mut read = lease.read().await.unwrap();
    let found = read.one(session::find(session_id(u128::MAX))).await.unwrap().unwrap();
    assert_eq!((found.scope, found.address.as_deref(), found.user_agent), (long, Some(""), None));
    assert_eq!(found.created_at, Now::from_micros(i64::MIN));
    assert_eq!(found.ends_at, Now::from_micros(i64::MAX));

    let email = Email::parse("ünïcode@bücher.example").unwrap();
    let new = NewUser { email: email.clone(), ..new_user(2) };
    write(&mut lease, move || user::insert(&new)).await;
    let found = lease.read().await.unwrap().one(user::find_by_email(&email)).await.unwrap().unwrap();
    assert_eq!(found.email.as_deref(), Some(email.address()));
}
