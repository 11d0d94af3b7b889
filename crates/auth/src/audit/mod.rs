//! The audit trail: every event becomes a record of the journal, and what it says of a person is encrypted under a key
//! that can be destroyed.

mod detail_keys;
mod documents;
mod intent_log;
mod reconcile;
mod recorder;
mod ship_stats;

pub use detail_keys::DetailKeyFile;
pub use documents::markdown;
pub use intent_log::{IntentLog, SEGMENTS, UnresolvedIntent};
pub use reconcile::{ReconcileError, settle};
pub use recorder::{Auditor, Condition};
pub use ship_stats::ShipStats;

use model::{Event, Now, RequestId};
use runtime::audit::Entry;
use sched_policy::{Class, Thread};
use serde::Serialize;

/// One record of the journal, as JSON. What it names is public to whoever reads the trail, but for `detail`.
#[derive(Serialize)]
struct Line<'a> {
    v: u8,
    at: Now,
    #[serde(flatten)]
    event: &'a Event,
    via: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Detail>,
    /// The number under which it was announced, where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<u64>,
    /// True where it was found out afterwards, of what an earlier process was killed in.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    settled: bool,
}

/// What only the holder of a person's key can read.
#[derive(Serialize)]
struct Detail {
    /// The id of the key, in hexadecimal digits.
    key: String,
    /// The text, encrypted, in Base64.
    sealed: String,
}

/// The text of a detail.
#[derive(Serialize)]
struct Plain<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<std::net::IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_request_id: Option<&'a str>,
}

impl<'a> Plain<'a> {
    fn of(entry: &'a Entry) -> Option<Self> {
        let origin = &entry.origin;
        let plain = Self {
            address: origin.address,
            user_agent: origin.user_agent.as_deref(),
            client_request_id: origin.client_request_id.as_deref(),
        };
        let says = plain.address.is_some() || plain.user_agent.is_some() || plain.client_request_id.is_some();
        says.then_some(plain)
    }
}

/// A thread of the trail that wakes up displaces no request that runs: under load it comes a moment later, and finds
/// more to do at once.
fn step_aside() {
    // Where that is not to be had it is as every other thread.
    let _ = Thread::current().set_class(Class::Batch);
}

#[cfg(test)]
mod tests;
