//! Checks the audit events of every route in the router's table. A change records an event, and so does a
//! refused login, registration or refresh. A read records none.

use std::collections::BTreeSet;

use axum::body::Body;
use fixtures::{Answer, TestApp, on_both};
use http::{Method, Request, header};
use serde_json::{Value, json};

use crate::api_calls::{PASSWORD, Pair, log_in, member, register};

on_both! {
    every_route_records_its_events,
    the_route_table_matches_the_router,
}

/// Requests that record no event although they are no reads: route, case, reason.
const EXCEPTIONS: [(&str, &str, &str); 2] = [
    (
        "POST /api/v1/auth/logout",
        "no token of ours",
        "no session ended, and the response does not differ (RFC 7009 §2.2)",
    ),
    (
        "POST /api/auth/logout",
        "no token of ours",
        "no session ended, and the response does not differ (RFC 7009 §2.2)",
    ),
];

/// The calls of one route, with the response and the events of each.
struct Route<'a> {
    app: &'a TestApp,
    method: Method,
    path: String,
    tried: Vec<(&'static str, Answer, Vec<&'static str>)>,
}

impl Route<'_> {
    async fn send(&mut self, case: &'static str, token: Option<&str>, body: Option<(&str, String)>) {
        let path = self.path.clone();
        self.send_to(case, &path, token, body).await;
    }

    async fn send_to(
        &mut self,
        case: &'static str,
        path: &str,
        token: Option<&str>,
        body: Option<(&str, String)>,
    ) {
        self.app.events();
        let answer = self.app.call(self.method.clone(), path, token, body).await;
        self.tried.push((case, answer, self.app.event_kinds()));
    }

    async fn json(&mut self, case: &'static str, token: Option<&str>, body: Value) {
        self.send(case, token, Some(("application/json", body.to_string()))).await;
    }

    async fn form(&mut self, case: &'static str, name: &str, password: &str) {
        let body = format!("username={name}&password={password}");
        self.send(case, None, Some(("application/x-www-form-urlencoded", body))).await;
    }
}

async fn every_route_records_its_events(app: &TestApp) {
    let mut excepted = BTreeSet::new();
    for (at, route) in app.routes.iter().enumerate() {
        let name = format!("user{at}");
        let method: Method = route.method.parse().unwrap();
        let mut tries = Route { app, method, path: route.path.clone(), tried: Vec::new() };

        if tries.method == Method::GET {
            reads(&mut tries, &name).await;
        } else {
            changes(&mut tries, &name).await;
        }

        let route = format!("{} {}", route.method, route.path);
        assert!(
            tries.tried.iter().any(|(_, answer, _)| answer.status.is_success()),
            "{route} never succeeded"
        );

        for (case, answer, kinds) in &tries.tried {
            assert!(!answer.status.is_server_error(), "{route}, {case}: {}", answer.text);
            let must_record = tries.method != Method::GET;
            if EXCEPTIONS.iter().any(|(of, when, _)| (*of, *when) == (route.as_str(), case)) {
                excepted.insert((route.clone(), *case));
                assert_eq!(
                    kinds.len(),
                    0,
                    "{route}, {case}: it now records {kinds:?} and needs no exception"
                );
            } else if must_record {
                assert!(!kinds.is_empty(), "{route}, {case}: {} recorded no event", answer.status);
            } else {
                assert_eq!(kinds.len(), 0, "{route}, {case}: a read recorded {kinds:?}");
            }
        }
    }
    assert_eq!(excepted.len(), EXCEPTIONS.len(), "an exception was not used: {excepted:?}");
}

/// Sends reads.
async fn reads(route: &mut Route<'_>, name: &str) {
    let of_caller = ["/me", "/sessions"].iter().any(|end| route.path.ends_with(end));
    if of_caller {
        let pair = member(route.app, name).await;
        route.send("with a token", Some(&pair.access), None).await;
        route.send("without a token", None, None).await;
    } else if route.path == "/metrics" {
        let answer = route.app.operator_get(&route.path).await;
        route.tried.push(("the page", answer, route.app.event_kinds()));
    } else {
        route.send("public", None, None).await;
    }
}

