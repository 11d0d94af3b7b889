//! Checks the audit events and round trips of every endpoint against its declaration. A change records an
//! event, and so does a refused login, registration or refresh. A read records none but that of a refused
//! token.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use fixtures::{Answer, TestApp, on_both};
use http::{Method, Request, header};
use serde_json::{Value, json};
use web::{Caller, Dialect, Endpoint, Group, Listener, Mount};

use crate::api_calls::{PASSWORD, Pair, add_client, log_in, member, register};

/// The media type of forms.
const FORM: &str = "application/x-www-form-urlencoded";

on_both! {
    every_route_records_the_declared_events,
    the_router_accepts_the_declared_methods,
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

/// A call of a route: the case, the response, the kinds of events, and the round trips to the database.
struct Tried {
    case: &'static str,
    answer: Answer,
    kinds: Vec<&'static str>,
    round_trips: u64,
}

/// The calls of one route.
struct Route<'a> {
    app: &'a TestApp,
    endpoint: &'static Endpoint,
    declared: Vec<model::EventKind>,
    media_type: Option<&'static str>,
    path: String,
    tried: Vec<Tried>,
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
        let before = self.app.meter.trips();
        let method: Method = self.endpoint.verb.as_str().parse().unwrap();
        let answer = self.app.call(method, path, token, body).await;
        let round_trips = self.app.meter.trips() - before;
        self.tried.push(Tried { case, answer, kinds: self.app.event_kinds(), round_trips });
    }

    /// Sends a read of a client with these credentials.
    async fn as_client(&mut self, case: &'static str, id: &str, secret: &str) {
        self.app.events();
        let before = self.app.meter.trips();
        let answer = self.app.get_as_client(&self.path, id, secret).await;
        let round_trips = self.app.meter.trips() - before;
        self.tried.push(Tried { case, answer, kinds: self.app.event_kinds(), round_trips });
    }

    async fn json(&mut self, case: &'static str, token: Option<&str>, body: Value) {
        self.send(case, token, Some(("application/json", body.to_string()))).await;
    }

    async fn form(&mut self, case: &'static str, name: &str, password: &str) {
        let body = format!("username={name}&password={password}");
        self.send(case, None, Some((FORM, body))).await;
    }

    fn name(&self) -> String {
        format!("{} {}", self.endpoint.verb.as_str(), self.path)
    }
}

/// Every endpoint at each of its paths.
fn mounted() -> impl Iterator<Item = (&'static web::Route, &'static Mount)> {
    web::ROUTES.iter().flat_map(|route| route.endpoint.mounts.iter().map(move |mount| (route, mount)))
}

