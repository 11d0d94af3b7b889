//! The address of a Redis server: `redis://user:password@host:port/database`.

use model::{Secret, hex};

const PORT: u16 = 6379;

/// The parts of a URL.
#[derive(Debug)]
pub(super) struct Address {
    /// Whether the connection uses TLS.
    pub(super) is_secret: bool,
    /// A name or an IP address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret<String>>,
    pub(super) database: Option<u32>,
}

impl Address {
    /// Parses a URL; the error text does not repeat it.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or("it is no URL")?;
        let is_secret = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return Err("it is neither redis:// nor rediss://".to_owned()),
        };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, authority) = match authority.rsplit_once('@') {
            Some((credentials, authority)) => (Some(credentials), authority),
            None => (None, authority),
        };
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or("its address has no `]`")?;
                (host, port.strip_prefix(':'))
            }
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };

        let port = port.map_or(Ok(PORT), |port| port.parse().map_err(|_| "its port is no number"))?;
        let database = match path {
            "" => None,
            number => Some(number.parse().map_err(|_| "what follows the host is no number of a database")?),
        };

        let credentials = credentials.map(|pair| pair.split_once(':').unwrap_or((pair, "")));
        let (user, password) = match credentials {
            None => (None, None),
            Some((user, password)) => (Some(decoded(user)?), Some(Secret::new(decoded(password)?))),
        };
        let user = user.filter(|user| !user.is_empty());
        Ok(Self { is_secret, host: host.to_owned(), port, user, password, database })
    }
}

/// Decodes `%XX` as bytes.
fn decoded(text: &str) -> Result<String, &'static str> {
    const BAD: &str = "its user or password has a `%` that begins no byte";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next().ok_or(BAD)?, rest.next().ok_or(BAD)?];
        bytes.push(u8::from_be_bytes(hex::decode_array(digits).ok_or(BAD)?));
    }
    String::from_utf8(bytes).map_err(|_| BAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read_or_left_out() {
        let told = |url: &str| {
            let at = Address::parse(url)?;
            let password = at.password.map(|password| password.expose().clone());
            Ok::<_, String>((at.is_secret, at.host, at.port, at.user, password, at.database))
        };
        let words = |user: &str, password: &str| (Some(user.to_owned()), Some(password.to_owned()));

        assert_eq!(told("redis://h"), Ok((false, "h".to_owned(), 6379, None, None, None)));
        let (user, password) = words("u", "p@ss:%/");
        assert_eq!(
            told("rediss://u:p%40ss:%25%2f@[::1]:7000/3"),
            Ok((true, "::1".to_owned(), 7000, user, password, Some(3)))
        );
        let (_, password) = words("", "only");
        assert_eq!(told("redis://:only@h/"), Ok((false, "h".to_owned(), 6379, None, password, None)));

        for bad in [
            "h",
            "http://h",
            "redis://h:x",
            "redis://h/x",
            "redis://[::1",
            "redis://:%zz@h",
            "redis://:%4@h",
            "redis://:%+4@h",
        ] {
            assert!(told(bad).is_err(), "{bad}");
        }
    }
}
