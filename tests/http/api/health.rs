//! Health checks.

use fixtures::{TestApp, on_both};

on_both! {
    health_answers_what_the_seeds_document,
}

async fn health_answers_what_the_seeds_document(app: &TestApp) {
    assert_eq!(app.get("/health/liveness", None).await.expect(200).text, "{\"status\":\"alive\"}");
    assert_eq!(app.get("/health/readiness", None).await.expect(200).text, "{\"status\":\"ready\"}");
    app.get("/health/startup", None).await.expect(200);
}
