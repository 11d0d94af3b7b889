//! A second import of the same people: what it finds, what it changes, and who does not come back.

use auth::account::{ImportOptions, Verdict};
use fixtures::{TestApp, on_both};
use serde_json::json;

use crate::imports::{HASH, PASSWORD, VECTORS, export, import, import_with, log_in, outcomes, updating};

on_both! {
    a_second_run_knows_the_hash_of_the_origin_after_logins,
    an_update_takes_what_the_origin_changed_unless_it_was_changed_here,
    an_update_sets_what_is_missing_and_deactivates,
    erased_people_do_not_return_with_a_file,
}

async fn a_second_run_knows_the_hash_of_the_origin_after_logins(app: &TestApp) {
    let rows = || vec![json!({"email": "a@example.org", "password_hash": HASH})];
    let id = model::UserId(1);
    assert_eq!(import(app, rows()).await, [Verdict::Imported(Some(id))]);
    // The login replaces the hash.
    assert_eq!(log_in(app, "a@example.org", PASSWORD).await.status, 200);
    app.keep_next().await;
    for options in [ImportOptions::default(), updating()] {
        assert_eq!(import_with(app, options, rows()).await, [Verdict::Unchanged(id)]);
    }
    assert_eq!(log_in(app, "a@example.org", PASSWORD).await.status, 200);
}

async fn an_update_takes_what_the_origin_changed_unless_it_was_changed_here(app: &TestApp) {
    let row = |hash: &str| vec![json!({"email": "a@example.org", "password_hash": hash})];
    let bcrypt =
        VECTORS.lines().find(|line| line.starts_with("bcrypt\t$2b$") && line.contains("cafe")).unwrap();
    let (other, typed) = (bcrypt.split('\t').nth(1).unwrap(), "cafe\u{301} \u{212b}ngstro\u{308}m");
    let id = model::UserId(1);
    import(app, row(HASH)).await;
    assert_eq!(log_in(app, "a@example.org", PASSWORD).await.status, 200);
    app.keep_next().await;

    let refused = import(app, row(other)).await.remove(0);
    assert!(matches!(&refused, Verdict::Refused(why) if why.contains("--update takes it")), "{refused:?}");
    assert_eq!(import_with(app, updating(), row(other)).await, [Verdict::Updated(id)]);
    assert_eq!(log_in(app, "a@example.org", PASSWORD).await.status, 401);
    let tokens = log_in(app, "a@example.org", typed).await;
    assert_eq!(tokens.status, 200);
    assert_eq!(import_with(app, updating(), row(other)).await, [Verdict::Unchanged(id)]);

    let change = json!({"current_password": typed, "new_password": "another fine phrase"});
    let bearer = tokens.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(app.post("/api/v1/auth/password", Some(&bearer), change).await.status, 200);
    let outcome = outcomes(app, updating(), row(HASH)).await.remove(0);
    assert_eq!(outcome.verdict, Verdict::Unchanged(id));
    assert_eq!(outcome.warnings, ["its password was changed here since, and stays"]);
    assert_eq!(log_in(app, "a@example.org", "another fine phrase").await.status, 200);

    // An account that was made here never gets the password of a file.
    crate::api_calls::register(app, "berta").await;
    let berta = json!({"email": "berta@example.com", "password_hash": HASH});
    let verdict = import_with(app, updating(), vec![berta]).await.remove(0);
    let why = "user 2 exists already, with a password that was set here";
    assert_eq!(verdict, Verdict::Refused(why.into()));
}

async fn an_update_sets_what_is_missing_and_deactivates(app: &TestApp) {
    let bare = json!({"email": "a@example.org", "external_id": "x-1"});
    let whole = json!({
        "email": "a@example.org", "external_id": "x-1", "username": "anna", "password_hash": HASH,
        "email_verified": true, "country": "DE",
        "second_factors": [{"kind": "totp", "secret": "JBSWY3DPEHPK3PXP"}],
    });
    let id = model::UserId(1);
    import(app, vec![bare]).await;
    let refused = import(app, vec![whole.clone()]).await.remove(0);
    assert!(matches!(&refused, Verdict::Refused(why) if why.contains("--update sets it")), "{refused:?}");
    assert_eq!(import_with(app, updating(), vec![whole.clone()]).await, [Verdict::Updated(id)]);
    assert_eq!(import_with(app, updating(), vec![whole.clone()]).await, [Verdict::Unchanged(id)]);
    assert_eq!(log_in(app, "anna", PASSWORD).await.status, 200);
    let exported = export(app).await.remove(0);
    assert_eq!((&exported["profile"]["country"], &exported["external_id"]), (&json!("DE"), &json!("x-1")));
    assert!(exported["email_verified_at"].is_string() && exported["second_factors"][0]["kind"] == "totp");

    let mut inactive = whole.clone();
    inactive["is_active"] = json!(false);
    assert_eq!(import(app, vec![inactive.clone()]).await, [Verdict::Unchanged(id)]);
    assert_eq!(import_with(app, updating(), vec![inactive]).await, [Verdict::Updated(id)]);
    assert_eq!(log_in(app, "anna", PASSWORD).await.status, 401);
    assert_eq!(
        import_with(app, updating(), vec![whole]).await,
        [Verdict::Unchanged(id)],
        "none is activated"
    );
}

async fn erased_people_do_not_return_with_a_file(app: &TestApp) {
    let rows =
        || vec![json!({"email": "A@example.org", "password_hash": HASH}), json!({"email": "b@example.org"})];
    import(app, rows()).await;
    app.operate(async |ctx| {
        let user = auth::account::find(ctx, "a@example.org").await.unwrap();
        auth::account::delete(ctx, &user).await.unwrap();
    })
    .await;
    let found = import(app, vec![json!({"email": "a@EXAMPLE.org", "password_hash": HASH})]).await.remove(0);
    assert!(matches!(&found, Verdict::Refused(why) if why.contains("--restore-erased")), "{found:?}");
    let insisting = ImportOptions { restore_erased: true, ..ImportOptions::default() };
    let found = import_with(app, insisting, rows()).await;
    assert!(
        matches!(found[0], Verdict::Imported(Some(_))) && matches!(found[1], Verdict::Unchanged(_)),
        "{found:?}"
    );
}
