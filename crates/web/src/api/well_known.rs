//! Public documents under `/.well-known`.

use std::net::IpAddr;

use axum::response::Response;
use http::{HeaderValue, StatusCode, Uri, header};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use super::page::Page;
use crate::endpoint::{Endpoint, Group, Mount, Verb};
use crate::problem::{Problem, ProblemKind};
use crate::request::context::RequestContext;
use crate::request::input::Json;
use crate::request::operation::{Answer, Operation};

/// The media type of a set of keys (RFC 7517 §8.5.2).
const JWK_SET: &str = "application/jwk-set+json";
const JWKS_PATH: &str = "/.well-known/jwks.json";
/// The path of the metadata; for an issuer with a path, that path follows (RFC 8414 §3.1).
pub(crate) const METADATA_PATH: &str = "/.well-known/oauth-authorization-server";
/// For [`auth::signing_keys::KEY_SET_MAX_AGE`]: a rotation waits for it.
const KEY_SET_CACHE: &str = "public, max-age=300";

/// The public keys (RFC 7517); scripts of any origin may read them.
pub(crate) struct Jwks;

impl Operation for Jwks {
    const ENDPOINT: Endpoint = Endpoint::new(
        Verb::Get,
        Group::About,
        "jwks",
        "Get the public keys that verify access tokens (RFC 7517).",
    )
    .unlimited()
    .at(&[Mount::public(JWKS_PATH)])
    .sends(JWK_SET);

    type Context = RequestContext<()>;
    type Answer = Page;

    async fn handle(context: Self::Context) -> Result<Page, Problem> {
        let body = serde_json::to_string(&context.services().keys().jwks).unwrap_or_default();
        let headers = vec![
            (header::CONTENT_TYPE, JWK_SET),
            (header::CACHE_CONTROL, KEY_SET_CACHE),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        ];
        Ok(Page { headers, body: body.into() })
    }
}

/// The metadata of the authorization server (RFC 8414 §2).
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ServerMetadata")]
pub(crate) struct MetadataBody {
    /// The issuer, as in access tokens.
    issuer: String,
    /// The public keys.
    jwks_uri: String,
    /// The token endpoint.
    token_endpoint: String,
    /// Clients of the token endpoint have no secret.
    token_endpoint_auth_methods_supported: [&'static str; 1],
    /// The revocation endpoint (RFC 7009).
    revocation_endpoint: String,
    /// Possession of the token suffices.
    revocation_endpoint_auth_methods_supported: [&'static str; 1],
    /// The introspection endpoint (RFC 7662).
    introspection_endpoint: String,
    /// How clients of the introspection endpoint send their secret.
    introspection_endpoint_auth_methods_supported: [&'static str; 2],
    /// None: there is no authorization endpoint.
    // Not an array of no element, whose schema has no `items`.
    response_types_supported: Vec<&'static str>,
    /// The grant types for clients of OAuth 2.0.
    grant_types_supported: [&'static str; 1],
}

impl MetadataBody {
    fn new(issuer: &str, public_url: &str) -> Self {
        let endpoint = |path: &str| format!("{public_url}{path}");
        Self {
            issuer: issuer.to_owned(),
            jwks_uri: endpoint(JWKS_PATH),
            token_endpoint: endpoint("/api/v1/auth/token"),
            token_endpoint_auth_methods_supported: ["none"],
            revocation_endpoint: endpoint("/api/v1/auth/revoke"),
            revocation_endpoint_auth_methods_supported: ["none"],
            introspection_endpoint: endpoint("/api/v1/auth/introspect"),
            introspection_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post"],
            response_types_supported: Vec::new(),
            grant_types_supported: ["refresh_token"],
        }
    }
}

impl Answer for MetadataBody {
    fn describe(schemas: &mut SchemaGenerator) -> Option<(&'static str, Schema)> {
        Json::<Self>::describe(schemas)
    }

    fn into_response(self, status: StatusCode) -> Response {
        let mut response = Json(self).into_response(status);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(KEY_SET_CACHE));
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        response
    }
}

/// The metadata; scripts of any origin may read it.
pub(crate) struct Metadata;

impl Operation for Metadata {
    const ENDPOINT: Endpoint = Endpoint::new(
        Verb::Get,
        Group::About,
        "metadata",
        "Get the metadata of the authorization server (RFC 8414), if the issuer is an https or loopback URL.",
    )
    .unlimited()
    .at(&[Mount::public(METADATA_PATH)])
    .or(&[ProblemKind::NotFound]);

    type Context = RequestContext<()>;
    type Answer = MetadataBody;

    async fn handle(context: Self::Context) -> Result<MetadataBody, Problem> {
        let issuer = &context.services().settings.issuer;
        if !has_metadata(issuer) {
            return Err(Problem::NotFound);
        }
        Ok(MetadataBody::new(issuer, context.public_url()))
    }
}

/// Whether an issuer has metadata: an https URL without query and fragment (RFC 8414 §2), or one of a
/// loopback address, for development.
fn has_metadata(issuer: &str) -> bool {
    let Ok(uri) = issuer.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let is_fitting = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => is_loopback,
        _ => false,
    };
    is_fitting && !issuer.contains(['?', '#'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_waits_for_the_caches_of_the_key_set() {
        let age = auth::signing_keys::KEY_SET_MAX_AGE;
        assert_eq!(KEY_SET_CACHE, format!("public, max-age={}", age.as_secs()));
        assert!(auth::signing_keys::PUBLISHED_BEFORE_ROTATION > age);
    }
}
