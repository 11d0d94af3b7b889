//! The metrics page, in Prometheus' text format (version 0.0.4). Labels have closed sets of values.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use auth::Services;
use auth::limits::Limit;
use http::Method;
use model::event::{LoginAttack, TokenRefusal};
use runtime::metric::{Collector, Histogram, HistogramSnapshot, JobMetrics, Page, float};

use crate::endpoint::{Group, Matched};

/// A layer, or the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timed {
    Origin,
    Log,
    Headers,
    Cors,
    Problems,
    Limits,
    Detach,
    Handler,
}

impl Timed {
    /// All values, from the outside in.
    pub(crate) const ALL: [Self; 8] = [
        Self::Origin,
        Self::Log,
        Self::Headers,
        Self::Cors,
        Self::Problems,
        Self::Limits,
        Self::Detach,
        Self::Handler,
    ];

    /// The label in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Log => "log",
            Self::Headers => "headers",
            Self::Cors => "cors",
            Self::Problems => "problems",
            Self::Limits => "limits",
            Self::Detach => "detach",
            Self::Handler => "handler",
        }
    }
}

/// What the requests of one series have in common: route, method and status.
type Series = (&'static str, &'static str, u16);

/// The requests of one series.
#[derive(Debug)]
struct Requests {
    /// The operation, if it is one on accounts, sessions or tokens.
    operation: Option<&'static str>,
    took: Histogram,
}

/// Metrics of this crate.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Written once for each series; otherwise only read.
    requests: RwLock<BTreeMap<Series, Requests>>,
    /// The paths of legacy routes, which are shown before their first request.
    legacy: Vec<&'static str>,
    layers: [Histogram; Timed::ALL.len()],
}

/// Other sources of the page.
pub(crate) struct Sources<'a> {
    pub(crate) services: &'a Services,
    pub(crate) store: &'a store::StoreMetrics,
    pub(crate) jobs: &'a JobMetrics,
    pub(crate) collectors: &'a [Collector],
}

/// Upper bounds of the own time of a layer, in seconds.
const LAYER_BOUNDS: &[f64] =
    &[0.000_002, 0.000_005, 0.000_01, 0.000_025, 0.000_1, 0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 10.0];

/// Upper bounds of request durations, in seconds.
const REQUEST_BOUNDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The label of a method; every method outside the list is `other`.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        _ => "other",
    }
}

/// The operation of an endpoint, if it is one on accounts, sessions or tokens.
fn operation(matched: Matched) -> Option<&'static str> {
    let endpoint = matched.endpoint?;
    match endpoint.group {
        Group::Accounts | Group::Sessions | Group::Tokens => Some(endpoint.operation),
        Group::Health | Group::About => None,
    }
}

/// The outcome label: success, refused because of the request, or failed because of the server.
fn outcome(status: u16) -> &'static str {
    match status {
        200..400 => "success",
        400..500 => "refused",
        _ => "unavailable",
    }
}

impl Metrics {
    /// No requests yet, and these legacy routes.
    pub(crate) fn new(legacy: Vec<&'static str>) -> Self {
        let layers = std::array::from_fn(|_| Histogram::new(LAYER_BOUNDS));
        Self { requests: RwLock::default(), legacy, layers }
    }

    /// Counts one request.
    pub(crate) fn request(&self, method: &Method, matched: Option<Matched>, status: u16, took: Duration) {
        let series = (matched.map_or("other", |matched| matched.mount.path), known(method), status);
        let requests = self.requests.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(requests) = requests.get(&series) {
            return requests.took.observe(took);
        }

        drop(requests);
        let mut requests = self.requests.write().unwrap_or_else(PoisonError::into_inner);
        let new =
            || Requests { operation: matched.and_then(operation), took: Histogram::new(REQUEST_BOUNDS) };
        requests.entry(series).or_insert_with(new).took.observe(took);
    }

    /// Counts the own time of a layer.
    pub(crate) fn layer(&self, layer: Timed, took: Duration) {
        if let Some(histogram) = self.layers.get(layer as usize) {
            histogram.observe(took);
        }
    }

    /// The own time of each layer.
    pub(crate) fn layers(&self) -> impl Iterator<Item = (Timed, HistogramSnapshot)> {
        Timed::ALL.into_iter().zip(&self.layers).map(|(layer, took)| (layer, took.snapshot()))
    }

