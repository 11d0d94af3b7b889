//! `Authorization` (RFC 9110 §11.6.2): `Bearer` (RFC 6750 §2.1) and `Basic` (RFC 7617) with the encoding that
//! OAuth puts inside it (RFC 6749 §2.3.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{Secret, hex};
use zeroize::Zeroizing;

/// Longest value that is parsed, in bytes.
pub const VALUE_BYTES: usize = model::bounds::HEADER_BYTES;

/// Credentials of a request. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub enum Authorization {
    /// A bearer token.
    Bearer(Secret<String>),
    /// A client's id and secret, form-decoded. The id is not checked: it is untrusted text.
    Basic {
        /// The client's id.
        id: String,
        /// The client's secret.
        secret: Secret<String>,
    },
}

/// Why a value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadAuthorization {
    /// Another scheme than `Bearer` and `Basic`, or none.
    #[error("an authentication scheme that is not known here")]
    Scheme,
    /// A known scheme, with credentials that cannot be read.
    #[error("credentials that cannot be read")]
    Malformed,
}

impl Authorization {
    /// Parses the value of an `Authorization` header. The scheme is case-insensitive.
    ///
    /// # Errors
    /// [`BadAuthorization`].
    pub fn parse(value: &[u8]) -> Result<Self, BadAuthorization> {
        let malformed = BadAuthorization::Malformed;
        if value.len() > VALUE_BYTES {
            return Err(malformed);
        }
        let value = std::str::from_utf8(value).map_err(|_| malformed)?;
        let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
        let credentials = rest.trim_matches(' ');
        if scheme.eq_ignore_ascii_case("Bearer") {
            if is_token68(credentials) {
                Ok(Self::Bearer(Secret::new(credentials.to_owned())))
            } else {
                Err(malformed)
            }
        } else if scheme.eq_ignore_ascii_case("Basic") {
            basic(credentials).ok_or(malformed)
        } else {
            Err(BadAuthorization::Scheme)
        }
    }
}

/// RFC 9110 §11.2.
fn is_token68(text: &str) -> bool {
    let core = text.trim_end_matches('=');
    !core.is_empty() && core.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

fn basic(credentials: &str) -> Option<Authorization> {
    let decoded = Zeroizing::new(STANDARD.decode(credentials).ok()?);
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(Authorization::Basic { id: form_decode(id)?, secret: Secret::new(form_decode(secret)?) })
}

/// `application/x-www-form-urlencoded`, one value; `None` if a `%` is not followed by two hexadecimal digits,
/// or the result is not UTF-8 or has control characters (RFC 6749 appendix A has none).
fn form_decode(text: &str) -> Option<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => u8::from_be_bytes(hex::decode_array([rest.next()?, rest.next()?])?),
            other => other,
        });
    }
    let decoded = std::str::from_utf8(&bytes).ok()?;
    if decoded.contains(char::is_control) { None } else { Some(decoded.to_owned()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    type Pair = Result<(String, String), BadAuthorization>;

    fn read(value: &str) -> Pair {
        Authorization::parse(value.as_bytes()).map(|authorization| match authorization {
            Authorization::Bearer(token) => ("Bearer".to_owned(), token.expose().clone()),
            Authorization::Basic { id, secret } => (id, secret.expose().clone()),
        })
    }

    fn basic(text: &[u8]) -> Pair {
        read(&format!("Basic {}", STANDARD.encode(text)))
    }

    fn pair(id: &str, secret: &str) -> (String, String) {
        (id.to_owned(), secret.to_owned())
    }

    #[test]
    fn bearer_is_token68() {
        for value in ["Bearer a.b-c_d~e+f/g==", "bearer a.b-c_d~e+f/g==", "BEARER  a.b-c_d~e+f/g== "] {
            assert_eq!(read(value), Ok(pair("Bearer", "a.b-c_d~e+f/g==")));
        }
        for bad in [
            "Bearer",
            "Bearer ",
            "Bearer =",
            "Bearer a b",
            "Bearer a,b",
            "Bearer a=b",
            "Bearer ä",
            "Bearer a\0",
        ] {
            assert_eq!(read(bad), Err(BadAuthorization::Malformed), "{bad}");
        }
        for bad in ["", " ", "Bearera", "Bearer\ta", "Digest a", "token"] {
            assert_eq!(read(bad), Err(BadAuthorization::Scheme), "{bad}");
        }
        assert_eq!(read(&format!("Bearer {}", "a".repeat(VALUE_BYTES))), Err(BadAuthorization::Malformed));
        assert_eq!(Authorization::parse(b"Bearer \xff").unwrap_err(), BadAuthorization::Malformed);
    }

    #[test]
    fn basic_is_form_encoded_inside() {
        assert_eq!(basic(b"api:secret"), Ok(pair("api", "secret")));
        assert_eq!(basic(b"a%3Ab:c%2Bd+e%25"), Ok(pair("a:b", "c+d e%")));
        assert_eq!(basic(b"api:a:b"), Ok(pair("api", "a:b")));
        assert_eq!(basic(b":"), Ok(pair("", "")));
        assert_eq!(basic("é:%C3%A9".as_bytes()), Ok(pair("é", "é")));
        for bad in
            [&b"api"[..], b"api:%", b"api:%4", b"api:%zz", b"api:%00", b"a\0:b", b"a:%FF", b"\xff:b", b""]
        {
            assert_eq!(basic(bad), Err(BadAuthorization::Malformed), "{bad:?}");
        }
        for bad in ["Basic", "Basic YTpi=", "Basic YTpi\n", "Basic YTo", "Basic -_-_"] {
            assert_eq!(read(bad), Err(BadAuthorization::Malformed), "{bad}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        for value in ["Bearer hidden", "Basic YXBpOmhpZGRlbg=="] {
            assert!(!format!("{:?}", Authorization::parse(value.as_bytes())).contains("hidden"));
        }
    }

    proptest! {
        #[test]
        fn parsing_an_authorization_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..60), inner in any::<String>(),
        ) {
            let _ = Authorization::parse(&bytes);
            let _ = Authorization::parse(&[b"Bearer ", bytes.as_slice()].concat());
            let _ = Authorization::parse(&[b"Basic ", bytes.as_slice()].concat());
            let _ = basic(inner.as_bytes());
            let _ = basic(&bytes);
        }
    }
}
