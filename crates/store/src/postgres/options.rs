//! The options of a PostgreSQL URL, read as libpq reads a connection URI (PostgreSQL's manual, 34.1.1.2):
//! which ones there are, and what becomes of those that cannot be kept.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::address::refused;
use crate::Error;

/// What becomes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Its meaning is libpq's.
    Kept,
    /// Only these values mean something here.
    Only(&'static [&'static str], &'static str),
    /// It cannot be kept; what to do instead.
    Refused(&'static str),
}

const KERBEROS: &str = "Kerberos is not offered: leave it out";
const LISTS: &str = "lists of revoked certificates are not read: leave it out";
const SERVICES: &str = "service files are not read: write host, dbname and user in the URL";
const SCRAM: &str = "keys of SCRAM are not read: give the password";
/// The oldest two are below what is used anyway.
const VERSIONS: &[&str] = &["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
const MODES: &[&str] = &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Every option of libpq 18.
const OPTIONS: &[(&str, Kind)] = &[
    ("user", Kind::Kept),
    ("password", Kind::Kept),
    ("host", Kind::Kept),
    ("hostaddr", Kind::Kept),
    ("port", Kind::Kept),
    ("dbname", Kind::Kept),
    ("passfile", Kind::Kept),
    ("connect_timeout", Kind::Kept),
    ("options", Kind::Kept),
    ("application_name", Kind::Kept),
    ("fallback_application_name", Kind::Kept),
    ("keepalives", Kind::Only(&["0", "1"], "it is 0 or 1")),
    ("keepalives_idle", Kind::Kept),
    ("keepalives_interval", Kind::Kept),
    ("keepalives_count", Kind::Kept),
    ("tcp_user_timeout", Kind::Kept),
    (
        "target_session_attrs",
        Kind::Only(
            &["any", "read-write", "primary"],
            "it is any, read-write or primary, because Gatewright needs a server that takes writes",
        ),
    ),
    ("load_balance_hosts", Kind::Only(&["disable", "random"], "it is disable or random")),
    ("channel_binding", Kind::Only(&["disable", "prefer", "require"], "it is disable, prefer or require")),
    ("sslmode", Kind::Only(MODES, "it is disable, allow, prefer, require, verify-ca or verify-full")),
    ("sslnegotiation", Kind::Only(&["postgres", "direct"], "it is postgres or direct")),
    ("sslrootcert", Kind::Kept),
    ("sslcert", Kind::Kept),
    ("sslkey", Kind::Kept),
    ("sslcertmode", Kind::Only(&["disable", "allow", "require"], "it is disable, allow or require")),
    ("sslsni", Kind::Only(&["0", "1"], "it is 0 or 1")),
    // TLS of today has no compression.
    ("sslcompression", Kind::Only(&["0", "1"], "it is 0 or 1")),
    ("ssl_min_protocol_version", Kind::Only(VERSIONS, "it is TLSv1.2 or TLSv1.3")),
    ("ssl_max_protocol_version", Kind::Only(&["TLSv1.2", "TLSv1.3"], "it is TLSv1.2 or TLSv1.3")),
    ("sslpassword", Kind::Refused("encrypted keys are not read: decrypt the file of sslkey")),
    ("sslcrl", Kind::Refused(LISTS)),
    ("sslcrldir", Kind::Refused(LISTS)),
    ("sslkeylogfile", Kind::Refused("keys of connections are not written: leave it out")),
    ("gssencmode", Kind::Only(&["disable", "prefer"], "only disable and prefer are possible")),
    ("krbsrvname", Kind::Refused(KERBEROS)),
    ("gsslib", Kind::Refused(KERBEROS)),
    ("gssdelegation", Kind::Refused(KERBEROS)),
    ("require_auth", Kind::Refused("the ways to authenticate cannot be restricted: leave it out")),
    ("requirepeer", Kind::Refused("the server's user is not compared: leave it out")),
    ("service", Kind::Refused(SERVICES)),
    ("servicefile", Kind::Refused(SERVICES)),
    ("replication", Kind::Refused("Gatewright does not replicate: leave it out")),
    ("client_encoding", Kind::Kept),
    ("min_protocol_version", Kind::Only(&["3.0"], "only 3.0 is possible")),
    ("max_protocol_version", Kind::Only(&["3.0", "3.2", "latest"], "it is 3.0, 3.2 or latest")),
    ("scram_client_key", Kind::Refused(SCRAM)),
    ("scram_server_key", Kind::Refused(SCRAM)),
];

/// The options of a URL by their names; `host`, `hostaddr` and `port` are lists with commas, as in libpq.
pub(super) type Options = BTreeMap<String, String>;

/// The value of an option that is written and not empty.
pub(super) fn get<'a>(options: &'a Options, name: &str) -> Option<&'a str> {
    options.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// Reads a URL: the parts before `?`, and the options behind it, which override them.
