//! Sealed password hashes: a copy of the database is useless, and a pepper is added, rotated and removed.

use std::time::Duration;

use auth::password::pepper::{self, PepperServiceError, Place};
use fixtures::{Engine, Options, TestApp, TestDatabase};
use model::UserUuid;
use protocol::sealed::keyring::Keyring;
use protocol::sealed::pepper::{Pepper, PepperError, Peppers, StoredText};
use protocol::wire::password_hash::{StoredHash, Unusable};
use serde_json::json;

use crate::api_calls::{
    PASSWORD, Pair, find, find_login, log_in, member, path, register, set_hash, try_log_in,
};

const ENGINES: [Engine; 2] = [Engine::Sqlite, Engine::Postgres];

fn options(keyring: &Keyring, pepper: bool) -> Options {
    let pepper = if pepper { "on" } else { "off" };
    Options { keyring: Some(keyring.clone()), ..Options::of([("passwords.pepper", pepper)]) }
}

async fn peppered(engine: Engine) -> (TestApp, Keyring) {
    let keyring = fixtures::new_keyring();
    (TestApp::with(engine, options(&keyring, true)).await, keyring)
}

async fn stored(app: &TestApp, name: &str) -> (UserUuid, StoredText) {
    let found = find_login(app, name).await;
    (found.user.uuid, found.hash.unwrap())
}

async fn version(app: &TestApp, name: &str) -> Option<i64> {
    stored(app, name).await.1.pepper()
}

/// Runs the background job to its end.
async fn settle(app: &TestApp) {
    let mut next = Some(Place::default());
    while let Some(place) = next {
        next = app.operate(async |ctx| pepper::step(ctx, place).await.unwrap()).await;
    }
}

async fn rotate(app: &TestApp) -> i64 {
    app.operate(async |ctx| pepper::rotate(ctx).await.unwrap()).await
}

async fn versions(app: &TestApp) -> Vec<(i64, bool)> {
    let rows = app.operate(async |ctx| pepper::list(ctx).await.unwrap()).await;
    rows.into_iter().map(|row| (row.version, row.is_active)).collect()
}

#[tokio::test]
async fn a_copy_of_the_database_alone_verifies_no_password() {
    for engine in ENGINES {
        let (app, keyring) = peppered(engine).await;
        register(&app, "alice").await;
        log_in(&app, "alice").await;

        let (uuid, text) = stored(&app, "alice").await;
        assert!(text.as_str().starts_with("pepper:1:"));
        assert_eq!(
            StoredHash::parse(text.as_str()),
            Err(Unusable::Unknown),
            "the row contains no plain hash"
        );

        let rows = app.operate(async |ctx| pepper::list(ctx).await.unwrap()).await;
        let sealed = rows[0].sealed.clone();
        assert!(
            Pepper::open(&fixtures::new_keyring(), 1, &sealed).is_err(),
            "the pepper does not open without its master key"
        );
        assert_eq!(Peppers::default().open(uuid, &text), Err(PepperError::Unknown(1)));

        // The pepper opens with the master key, as in the server.
        let opened = Peppers::new([Pepper::open(&keyring, 1, &sealed).unwrap()], None);
        assert!(opened.open(uuid, &text).unwrap().starts_with("$argon2id$"));
        app.close().await;
    }
}

#[tokio::test]
async fn a_pepper_rotation_fails_no_login() {
    for engine in ENGINES {
        let (one, keyring) = peppered(engine).await;
        let two = TestApp::on(one.database.clone(), options(&keyring, true)).await;

        for user in 0..12 {
            register(if user % 2 == 0 { &one } else { &two }, &format!("user{user}")).await;
        }

        // Every user can log in before, during and after the rotation, also on the other node.
        let logins = async {
            for round in 0..4 {
                for user in 0..12 {
                    log_in(if (user + round) % 3 == 0 { &one } else { &two }, &format!("user{user}")).await;
                }
            }
        };
        let change = async {
            assert_eq!(rotate(&one).await, 2);
            register(&one, "newcomer").await;
            log_in(&two, "newcomer").await;
            settle(&one).await;
        };

        tokio::join!(logins, change);
        for user in 0..12 {
            assert_eq!(version(&one, &format!("user{user}")).await, Some(2), "user{user}");
        }

        // Another node may still seal with the old pepper for a while, so it is kept.
        assert_eq!(versions(&one).await, [(1, false), (2, true)]);
        one.clock.advance(Duration::from_mins(61));
        set_hash(&two, "user3", "$2b$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie").await;
        one.events();
        settle(&one).await;
        assert_eq!(versions(&one).await, [(2, true)]);
        assert_eq!(one.event_kinds(), ["passwords_sealed", "pepper_removed"]);

        log_in(&two, "user5").await;
        one.close().await;
        two.close().await;
    }
}