    fn requests(&self, page: &mut Page) {
        let requests = self.requests.read().unwrap_or_else(PoisonError::into_inner);
        let duration = "http_server_request_duration_seconds";
        page.family(duration, "histogram", "Duration of requests.");
        let mut operations = BTreeMap::<_, u64>::new();
        let mut legacy: BTreeMap<_, u64> = self.legacy.iter().map(|route| (*route, 0)).collect();

        for ((route, method, status), of_series) in &*requests {
            let (snapshot, code) = (of_series.took.snapshot(), status.to_string());
            let labels = [
                ("http_request_method", *method),
                ("http_route", *route),
                ("http_response_status_code", &code),
            ];
            page.histogram(duration, &labels, &snapshot);
            if let Some(operation) = of_series.operation {
                *operations.entry((operation, outcome(*status))).or_default() += snapshot.count;
            }
            if let Some(count) = legacy.get_mut(route) {
                *count += snapshot.count;
            }
        }

        drop(requests);
        let operations_total = "auth_operations_total";
        page.family(operations_total, "counter", "Operations on accounts, sessions and tokens, by outcome.");
        for ((operation, outcome), count) in operations {
            page.sample(operations_total, &[("operation", operation), ("outcome", outcome)], float(count));
        }
        let legacy_total = "legacy_route_requests_total";
        page.family(legacy_total, "counter", "Requests to legacy routes.");
        for (route, count) in legacy {
            page.sample(legacy_total, &[("route", route)], float(count));
        }

        let layer_duration = "http_layer_duration_seconds";
        page.family(layer_duration, "histogram", "Own time of each layer and of the handler.");
        for (layer, took) in self.layers() {
            page.histogram(layer_duration, &[("layer", layer.as_str())], &took);
        }
    }

