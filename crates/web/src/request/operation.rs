//! Operations: what each receives, what it answers, and its handler, beside its declaration.

use std::future::Future;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use http::StatusCode;
use model::EventKind;
use schemars::{Schema, SchemaGenerator};

use super::AppState;
use crate::endpoint::{Caller, Endpoint, RequestDescription, Verb};
use crate::problem::Problem;

/// One operation of the API: its declaration, what it receives, what it answers, and its handler.
pub(crate) trait Operation: 'static {
    /// The declaration.
    const ENDPOINT: Endpoint;

    /// What the handler receives: for most, a [`super::context::RequestContext`] with the caller,
    /// the input and the request's one lease. Reading it consumes the request, so there is only one.
    type Context: Context;

    /// The body of a success.
    type Answer: Answer;

    /// Runs the operation.
    fn handle(context: Self::Context) -> impl Future<Output = Result<Self::Answer, Problem>> + Send;
}

/// What a handler receives, made from a request.
pub(crate) trait Context: Sized + Send + 'static {
    /// Reads the request.
    fn from_request(request: Request, app: &AppState) -> impl Future<Output = Result<Self, Problem>> + Send;

    /// What a client sends.
    fn describe(_: &mut SchemaGenerator) -> RequestDescription {
        RequestDescription::default()
    }
}

/// The response of a success.
pub(crate) trait Answer: Send {
    /// The media type and schema of the body; `None` without a body.
    fn describe(schemas: &mut SchemaGenerator) -> Option<(&'static str, Schema)>;

    /// The response with the status of the endpoint.
    fn into_response(self, status: StatusCode) -> Response;
}

/// An endpoint as the router, the OpenAPI document and tests see it.
#[derive(Clone, Copy)]
pub struct Route {
    /// The declaration.
    pub endpoint: &'static Endpoint,
    pub(crate) handler: fn() -> MethodRouter<AppState>,
    pub(crate) describe_request: fn(&mut SchemaGenerator) -> RequestDescription,
    pub(crate) describe_answer: fn(&mut SchemaGenerator) -> Option<(&'static str, Schema)>,
}

impl Route {
    /// The route of an operation.
    pub(crate) const fn of<O: Operation>() -> Self {
        Self {
            endpoint: const { &O::ENDPOINT },
            handler: handler::<O>,
            describe_request: O::Context::describe,
            describe_answer: O::Answer::describe,
        }
    }

    /// The usual media type of the body that a request must have, if any.
    pub fn required_media_type(&self) -> Option<&'static str> {
        self.description().body.filter(|body| body.required)?.media_types.first().copied()
    }

    /// Whether the operation reads a body.
    pub(crate) fn reads_body(&self) -> bool {
        self.description().body.is_some()
    }

    /// The authentication.
    pub fn caller(&self) -> Caller {
        self.description().caller
    }

    /// The kinds of events that a call may record: those of the operation, and of a caller that is refused.
    pub fn events(&self) -> Vec<EventKind> {
        [self.endpoint.events, self.description().events].concat()
    }

    fn description(&self) -> RequestDescription {
        (self.describe_request)(&mut SchemaGenerator::default())
    }
}

fn handler<O: Operation>() -> MethodRouter<AppState> {
    on(filter(O::ENDPOINT.verb), async |State(app): State<AppState>, request: Request| {
        answer::<O>(request, &app).await.unwrap_or_else(Problem::into_response)
    })
}

async fn answer<O: Operation>(request: Request, app: &AppState) -> Result<Response, Problem> {
    let context = O::Context::from_request(request, app).await?;
    let answer = O::handle(context).await?;
    Ok(answer.into_response(O::ENDPOINT.success))
}

fn filter(verb: Verb) -> MethodFilter {
    match verb {
        Verb::Get => MethodFilter::GET,
        Verb::Post => MethodFilter::POST,
        Verb::Patch => MethodFilter::PATCH,
        Verb::Delete => MethodFilter::DELETE,
    }
}
