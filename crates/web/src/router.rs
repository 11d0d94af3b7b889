//! The route table and the list of layers.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post};
use http::{HeaderName, HeaderValue, Method, header};
use tokio::sync::Semaphore;
use tower::ServiceBuilder;

use crate::api::compat::fastapi;
use crate::api::v1::{account, introspect, session};
use crate::api::{docs, health, well_known};
use crate::layers::{self, Cors, Detach, Dialect, Origins, SecurityHeaders, Stopwatch, Timed};
use crate::metrics::{LEGACY_ROUTES, Metrics};
use crate::problem::Problem;
use crate::request::AppState;
use crate::request::context::RequestContext;
use crate::route_table::{Route, Table};
use crate::{Settings, WebDeps};

/// `RequestContext` consumes the body, so a handler cannot take two of them and with them two connections.
/// These lines fail to compile, as ambiguous, when that changes.
const _: () = {
    trait Ambiguous<A> {
        fn some() {}
    }
    impl<T> Ambiguous<()> for T {}
    struct IsFromRequestParts;
    impl<T: axum::extract::FromRequestParts<AppState>> Ambiguous<IsFromRequestParts> for T {}
    struct IsHandler<M>(M);
    impl<T: axum::handler::Handler<M, AppState>, M> Ambiguous<IsHandler<M>> for T {}
    type TwoContexts = fn(RequestContext<()>, RequestContext<()>) -> std::future::Ready<()>;

    let _ = <RequestContext<()> as Ambiguous<_>>::some;
    let _ = <TwoContexts as Ambiguous<_>>::some;
};

/// The routers of the two listeners.
#[derive(Clone, Debug)]
pub struct Routers {
    /// The public API.
    pub public: Router,
    /// Health checks and metrics, for the operations listener.
    pub operations: Router,
    /// Every route of the public API.
    pub public_routes: Vec<Route>,
    /// Every route of the operations listener.
    pub operations_routes: Vec<Route>,
}

/// Builds the routers of both listeners.
pub fn routers(deps: WebDeps) -> Routers {
    let settings = deps.settings.clone();
    let https = settings.public_url.starts_with("https://");
    let trusted = settings.trusted_proxies.clone();
    let origins = Origins { trusted, clock: deps.clock.clone(), rng: deps.services.rng.clone() };
    let cors = Cors { allowed: settings.cors_allowed_origins.clone().into() };
    let detach = Detach {
        spawner: deps.spawner.clone(),
        deadline: settings.request_timeout,
        permits: Arc::new(Semaphore::new(settings.max_requests)),
    };

    let metrics = Arc::<Metrics>::default();
    let (router, public_routes) = Table::default()
        .under("/api/v1/auth", v1())
        .under("/api/auth", fastapi_dialect())
        .merge(legacy(&settings, &metrics))
        .merge(about())
        .merge(health())
        .into_parts();

    let (operations, operations_routes) =
        health().on(&Method::GET, "/metrics", get(health::metrics)).into_parts();
    let watch = |what| Stopwatch { what, counts: Arc::clone(&metrics) };
    let layers = ServiceBuilder::new()
        // Assigns the request id and determines the client; all layers below may log the origin.
        .layer(watch(Timed::Origin))
        .layer(from_fn_with_state(origins, layers::origin))
        // Logs one line per request, with the final status.
        .layer(watch(Timed::Log))
        .layer(from_fn_with_state(Arc::clone(&metrics), layers::log))
        // Adds security headers to every response, errors included.
        .layer(watch(Timed::Headers))
        .layer(from_fn_with_state(SecurityHeaders { https }, layers::security_headers))
        // Answers preflight requests; makes errors readable across origins.
        .layer(watch(Timed::Cors))
        .layer(from_fn_with_state(cors, layers::cors))
        // Writes the body of every error.
        .layer(watch(Timed::Problems))
        .layer(from_fn(layers::problems))
        // Reads the body, then spawns a task with a deadline; from here on, a client's disconnect does not
        // stop the request.
        .layer(watch(Timed::Detach))
        .layer(from_fn_with_state(detach, layers::detach));

    let router = router.route_layer(from_fn(layers::note_route)).route_layer(watch(Timed::Handler));
    let app = AppState::new(deps, metrics);
    Routers {
        public: router.with_state(app.clone()).layer(layers),
        operations: operations.with_state(app),
        public_routes,
        operations_routes,
    }
}