    /// The page that a scraper reads.
    pub(crate) fn page(&self, sources: &Sources<'_>) -> String {
        let Sources { services, store, jobs: of_jobs, collectors } = sources;
        let mut page = Page::default();
        page.family("gatewright_build_info", "gauge", "The running version.");
        page.sample("gatewright_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        self.requests(&mut page);
        database(&mut page, store);
        passwords(&mut page, services);
        limits(&mut page, services);
        jobs(&mut page, of_jobs);
        for collect in *collectors {
            collect(&mut page);
        }
        if let Some(age) = services.revocations.age() {
            page.family("revocation_lag_seconds", "gauge", "Age of this node's list of revocations.");
            page.sample("revocation_lag_seconds", &[], age.as_secs_f64());
        }
        let clock = "gatewright_clock_believed";
        page.family(clock, "gauge", "1 if this node's clock is believed, 0 if nothing is deleted by age.");
        page.sample(clock, &[], f64::from(u8::from(services.clock_watch.is_believed())));
        page.into_text()
    }
}

/// Connections and statements of the database.
fn database(page: &mut Page, counts: &store::StoreMetrics) {
    let pools = counts.pools();
    let connections = "db_pool_connections";
    page.family(connections, "gauge", "Connections to the database, by pool and state.");
    for pool in &pools {
        let counts = [("used", pool.used), ("idle", pool.idle), ("unopened", pool.unopened)];
        for (state, count) in counts {
            page.sample(connections, &[("pool", pool.pool), ("state", state)], float(count));
        }
    }

    page.family(
        "db_pool_wait_seconds",
        "histogram",
        "Time spent waiting for a connection, including timeouts.",
    );
    for pool in &pools {
        page.histogram("db_pool_wait_seconds", &[("pool", pool.pool)], &pool.wait);
    }

    page.family("db_connection_held_seconds", "histogram", "Time for which a connection was held.");
    for pool in &pools {
        page.histogram("db_connection_held_seconds", &[("pool", pool.pool)], &pool.held);
    }

    let statement = "db_statement_duration_seconds";
    page.family(
        statement,
        "histogram",
        "Duration of statements; statements sent in one batch have the duration of the batch.",
    );
    for (name, took) in counts.statements() {
        page.histogram(statement, &[("statement", name)], &took);
    }
}

/// Background jobs.
fn jobs(page: &mut Page, jobs: &JobMetrics) {
    let counts = jobs.counts();
    page.family(
        "job_runs_total",
        "counter",
        "Runs of background jobs, by outcome; elsewhere: another node ran the job.",
    );
    for ((job, how), count) in &counts.runs {
        page.sample("job_runs_total", &[("job", job), ("outcome", how.as_str())], float(*count));
    }

    let last = "job_last_success_timestamp_seconds";
    page.family(last, "gauge", "Time of the last successful run of a job.");
    for (job, at) in &counts.last_success {
        let at = Duration::from_micros(at.micros().unsigned_abs());
        page.sample(last, &[("job", job)], at.as_secs_f64());
    }
}

/// The hashing engine.
fn limits(page: &mut Page, services: &Services) {
    let limits = &services.limits;
    let decisions = "rate_limit_decisions_total";
    page.family(decisions, "counter", "Decisions of limits of requests.");
    for limit in Limit::ALL {
        for (outcome, admitted) in [("admitted", true), ("refused", false)] {
            let labels = [("rule", limit.as_str()), ("outcome", outcome)];
            page.sample(decisions, &labels, float(limits.decisions(limit, admitted)));
        }
    }

    if let Some(is_up) = limits.is_shared() {
        page.family("gatewright_redis_up", "gauge", "Whether Redis decides about limits.");
        page.sample("gatewright_redis_up", &[], f64::from(u8::from(is_up)));
    }

    let refused = "auth_refused_tokens_total";
    page.family(refused, "counter", "Bearer tokens that were refused, by reason.");
    for reason in TokenRefusal::ALL {
        page.sample(refused, &[("reason", reason.as_str())], float(services.refused_tokens.of(reason)));
    }
    let suspicious = "auth_suspicious_logins_total";
    page.family(suspicious, "counter", "Failed logins that look like an attack on many accounts.");
    for kind in LoginAttack::ALL {
        page.sample(suspicious, &[("kind", kind.as_str())], float(limits.attacks.suspicious(kind)));
    }

    let (keys, bytes, shared) = limits.memory();
    page.family("rate_limit_keys", "gauge", "Networks, accounts and sessions that are counted.");
    page.sample("rate_limit_keys", &[], float(keys as u64));
    page.family("rate_limit_memory_bytes", "gauge", "Memory of what is counted.");
    page.sample("rate_limit_memory_bytes", &[], float(bytes as u64));
    let shares = "rate_limit_shared_total";
    page.family(shares, "counter", "Requests counted together with their neighbours, for want of room.");
    page.sample(shares, &[], float(shared));
}

fn passwords(page: &mut Page, services: &Services) {
    let hasher = &services.hasher;
    let duration = "password_hash_duration_seconds";
    page.family(duration, "histogram", "Duration of a hash, or of a batch of hashes.");
    for (algorithm, histogram) in hasher.counts().durations() {
        page.histogram(duration, &[("algorithm", algorithm)], &histogram);
    }

    let wait = "password_hash_queue_wait_seconds";
    page.family(wait, "histogram", "Time that passwords waited for a hashing thread.");
    page.histogram(wait, &[], &hasher.counts().waits());
    page.family("password_hash_queue_depth", "gauge", "Passwords waiting for a hashing thread.");
    page.sample("password_hash_queue_depth", &[], float(hasher.queue_depth() as u64));

    let shed = "password_hash_shed_total";
    let totals = hasher.counts().totals();
    page.family(shed, "counter", "Passwords that were not hashed, by reason.");
    page.sample(shed, &[("reason", "deadline")], float(totals.shed));
    page.sample(shed, &[("reason", "gone")], float(totals.cancelled));

    let capacity = "password_hash_capacity_per_second";
    page.family(
        capacity,
        "gauge",
        "Passwords that this node can hash per second, at the most expensive configured cost.",
    );
    for (algorithm, per_second) in hasher.capacity() {
        page.sample(capacity, &[("algorithm", algorithm)], per_second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ROUTES;

    #[test]
    fn requests_are_counted_by_route_and_operation_and_not_by_unknown_methods() {
        let (metrics, took) =
            (Metrics::new(vec!["/flutter-login", "/flutter-register"]), Duration::from_millis(3));
        let odd = Method::from_bytes(b"X-ODD").unwrap();
        let matched = |path| {
            let mut all = ROUTES.iter().flat_map(|route| {
                route.endpoint.mounts.iter().map(|mount| Matched { endpoint: Some(route.endpoint), mount })
            });
            all.find(|matched| matched.mount.path == path)
        };

        metrics.request(&Method::POST, matched("/api/v1/auth/token"), 200, took);
        metrics.request(&Method::POST, matched("/api/auth/login"), 401, took);
        metrics.request(&Method::POST, matched("/flutter-login"), 503, took);
        metrics.request(&Method::GET, matched("/health/liveness"), 200, took);
        metrics.request(&odd, None, 404, took);

        let mut page = Page::default();
        metrics.requests(&mut page);
        let page = page.into_text();
        for line in [
            "http_server_request_duration_seconds_count{http_request_method=\"POST\",\
             http_route=\"/api/v1/auth/token\",http_response_status_code=\"200\"} 1",
            "http_server_request_duration_seconds_count{http_request_method=\"other\",\
             http_route=\"other\",http_response_status_code=\"404\"} 1",
            "auth_operations_total{operation=\"login\",outcome=\"success\"} 1",
            "auth_operations_total{operation=\"login\",outcome=\"refused\"} 1",
            "auth_operations_total{operation=\"login\",outcome=\"unavailable\"} 1",
            "legacy_route_requests_total{route=\"/flutter-login\"} 1",
            "legacy_route_requests_total{route=\"/flutter-register\"} 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
        assert!(!page.contains("ODD") && !page.contains("operation=\"liveness\""));
    }
}
