//! How the sinks of the audit trail are: those beside the database. Their names are a closed set.

use auth::audit::Auditor;

use super::{Page, float};

/// A family for each thing that is known of a sink.
pub(super) fn write(page: &mut Page, auditor: &Auditor) {
    let sinks = auditor.sinks();
    if sinks.is_empty() {
        return;
    }
    let mut family = |name: &str, kind: &str, help: &str, value: fn(&auth::audit::ShipStats) -> f64| {
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
