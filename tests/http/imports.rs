//! Imported users log in with the passwords of their old system.

use auth::account::{Importer, Verdict};
use fixtures::{Answer, TestApp, on_both};
use serde_json::{Map, Value, json};

/// Hashes that other programs wrote: kind, hash, and the password in JSON.
const VECTORS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/data/password-hashes.tsv"));

on_both! {
    every_imported_hash_accepts_its_password,
    imported_passwords_are_compared_as_received_before_and_after_the_first_login,
    an_unusable_hash_is_refused_at_the_import,
    keycloak_and_firebase_hashes_are_imported,
    new_ids_are_above_the_imported_ones,
    an_import_does_not_change_existing_accounts,
    imported_rows_are_validated_like_registrations,
    imports_and_exports_are_recorded,
}

fn members(row: Value) -> Map<String, Value> {
    let Value::Object(members) = row else { unreachable!("{row}") };
    members
}

async fn import_with(app: &TestApp, mut importer: Importer, rows: Vec<Value>) -> Vec<Verdict> {
    app.operate(async |ctx| {
        for (line, row) in (1..).zip(rows) {
            importer.add(ctx, line, Ok(members(row)));
        }
        let verdicts = importer.flush(ctx).await.unwrap();
        verdicts.into_iter().map(|(_, verdict)| verdict).collect()
    })
    .await
}

async fn import(app: &TestApp, rows: Vec<Value>) -> Vec<Verdict> {
    import_with(app, Importer::new(None, false), rows).await
}

/// Imports one row that must be refused; returns the reason.
async fn refusal(app: &TestApp, row: Value) -> String {
    let verdict = import(app, vec![row.clone()]).await.remove(0);
    let Verdict::Refused(reason) = verdict else { unreachable!("{row}: {verdict:?}") };
    reason
}

async fn log_in(app: &TestApp, email: &str, password: &str) -> Answer {
    app.form("/api/v1/auth/token", &[("username", email), ("password", password)]).await
}

async fn every_imported_hash_accepts_its_password(app: &TestApp) {
    let vectors: Vec<(&str, String)> = VECTORS
        .lines()
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            (columns[1], serde_json::from_str(columns[2]).unwrap())
        })
        .collect();
    let email = |at: usize| format!("user{at}@example.org");
    let row =
        |(at, (hash, _)): (usize, &(&str, String))| json!({"email": email(at), "hashed_password": hash});
    let verdicts = import(app, vectors.iter().enumerate().map(row).collect()).await;
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Imported(Some(_)))), "{verdicts:?}");
    for (at, (hash, password)) in vectors.iter().enumerate() {
        // A form cannot have an empty password.
        if !password.is_empty() {
            assert_eq!(log_in(app, &email(at), password).await.status, 200, "{hash}");
        }
        assert_eq!(log_in(app, &email(at), &format!("x{password}")).await.status, 401, "{hash}");
    }
}

async fn imported_passwords_are_compared_as_received_before_and_after_the_first_login(app: &TestApp) {
    // In NFD, hashed by programs that do not normalise.
    let (typed, composed) = ("cafe\u{301} \u{212b}ngstro\u{308}m", "café Ångström");
    for (at, line) in VECTORS.lines().filter(|line| line.contains("cafe")).enumerate() {
        let hash = line.split('\t').nth(1).unwrap();
        let email = format!("user{at}@example.org");
        import(app, vec![json!({"email": email, "password_hash": hash})]).await;
        assert_eq!(log_in(app, &email, composed).await.status, 401, "{hash}");
        for _ in 0..2 {
            assert_eq!(log_in(app, &email, typed).await.status, 200, "{hash}");
        }
    }

    // Gatewright's own hash accepts both forms, before and after an export.
    let body = json!({"email": "ours@example.org", "username": "ours", "password": composed});
    assert_eq!(app.post("/api/v1/auth/register", None, body).await.status, 201);
    let exported = app
        .operate(async |ctx| {
            let users = auth::account::export_page(ctx, model::UserId(0), 1000).await.unwrap();
            auth::account::export_members(ctx.services, users.last().unwrap(), true)
        })
        .await;
    assert_eq!(exported["password_rules"], "gatewright");

    let moved = json!({
        "email": "moved@example.org",
        "password_hash": exported["password_hash"],
        "password_rules": exported["password_rules"],
    });

    import(app, vec![moved]).await;
    for email in ["ours@example.org", "moved@example.org"] {
        assert_eq!(log_in(app, email, typed).await.status, 200, "{email}");
        assert_eq!(log_in(app, email, composed).await.status, 200, "{email}");
    }
}