/// The v1 API.
fn v1() -> Table {
    let introspect = with_dialect(post(introspect::introspect), Dialect::OAuth);
    common()
        .on(&Method::POST, "/register", post(account::register))
        .on(&Method::POST, "/token", post(session::token))
        .on(&Method::POST, "/introspect", introspect)
}

/// The FastAPI dialect.
fn fastapi_dialect() -> Table {
    common()
        .on(&Method::POST, "/register", post(fastapi::register))
        .on(&Method::POST, "/login", post(fastapi::login))
        .map(|router| router.layer(from_fn_with_state(Dialect::FastApi, layers::dialect)))
}

/// Routes of both dialects.
fn common() -> Table {
    Table::default()
        .on(&Method::POST, "/refresh", post(session::refresh))
        .on(&Method::POST, "/logout", post(session::logout))
        .on(&Method::POST, "/logout-all", post(session::logout_all))
        .on(&Method::GET, "/me", get(account::me))
        .on(&Method::PATCH, "/me", patch(account::patch_me))
        .on(&Method::DELETE, "/me", delete(account::delete_me))
        .on(&Method::POST, "/password", post(account::password))
        .on(&Method::GET, "/sessions", get(session::sessions))
        .on(&Method::DELETE, "/sessions/{id}", delete(session::delete_session))
}

/// Legacy routes: handlers of the FastAPI dialect, with headers that name the successor.
fn legacy(settings: &Settings, metrics: &Arc<Metrics>) -> Table {
    LEGACY_ROUTES.iter().fold(Table::default(), |table, route| {
        let (successor, handler) = if route.ends_with("login") {
            ("/api/auth/login", post(fastapi::login))
        } else {
            ("/api/auth/register", post(fastapi::register))
        };
        let notice = Notice {
            route,
            successor,
            enabled: settings.legacy_enabled,
            sunset: settings.legacy_sunset,
            metrics: Arc::clone(metrics),
        };
        let handler = with_dialect(handler, Dialect::FastApi);
        table.on(&Method::POST, route, handler.layer(from_fn_with_state(notice, notify)))
    })
}

fn about() -> Table {
    Table::default()
        .on(&Method::GET, "/.well-known/jwks.json", get(well_known::jwks))
        .on(&Method::GET, "/openapi.json", get(docs::openapi))
        .on(&Method::GET, "/docs", get(docs::page))
        .on(&Method::GET, "/docs/page.js", get(docs::script))
        .on(&Method::GET, "/docs/page.css", get(docs::style))
}

fn health() -> Table {
    Table::default()
        .on(&Method::GET, "/health/liveness", get(health::liveness))
        .on(&Method::GET, "/health/readiness", get(health::readiness))
        .on(&Method::GET, "/health/startup", get(health::startup))
}

fn with_dialect(routes: MethodRouter<AppState>, dialect: Dialect) -> MethodRouter<AppState> {
    routes.layer(from_fn_with_state(dialect, layers::dialect))
}

/// The deprecation headers of a legacy route.
#[derive(Clone)]
struct Notice {
    route: &'static str,
    successor: &'static str,
    enabled: bool,
    sunset: Option<model::Now>,
    metrics: Arc<Metrics>,
}

/// When the legacy routes were deprecated: 1 January 2026 (RFC 9745 §2.1).
const DEPRECATED_SINCE: &str = "@1767225600";

async fn notify(State(notice): State<Notice>, request: Request, next: Next) -> Response {
    notice.metrics.legacy(notice.route);
    let mut response =
        if notice.enabled { next.run(request).await } else { Problem::LegacyGone.into_response() };
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("deprecation"), HeaderValue::from_static(DEPRECATED_SINCE));
    let link = format!("<{}>; rel=\"successor-version\"", notice.successor);
    headers.extend(HeaderValue::from_str(&link).ok().map(|link| (header::LINK, link)));
    if let Some(sunset) = notice.sunset {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(sunset.seconds().unsigned_abs());
        let date = HeaderValue::from_str(&httpdate::fmt_http_date(at));
        headers.extend(date.ok().map(|date| (HeaderName::from_static("sunset"), date)));
    }
    response
}
