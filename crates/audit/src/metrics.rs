//! Metrics of the audit trail: the journal, shipping to the database, and the sinks.

use runtime::metric::{Page, float};

use crate::ship::ShipStats;
use crate::{Auditor, Condition};

/// Writes all metric families of the audit trail.
pub fn collect(page: &mut Page, auditor: &Auditor) {
    trail(page, auditor);
    sinks(page, auditor);
}

/// The journal and the shipping to the database.
fn trail(page: &mut Page, auditor: &Auditor) {
    page.family("audit_events_total", "counter", "Audit events, by kind.");
    for (kind, count) in auditor.kinds() {
        page.sample("audit_events_total", &[("kind", kind)], float(count));
    }

    let state = auditor.state();
    page.family("audit_journal_queued_events", "gauge", "Audit events that are not in the journal yet.");
    page.sample("audit_journal_queued_events", &[], float(state.queued as u64));
    page.family(
        "audit_events_dropped_total",
        "counter",
        "Audit events that were dropped because they could not be written.",
    );
    page.sample("audit_events_dropped_total", &[], float(state.dropped));

    page.family("audit_journal_failing", "gauge", "1 while audit events cannot be written.");
    let failing = auditor.condition() == Condition::Failing;
    page.sample("audit_journal_failing", &[], if failing { 1.0 } else { 0.0 });

    let shipping = auditor.shipping();
    page.family(
        "audit_backlog_events",
        "gauge",
        "Audit events in the journal that are not in the database yet.",
    );
    page.sample("audit_backlog_events", &[], float(shipping.backlog()));
    page.family("audit_events_shipped_total", "counter", "Audit events that were shipped to the database.");
    page.sample("audit_events_shipped_total", &[], float(shipping.shipped()));
    page.family(
        "audit_events_dead_total",
        "counter",
        "Audit events that could not be shipped and became dead letters.",
    );
    page.sample("audit_events_dead_total", &[], float(shipping.dead()));
    page.family("audit_ship_duration_seconds", "histogram", "Duration of shipping a batch to the database.");
    page.histogram("audit_ship_duration_seconds", &[], &shipping.batches());
}

/// Writes one family for each value of a sink's statistics.
fn sinks(page: &mut Page, auditor: &Auditor) {
    let sinks = auditor.sinks();
    if sinks.is_empty() {
        return;
    }

    let mut family = |name: &str, kind: &str, help: &str, value: fn(&ShipStats) -> f64| {
        page.family(name, kind, help);
        for (sink, shipping) in &sinks {
            page.sample(name, &[("sink", *sink)], value(shipping));
        }
    };

    let backlog = "Audit events in the journals that the sink has not accepted yet.";
    family("audit_sink_backlog_events", "gauge", backlog, |sink| float(sink.backlog()));
    let shipped = "Audit events that the sink has accepted.";
    family("audit_sink_shipped_total", "counter", shipped, |sink| float(sink.shipped()));
    let dead = "Audit events that the sink refused or missed and that became dead letters.";
    family("audit_sink_dead_total", "counter", dead, |sink| float(sink.dead()));
    let failing = "1 while the sink accepts no events.";
    family("audit_sink_failing", "gauge", failing, |sink| f64::from(u8::from(sink.last_error().is_some())));
}
