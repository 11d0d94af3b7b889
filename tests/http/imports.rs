//! Imported users log in with the passwords of their old system.

use auth::account::{ImportOptions, Importer, Outcome, Verdict};
use fixtures::{Answer, TestApp, on_both};
use serde_json::{Map, Value, json};

/// Hashes that other programs wrote: kind, hash, and the password in JSON.
pub(crate) const VECTORS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/data/password-hashes.tsv"));

/// SHA-crypt of "correct horse battery staple", with two salts.
pub(crate) const HASH: &str = "$5$rounds=1000$$mAwhFY7O7ZrOdMqLHnXfo0MEchkMOxIjJUTi3.3mBs5";
const OTHER_HASH: &str = "$5$rounds=1234$a$lTFLnjJYBn.JJeeXDaY4dEFJudd13dHFgFa3xwf6QU.";
pub(crate) const PASSWORD: &str = "correct horse battery staple";

on_both! {
    every_imported_hash_accepts_its_password,
    imported_passwords_are_compared_as_received_before_and_after_the_first_login,
    an_unusable_hash_is_refused_at_the_import,
    keycloak_and_firebase_hashes_are_imported,
    new_ids_are_above_the_imported_ones,
    an_import_does_not_change_existing_accounts,
    imported_rows_are_validated_like_registrations,
    imports_and_exports_are_recorded,
    states_under_other_names_are_kept,
    dates_of_other_systems_are_kept,
    one_bad_optional_member_does_not_cost_the_account,
    people_without_an_email_log_in_by_their_username,
    an_account_is_found_by_its_old_id,
    second_factors_are_kept_sealed,
    addresses_with_dots_anywhere_are_imported_and_not_registered,
}

fn members(row: Value) -> Map<String, Value> {
    let Value::Object(members) = row else { unreachable!("{row}") };
    members
}

pub(crate) async fn outcomes(app: &TestApp, options: ImportOptions, rows: Vec<Value>) -> Vec<Outcome> {
    let mut importer = Importer::new(options);
    app.operate(async |ctx| {
        for (line, row) in (1..).zip(rows) {
            importer.add(ctx, line, Ok(members(row)));
        }
        importer.flush(ctx).await.unwrap()
    })
    .await
}

pub(crate) async fn import_with(app: &TestApp, options: ImportOptions, rows: Vec<Value>) -> Vec<Verdict> {
    outcomes(app, options, rows).await.into_iter().map(|outcome| outcome.verdict).collect()
}

pub(crate) async fn import(app: &TestApp, rows: Vec<Value>) -> Vec<Verdict> {
    import_with(app, ImportOptions::default(), rows).await
}

pub(crate) fn updating() -> ImportOptions {
    ImportOptions { update: true, ..ImportOptions::default() }
}

/// Imports one row that must be refused; returns the reason.
async fn refusal(app: &TestApp, row: Value) -> String {
    let verdict = import(app, vec![row.clone()]).await.remove(0);
    let Verdict::Refused(reason) = verdict else { unreachable!("{row}: {verdict:?}") };
    reason
}

pub(crate) async fn log_in(app: &TestApp, email: &str, password: &str) -> Answer {
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

    let verdicts =
        import_with(app, ImportOptions { firebase: project.ok(), ..ImportOptions::default() }, rows).await;
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
    assert_eq!(import(app, vec![with("password_hash", Value::Null)]).await, std::slice::from_ref(&same));
    assert_eq!(import(app, vec![json!({"email": "a@EXAMPLE.org", "password_hash": HASH})]).await, [same]);
    for (row, why) in [
        (
            with("password_hash", json!(OTHER_HASH)),
            "user 5 exists already, and the file has another password hash now; --update takes it",
        ),
        (with("id", json!(8)), "user 5 has its email and username"),
        (with("email", json!("c@example.org")), "user 5 has its number and username"),
        (with("username", json!("berta")), "user 5 has its number and email; user 6 has its username"),
        (json!({"id": 5, "state": "erased"}), "user 5 has its number"),
    ] {
        assert_eq!(refusal(app, row).await, why);
    }
    assert!(app.events().is_empty(), "an unchanged row is not recorded");
    assert_eq!(
        import_with(
            app,
            ImportOptions { dry_run: true, ..ImportOptions::default() },
            vec![json!({"email": "dry@example.org"})]
        )
        .await,
        [Verdict::Imported(None)]
    );
    assert!(app.events().is_empty());
}

