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

/// The words of a document that name a path, each with the method before it, if there is one.
fn named_paths(text: &str) -> Vec<(Option<&str>, &str)> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "/-_.{}:".contains(letter);
    let words: Vec<_> = text.split(|letter| !is_part(letter)).filter(|word| !word.is_empty()).collect();
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    let begins = ["/api/", "/health/", "/.well-known/", "/flutter-"];
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let begin = begins.iter().filter_map(|begin| word.find(begin)).min();
        let Some(path) = begin.map(|begin| word[begin..].trim_end_matches(['.', ':'])) else { continue };
        // A source file.
        if std::path::Path::new(path).extension().is_some_and(|kind| kind == "rs") {
            continue;
        }
        let method = at.checked_sub(1).map(|at| words[at]).filter(|word| methods.contains(word));
        found.push((method, path));
    }
    found
}

/// The documents for people, except those of how the project changes: the log, the decisions, and how a
/// route is added.
fn documents() -> Vec<std::path::PathBuf> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders = vec![root.join("docs")];
    let mut documents: Vec<_> =
        ["README.md", "SECURITY.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root.join(name)).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_of_changes = path.ends_with("docs/adr") || path.ends_with("development/how-to-add.md");
            if path.is_dir() && !is_of_changes {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "md") && !is_of_changes {
                documents.push(path);
            }
        }
    }
    documents
}

/// Whether a path, or a request of it, is served at a template such as `/sessions/{id}`, or is what several
/// templates begin with.
fn exists(method: Option<&str>, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let is_same = |template: &str| {
        let (template, path) = (template.split('/'), path.split('/'));
        template.clone().count() == path.clone().count()
            && template.zip(path).all(|(expected, part)| expected == part || expected.starts_with('{'))
    };
    web::ROUTES.iter().any(|route| {
        let is_verb = method.is_none_or(|method| route.endpoint.verb.as_str() == method);
        route.endpoint.mounts.iter().any(|mount| {
            let is_folder = method.is_none() && mount.path.starts_with(&format!("{path}/"));
            is_folder || is_verb && is_same(mount.path)
        })
    })
}

#[test]
fn documents_name_only_routes_that_exist() {
    let mut seen = 0;
    let mut unknown = Vec::new();
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for (method, path) in named_paths(&text) {
            seen += 1;
            if !exists(method, path) {
                unknown.push(format!("{}: {} {path}", document.display(), method.unwrap_or_default()));
            }
        }
    }

    assert!(seen > 50, "{seen}");
    assert_eq!(unknown, Vec::<String>::new());
    assert!(!exists(None, "/api/v1/auth/emergency") && !exists(Some("GET"), "/api/v1/auth/token"));
}