#[tokio::test]
async fn a_pepper_that_a_hash_needs_is_not_removed() {
    for engine in ENGINES {
        let (app, _) = peppered(engine).await;
        register(&app, "alice").await;
        register(&app, "bob").await;
        let (_, damaged) = stored(&app, "bob").await;
        set_hash(&app, "bob", &format!("{}AAAA", damaged.as_str())).await;

        rotate(&app).await;
        app.clock.advance(Duration::from_hours(48));
        settle(&app).await;
        settle(&app).await;

        assert_eq!(
            versions(&app).await,
            [(1, false), (2, true)],
            "bob's hash cannot be opened and is unchanged"
        );
        assert_eq!((version(&app, "alice").await, version(&app, "bob").await), (Some(2), Some(1)));

        app.operate(async |ctx| {
            let bob = auth::account::find(ctx, "bob").await.unwrap();
            auth::account::delete(ctx, &bob).await.unwrap();
        })
        .await;
        settle(&app).await;
        assert_eq!(versions(&app).await, [(2, true)]);
        app.close().await;
    }
}

#[tokio::test]
async fn a_sealed_hash_moved_to_another_user_is_unusable() {
    let (app, _) = peppered(Engine::Sqlite).await;
    register(&app, "alice").await;
    register(&app, "mallory").await;
    let (_, own) = stored(&app, "mallory").await;
    set_hash(&app, "alice", own.as_str()).await;

    app.events();
    try_log_in(&app, "alice", PASSWORD).await.expect_problem(401, "invalid_credentials");
    let event = serde_json::to_value(&app.events()[0].event).unwrap();
    assert_eq!((&event["kind"], &event["reason"]), (&json!("login_failed"), &json!("unusable_hash")));
    log_in(&app, "mallory").await;
    app.close().await;
}

#[tokio::test]
async fn older_hashes_are_sealed_and_can_be_unsealed() {
    for engine in ENGINES {
        let keyring = fixtures::new_keyring();
        let database = TestDatabase::new(engine);
        let plain = TestApp::on(database.clone(), options(&keyring, false)).await;
        for name in ["alice", "bob", "carol"] {
            register(&plain, name).await;
            assert_eq!(version(&plain, name).await, None);
        }
        plain.close().await;

        let app = TestApp::on(database.clone(), options(&keyring, true)).await;
        let (_, before) = stored(&app, "alice").await;

        log_in(&app, "alice").await;
        app.events();
        app.keep_next().await;
        assert_eq!(app.event_kinds(), ["passwords_sealed"]);
        let (uuid, after) = stored(&app, "alice").await;
        assert_eq!(after.pepper(), Some(1));
        assert_eq!(
            app.services.peppers.open(uuid, &after).unwrap().to_string(),
            before.as_str(),
            "the same hash"
        );

        log_in(&app, "alice").await;
        assert!(app.services.hasher.rehashed().is_none(), "it is sealed once");
        settle(&app).await;
        for name in ["alice", "bob", "carol"] {
            assert_eq!(version(&app, name).await, Some(1));
            log_in(&app, name).await;
            try_log_in(&app, name, "Wrong guess 1").await.expect(401);
        }

        let refused = app.operate(async |ctx| pepper::unseal(ctx, Place::default()).await).await;
        assert!(matches!(refused, Err(PepperServiceError::On)));
        app.close().await;

        let off = TestApp::on(database, options(&keyring, false)).await;
        log_in(&off, "alice").await;
        register(&off, "dave").await;
        settle(&off).await;
        assert_eq!(
            (version(&off, "dave").await, version(&off, "bob").await),
            (None, Some(1)),
            "unsealing is not automatic"
        );

        let refused = off.operate(async |ctx| pepper::rotate(ctx).await).await;
        assert!(matches!(refused, Err(PepperServiceError::Off)));
        let mut next = Some(Place::default());
        while let Some(place) = next {
            next = off.operate(async |ctx| pepper::unseal(ctx, place).await.unwrap()).await;
        }

        assert_eq!((version(&off, "alice").await, version(&off, "bob").await), (None, None));
        log_in(&off, "bob").await;
        off.close().await;
    }
}

