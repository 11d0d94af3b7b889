//! Why no connection to PostgreSQL was made, in one sentence with the next step. No sentence has a password.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use tokio_postgres::error::{DbError, SqlState};
use tokio_rustls::rustls::{self, CertificateError};

use super::address::{About, chain};
use crate::Error;

/// Why one server was not reached.
pub(super) struct Reason {
    why: String,
    /// Whether the same attempt may succeed in a moment.
    may_come: bool,
    /// Whether there is no connection left.
    is_full: bool,
}

/// Why none of the servers was reached.
pub(super) fn none_of(reasons: &[Reason]) -> Error {
    let why = reasons.iter().map(|reason| reason.why.as_str()).collect::<Vec<_>>().join("; ");
    Error::Unreached {
        why,
        may_come: reasons.iter().any(|reason| reason.may_come),
        is_full: reasons.iter().any(|reason| reason.is_full),
    }
}

impl Reason {
    fn may_come(about: &About, why: &str) -> Self {
        Self { why: format!("{about}: {why}"), may_come: true, is_full: false }
    }

    fn stays(about: &About, why: &str) -> Self {
        Self { why: format!("{about}: {why}"), may_come: false, is_full: false }
    }

    /// A server that accepted the connection, or its network, and then stayed silent.
    pub(super) fn silent(about: &About, seconds: u64) -> Self {
        Self::may_come(
            about,
            &format!("no answer within {seconds} s: look at the network and its firewalls (connect_timeout)"),
        )
    }

    pub(super) fn of(about: &About, error: &tokio_postgres::Error) -> Self {
        if let Some(refusal) = error.as_db_error() {
            return of_server(about, refusal);
        }
        let cause = error.source();
        if let Some(tls) = cause.and_then(find::<rustls::Error>) {
            return of_tls(about, tls);
        }
        let text = cause.map(ToString::to_string).unwrap_or_default();
        if text.contains("password missing") {
            return Self::stays(about, &no_password(about));
        }
        if text.contains("does not support TLS") || text.contains("TLS was required") {
            return Self::stays(
                about,
                "the server has no TLS, which a remote host needs unless the URL says otherwise: turn `ssl` \
                 on in postgresql.conf, or write sslmode=disable in database.url for a network of your own",
            );
        }
        match cause.and_then(find::<io::Error>) {
            Some(system) => of_system(about, system, &chain(error)),
            None => Self::stays(about, &chain(error)),
        }
    }
}

fn no_password(about: &About) -> String {
    let other = about.ignored.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
    format!(
        "the server asks for a password, and neither database.url nor PGPASSWORD nor a line of the password \
         file (~/.pgpass) has one{other}"
    )
}

/// The first error of this type in a chain of causes; `io::Error` hides its own.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<T>() {
            return Some(found);
        }
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| inner.downcast_ref::<T>()) {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

fn of_server(about: &About, refusal: &DbError) -> Reason {
    let (state, said) = (refusal.code(), refusal.message());
    let lower = said.to_lowercase();
    let next = match state.code() {
        "28P01" => format!("is {} right?", about.password),
        "28000" => of_authorization(&lower).into(),
        "3D000" => "create the database (`createdb`), or name another one in database.url".into(),
        "42501" => "GRANT CONNECT ON DATABASE …".into(),
        "53300" => "connections are used up: lower database.pool_max, or raise max_connections".into(),
        _ => String::new(),
    };

    let why = format!("the server says: {said} (SQLSTATE {})", state.code());
    let why = if next.is_empty() { why } else { format!("{why}; {next}") };
    let starts = [SqlState::CANNOT_CONNECT_NOW, SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN];
    if starts.contains(state) || state.code().starts_with("53") {
        Reason { is_full: *state == SqlState::TOO_MANY_CONNECTIONS, ..Reason::may_come(about, &why) }
    } else {
        Reason::stays(about, &why)
    }
}

/// What to do where the server does not let the role in; `said` is in lower case.
fn of_authorization(said: &str) -> &'static str {
    if said.contains("pg_hba.conf") {
        "the server's pg_hba.conf decides who may connect from where, and with or without TLS (sslmode)"
    } else if said.contains("does not exist") {
        "create the role, or name another user in database.url"
    } else if said.contains("not permitted to log in") {
        "ALTER ROLE … LOGIN, or name another user in database.url"
    } else if said.contains("peer authentication") {
        "over a Unix socket this server lets the system's user of the same name in only: run as that user, \
         connect to localhost with a password, or change pg_hba.conf"
    } else {
        ""
    }
}

fn of_tls(about: &About, error: &rustls::Error) -> Reason {
    let next = match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "name the file of its authority by sslrootcert in database.url, or by database.tls_ca_file"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            "write the name that is in the certificate in database.url (hostaddr may have the address), or \
             sslmode=verify-ca"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "renew it, or set this machine's clock",
        rustls::Error::AlertReceived(_) => "the server may want a client's certificate (sslcert and sslkey)",
        _ => "",
    };
    let why = format!("TLS: {error}");
    Reason::stays(about, &if next.is_empty() { why } else { format!("{why}; {next}") })
}

fn of_system(about: &About, error: &io::Error, chain: &str) -> Reason {
    let why = error.to_string();
    let is_name = why.contains("lookup address");
    let next = match error.kind() {
        ErrorKind::ConnectionRefused => "is PostgreSQL running, and listening there?",
        ErrorKind::NotFound => "there is no socket: is PostgreSQL running there?",
        ErrorKind::TimedOut => "look at the network and its firewalls (connect_timeout)",
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            "the server closed the connection: its log says why"
        }
        // What the driver makes of `target_session_attrs`.
        ErrorKind::PermissionDenied if why.contains("does not allow writes") => {
            "target_session_attrs asks for a server that does"
        }
        ErrorKind::PermissionDenied => {
            return Reason::stays(about, &format!("{why}; may this user use the socket?"));
        }
        _ if is_name => "is the host's name right?",
        _ if chain.contains("connecting") => return Reason::may_come(about, &why),
        _ => return Reason::stays(about, chain),
    };

    Reason::may_come(about, &format!("{why}; {next}"))
}