async fn every_route_records_the_declared_events(app: &TestApp) {
    let (mut excepted, mut wrong) = (BTreeSet::new(), Vec::new());
    for (at, (route, mount)) in mounted().enumerate() {
        let name = format!("user{at}");
        let endpoint = route.endpoint;
        let path = mount.path.to_owned();
        let media_type = route.required_media_type();
        let mut tries =
            Route { app, endpoint, declared: route.events(), media_type, path, tried: Vec::new() };

        if endpoint.changes() {
            changes(&mut tries, &name).await;
        } else {
            reads(&mut tries, route, mount, &name).await;
        }

        excepted.extend(check_events(&tries));
        wrong.extend(wrong_round_trips(&tries));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(excepted.len(), EXCEPTIONS.len(), "an exception was not used: {excepted:?}");
}

/// Checks the events of each call, and returns the exceptions that were used.
fn check_events(route: &Route<'_>) -> Vec<(String, &'static str)> {
    let name = route.name();
    assert!(route.tried.iter().any(|tried| tried.answer.status.is_success()), "{name} never succeeded");
    let declared: Vec<_> = route.declared.iter().map(|kind| kind.as_str()).collect();
    let mut excepted = Vec::new();

    for Tried { case, answer, kinds, .. } in &route.tried {
        assert!(!answer.status.is_server_error(), "{name}, {case}: {}", answer.text);
        for kind in kinds {
            assert!(declared.contains(kind), "{name}, {case}: `{kind}` is not declared");
        }
        if EXCEPTIONS.iter().any(|(of, when, _)| (*of, *when) == (name.as_str(), case)) {
            excepted.push((name.clone(), *case));
            assert!(kinds.is_empty(), "{name}, {case}: it now records {kinds:?} and needs no exception");
        } else if route.endpoint.changes() {
            assert!(!kinds.is_empty(), "{name}, {case}: {} recorded no event", answer.status);
        }
    }
    excepted
}

/// Compares the round trips of a success with those that the endpoint declares: PostgreSQL takes exactly
/// these, SQLite no more.
fn wrong_round_trips(route: &Route<'_>) -> Option<String> {
    let successes = route.tried.iter().filter(|tried| tried.answer.status.is_success());
    let most = successes.map(|tried| tried.round_trips).max()?;
    let declared = route.endpoint.round_trips;
    let is_sqlite = route.app.database.url.starts_with("sqlite:");
    // The health check's own connection of PostgreSQL is not counted.
    let may_be_less = is_sqlite || route.endpoint.group == Group::Health;
    let fits = most == declared || (may_be_less && most < declared);
    (!fits).then(|| format!("{}: {most} round trips, declared are {declared}", route.name()))
}

/// Sends reads.
async fn reads(route: &mut Route<'_>, described: &web::Route, mount: &Mount, name: &str) {
    if described.caller() == Caller::Bearer {
        let pair = member(route.app, name).await;
        route.send("with a token", Some(&pair.access), None).await;
        route.send("without a token", None, None).await;
        route.send("with another token", Some("a.b.c"), None).await;
        assert_eq!(route.tried.last().unwrap().kinds, ["token_refused"], "{}", route.name());
    } else if mount.is_on(Listener::Public) {
        route.send("public", None, None).await;
    } else {
        let answer = route.app.operator_get(&route.path).await;
        let kinds = route.app.event_kinds();
        route.tried.push(Tried { case: "the page", answer, kinds, round_trips: 0 });
    }
}

/// Sends changes: one that succeeds, and refused ones that must be recorded.
async fn changes(route: &mut Route<'_>, name: &str) {
    match route.endpoint.operation {
        "register" => registrations(route, name).await,
        "login" => logins(route, name).await,
        "refresh" => refreshes(route, name).await,
        "revoke" => revocations(route, name).await,

        "logout" => {
            let pair = member(route.app, name).await;
            route.json("right", None, json!({"refresh_token": pair.refresh})).await;
            route.json("no token of ours", None, json!({"refresh_token": "gwr_none"})).await;
            let pair = log_in(route.app, name).await;
            route.send("by bearer token", Some(&pair.access), None).await;
        }

        "introspect" => introspections(route, name).await,
        "revocations" => {
            let secret = add_client(route.app, "reader").await;
            for (case, secret) in [("right", secret.expose().as_str()), ("wrong", "gwc_wrong")] {
                route.as_client(case, "reader", secret).await;
            }
        }
        _ => own_account_changes(route, name).await,
    }
}

async fn logins(route: &mut Route<'_>, name: &str) {
    register(route.app, name).await;
    if route.media_type == Some(FORM) {
        route.form("right", name, PASSWORD).await;
        route.form("wrong", name, "not-this-one").await;
        route.form("unknown", "nobody", PASSWORD).await;
        let pair = log_in(route.app, name).await;
        for (case, token) in [("a refresh", pair.refresh.as_str()), ("an unknown one", "gwr_none")] {
            let body = format!("grant_type=refresh_token&refresh_token={token}");
            route.send(case, None, Some((FORM, body))).await;
        }
    } else {
        let email = format!("{name}@example.com");
        route.json("right", None, json!({"email": email, "password": PASSWORD})).await;
        route.json("wrong", None, json!({"email": email, "password": "not-this-one"})).await;
        route.json("unknown", None, json!({"email": "absent@example.com", "password": PASSWORD})).await;
    }
}

async fn revocations(route: &mut Route<'_>, name: &str) {
    register(route.app, name).await;
    let (by_refresh, by_access) = (log_in(route.app, name).await, log_in(route.app, name).await);
    let cases = [
        ("a refresh token", by_refresh.refresh),
        ("an access token", by_access.access),
        ("none", "x".into()),
    ];
    for (case, token) in cases {
        route.send(case, None, Some((FORM, format!("token={token}")))).await;
    }
}

async fn refreshes(route: &mut Route<'_>, name: &str) {
    let pair = member(route.app, name).await;
    let scope = json!({"refresh_token": pair.refresh, "scope": "more"});
    route.json("more scope", None, scope).await;
    route.json("right", None, json!({"refresh_token": pair.refresh})).await;
    route.json("again", None, json!({"refresh_token": pair.refresh})).await;
    route.json("unknown", None, json!({"refresh_token": "gwr_none"})).await;
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
    let added = add_client(route.app, "api").await;
    for (case, secret) in [("a live token", added.expose().as_str()), ("a wrong secret", "gwc_wrong")] {
        let body = format!("token={}&client_id=api&client_secret={secret}", pair.access);
        route.send(case, None, Some((FORM, body))).await;
    }
}

/// Sends changes of the caller's own account.
async fn own_account_changes(route: &mut Route<'_>, name: &str) {
    let Pair { access, .. } = member(route.app, name).await;
    match route.endpoint.operation {
        "logout_all" => route.send("right", Some(&access), None).await,
        "profile_change" => route.json("right", Some(&access), json!({"country": "CH"})).await,

        "erase" => {
            route.json("wrong", Some(&access), json!({"password": "not-this-one"})).await;
            route.json("right", Some(&access), json!({"password": PASSWORD})).await;
        }

        "password_change" => {
            let body =
                |current: &str| json!({"current_password": current, "new_password": "another fine one"});
            route.json("wrong", Some(&access), body("not-this-one")).await;
            route.json("right", Some(&access), body(PASSWORD)).await;
        }

        "session_end" => {
            let path = route.path.clone();
            let sessions = route.app.get(&path.replace("/{id}", ""), Some(&access)).await.expect(200).json();
            let id = sessions[0]["id"].as_str().unwrap();
            route.send_to("right", &path.replace("{id}", id), Some(&access), None).await;
            let pair = log_in(route.app, name).await;
            route.send_to("ended", &path.replace("{id}", id), Some(&pair.access), None).await;
        }
        operation => panic!("the operation `{operation}` has no case here: add one"),
    }
}

/// The router accepts exactly the declared methods on each path, and refuses others in the path's dialect.
async fn the_router_accepts_the_declared_methods(app: &TestApp) {
    let public = || mounted().filter(|(_, mount)| mount.is_on(Listener::Public));
    let paths: BTreeMap<&str, &Mount> = public().map(|(_, mount)| (mount.path, mount)).collect();
    for (path, mount) in paths {
        let declared: BTreeSet<&str> = public()
            .filter(|(_, mount)| mount.path == path)
            .map(|(route, _)| route.endpoint.verb.as_str())
            .collect();
        let concrete = path.replace("{id}", &uuid::Uuid::nil().to_string());
        let request = Request::builder().method(Method::TRACE).uri(&concrete).body(Body::empty()).unwrap();

        let answer = app.send(request).await.expect(405);

        let allowed: BTreeSet<&str> = answer.headers[header::ALLOW]
            .to_str()
            .unwrap()
            .split(',')
            .filter(|method| *method != "HEAD")
            .collect();
        assert_eq!(allowed, declared, "{path}");
        let is_oauth = mount.dialect == Dialect::OAuth;
        let media_type = if is_oauth { "application/json" } else { "application/problem+json" };
        assert_eq!(answer.header("content-type"), media_type, "{path}");
        assert_eq!(answer.header("deprecation").is_empty(), mount.successor.is_none(), "{path}");
    }
}
