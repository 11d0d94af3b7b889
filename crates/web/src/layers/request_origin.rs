//! Assigns the request id and determines the client address.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use model::{Clock, Origin, RequestId, Rng};
use protocol::wire::forwarded::{ForwardedHeader, TrustedProxies};

use super::RequestOrigin;
use crate::Peer;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// State of the layer.
#[derive(Clone)]
pub(crate) struct Origins {
    pub(crate) trusted: TrustedProxies,
    pub(crate) forwarded_header: ForwardedHeader,
    /// Whether a trusted proxy's `X-Request-Id` is the request's id.
    pub(crate) trust_request_id: bool,
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
}

/// Assigns the request id (UUIDv7, or that of a trusted proxy where the operator says that it sets one),
/// repeats it in the response, and notes client address and user agent.
pub(crate) async fn origin(State(with): State<Origins>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let peer = peer.unwrap_or(Peer::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    let headers = request.headers();
    let given = headers.get(X_REQUEST_ID).and_then(|given| RequestId::parse(given.to_str().ok()?));
    let (id, client_request_id) = match given {
        Some(given) if with.trust_request_id && with.trusted.trusts(peer) => (given, None),
        given => (RequestId::new(with.clock.now(), &with.rng), given.map(String::from)),
    };

    let origin = Origin {
        request_id: Some(id.clone()),
        client_request_id,
        trace_id: headers.get("traceparent").and_then(trace_id),
        address: Some(with.trusted.client(
            peer,
            with.forwarded_header,
            &values(headers, with.forwarded_header.name()),
        )),
        user_agent: headers.get(header::USER_AGENT).map(agent),
        ..Origin::http()
    };

    request.extensions_mut().insert(RequestOrigin(Arc::new(origin)));
    let mut response = next.run(request).await;
    write_id(&id, response.headers_mut());
    response
}

/// Writes the request id into the header fields of the response.
pub(super) fn write_id(id: &RequestId, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(X_REQUEST_ID, value);
    }
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

/// The trace id of a W3C `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`, not all zeros.
fn trace_id(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?;
    let mut parts = text.split('-');
    let version = parts.next()?;
    let trace = parts.next()?;
    let span = parts.next()?;
    let flags = parts.next()?;
    let hex = |part: &str, chars| {
        part.len() == chars && part.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
    };
    let fits = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    (fits && trace.bytes().any(|byte| byte != b'0')).then(|| trace.to_owned())
}

fn agent(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    let clean = |c: char| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { '\u{FFFD}' } else { c };
    text.chars().take(model::bounds::USER_AGENT_CHARS).map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_strictly() {
        let id = |text: &'static str| trace_id(&HeaderValue::from_static(text));
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(id(good).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(id(bad), None, "{bad}");
        }
    }

    #[test]
    fn control_characters_in_a_user_agent_are_replaced() {
        let value = HeaderValue::from_bytes(b"curl\t\x80\xe2\x80\xa8x").unwrap();
        assert_eq!(agent(&value), "curl\u{FFFD}\u{FFFD}\u{FFFD}x");
    }
}
