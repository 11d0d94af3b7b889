//! The page of metrics, in Prometheus' text format (version 0.0.4). Labels come from closed sets.

mod sinks;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use auth::Rooms;
use auth::audit::{Auditor, Condition};
use http::Method;
use model::metric::{Histogram, HistogramSnapshot};

/// The legacy routes, which are counted so that an operator sees when one can go.
pub(crate) const LEGACY_ROUTES: [&str; 4] = [
    "/flutter-register",
    "/flutter-login",
    "/api/auth/emergency-register",
    "/api/auth/emergency-register-legacy",
];

/// What the doors count themselves.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    legacy: [AtomicU64; LEGACY_ROUTES.len()],
    requests: Mutex<BTreeMap<Asked, Histogram>>,
}

/// What requests are counted by: a method of the standard, a route of the router, a status.
type Asked = (&'static str, String, u16);

/// Upper bounds of requests, in seconds.
const REQUEST_BOUNDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Methods by their names; whatever else a client invents is `other`.
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

/// What a route does for accounts and sessions, where it does anything.
fn operation(method: &str, route: &str) -> Option<&'static str> {
    match (method, route.rsplit('/').next()?) {
        ("POST", "token" | "login" | "flutter-login") => Some("login"),
        ("POST", "register" | "flutter-register" | "emergency-register" | "emergency-register-legacy") => {
            Some("register")
        }
        ("POST", "refresh") => Some("refresh"),
        ("POST", "logout") => Some("logout"),
        ("POST", "logout-all") => Some("logout_all"),
        ("POST", "password") => Some("password_change"),
        ("POST", "introspect") => Some("introspect"),
        ("DELETE", "me") => Some("erase"),
        _ => None,
    }
}

/// How it ended, as operators ask: done, refused because of the request, or not done because of the server.
fn outcome(status: u16) -> &'static str {
    match status {
        200..400 => "success",
        400..500 => "refused",
        _ => "unavailable",
    }
}