#[tokio::test]
async fn every_write_of_a_hash_seals_it() {
    for engine in ENGINES {
        let (app, _) = peppered(engine).await;
        // A hash in an old format is replaced by a sealed one.
        register(&app, "alice").await;
        let old = bcrypt::hash_with_salt(PASSWORD, 5, *b"sixteen bytes!!!").unwrap().to_string();
        set_hash(&app, "alice", &old).await;
        app.events();
        log_in(&app, "alice").await;
        app.keep_next().await;
        assert_eq!(app.event_kinds(), ["login_succeeded", "password_rehashed"]);
        let (uuid, text) = stored(&app, "alice").await;
        assert_eq!(text.pepper(), Some(1));
        assert_eq!(app.services.peppers.open(uuid, &text).unwrap().kind(), "argon2id");
        // An unknown user gets the same answer.
        app.operate(async |ctx| auth::password::learn_kinds(ctx).await.unwrap()).await;
        try_log_in(&app, "nobody", PASSWORD).await.expect(401);

        let pair = member(&app, "bob").await;
        let body = json!({"current_password": PASSWORD, "new_password": "another one 1"});
        app.post(&path("password"), Some(&pair.access), body).await.expect(200);
        assert_eq!(version(&app, "bob").await, Some(1));
        try_log_in(&app, "bob", "another one 1").await.expect(200);

        let bob = find(&app, "bob").await;
        let third = model::Secret::new("a third password".to_owned());
        app.operate(async |ctx| auth::account::set_password(ctx, &bob, &third).await.unwrap()).await;
        assert_eq!(version(&app, "bob").await, Some(1));

        // Erasing an account requires its password.
        let pair = Pair::from(&try_log_in(&app, "bob", "a third password").await.expect(200));
        let erase = async |password: &str| {
            let body = Some(("application/json", json!({"password": password}).to_string()));
            app.call(http::Method::DELETE, &path("me"), Some(&pair.access), body).await.status.as_u16()
        };
        assert_eq!((erase("Wrong guess 1").await, erase("a third password").await), (403, 204));
        app.close().await;
    }
}

#[tokio::test]
async fn imports_are_sealed_and_exports_are_not() {
    let (app, _) = peppered(Engine::Sqlite).await;
    let hash = bcrypt::hash_with_salt(PASSWORD, 4, *b"sixteen bytes!!!").unwrap().to_string();
    let row = json!({"email": "alice@example.com", "username": "alice", "password_hash": hash});

    let import = async || {
        app.operate(async |ctx| {
            let mut importer = auth::account::Importer::new(auth::account::ImportOptions::default());
            importer.add(ctx, 1, Ok(row.as_object().unwrap().clone()));
            importer.flush(ctx).await.unwrap().remove(0).verdict
        })
        .await
    };

    assert!(matches!(import().await, auth::account::Verdict::Imported(_)));
    assert_eq!(version(&app, "alice").await, Some(1));
    assert!(
        matches!(import().await, auth::account::Verdict::Unchanged(_)),
        "the import compares the plain hash"
    );

    let exported = app
        .operate(async |ctx| {
            let users = auth::account::export_page(ctx, model::UserId(0), 10).await.unwrap();
            auth::account::export_members(ctx.services, &users[0], true)
        })
        .await;
    assert_eq!(exported["password_hash"], json!(hash));

    log_in(&app, "alice").await;
    app.close().await;
}

#[tokio::test]

async fn resealing_moves_the_pepper_to_the_new_master_key() {
    let (app, old) = peppered(Engine::Sqlite).await;
    register(&app, "alice").await;
    let new = fixtures::new_keyring();
    let both = new.to_text().expose().clone() + old.to_text().expose();
    let both = Keyring::parse(&both).unwrap();
    let database = app.database.clone();
    app.close().await;

    let app = TestApp::on(database.clone(), options(&both, true)).await;
    let keys = app.operate(async |ctx| auth::signing_keys::reseal(ctx).await.unwrap()).await;
    assert_eq!((keys.keys, keys.detail_keys), (2, 0), "a signing key and a pepper");
    app.close().await;

    let app = TestApp::on(database, options(&new, true)).await;
    log_in(&app, "alice").await;
    app.close().await;
}

/// Otherwise each login with such a hash would cost one more query.
#[tokio::test]
async fn a_missing_pepper_is_queried_once() {
    let (app, _) = peppered(Engine::Sqlite).await;
    register(&app, "alice").await;

    // A pepper that another master key sealed.
    app.operate(async |ctx| {
        let made: Result<(), store::Error> = ctx
            .lease
            .transact(model::intent::PepperCreated {}, async move |tx| {
                tx.one(store::queries::pepper::insert(7, vec![1, 2, 3], model::Now::from_seconds(1))).await?;
                Ok((model::event::PepperCreated { version: 7 }, ()))
            })
            .await;
        made.unwrap();
    })
    .await;

    set_hash(&app, "alice", "pepper:7:AAAA").await;

    let trips = async || {
        let before = app.meter.trips();
        try_log_in(&app, "alice", PASSWORD).await.expect(401);
        app.meter.trips() - before
    };
    assert_eq!((trips().await, trips().await, trips().await), (2, 1, 1));
    app.close().await;
}
