//! Public documents under `/.well-known`.

use http::header;

use super::page::Page;
use crate::endpoint::{Endpoint, Group, Mount, Verb};
use crate::problem::Problem;
use crate::request::context::RequestContext;
use crate::request::operation::Operation;

/// The media type of a set of keys (RFC 7517 §8.5.2).
const JWK_SET: &str = "application/jwk-set+json";
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
    .at(&[Mount::public("/.well-known/jwks.json")])
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
