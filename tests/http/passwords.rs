//! Which passwords are accepted, how they are stored, and when their hashes are replaced.

use std::collections::BTreeSet;

use auth::password::{BREACH_BITS, BREACH_KIND, Blocklist, Policy, breach_hash, learn_kinds};
use fixtures::{Answer, Engine, Options, TestApp, on_both};
use serde_json::{Value, json};

use crate::api_calls::{PASSWORD, find, find_login, log_in, path, register, set_hash, try_log_in};

on_both! {
    passwords_have_8_to_1024_characters,
    passwords_may_use_every_unicode_plane,
    the_api_has_no_password_hints_or_questions,
    the_whole_password_is_compared,
    nfc_forms_of_a_password_are_equal_and_nfkc_forms_are_not,
    common_and_personal_passwords_are_refused,
    unknown_names_use_the_hash_formats_of_users,
    a_password_of_a_megabyte_is_refused_before_hashing,
    an_old_hash_is_replaced_at_the_first_login,
}

async fn try_password(app: &TestApp, name: &str, password: &str) -> Answer {
    let body = json!({"email": format!("{name}@example.com"), "username": name, "password": password});
    app.post(&path("register"), None, body).await
}

/// Registers with a password and logs in with it.
async fn works(app: &TestApp, name: &str, password: &str) {
    try_password(app, name, password).await.expect(201);
    try_log_in(app, name, password).await.expect(200);
}

/// The type and the message of a refused password.
fn complaint(answer: &Answer) -> (String, String) {
    let error = answer.json()["errors"][0].clone();
    assert_eq!(error["loc"], json!(["body", "password"]), "{}", answer.text);
    let text = |member: &str| error[member].as_str().unwrap().to_owned();
    (text("type"), text("msg"))
}

async fn passwords_have_8_to_1024_characters(app: &TestApp) {
    // The limits count characters: each of these has four bytes.
    for (index, length) in [8, 64, 128, 1024].into_iter().enumerate() {
        works(app, &format!("long{index}"), &"\u{1F511}".repeat(length)).await;
    }
    for (length, kind, limit) in [
        (7, "password_too_short", "8"),
        (1025, "password_too_long", "1024"),
        (9999, "password_too_long", "1024"),
    ] {
        let refused = try_password(app, "nobody", &"x".repeat(length)).await.expect(422);
        let (type_, message) = complaint(&refused);
        assert_eq!(type_, kind, "{length}");
        assert!(message.contains(limit), "{message}");
    }
}

async fn passwords_may_use_every_unicode_plane(app: &TestApp) {
    let printing: String = (' '..='~').collect();
    works(app, "ascii", &printing).await;
    works(app, "spaces", "   a b c   ").await;
    for plane in 0..=16_u32 {
        let assigned = if plane == 0 { 0x4E00 } else { 0 };
        let password: String =
            (0..12).filter_map(|n| char::from_u32((plane << 16) + assigned + 0x100 + n * 7)).collect();
        assert_eq!(password.chars().count(), 12);
        works(app, &format!("plane{plane}"), &password).await;
    }
}

async fn the_api_has_no_password_hints_or_questions(app: &TestApp) {
    let document = app.get("/openapi.json", None).await.expect(200).json();
    let mut names = BTreeSet::new();
    members(&document, &mut names);
    for word in ["hint", "question", "answer", "reminder"] {
        let found: Vec<_> = names.iter().filter(|name| name.to_lowercase().contains(word)).collect();
        assert!(found.is_empty(), "{found:?}");
    }
    assert!(names.contains("password") && names.contains("refresh_token"));
}

/// Collects the property names of every schema.
fn members(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                names.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| members(value, names));
        }
        Value::Array(list) => list.iter().for_each(|value| members(value, names)),
        _ => {}
    }
}

async fn the_whole_password_is_compared(app: &TestApp) {
    for length in [63, 72, 128] {
        let (name, beginning) = (format!("whole{length}"), "b".repeat(length));
        works(app, &name, &format!("{beginning}1")).await;
        for other in [format!("{beginning}2"), beginning.clone(), format!("{beginning}11")] {
            try_log_in(app, &name, &other).await.expect_problem(401, "invalid_credentials");
        }
    }
}

async fn nfc_forms_of_a_password_are_equal_and_nfkc_forms_are_not(app: &TestApp) {
    works(app, "composed", "caf\u{E9} au lait").await;
    try_log_in(app, "composed", "cafe\u{301} au lait").await.expect(200);
    try_log_in(app, "composed", "cafe au lait").await.expect(401);
    works(app, "decomposed", "cafe\u{301} noir").await;
    try_log_in(app, "decomposed", "caf\u{E9} noir").await.expect(200);
    works(app, "ligature", "\u{FB01}fty \u{FB01}shes").await;
    try_log_in(app, "ligature", "fifty fishes").await.expect(401);
}

