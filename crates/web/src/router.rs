//! The routers of both listeners, built from the list of endpoints, and the list of layers.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::handler::Handler as _;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, any};
use http::StatusCode;
use tokio::sync::Semaphore;
use tower::ServiceBuilder;
use tower::util::MapRequest;

use crate::api::{ROUTES, docs};
use crate::endpoint::{Listener, Mount};
use crate::layers::{
    self, Cors, Counted, Deprecated, Detach, FaultLines, Origins, Refusals, RouteLimits, SecurityHeaders,
    Spellings, Stopwatch,
};
use crate::metrics::{Metrics, Timed};
use crate::problem::Problem;
use crate::request::operation::Route;
use crate::request::{AppState, Documents};
use crate::{WebDeps, openapi};

/// The routers of the two listeners.
#[derive(Clone)]
pub struct Routers {
    /// The public API.
    pub public: Router,
    /// Health checks and metrics, for the operations listener.
    pub operations: Router,
    /// The listener's response to what did not become a request (408, 431).
    pub refusal: Refusal,
}

/// Makes the response of a listener.
pub type Refusal = Arc<dyn Fn(StatusCode) -> Response + Send + Sync>;

/// The layers around every request that have settings.
struct Around {
    origins: Origins,
    cors: Cors,
    security_headers: SecurityHeaders,
    refusals: Refusals,
    spellings: Spellings,
}

impl Around {
    fn new(deps: &WebDeps) -> Self {
        let settings = &deps.settings;
        let security_headers = SecurityHeaders::new(settings);
        let (clock, rng) = (deps.clock.clone(), deps.services.rng.clone());
        Self {
            origins: Origins {
                trusted: settings.trusted_proxies.clone(),
                forwarded_header: settings.forwarded_header,
                trust_request_id: settings.trust_request_id,
                clock: clock.clone(),
                rng: rng.clone(),
            },
            cors: Cors { allowed: settings.cors_allowed_origins.clone().into() },
            refusals: Refusals { headers: security_headers.clone(), clock, rng },
            security_headers,
            spellings: Spellings {
                public: layers::path_of(&settings.public_url),
                issuer: layers::path_of(&deps.services.settings.issuer),
            },
        }
    }
}

/// Builds the routers of both listeners.
pub fn routers(deps: WebDeps) -> Routers {
    let settings = deps.settings.clone();
    let Around { origins, cors, security_headers, refusals, spellings } = Around::new(&deps);
    let detach = Detach {
        spawner: deps.spawner.clone(),
        deadline: settings.request_timeout,
        permits: Arc::new(Semaphore::new(settings.max_requests)),
        needs_permit: true,
        reads_body: true,
    };
    let deprecated =
        Deprecated { public_path: spellings.public.as_str().into(), sunset: settings.legacy_sunset };

    let metrics = Arc::new(Metrics::new(legacy_routes().collect()));
    let watch = |what| Stopwatch { what, counts: Arc::clone(&metrics) };
    let counted = Arc::new(Counted { services: Arc::clone(&deps.services), audit: deps.audit.clone() });
    let limited = move |endpoint| {
        from_fn_with_state(RouteLimits { endpoint, counted: Arc::clone(&counted) }, layers::limits)
    };
    let on_route = |route: &'static Route| {
        let endpoint = route.endpoint;
        let detach = detach.of(endpoint, route.reads_body());
        let layers = ServiceBuilder::new()
            // Notes the endpoint, for the layers outside, and refuses a request above a limit.
            .layer(watch(Timed::Limits))
            .layer(limited(Some(endpoint)))
            // Reads the body, then spawns a task with a deadline; from here on, a client's disconnect does
            // not stop the request.
            .layer(watch(Timed::Detach))
            .layer(from_fn_with_state(detach, layers::detach))
            .layer(watch(Timed::Handler));
        (route.handler)().route_layer(layers)
    };
    let on_path = |mount: &'static Mount, methods: MethodRouter<AppState>| {
        let layers = ServiceBuilder::new()
            // Notes the path, for the layers outside, also where its method is not supported.
            .layer(from_fn_with_state(mount, layers::note_mount))
            // Marks a legacy route.
            .layer(from_fn_with_state((deprecated.clone(), mount), layers::deprecated));
        // A method that the path does not have counts too, and so does a legacy route that is not served.
        let methods = if mount.successor.is_some() && !settings.legacy_enabled {
            any(async || Problem::LegacyGone).layer(limited(None))
        } else {
            methods.fallback(not_allowed.layer(limited(None)))
        };
        methods.layer(layers)
    };

    let layers = ServiceBuilder::new()
        // Assigns the request id and determines the client; all layers below may log the origin.
        .layer(watch(Timed::Origin))
        .layer(from_fn_with_state(origins, layers::origin))
        // Logs one line per request, with the final status.
        .layer(watch(Timed::Log))
        .layer(from_fn_with_state((Arc::clone(&metrics), Arc::<FaultLines>::default()), layers::log))
        // Adds security headers to every response, errors included.
        .layer(watch(Timed::Headers))
        .layer(from_fn_with_state(security_headers, layers::security_headers))
        // Answers preflight requests; makes errors readable across origins.
        .layer(watch(Timed::Cors))
        .layer(from_fn_with_state(cors, layers::cors))
        // Writes the body of every error.
        .layer(watch(Timed::Problems))
        .layer(from_fn(layers::problems))
        // Refuses a request that does not name one host.
        .layer(from_fn(layers::host));

    // A path that does not exist counts too.
    let unmatched = not_found.layer(limited(None)).with_state(());

    let public = router(Listener::Public, on_route, on_path);
    let operations = router(Listener::Operations, |route| (route.handler)(), |_, methods| methods);
    let openapi = openapi::document(&settings.public_url).to_string().into();
    let documents = Documents { openapi, docs: docs::page_under(&spellings.public).into() };
    let app = AppState::new(deps, Arc::clone(&metrics), documents);
    let public = public.fallback_service(unmatched).with_state(app.clone()).layer(layers);
    // The router compares paths before its layers run.
    let rewrite = MapRequest::new(public, move |request| spellings.rewrite(request));
    Routers {
        public: Router::new().fallback_service(rewrite),
        operations: operations.with_state(app).layer(from_fn(layers::host)).layer(from_fn(layers::problems)),
        refusal: Arc::new(move |status| refusals.response(status)),
    }
}

async fn not_found() -> StatusCode {
    StatusCode::NOT_FOUND
}

async fn not_allowed() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

/// The paths of legacy routes.
fn legacy_routes() -> impl Iterator<Item = &'static str> {
    let mounts = ROUTES.iter().flat_map(|route| route.endpoint.mounts);
    mounts.filter(|mount| mount.successor.is_some()).map(|mount| mount.path)
}

/// The routes of one listener, each with its layers.
fn router(
    listener: Listener,
    on_route: impl Fn(&'static Route) -> MethodRouter<AppState>,
    on_path: impl Fn(&'static Mount, MethodRouter<AppState>) -> MethodRouter<AppState>,
) -> Router<AppState> {
    let mut paths = BTreeMap::<&str, (&Mount, MethodRouter<AppState>)>::new();
    for route in ROUTES {
        for mount in route.endpoint.mounts.iter().filter(|mount| mount.is_on(listener)) {
            let handler = on_route(route);
            let methods = match paths.remove(mount.path) {
                Some((_, others)) => others.merge(handler),
                None => handler,
            };
            paths.insert(mount.path, (mount, methods));
        }
    }

    paths
        .into_iter()
        .fold(Router::new(), |router, (path, (mount, methods))| router.route(path, on_path(mount, methods)))
}