async fn imported_rows_are_validated_like_registrations(app: &TestApp) {
    for (row, why) in [
        (json!({}), "email: an account requires one, or a username"),
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
        (json!({"email": "a@example.org", "created_at": "yesterday"}), "created_at: this has to be a date"),
        (
            json!({"email": "a@example.org", "id": "6f2c1f0e-5a43-4d10-9f4b-3a1f7f8a2b11"}),
            "give --map id=uuid",
        ),
        (json!({"email": "a@example.org", "id": "auth0|5f7c"}), "give --map id=external_id"),
        (json!({"email": "a@example.org", "password": HASH}), "give --map password=password_hash"),
        (
            json!({"email": "a@example.org", "profile": {"plan": "pro"}}),
            "profile.plan: the configuration defines no",
        ),
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

/// Every account with all that is stored of it.
pub(crate) async fn export(app: &TestApp) -> Vec<Map<String, Value>> {
    app.operate(async |ctx| {
        let users = auth::account::export_page(ctx, model::UserId(0), 1000).await.unwrap();
        users.iter().map(|user| auth::account::export_members(ctx.services, user, true)).collect()
    })
    .await
}

async fn states_under_other_names_are_kept(app: &TestApp) {
    for (at, (name, value, active)) in [
        ("is_active", json!("f"), false),
        ("is_active", json!("yes"), true),
        ("is_inactive", json!(1), false),
        ("is_inactive", json!("0"), true),
        ("inactive_since", json!("2022-01-01 00:00:00 UTC"), false),
        ("inactive_since", json!("0000-00-00 00:00:00"), true),
        ("inactive_until", json!("2099-01-01 00:00:00+00"), false),
        ("inactive_until", json!("infinity"), false),
        ("inactive_until", json!("2001-01-01 00:00:00+00"), true),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("user{at}@example.org");
        import(app, vec![json!({"email": email, "password_hash": HASH, name: value})]).await;
        let status = if active { 200 } else { 401 };
        assert_eq!(log_in(app, &email, PASSWORD).await.status, status, "{name} {value}");
    }
    let why = refusal(app, json!({"email": "x@example.org", "inactive_since": "soon"})).await;
    assert!(why.starts_with("inactive_since: "), "{why}");
}

async fn dates_of_other_systems_are_kept(app: &TestApp) {
    let row = json!({
        "email": "a@example.org", "created_at": "2022-01-02 12:00:00+02",
        "updated_at": {"$date": 1_641_204_000_000_i64},
        "email_verified": "2022-01-04 10:00:00 UTC",
    });
    let never =
        json!({"email": "b@example.org", "created_at": "0000-00-00 00:00:00", "email_verified_at": 0});
    import(app, vec![row, never]).await;
    let [a, b] = export(app).await.try_into().unwrap();
    assert_eq!(a["created_at"], "2022-01-02T10:00:00Z");
    assert_eq!(a["updated_at"], "2022-01-03T10:00:00Z");
    assert_eq!(a["email_verified_at"], "2022-01-04T10:00:00Z");
    assert_eq!(b["email_verified_at"], Value::Null);
}

async fn one_bad_optional_member_does_not_cost_the_account(app: &TestApp) {
    let lenient = || ImportOptions { lenient: true, ..ImportOptions::default() };
    for (at, (name, value)) in [
        ("username", json!("jo")),
        ("username", json!("jo hn")),
        ("username", json!(["a", "b"])),
        ("created_at", json!("yesterday")),
        ("country", json!("ZZ")),
    ]
    .into_iter()
    .enumerate()
    {
        let row = json!({"email": format!("user{at}@example.org"), name: value, "timezone": "Europe/Berlin"});
        assert!(refusal(app, row.clone()).await.starts_with(name), "{row}");
        let outcome = outcomes(app, lenient(), vec![row.clone()]).await.remove(0);
        assert!(matches!(outcome.verdict, Verdict::Imported(Some(_))), "{row}: {outcome:?}");
        assert!(outcome.warnings[0].starts_with(&format!("left out: {name}: ")), "{outcome:?}");
    }
    assert!(export(app).await.iter().all(|user| user["profile"]["timezone"] == "Europe/Berlin"));

    // A list of one value is the value; a username that is the email is not needed.
    let row = json!({
        "email": [" c@example.org\u{a0}"], "username": "C@example.org", "country": ["DE"],
         "password_hash": HASH
    });
    let outcome = outcomes(app, ImportOptions::default(), vec![row]).await.remove(0);
    assert!(matches!(outcome.verdict, Verdict::Imported(Some(_))), "{outcome:?}");
    assert_eq!(log_in(app, "c@example.org", PASSWORD).await.status, 200);
    // The hash is never optional.
    let row = json!({"email": "d@example.org", "password_hash": "md5"});
    let verdict = import_with(app, lenient(), vec![row]).await.remove(0);
    assert!(matches!(verdict, Verdict::Refused(_)));
}

async fn people_without_an_email_log_in_by_their_username(app: &TestApp) {
    let rows = || vec![json!({"username": "Anna", "password_hash": HASH}), json!({"username": "berta"})];
    let [first, _] = outcomes(app, ImportOptions::default(), rows()).await.try_into().unwrap();
    assert_eq!(first.account.map(|account| account.has_email), Some(false));
    let answer = log_in(app, "anna", PASSWORD).await;
    assert_eq!(answer.status, 200);
    let bearer = answer.json()["access_token"].as_str().unwrap().to_owned();
    let me = app.get("/api/v1/auth/me", Some(&bearer)).await;
    assert!(me.status == 200 && me.json()["email"].is_null());
    let again = import(app, rows()).await;
    assert!(again.iter().all(|verdict| matches!(verdict, Verdict::Unchanged(_))), "{again:?}");
}

async fn an_account_is_found_by_its_old_id(app: &TestApp) {
    let row = json!({"email": "a@example.org", "external_id": "auth0|5f7c8ec7c33c6c004bbafe82"});
    import(app, vec![row.clone()]).await;
    let moved = json!({"email": "b@example.org", "external_id": row["external_id"]});
    assert_eq!(refusal(app, moved).await, "user 1 has its external_id");
    app.operate(async |ctx| {
        for name in ["auth0|5f7c8ec7c33c6c004bbafe82", "external_id:auth0|5f7c8ec7c33c6c004bbafe82"] {
            assert_eq!(auth::account::find(ctx, name).await.unwrap().id, model::UserId(1));
        }
    })
    .await;
    let label = outcomes(app, ImportOptions::default(), vec![row]).await.remove(0).label;
    assert_eq!(label.old_id.as_deref(), Some("auth0|5f7c8ec7c33c6c004bbafe82"));
    assert_eq!(label.email.as_deref(), Some("a@example.org"));
}

async fn second_factors_are_kept_sealed(app: &TestApp) {
    let factors = json!([
        {"kind": "totp", "secret": "JBSWY3DPEHPK3PXP"},
        {"kind": "passkey", "credential_id": "Y3JlZA", "public_key": "a2V5", "sign_count": 5},
    ]);
    let row = json!({"email": "a@example.org", "password_hash": HASH, "second_factors": factors});
    let outcome = outcomes(app, ImportOptions::default(), vec![row]).await.remove(0);
    assert_eq!(outcome.account.map(|account| account.second_factors), Some(2));
    let exported = export(app).await.remove(0);
    assert_eq!(exported["second_factors"].as_array().map(Vec::len), Some(2));
    assert!(exported["second_factors"].to_string().contains("JBSWY3DPEHPK3PXP"));
    // A login needs the password only.
    assert_eq!(log_in(app, "a@example.org", PASSWORD).await.status, 200);
}

async fn addresses_with_dots_anywhere_are_imported_and_not_registered(app: &TestApp) {
    import(app, vec![json!({"email": "a..b@docomo.ne.jp", "password_hash": HASH})]).await;
    assert_eq!(log_in(app, "A..b@docomo.ne.jp", PASSWORD).await.status, 200);
    let body = json!({"email": "c..d@docomo.ne.jp", "username": "cd", "password": "a fine long phrase"});
    assert_eq!(app.post("/api/v1/auth/register", None, body).await.status, 422);
}