///
/// # Errors
/// [`Error::Refused`] names the part or the option, and never repeats a password.
pub(super) fn read(url: &str) -> Result<Options, Error> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut options = Options::new();
    read_path(before, &mut options)?;

    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(refused(&format!("the option `{}` has no value", shown(pair))));
        };
        let name = decoded("the name of an option", name)?;
        let value = decoded(&format!("the option `{}`", shown(&name)), value)?;
        match (name.as_str(), value.as_str()) {
            // JDBC's name, of which libpq takes this value, and a name that libpq had before `sslmode`.
            ("ssl", "true") | ("requiressl", "1") => {
                options.insert("sslmode".to_owned(), "require".to_owned());
            }
            ("requiressl", "0") => {}
            _ => {
                check(&name, &value)?;
                options.insert(name, value);
            }
        }
    }
    Ok(options)
}

/// Reads `user:password@host:port,host:port/database`.
fn read_path(text: &str, options: &mut Options) -> Result<(), Error> {
    let (authority, database) = text.split_once('/').unwrap_or((text, ""));
    let (user, hosts) = authority.split_once('@').unwrap_or(("", authority));
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let parts = [("user", user), ("password", password), ("dbname", database)];
    for (name, text) in parts.into_iter().filter(|(_, text)| !text.is_empty()) {
        let what = if name == "dbname" { "the name of the database" } else { name };
        options.insert(name.to_owned(), decoded(what, text)?);
    }

    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for place in hosts.split(',') {
        let (host, port) = match place.strip_prefix('[') {
            None => place.split_once(':').unwrap_or((place, "")),
            Some(inside) => {
                let form = || refused("an IPv6 address is written as `[::1]:5432`");
                let (host, after) = inside.split_once(']').ok_or_else(form)?;
                let port = if after.is_empty() { "" } else { after.strip_prefix(':').ok_or_else(form)? };
                if host.is_empty() {
                    return Err(form());
                }
                (host, port)
            }
        };
        names.push(decoded("a host", host)?);
        ports.push(decoded("a port", port)?);
    }
    if names.len() > 1 || names.iter().any(|host| !host.is_empty()) {
        options.insert("host".to_owned(), names.join(","));
    }
    if ports.iter().any(|port| !port.is_empty()) {
        options.insert("port".to_owned(), ports.join(","));
    }
    Ok(())
}

fn check(name: &str, value: &str) -> Result<(), Error> {
    let Some((_, kind)) = OPTIONS.iter().find(|(known, _)| *known == name) else {
        return Err(refused(&unknown(name)));
    };
    match kind {
        Kind::Kept => Ok(()),
        // An empty value is as if the option were not written.
        Kind::Only(values, _) if value.is_empty() || values.contains(&value) => Ok(()),
        Kind::Only(_, why) => Err(refused(&format!("{name}={}: {why}", shown(value)))),
        Kind::Refused(why) => Err(refused(&format!("{name}: {why}"))),
    }
}

/// The sentence about an option that libpq does not have either.
fn unknown(name: &str) -> String {
    let near = OPTIONS.iter().map(|(known, _)| (strsim::damerau_levenshtein(known, name), *known)).min();
    match near {
        Some((distance, near)) if distance <= (name.chars().count() / 3).max(2) => {
            format!("there is no option `{}`; did you mean `{near}`?", shown(name))
        }
        _ => format!("there is no option `{}`: leave it out", shown(name)),
    }
}

/// A word of the URL, for a message.
fn shown(word: &str) -> String {
    word.chars().take(40).flat_map(char::escape_debug).collect()
}

/// The file of the private key that a URL names.
pub(crate) fn key_file(url: &str) -> Option<PathBuf> {
    read(url).ok()?.remove("sslkey").filter(|key| !key.is_empty()).map(PathBuf::from)
}

