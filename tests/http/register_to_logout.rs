//! Register, log in, refresh, log out.

use fixtures::{TestApp, on_both};
use serde_json::json;

use crate::api_calls::{V1, log_in};

on_both! {
    a_user_registers_logs_in_refreshes_and_logs_out,
}

async fn a_user_registers_logs_in_refreshes_and_logs_out(app: &TestApp) {
    let body = json!({"email": "test@example.com", "username": "testuser", "password": "TestPass123!"});
    let answer = app.post(&format!("{V1}/register"), None, body).await.expect(201);
    let user = answer.json();

    let crate::api_calls::Pair { access, refresh } = log_in(app, "testuser").await;
    let me = app.get(&format!("{V1}/me"), Some(&access)).await.expect(200);
    assert_eq!(me.json(), user);

    let second =
        app.post(&format!("{V1}/refresh"), None, json!({"refresh_token": refresh})).await.expect(200);
    let again = app.post(&format!("{V1}/refresh"), None, json!({"refresh_token": refresh})).await.expect(200);
    assert_eq!(second.string("refresh_token"), again.string("refresh_token"), "the same successor");

    let logout = app
        .post(&format!("{V1}/logout"), None, json!({"refresh_token": second.string("refresh_token")}))
        .await
        .expect(204);
    assert_eq!(logout.text, "");
    app.get(&format!("{V1}/me"), Some(&second.string("access_token")))
        .await
        .expect_problem(401, "token_invalid");
    app.post(&format!("{V1}/refresh"), None, json!({"refresh_token": second.string("refresh_token")}))
        .await
        .expect_problem(401, "refresh_refused");

    assert_eq!(
        app.event_kinds(),
        [
            "user_registered",
            "login_succeeded",
            "session_refreshed",
            "refresh_replayed",
            "session_revoked",
            "token_refused",
            "refresh_failed"
        ]
    );
}