async fn an_unusable_hash_is_refused_at_the_import(app: &TestApp) {
    for (hash, why) in [
        (json!("5f4dcc3b5aa765d61d8327deb882cf99"), "not a known password-hash format"),
        (
            json!("$2b$31$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW"),
            "costs more than is allowed: cost",
        ),
        (
            json!("$2b$12$Éixaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
            "malformed password hash: length",
        ),
        (
            json!("pbkdf2_sha256$99999999$salt$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            "more than is allowed",
        ),
        (json!("a\u{0}b"), "control character"),
        (json!("import:$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW"), "not a known"),
        (json!(7), "this has to be a string"),
        (json!({"value": "x"}), "neither credentialData"),
        (json!({"passwordHash": "AAAA", "salt": "AAAA"}), "--firebase-project"),
    ] {
        let reason = refusal(app, json!({"email": "a@example.org", "password_hash": hash})).await;
        assert!(reason.starts_with("password_hash: ") && reason.contains(why), "{hash}: {reason}");
        assert!(!reason.contains("$2b$") && !reason.contains("5f4d"), "{reason}");
    }

    let ours =
        json!({"email": "a@example.org", "password_hash": "$5$salt$x", "password_rules": "gatewright"});
    assert!(refusal(app, ours).await.contains("tag"));
    assert!(app.events().is_empty());
}

async fn keycloak_and_firebase_hashes_are_imported(app: &TestApp) {
    // PBKDF2 of "password" as Keycloak stores it, and the example from Firebase's documentation.
    let keycloak = json!({
        "type": "password",
        "credentialData": r#"{"hashIterations":1000,"algorithm":"pbkdf2-sha256","additionalParameters":{}}"#,
        "secretData": r#"{"value":"YywoEuRtRgQQK6dhjp1tfS+BKPYma0oDJk0qBGC33LM=","salt":"c2FsdA=="}"#,
    });
    let project = protocol::wire::password_hash::FirebaseProject::parse(
        r#"{"base64_signer_key":
            "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==",
            "base64_salt_separator":"Bw==","rounds":8,"mem_cost":14}"#,
    );

    let firebase = json!({
        "passwordHash": "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/\
                         qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
        "salt": "42xEC+ixf3L2lw==",
    });

    let rows = vec![
        json!({"email": "k@example.org", "password_hash": keycloak}),
        // JSON in a cell of a table.
        json!({"email": "c@example.org", "password_hash": keycloak.to_string()}),
        json!({"email": "f@example.org", "password_hash": firebase}),
    ];

    let verdicts = import_with(app, Importer::new(Some(project.unwrap()), false), rows).await;
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Imported(_))), "{verdicts:?}");
    for (email, password) in
        [("k@example.org", "password"), ("c@example.org", "password"), ("f@example.org", "user1password")]
    {
        assert_eq!(log_in(app, email, password).await.status, 200, "{email}");
        assert_eq!(log_in(app, email, "another one").await.status, 401, "{email}");
    }
}

async fn new_ids_are_above_the_imported_ones(app: &TestApp) {
    let id = |number: i64| Verdict::Imported(Some(model::UserId(number)));
    let rows = vec![
        json!({"email": "made-up@example.org"}),
        json!({"email": "given@example.org", "id": "1"}),
        json!({"id": 40, "state": "erased"}),
        json!({"email": "low@example.org", "id": 7}),
    ];
    assert_eq!(import(app, rows).await, [id(41), id(1), id(40), id(7)]);
    let register = async |name: &str| crate::api_calls::register(app, name).await["id"].clone();
    assert_eq!(register("anna").await, 42);
    // A lower id does not reset the sequence.
    assert_eq!(import(app, vec![json!({"email": "lower@example.org", "id": 9})]).await, [id(9)]);
    assert_eq!(register("berta").await, 43);
    assert_eq!(refusal(app, json!({"email": "tomb@example.org", "id": 40})).await, "user 40 has its number");
    // Ids above the highest accepted one can still be assigned.
    let highest = 1_i64 << 52;
    let row = json!({"email": "highest@example.org", "id": highest});
    assert_eq!(import(app, vec![row]).await, [id(highest)]);
    assert_eq!(register("carla").await, highest + 1);
}