/// The text without percent-encoding. `what` names it in the error, which does not repeat it.
fn decoded(what: &str, text: &str) -> Result<String, Error> {
    let wrong = |why: &str| refused(&format!("{what}: {why}"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let read = match after {
            [high, low, after @ ..] => digit(high).zip(digit(low)).map(|digits| (digits, after)),
            _ => None,
        };
        let Some(((high, low), after)) = read else {
            return Err(wrong("a `%` has no two hexadecimal digits behind it: `%25` is a `%`"));
        };
        bytes.push(high * 16 + low);
        rest = after;
    }

    if bytes.contains(&0) {
        return Err(wrong("it has a zero byte"));
    }
    String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of PostgreSQL's manual, 34.1.1.2, and of its own test of URIs.
    #[test]
    fn a_url_is_read_as_libpq_reads_it() {
        let cases = [
            ("postgresql://", ""),
            ("postgresql://localhost:5433", "host=localhost port=5433"),
            ("postgresql://user:secret@localhost", "host=localhost password=secret user=user"),
            (
                "postgresql://other@localhost/otherdb?connect_timeout=10&application_name=myapp",
                "application_name=myapp connect_timeout=10 dbname=otherdb host=localhost user=other",
            ),
            (
                "postgresql://host1:123,host2:456/somedb?target_session_attrs=any",
                "dbname=somedb host=host1,host2 port=123,456 target_session_attrs=any",
            ),
            ("postgresql:///mydb?host=localhost&port=5433", "dbname=mydb host=localhost port=5433"),
            ("postgresql://[2001:db8::1234]/database", "dbname=database host=2001:db8::1234"),
            ("postgresql://%2Fvar%2Flib%2Fpostgresql/dbname", "dbname=dbname host=/var/lib/postgresql"),
            ("postgresql:///dbname?host=/var/lib/postgresql", "dbname=dbname host=/var/lib/postgresql"),
            ("postgresql://host?user=uri-user&port=12", "host=host port=12 user=uri-user"),
            ("postgresql://h1,,h3/d", "dbname=d host=h1,,h3"),
            ("postgresql://u:se%3A%40%2Fcret@[::1]:12345", "host=::1 password=se:@/cret port=12345 user=u"),
            ("postgres://u:a:b@h/d%5fb", "dbname=d_b host=h password=a:b user=u"),
            ("postgres://?hostaddr=127.0.0.1", "hostaddr=127.0.0.1"),
            ("postgres://h?ssl=true", "host=h sslmode=require"),
            ("postgres://h?host=other&", "host=other"),
            ("postgres://h?options=-c%20a%3Db", "host=h options=-c a=b"),
            ("postgres://h?sslmode=", "host=h sslmode="),
        ];

        for (url, wanted) in cases {
            let read = read(url).unwrap();
            let pairs: Vec<_> = read.iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(pairs.join(" "), wanted, "{url}");
        }
    }

    #[test]
    fn a_part_that_cannot_be_read_is_named_and_no_password_is_repeated() {
        let cases = [
            ("postgres://h/d?zzzzzzzz=y", "no option `zzzzzzzz`"),
            ("postgres://h/d?sslmod=require", "`sslmode`"),
            ("postgres://h/d?user", "`user` has no value"),
            ("postgres://u:hunter2%zz@h/d", "password"),
            ("postgres://u:hunter2%00@h/d", "zero byte"),
            ("postgres://u:hunter2%ff@h/d", "not UTF-8"),
            ("postgres://h/d%", "the name of the database"),
            ("postgres://[::1/d", "`[::1]:5432`"),
            ("postgres://[]:1/d", "`[::1]:5432`"),
            ("postgres://[::1]x/d", "`[::1]:5432`"),
            ("postgres://h/d?service=prod", "service files are not read"),
            ("postgres://h/d?sslmode=no-verify", "sslmode=no-verify"),
            ("postgres://h/d?target_session_attrs=standby", "takes writes"),
            ("postgres://h/d?gssencmode=require", "gssencmode=require"),
            ("postgres://h/d?sslpassword=hunter2", "sslpassword"),
            ("postgres://h/d?sslcrl=/a", "sslcrl"),
            ("postgres://h/d?pasword=hunter2", "`password`"),
        ];

        for (url, named) in cases {
            let why = read(url).unwrap_err().to_string();
            assert!(why.contains(named) && why.starts_with("database.url: "), "{url}: {why}");
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
