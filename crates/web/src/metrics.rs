//! The page of metrics, in Prometheus' text format (version 0.0.4). Labels come from closed sets.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use auth::Rooms;
use auth::audit::{Auditor, Condition};
use model::metric::HistogramSnapshot;

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
        passwords(&mut page, rooms);
        if let Some(auditor) = auditor {
            audit(&mut page, auditor);
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
    page.family(capacity, "gauge", "Passwords of this kind that this node can hash a second.");
    for (class, per_second) in hasher.capacity() {
        let kind = class.to_string();
        page.sample(capacity, &[("algorithm", class.algorithm()), ("kind", &kind)], per_second);
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
