//! The origin of an event: its channel, actor and request.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Actor, RequestId};

/// The channel of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// The server itself: its start, stop and configuration.
    #[default]
    Server,
    /// A request.
    Http,
    /// A command of the command line.
    #[serde(rename = "cli")]
    CommandLine,
    /// A job.
    Job,
    /// The audit journal, about itself.
    Journal,
}

/// The origin of an event: part of every entry.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Origin {
    /// The channel.
    #[serde(rename = "via")]
    pub channel: Channel,
    /// The actor, as far as proven when the request, job or command began.
    pub actor: Actor,
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
    /// The client's `User-Agent`, truncated to 256 characters, with control characters replaced.
    pub user_agent: Option<String>,
}

impl Origin {
    /// The origin of a job's events.
    pub fn job(name: &'static str) -> Self {
        Self { channel: Channel::Job, actor: Actor::Job { job: name.into() }, ..Self::default() }
    }

    /// The origin of a command's events; `actor` is [`Actor::CommandLine`].
    pub fn command_line(actor: Actor) -> Self {
        Self { channel: Channel::CommandLine, actor, ..Self::default() }
    }

    /// The origin of a request that is not authenticated yet.
    pub fn http() -> Self {
        Self { channel: Channel::Http, actor: Actor::Anonymous, ..Self::default() }
    }
}