/// Sends changes: one that succeeds, and refused ones that must be recorded.
async fn changes(route: &mut Route<'_>, name: &str) {
    let path = route.path.clone();
    let last = path.rsplit('/').next().unwrap();
    match (route.method.as_str(), last) {
        ("POST", "register" | "flutter-register" | "emergency-register" | "emergency-register-legacy") => {
            registrations(route, name).await;
        }

        ("POST", "token") => {
            register(route.app, name).await;
            route.form("right", name, PASSWORD).await;
            route.form("wrong", name, "not-this-one").await;
            route.form("unknown", "nobody", PASSWORD).await;
        }

        ("POST", "login" | "flutter-login") => {
            register(route.app, name).await;
            let email = format!("{name}@example.com");
            route.json("right", None, json!({"email": email, "password": PASSWORD})).await;
            route.json("wrong", None, json!({"email": email, "password": "not-this-one"})).await;
            route.json("unknown", None, json!({"email": "nobody@example.com", "password": PASSWORD})).await;
        }

        ("POST", "refresh") => {
            let pair = member(route.app, name).await;
            let scope = json!({"refresh_token": pair.refresh, "scope": "more"});
            route.json("more scope", None, scope).await;
            route.json("right", None, json!({"refresh_token": pair.refresh})).await;
            route.json("again", None, json!({"refresh_token": pair.refresh})).await;
            route.json("unknown", None, json!({"refresh_token": "gwr_none"})).await;
        }

        ("POST", "logout") => {
            let pair = member(route.app, name).await;
            route.json("right", None, json!({"refresh_token": pair.refresh})).await;
            route.json("no token of ours", None, json!({"refresh_token": "gwr_none"})).await;
            let pair = log_in(route.app, name).await;
            route.send("by bearer token", Some(&pair.access), None).await;
        }

        ("POST", "introspect") => introspections(route, name).await,
        _ => own_account_changes(route, name).await,
    }
}

async fn registrations(route: &mut Route<'_>, name: &str) {
    let body = |email: &str, password: &str| json!({"email": email, "username": name, "password": password});
    let email = format!("{name}@example.com");
    route.json("right", None, body(&email, PASSWORD)).await;
    route.json("taken", None, body(&email, PASSWORD)).await;
    route.json("a common password", None, body("other@example.com", "password123")).await;
}

async fn introspections(route: &mut Route<'_>, name: &str) {
    let pair = member(route.app, name).await;
    let added = route.app.operate(async |ctx| auth::client::add(ctx, "api", "An API").await.unwrap()).await;
    for (case, secret) in [("a live token", added.expose().as_str()), ("a wrong secret", "gwc_wrong")] {
        let body = format!("token={}&client_id=api&client_secret={secret}", pair.access);
        route.send(case, None, Some(("application/x-www-form-urlencoded", body))).await;
    }
}

/// Sends changes of the caller's own account.
async fn own_account_changes(route: &mut Route<'_>, name: &str) {
    let Pair { access, .. } = member(route.app, name).await;
    let path = route.path.clone();
    let end = path.strip_prefix("/api/v1/auth").or_else(|| path.strip_prefix("/api/auth")).unwrap_or(&path);

    match (route.method.as_str(), end) {
        ("POST", "/logout-all") => route.send("right", Some(&access), None).await,
        ("PATCH", "/me") => route.json("right", Some(&access), json!({"country": "CH"})).await,
        ("DELETE", "/me") => {
            route.json("wrong", Some(&access), json!({"password": "not-this-one"})).await;
            route.json("right", Some(&access), json!({"password": PASSWORD})).await;
        }
        ("POST", "/password") => {
            let body =
                |current: &str| json!({"current_password": current, "new_password": "another fine one"});
            route.json("wrong", Some(&access), body("not-this-one")).await;
            route.json("right", Some(&access), body(PASSWORD)).await;
        }
        ("DELETE", "/sessions/{id}") => {
            let sessions = route.app.get(&path.replace("/{id}", ""), Some(&access)).await.expect(200).json();
            let id = sessions[0]["id"].as_str().unwrap();
            route.send_to("right", &path.replace("{id}", id), Some(&access), None).await;
        }
        _ => panic!("{} {path} has no case here: add one", route.method),
    }
}

/// The table lists exactly the methods that the router accepts on each path.
async fn the_route_table_matches_the_router(app: &TestApp) {
    let paths: BTreeSet<&str> = app.routes.iter().map(|route| route.path.as_str()).collect();
    for path in paths.into_iter().filter(|path| *path != "/metrics") {
        let listed: BTreeSet<&str> =
            app.routes.iter().filter(|route| route.path == path).map(|route| route.method.as_str()).collect();
        let concrete = path.replace("{id}", &uuid::Uuid::nil().to_string());
        let request = Request::builder().method(Method::TRACE).uri(&concrete).body(Body::empty()).unwrap();
        let answer = app.send(request).await.expect(405);
        let allowed: BTreeSet<&str> = answer.headers[header::ALLOW]
            .to_str()
            .unwrap()
            .split(',')
            .filter(|method| *method != "HEAD")
            .collect();
        assert_eq!(allowed, listed, "{path}");
    }
}