async fn common_and_personal_passwords_are_refused(app: &TestApp) {
    let email = "somebody.special@example.com";
    let with = |password: &'static str| {
        let body = json!({"email": email, "username": "special-name", "password": password});
        async move { app.post(&path("register"), None, body).await }
    };

    for own in [
        "somebody.special@example.com",
        "SomeBody.Special@Example.com",
        "somebody.special",
        "special-name",
        "Special-Name",
        "gatewright",
        "Gatewright",
        "auth.example",
        "password123",
        "PassWord123",
        "1qaz2wsx3edc",
        "qwertyuiop",
    ] {
        let (kind, message) = complaint(&with(own).await.expect(422));
        assert_eq!(kind, "password_blocklisted", "{own}");
        assert!(message.starts_with("must not be") || message.contains("common"), "{message}");
    }
    // A password may contain a blocked word.
    for (index, longer) in
        ["password123 and more", "my gatewright login", "not special-name"].iter().enumerate()
    {
        works(app, &format!("longer{index}"), longer).await;
    }
}

async fn a_password_of_a_megabyte_is_refused_before_hashing(app: &TestApp) {
    register(app, "alice").await;
    let before = app.services.hasher.counts().totals();
    for _ in 0..20 {
        try_log_in(app, "alice", &"x".repeat(1 << 20)).await.expect_problem(413, "body_too_large");
        // Within the body limit but longer than any password: it costs the same as a wrong password.
        try_log_in(app, "alice", &"x".repeat(40_000)).await.expect_problem(401, "invalid_credentials");
    }
    let after = app.services.hasher.counts().totals();
    assert_eq!(after.begun - before.begun, 20);
}

/// The stored hash of a user.
async fn stored(app: &TestApp, name: &str) -> String {
    find_login(app, name).await.hash.unwrap().as_str().to_owned()
}

/// A hash by another implementation of bcrypt.
fn bcrypt_of(password: &str, cost: u32) -> String {
    bcrypt::hash_with_salt(password, cost, *b"sixteen bytes!!!").unwrap().to_string()
}

async fn an_old_hash_is_replaced_at_the_first_login(app: &TestApp) {
    register(app, "alice").await;
    let old = bcrypt_of(PASSWORD, 5);
    set_hash(app, "alice", &old).await;

    try_log_in(app, "alice", "Wrong guess 1").await.expect(401);
    assert_eq!(stored(app, "alice").await, old, "a wrong password changes nothing");

    app.events();
    let pair = log_in(app, "alice").await;
    app.keep_next().await;
    let new = stored(app, "alice").await;
    assert!(new.starts_with("$argon2id$"), "{new}");
    assert_eq!(app.event_kinds(), ["login_succeeded", "password_rehashed"]);

    // The session stays open, the password is unchanged, and the hash is not replaced again.
    crate::api_calls::refresh(app, &pair.refresh).await;
    log_in(app, "alice").await;
    try_log_in(app, "alice", "Wrong guess 1").await.expect(401);
    assert_eq!(stored(app, "alice").await, new);
    assert!(app.services.hasher.rehashed().is_none());

    // A password that changed in the meantime is not overwritten.
    set_hash(app, "alice", &old).await;
    log_in(app, "alice").await;
    let newest = bcrypt_of("another password", 4);
    set_hash(app, "alice", &newest).await;
    app.events();
    app.keep_next().await;
    assert_eq!(stored(app, "alice").await, newest);
    assert!(app.event_kinds().is_empty(), "nothing was recorded");
}

/// The number of computed hashes per algorithm.
fn computed(app: &TestApp) -> Vec<(&'static str, u64)> {
    let durations = app.services.hasher.counts().durations();
    durations.into_iter().map(|(algorithm, histogram)| (algorithm, histogram.count)).collect()
}

async fn unknown_names_use_the_hash_formats_of_users(app: &TestApp) {
    for user in 0..8 {
        let name = format!("user{user}");
        register(app, &name).await;
        if user % 2 == 0 {
            set_hash(app, &name, &bcrypt_of("whatever", 4)).await;
        }
    }

    app.operate(async |ctx| learn_kinds(ctx).await.unwrap()).await;
    let count = |all: &[(&str, u64)], algorithm| {
        all.iter().find(|(name, _)| *name == algorithm).map_or(0, |(_, count)| *count)
    };
    let mut kinds = Vec::new();

    for unknown in 0..40 {
        let before = computed(app);
        for _ in 0..3 {
            try_log_in(app, &format!("nobody{unknown}"), "Wrong guess 1").await.expect(401);
        }
        let after = computed(app);
        let more = |algorithm| count(&after, algorithm) - count(&before, algorithm);
        let (argon2, bcrypt) = (more("argon2id"), more("bcrypt"));
        assert!((argon2, bcrypt) == (3, 0) || (argon2, bcrypt) == (0, 3), "{unknown}: {argon2} {bcrypt}");
        kinds.push(bcrypt > 0);
    }
    let of_bcrypt = kinds.iter().filter(|kind| **kind).count();
    assert!(
        (10..=30).contains(&of_bcrypt),
        "half of the users have bcrypt, but {of_bcrypt} of 40 unknown names"
    );

    // A deactivated user costs the same as before.
    let user = find(app, "user0").await;
    app.operate(async |ctx| auth::account::set_state(ctx, &user, false).await.unwrap()).await;
    let before = computed(app);
    try_log_in(app, "user0", PASSWORD).await.expect(401);
    assert_eq!(count(&computed(app), "bcrypt"), count(&before, "bcrypt") + 1);
}

