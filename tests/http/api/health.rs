//! Health checks.

use fixtures::{TestApp, on_both};

on_both! {
    health_routes_answer_as_documented,
}

async fn health_routes_answer_as_documented(app: &TestApp) {
    assert_eq!(app.get("/health/liveness", None).await.expect(200).text, "{\"status\":\"alive\"}");
    assert_eq!(app.get("/health/readiness", None).await.expect(200).text, "{\"status\":\"ready\"}");
    app.get("/health/startup", None).await.expect(200);
}
