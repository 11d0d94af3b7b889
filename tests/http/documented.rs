//! The OpenAPI document: what it requires of requests is what the server requires. Of answers, the fixtures
//! compare each one with it.

use fixtures::{Answer, TestApp, on_both};
use http::Method;
use serde_json::{Map, Value, json};

use crate::api_calls::{PASSWORD, member};

on_both! {
    the_served_document_is_the_one_that_answers_are_compared_with,
    a_request_needs_exactly_the_members_that_the_document_requires,
}

async fn the_served_document_is_the_one_that_answers_are_compared_with(app: &TestApp) {
    let served = app.get("/openapi.json", None).await.expect(200).json();

    assert_eq!(served, web::openapi_document("https://auth.example"));
}

/// A body of an operation.
struct Sent<'a> {
    path: &'a str,
    method: Method,
    media_type: &'a str,
}

impl Sent<'_> {
    async fn send(&self, app: &TestApp, token: &str, members: &Map<String, Value>) -> Answer {
        let text = if self.media_type == "application/json" {
            Value::from(members.clone()).to_string()
        } else {
            let fields = members.iter().map(|(name, value)| (name, value.as_str().unwrap_or_default()));
            form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
        };
        app.call(self.method.clone(), self.path, Some(token), Some((self.media_type, text))).await
    }
}

/// Whether the answer says that a member is missing.
fn says_missing(answer: &Answer) -> bool {
    let json = answer.json();
    let errors = json.get("errors").or_else(|| json.get("detail")).and_then(Value::as_array).cloned();
    errors.into_iter().flatten().any(|error| error["type"] == "missing")
}

/// A valid value of each member.
fn sample(name: &str, at: usize) -> Value {
    match name {
        "email" => format!("sample{at}@example.com").into(),
        "username" => format!("sample{at}").into(),
        "password" | "current_password" | "new_password" => PASSWORD.into(),
        _ => "sample".into(),
    }
}

async fn a_request_needs_exactly_the_members_that_the_document_requires(app: &TestApp) {
    let document = web::openapi_document("https://auth.example");
    let mut sent = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            // A login requires other members than a refresh, which the schema of a form does not say.
            if path == "/api/v1/auth/token" {
                continue;
            }
            let Some(content) = operation["requestBody"]["content"].as_object() else { continue };
            let media_type = content.keys().find(|kind| *kind != "multipart/form-data").unwrap();
            let reference = content[media_type]["schema"]["$ref"].as_str().unwrap();
            let schema = document.pointer(&reference[1..]).unwrap();
            let required = schema.get("required").cloned().unwrap_or_else(|| json!([]));
            let required: Vec<_> =
                required.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            let method: Method = verb.to_ascii_uppercase().parse().unwrap();
            let call = Sent { path, method, media_type };
            let whole: Map<_, _> =
                required.iter().map(|name| ((*name).to_owned(), sample(name, sent))).collect();
            let token = member(app, &format!("caller{sent}")).await.access;
            sent += 1;

            for name in &required {
                let mut without = whole.clone();
                without.remove(*name);
                let answer = call.send(app, &token, &without).await;
                let is_refused = says_missing(&answer) || matches!(answer.status.as_u16(), 400 | 401);
                assert!(is_refused, "{verb} {path} without {name}: {} {}", answer.status, answer.text);
            }
            let answer = call.send(app, &token, &whole).await;
            assert!(!says_missing(&answer), "{verb} {path}: {}", answer.text);
        }
    }
    assert!(sent > 10, "{sent}");
}
