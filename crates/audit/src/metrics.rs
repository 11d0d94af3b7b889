//! The metrics of the audit trail: its journal, and how the database and the sinks follow it.

use runtime::metric::{Page, float};

use crate::ship::ShipStats;
use crate::{Auditor, Condition};

/// Writes every family of the audit trail.
pub fn collect(page: &mut Page, auditor: &Auditor) {
    trail(page, auditor);
    sinks(page, auditor);
}

/// What the audit trail does.
fn trail(page: &mut Page, auditor: &Auditor) {
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
    page.family("audit_ship_duration_seconds", "histogram", "Time that the database took for a batch.");
    page.histogram("audit_ship_duration_seconds", &[], &shipping.batches());
}

/// A family for each thing that is known of a sink.
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
    let backlog = "Events in the journals that a sink has not taken yet.";
    family("audit_sink_backlog_events", "gauge", backlog, |sink| float(sink.backlog()));
    let shipped = "Events that a sink has taken.";
    family("audit_sink_shipped_total", "counter", shipped, |sink| float(sink.shipped()));
    let dead = "Events that a sink has refused or missed, and that were set aside.";
    family("audit_sink_dead_total", "counter", dead, |sink| float(sink.dead()));
    let failing = "1 while a sink takes nothing.";
    family("audit_sink_failing", "gauge", failing, |sink| f64::from(u8::from(sink.last_error().is_some())));
}
