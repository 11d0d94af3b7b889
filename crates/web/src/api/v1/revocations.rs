//! The feed of revocations, for applications that verify access tokens offline.

use std::time::Duration;

use auth::client;
use auth::session::feed::{self, FeedPage, LONGEST_WAIT};
use model::{ClientRight, EventKind};
use protocol::wire::authorization::Authorization;
use schemars::JsonSchema;
use serde::Serialize;
use store::queries::revocation::Revocation;

use crate::endpoint::{Endpoint, Group, Mount, Parameter, Verb};
use crate::problem::{Problem, ProblemKind};
use crate::request::context::{ClientCredentials, RequestContext};
use crate::request::input::{Input, Json, Received};
use crate::request::operation::Operation;

/// Where to read on, and how long to wait.
pub(crate) struct FeedInput {
    after: Option<i64>,
    wait: Duration,
}

impl Input for FeedInput {
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::query("after", "int64", "`next` of the answer before; absent or 0 for the whole list."),
        Parameter::query("wait", "int64", "Seconds to wait for a revocation if there is none: at most 30."),
    ];
    const PROBLEMS: &'static [ProblemKind] = &[ProblemKind::MalformedQuery];

    fn read(received: &Received) -> Result<Self, Problem> {
        let after = received.whole_number("after")?;
        let wait = received.whole_number("wait")?.unwrap_or(0);
        Ok(Self { after, wait: Duration::from_secs(wait.unsigned_abs()).min(LONGEST_WAIT) })
    }
}

/// One ended session.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Revocation")]
pub(crate) struct RevocationBody {
    /// Its number: later ones are higher, and sessions that ended together share one.
    number: i64,
    /// The session, the claim `sid` of its access tokens.
    sid: String,
    /// When it ended (RFC 3339).
    #[schemars(extend("format" = "date-time"))]
    revoked_at: String,
    /// After this, no access token of it is valid anyway.
    #[schemars(extend("format" = "date-time"))]
    until: String,
}

impl From<Revocation> for RevocationBody {
    fn from(one: Revocation) -> Self {
        Self {
            number: one.number,
            sid: one.session.to_string(),
            revoked_at: one.revoked_at.in_millis(),
            until: one.expires_at.in_millis(),
        }
    }
}

/// A part of the list of ended sessions.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Revocations")]
pub(crate) struct RevocationsBody {
    /// Ended sessions in the order of their numbers: at most 1,000.
    revocations: Vec<RevocationBody>,
    /// `after` of the next call.
    next: i64,
    /// The newest number: the list is complete once `next` has reached it.
    newest: i64,
    /// Access tokens whose claim `epoch` (0 if absent) is lower are not valid: the database was recovered.
    epoch: i64,
}

impl From<FeedPage> for RevocationsBody {
    fn from(page: FeedPage) -> Self {
        Self {
            revocations: page.revocations.into_iter().map(RevocationBody::from).collect(),
            next: page.next,
            newest: page.newest,
            epoch: page.epoch,
        }
    }
}

/// Reads the feed.
pub(crate) struct ReadFeed;

impl Operation for ReadFeed {
    const ENDPOINT: Endpoint = Endpoint::new(
        Verb::Get,
        Group::Tokens,
        "revocations",
        "List ended sessions, for applications that verify access tokens offline.",
    )
    .counting_refusals()
    .at(&[Mount::public("/api/v1/revocations")])
    .records(&[EventKind::ClientAuthenticated, EventKind::ClientRefused])
    .or(&[ProblemKind::RevocationsGone])
    .waits_up_to(LONGEST_WAIT)
    .round_trips(2);

    type Context = RequestContext<FeedInput, ClientCredentials>;
    type Answer = Json<RevocationsBody>;

    async fn handle(mut context: Self::Context) -> Result<Self::Answer, Problem> {
        let stopping = context.stopping();
        let (input, presented, mut ctx) = context.parts();
        let Some(Authorization::Basic { id, secret }) = &presented.0 else {
            return Err(Problem::ClientInvalid);
        };
        client::authenticate(&mut ctx, id, secret, ClientRight::Feed).await?;
        let page = feed::read(&mut ctx, input.after, input.wait, stopping.cancelled_owned()).await?;
        Ok(Json(page.into()))
    }
}
