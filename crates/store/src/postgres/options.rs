//! The options of a PostgreSQL URL: which ones there are, and which of them the driver interprets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::address::refused;
use crate::Error;

/// Options of libpq that the driver does not know, or knows only in part.
const OWN: [&str; 8] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "gssencmode",
    "client_encoding",
    "fallback_application_name",
    "keepalives_count",
];
/// Options that the driver interprets.
const DRIVERS: [&str; 18] = [
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
    "sslnegotiation",
];

/// Separates the options that [`Address`] interprets from those of the driver. The map has every option.
pub(super) fn split(url: &str) -> Result<(String, BTreeMap<String, String>), Error> {
    let (before, query) = url.split_once('?').unwrap_or((url, ""));
    let mut written = BTreeMap::new();
    let mut kept = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| refused(&format!("{pair}: no value")))?;
        let mut pair = pair.to_owned();
        if name == "host" {
            // The driver takes one host a parameter.
            pair = value.split(',').map(|host| format!("host={host}")).collect::<Vec<_>>().join("&");
        }
        let value = decoded(value);
        match name {
            // Encryption by Kerberos is not offered, which both values allow.
            "gssencmode" if !matches!(value.as_str(), "disable" | "prefer") => {
                return Err(refused(&format!(
                    "gssencmode={value}: only `disable` and `prefer` are possible"
                )));
            }
            "target_session_attrs" => match value.as_str() {
                "any" | "read-write" => {}
                "primary" => "target_session_attrs=read-write".clone_into(&mut pair),
                other => {
                    return Err(refused(&format!(
                        "target_session_attrs={other}: it is any, read-write or primary"
                    )));
                }
            },
            "channel_binding" if !matches!(value.as_str(), "disable" | "prefer" | "require") => {
                return Err(refused(&format!("channel_binding={value}: it is disable, prefer or require")));
            }
            "keepalives_count" => pair = format!("keepalives_retries={value}"),
            "fallback_application_name" => pair = String::new(),
            _ => {}
        }

        if !OWN.contains(&name) && !DRIVERS.contains(&name) {
            return Err(refused(&format!("the option `{name}` is not supported")));
        }
        if (!OWN.contains(&name) || name == "keepalives_count") && !pair.is_empty() {
            kept.push(pair);
        }
        written.insert(name.to_owned(), value);
    }

    let url = if kept.is_empty() { before.to_owned() } else { format!("{before}?{}", kept.join("&")) };
    Ok((url, written))
}

/// The file of the private key that a URL names.
pub(crate) fn key_file(url: &str) -> Option<PathBuf> {
    split(url).ok()?.1.remove("sslkey").map(PathBuf::from)
}

/// The value without percent-encoding; what is not UTF-8 stays as written.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, after @ ..] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|n| u8::try_from(n).ok());
                digit(high).zip(digit(low)).map(|(high, low)| (high * 16 + low, after))
            }
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, tail));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).unwrap_or_else(|_| value.to_owned())
}
