//! Documents that are not part of the API.

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::request::operation::Answer;

/// A document with its header fields.
pub(crate) struct Page {
    pub(crate) headers: Vec<(HeaderName, &'static str)>,
    pub(crate) body: Bytes,
}

impl Answer for Page {
    fn describe(_: &mut SchemaGenerator) -> Option<(&'static str, Schema)> {
        Some(("application/json", json_schema!({ "type": "object" })))
    }

    fn into_response(self, status: StatusCode) -> Response {
        let mut response = (status, self.body).into_response();
        for (name, value) in self.headers {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