#[tokio::test]
async fn a_raised_cost_applies_to_each_hash_at_its_next_login() {
    let keyring = fixtures::new_keyring();
    let options = Options { keyring: Some(keyring.clone()), ..Options::default() };
    let app = TestApp::with(Engine::Sqlite, options).await;
    register(&app, "alice").await;
    let cheap = stored(&app, "alice").await;
    assert!(cheap.contains("$m=8,t=1,p=1$"), "{cheap}");
    let salt = cheap.split('$').nth(4).unwrap();
    assert!(salt.len() * 6 >= 128, "a salt of 128 bits: {salt}");

    let database = app.database.clone();
    app.close().await;
    let costly = [("passwords.argon2_memory", "16KiB"), ("passwords.argon2_iterations", "2")];
    let app = TestApp::on(database, Options { keyring: Some(keyring), ..Options::of(costly) }).await;
    log_in(&app, "alice").await;
    app.keep_next().await;
    let costly = stored(&app, "alice").await;
    assert!(costly.contains("$m=16,t=2,p=1$"), "{costly}");

    log_in(&app, "alice").await;
    assert_eq!(stored(&app, "alice").await, costly, "it is replaced once");
    app.close().await;
}

/// A breach file with these passwords.
fn breached(passwords: &[&str]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = breach_filter::Writer::new(file.reopen().unwrap(), BREACH_KIND, BREACH_BITS).unwrap();
    let hashes: BTreeSet<u64> = passwords.iter().map(|password| breach_hash(password.as_bytes())).collect();
    for hash in hashes {
        writer.push(hash).unwrap();
    }
    writer.finish().unwrap();
    file
}

#[tokio::test]
async fn a_breached_password_is_refused() {
    let file = breached(&["correct horse", "caf\u{E9} au lait", "Trustno1Trustno1"]);
    let options = Options::of([("passwords.breach_filter", file.path().to_str().unwrap())]);
    let app = TestApp::with(Engine::Sqlite, options).await;

    let refused = |answer: Answer| {
        let (kind, message) = complaint(&answer);
        assert_eq!(kind, "password_blocklisted");
        assert!(message.contains("breach"), "{message}");
    };

    refused(try_password(&app, "alice", "correct horse").await.expect(422));
    // The filter compares the NFC form.
    refused(try_password(&app, "alice", "cafe\u{301} au lait").await.expect(422));
    assert_eq!(app.services.hasher.counts().totals().begun, 0, "no hash is computed");

    // The filter compares the exact and complete password.
    works(&app, "alice", "correct horse battery").await;
    works(&app, "bob", "Correct Horse").await;

    let pair = crate::api_calls::Pair::from(&try_log_in(&app, "bob", "Correct Horse").await.expect(200));
    let change = |new: &'static str| {
        let body = json!({"current_password": "Correct Horse", "new_password": new});
        let (app, token) = (&app, &pair.access);
        async move { app.post(&path("password"), Some(token), body).await }
    };
    let answer = change("Trustno1Trustno1").await.expect(422);
    assert_eq!(answer.json()["errors"][0]["loc"], json!(["body", "new_password"]));

    // If the filter cannot be read, new passwords are refused, and existing passwords still work.
    file.as_file().set_len(100).unwrap();
    assert!(change("Something else 1").await.expect(503).headers.contains_key("retry-after"));
    try_password(&app, "carol", "Something else 1").await.expect(503);
    try_log_in(&app, "bob", "Correct Horse").await.expect(200);
    app.close().await;
}

#[tokio::test]
async fn bcrypt_refuses_passwords_over_72_bytes() {
    let options = Options::of([("passwords.algorithm", "bcrypt"), ("passwords.bcrypt_cost", "4")]);
    let app = TestApp::with(Engine::Sqlite, options).await;
    works(&app, "just", &"b".repeat(72)).await;
    try_log_in(&app, "just", &"b".repeat(73)).await.expect(401);
    let refused = try_password(&app, "over", &"b".repeat(73)).await.expect(422);
    assert_eq!(complaint(&refused).0, "password_too_long");
    assert!(stored(&app, "just").await.starts_with("$2b$04$"));
    app.close().await;
}

#[test]
fn a_custom_blocklist_is_applied_and_can_be_switched_off() {
    let mut settings = auth::Settings::default().passwords;
    let kind = |settings: &auth::password::PasswordSettings, password| {
        Policy(settings).accept("password", password, None, None).err().map(|error| error.kind)
    };
    settings.blocklist = Blocklist::from_lines("correct horse battery\r\nstaple of horses\n");
    assert_eq!(kind(&settings, "Correct Horse Battery"), Some("password_blocklisted"));
    assert_eq!(kind(&settings, "correct horse battery staple"), None);
    assert_eq!(kind(&settings, "password123"), Some("password_blocklisted"));

    settings.blocklist = Blocklist::Off;
    assert_eq!(kind(&settings, "password123"), None);
}
