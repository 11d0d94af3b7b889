//! The origin of an event.

use std::net::IpAddr;

use serde::Serialize;

use crate::RequestId;

/// The origin of an event: part of every entry.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Origin {
    /// `http`, `cli` or the name of a job.
    pub via: &'static str,
    /// The request's id, where there is a request.
    pub request_id: Option<RequestId>,
    /// The request id that the client sent; not verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_request_id: Option<String>,
    /// The trace that the request belongs to (W3C Trace Context).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The client's address after trusted proxies.
    pub address: Option<IpAddr>,
    /// The client's `User-Agent`, cut to 256 characters, control characters replaced.
    pub user_agent: Option<String>,
}