impl Metrics {
    /// Counts one request of a legacy route.
    pub(crate) fn legacy(&self, route: &str) {
        for (name, count) in LEGACY_ROUTES.iter().zip(&self.legacy) {
            if *name == route {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Counts one request.
    pub(crate) fn request(&self, method: &Method, route: &str, status: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = (known(method), route.to_owned(), status);
        requests.entry(asked).or_insert_with(|| Histogram::new(REQUEST_BOUNDS)).observe(took);
    }

    fn requests(&self, page: &mut Page) {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let duration = "http_server_request_duration_seconds";
        page.family(duration, "histogram", "Time from a request to its answer.");
        let mut operations = BTreeMap::<_, u64>::new();
        for ((method, route, status), histogram) in &*requests {
            let (snapshot, code) = (histogram.snapshot(), status.to_string());
            page.histogram(duration, &[("method", method), ("route", route), ("status", &code)], &snapshot);
            if let Some(operation) = operation(method, route) {
                *operations.entry((operation, outcome(*status))).or_default() += snapshot.count;
            }
        }
        let operations_total = "auth_operations_total";
        page.family(
            operations_total,
            "counter",
            "What was done with accounts and sessions, and how it ended.",
        );
        for ((operation, outcome), count) in operations {
            page.sample(operations_total, &[("operation", operation), ("outcome", outcome)], float(count));
        }
    }

    /// The page that a scraper reads.
    pub(crate) fn page(&self, rooms: &Rooms, auditor: Option<&Auditor>) -> String {
        let mut page = Page::default();
        page.family("build_info", "gauge", "The running version.");
        page.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        let legacy = "legacy_route_requests_total";
        page.family(legacy, "counter", "Requests of routes that old clients call.");
        for (route, count) in LEGACY_ROUTES.iter().zip(&self.legacy) {
            page.sample(legacy, &[("route", route)], float(count.load(Ordering::Relaxed)));
        }
        self.requests(&mut page);
        passwords(&mut page, rooms);
        if let Some(auditor) = auditor {
            audit(&mut page, auditor);
            sinks::write(&mut page, auditor);
        }
        if let Some(age) = rooms.revocations.age() {
            page.family("revocation_lag_seconds", "gauge", "Age of the view of revocations.");
            page.sample("revocation_lag_seconds", &[], age.as_secs_f64());
        }
        page.0
    }
}

/// What the hashing engine does.
fn passwords(page: &mut Page, rooms: &Rooms) {
    let hasher = &rooms.hasher;
    let duration = "password_hash_duration_seconds";
    page.family(duration, "histogram", "Time of a hash, or of a batch of them.");
    for (algorithm, histogram) in hasher.counts().durations() {
        page.histogram(duration, &[("algorithm", algorithm)], &histogram);
    }
    let wait = "password_hash_queue_wait_seconds";
    page.family(wait, "histogram", "Time that passwords waited for a thread.");
    page.histogram(wait, &[], &hasher.counts().waits());
    page.family("password_hash_queue_depth", "gauge", "Passwords that wait for a thread.");
    page.sample("password_hash_queue_depth", &[], float(hasher.queue_depth() as u64));
    let (shed, totals) = ("password_hash_shed_total", hasher.counts().totals());
    page.family(shed, "counter", "Passwords that were not hashed.");
    page.sample(shed, &[("reason", "deadline")], float(totals.shed));
    page.sample(shed, &[("reason", "gone")], float(totals.cancelled));
    let capacity = "password_hash_capacity_per_second";
    page.family(capacity, "gauge", "Passwords that this node can hash a second, of the dearest kind it has.");
    for (algorithm, per_second) in hasher.capacity() {
        page.sample(capacity, &[("algorithm", algorithm)], per_second);
    }
}

/// What the audit trail does.
fn audit(page: &mut Page, auditor: &Auditor) {
    page.family("audit_events_total", "counter", "Events by their kind.");
    for (kind, count) in auditor.kinds() {
        page.sample("audit_events_total", &[("kind", kind)], float(count));
    }
    let state = auditor.state();
    page.family("audit_journal_queued_events", "gauge", "Events that are not in the journal yet.");
    page.sample("audit_journal_queued_events", &[], float(state.queued as u64));
    page.family("audit_events_dropped_total", "counter", "Events that could not be written.");
    page.sample("audit_events_dropped_total", &[], float(state.dropped));
    page.family("audit_journal_failing", "gauge", "1 while events cannot be written.");
    let failing = auditor.condition() == Condition::Failing;
    page.sample("audit_journal_failing", &[], if failing { 1.0 } else { 0.0 });
    let shipping = auditor.shipping();
    page.family("audit_backlog_events", "gauge", "Events in the journal that are not in the database yet.");
    page.sample("audit_backlog_events", &[], float(shipping.backlog()));
    page.family("audit_events_shipped_total", "counter", "Events that arrived in the database.");
    page.sample("audit_events_shipped_total", &[], float(shipping.shipped()));
    page.family("audit_events_dead_total", "counter", "Events that could not be shipped and were set aside.");
    page.sample("audit_events_dead_total", &[], float(shipping.dead()));
    let (batches, took) = shipping.batches();
    page.family("audit_ship_duration_seconds", "summary", "How long the database took for a batch.");
    page.sample("audit_ship_duration_seconds_sum", &[], took.as_secs_f64());
    page.sample("audit_ship_duration_seconds_count", &[], float(batches));
}

/// A page being written.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (number, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{text}\"", if number == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &HistogramSnapshot) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in &histogram.buckets {
            let bound = bound.to_string();
            self.sample(&bucket, &[labels, &[("le", &bound)]].concat(), float(*count));
        }
        self.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), float(histogram.count));
        self.sample(&format!("{name}_sum"), labels, histogram.sum);
        self.sample(&format!("{name}_count"), labels, float(histogram.count));
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The alert rules name no metric that the page does not have.
    #[test]
    fn alert_rules_name_metrics_that_there_are() {
        let rules = include_str!("../../../ops/prometheus/gatewright.rules.yml");
        let page = concat!(include_str!("metrics.rs"), include_str!("metrics/sinks.rs"));
        let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
        let mut named = 0;
        for word in rules.split(|c: char| !is_word(c)) {
            let plain = word.strip_suffix("_bucket").unwrap_or(word);
            let is_metric = ["_total", "_seconds", "_failing", "_events", "_second", "_depth"]
                .iter()
                .any(|end| plain.ends_with(end));
            if is_metric && plain.matches('_').count() > 1 {
                assert!(
                    page.contains(&format!("\"{plain}\"")),
                    "{plain} is in the rules and not on the page"
                );
                named += 1;
            }
        }
        assert!(named >= 9, "{named}");
    }

    #[test]
    fn requests_are_counted_by_route_and_operation_and_never_by_what_a_client_invents() {
        let (metrics, took) = (Metrics::default(), Duration::from_millis(3));
        let odd = Method::from_bytes(b"X-ODD").unwrap();
        metrics.request(&Method::POST, "/api/v1/auth/token", 200, took);
        metrics.request(&Method::POST, "/api/auth/login", 401, took);
        metrics.request(&Method::POST, "/flutter-login", 503, took);
        metrics.request(&odd, "other", 404, took);
        let mut page = Page::default();
        metrics.requests(&mut page);
        for line in [
            "http_server_request_duration_seconds_count{method=\"POST\",route=\"/api/v1/auth/token\",status=\"200\"} 1",
            "http_server_request_duration_seconds_count{method=\"other\",route=\"other\",status=\"404\"} 1",
            "auth_operations_total{operation=\"login\",outcome=\"success\"} 1",
            "auth_operations_total{operation=\"login\",outcome=\"refused\"} 1",
            "auth_operations_total{operation=\"login\",outcome=\"unavailable\"} 1",
        ] {
            assert!(page.0.lines().any(|found| found == line), "{line}\n{}", page.0);
        }
        assert!(!page.0.contains("ODD"));
    }

    #[test]
    fn a_histogram_is_written_as_prometheus_reads_it() {
        let mut page = Page::default();
        let snapshot = HistogramSnapshot { buckets: vec![(0.1, 2), (1.0, 3)], count: 4, sum: 7.5 };
        page.histogram("took_seconds", &[("kind", "x")], &snapshot);
        page.sample("depth", &[], 3.0);
        assert_eq!(
            page.0,
            "took_seconds_bucket{kind=\"x\",le=\"0.1\"} 2\n\
             took_seconds_bucket{kind=\"x\",le=\"1\"} 3\n\
             took_seconds_bucket{kind=\"x\",le=\"+Inf\"} 4\n\
             took_seconds_sum{kind=\"x\"} 7.5\n\
             took_seconds_count{kind=\"x\"} 4\n\
             depth 3\n"
        );
    }
}
