//! The record of an event in the journal, and its row in the database.

mod documentation;
pub(crate) mod row;

use model::{Actor, Channel, Event, Now, RequestId};
use runtime::audit::Entry;
use serde::Serialize;

pub use self::documentation::markdown;
pub use self::row::{CHECKPOINT, of as row};

/// The version of the record's layout.
pub(crate) const VERSION: u8 = 2;

/// One record of the journal, as JSON. Readers of the trail can see everything in it except `detail`.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) v: u8,
    pub(crate) at: Now,
    #[serde(flatten)]
    pub(crate) event: &'a Event,
    #[serde(rename = "via")]
    pub(crate) channel: Channel,
    pub(crate) actor: &'a Actor,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<&'a RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<Detail>,
    /// The number of its intent, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) intent: Option<u64>,
    /// True where a later process determined the outcome after a kill.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) settled: bool,
}

/// The encrypted detail, which only the holder of the user's key can read.
#[derive(Serialize)]
pub(crate) struct Detail {
    /// The id of the key, in hexadecimal digits.
    pub(crate) key: String,
    /// The encrypted text, in Base64.
    pub(crate) sealed: String,
}

/// The plain text of a detail.
#[derive(Serialize)]
pub(crate) struct Plain<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<std::net::IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_request_id: Option<&'a str>,
}

impl<'a> Plain<'a> {
    pub(crate) fn of(entry: &'a Entry) -> Option<Self> {
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