async fn an_import_does_not_change_existing_accounts(app: &TestApp) {
    const HASH: &str = "$5$rounds=1000$$mAwhFY7O7ZrOdMqLHnXfo0MEchkMOxIjJUTi3.3mBs5";
    let row = json!({"id": 5, "email": "A@example.org", "username": "anna", "password_hash": HASH});
    let with = |name: &str, value: Value| {
        let mut row = row.clone();
        row[name] = value;
        row
    };
    let all = vec![
        row.clone(),
        with("username", json!("berta")),
        json!({"email": "b@example.org", "username": "berta"}),
    ];
    let verdicts = import(app, all).await;
    assert_eq!(verdicts[0], Verdict::Imported(Some(model::UserId(5))));
    assert_eq!(verdicts[1], Verdict::Refused("it has the same number as line 1".into()));
    assert_eq!(verdicts[2], Verdict::Imported(Some(model::UserId(6))));
    app.events();

    let same = Verdict::Unchanged(model::UserId(5));
    assert_eq!(import(app, vec![row.clone()]).await, std::slice::from_ref(&same));
    assert_eq!(import(app, vec![json!({"email": "a@EXAMPLE.org", "password_hash": HASH})]).await, [same]);
    for (row, why) in [
        (with("password_hash", Value::Null), "user 5 exists already, with another password hash"),
        (with("id", json!(8)), "user 5 has its email and username"),
        (with("email", json!("c@example.org")), "user 5 has its number and username"),
        (with("username", json!("berta")), "user 5 has its number and email; user 6 has its username"),
        (json!({"id": 5, "state": "erased"}), "user 5 has its number"),
    ] {
        assert_eq!(refusal(app, row).await, why);
    }
    assert!(app.events().is_empty(), "an unchanged row is not recorded");
    assert_eq!(
        import_with(app, Importer::new(None, true), vec![json!({"email": "dry@example.org"})]).await,
        [Verdict::Imported(None)]
    );
    assert!(app.events().is_empty());
}

async fn imported_rows_are_validated_like_registrations(app: &TestApp) {
    for (row, why) in [
        (json!({}), "email: an account requires one"),
        (json!({"email": "nobody"}), "email: an email address has one @"),
        (json!({"email": 5}), "email: this has to be a string"),
        (json!({"email": "a@example.org", "username": "a@b"}), "username: "),
        (json!({"email": "a@example.org", "id": 0}), "id: this has to be a whole number"),
        (
            json!({"email": "a@example.org", "id": 4_503_599_627_370_497_i64}),
            "id: this has to be a whole number from 1 to 2^52: new accounts get numbers above it, and JSON \
             is exact up to 2^53 - 1",
        ),
        (json!({"email": "a@example.org", "id": 9_007_199_254_740_991_i64}), "id: "),
        (json!({"email": "a@example.org", "id": "+5"}), "id: "),
        (json!({"email": "a@example.org", "uuid": "5"}), "uuid: this has to be a UUID"),
        (
            json!({"email": "a@example.org", "role": "emperor"}),
            "role: this has to be one of basic_user, admin",
        ),
        (json!({"email": "a@example.org", "roles": ["admin", "basic_user"]}), "role: "),
        (json!({"email": "a@example.org", "state": "asleep"}), "state: "),
        (json!({"email": "a@example.org", "state": "active", "is_active": false}), "state: it contradicts"),
        (json!({"email": "a@example.org", "is_active": "maybe"}), "is_active: this has to be true or false"),
        (json!({"email": "a@example.org", "created_at": 5}), "created_at: this has to be a date"),
        (json!({"email": "a@example.org", "country": "ZZ"}), "country: "),
        (json!({"email": "a@example.org", "profile": "[]"}), "profile: this has to be an object"),
        (
            json!({"email": "a@example.org", "password": "plain"}),
            "password: plain passwords are not accepted",
        ),
        (json!({"email": "a@example.org", "password_rules": "x"}), "password_rules: "),
        (json!({"email": "a@example.org", "hash": "x", "password_hash": "x"}), "it is given twice"),
        (json!({"state": "erased"}), "id: a tombstone requires it"),
        (
            json!({"state": "erased", "id": 3, "email": "a@example.org"}),
            "state: an erased account has no email",
        ),
    ] {
        let reason = refusal(app, row.clone()).await;
        assert!(reason.contains(why), "{row}: {reason}");
    }

    let both = refusal(app, json!({"email": "nobody", "id": -1})).await;
    assert!(both.starts_with("id: ") && both.contains("; email: "), "{both}");
}

async fn imports_and_exports_are_recorded(app: &TestApp) {
    let rows = vec![
        json!({"email": "a@example.org", "role": "admin"}),
        json!({"email": "b@example.org", "roles": ["basic_user"]}),
        json!({"id": 9, "state": "erased"}),
        json!({"email": "nobody"}),
    ];
    import(app, rows).await;
    let events = app.events();
    assert_eq!(events.len(), 1);
    assert_eq!(
        events[0].event,
        model::Event::UsersImported { users: 3, highest: model::UserId(11), admins: 1, tombstones: 1 }
    );

    app.operate(async |ctx| auth::account::begin_export(ctx, true)).await;
    assert_eq!(app.events()[0].event, model::Event::UsersExported { hashes: true });
}
