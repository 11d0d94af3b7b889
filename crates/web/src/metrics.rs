//! The first metrics, in Prometheus' text format (version 0.0.4). Labels come from closed sets.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use auth::Rooms;

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
    pub(crate) fn page(&self, rooms: &Rooms) -> String {
        let mut page = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, f64)]| {
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(page, "{name}{labels} {value}");
            }
        };
        let one = |value: f64| vec![(String::new(), value)];
        let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        family("build_info", "gauge", "The running version.", &[(version, 1.0)]);
        let legacy: Vec<_> = LEGACY_ROUTES
            .iter()
            .zip(&self.legacy)
            .map(|(route, count)| (format!("{{route=\"{route}\"}}"), float(count.load(Ordering::Relaxed))))
            .collect();
        family(
            "legacy_route_requests_total",
            "counter",
            "Requests of routes that old clients call.",
            &legacy,
        );
        let hashes = rooms.hasher.counts();
        let shed = vec![
            ("{reason=\"deadline\"}".to_owned(), float(hashes.shed)),
            ("{reason=\"gone\"}".to_owned(), float(hashes.cancelled)),
        ];
        family("password_hash_shed_total", "counter", "Hashes that were not computed.", &shed);
        let depth = rooms.hasher.queue_depth() as u64;
        family("password_hash_queue_depth", "gauge", "Hashes that wait.", &one(float(depth)));
        if let Some(age) = rooms.revocations.age() {
            family(
                "revocation_lag_seconds",
                "gauge",
                "Age of the view of revocations.",
                &one(age.as_secs_f64()),
            );
        }
        page
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
fn float(count: u64) -> f64 {
    count as f64
}
