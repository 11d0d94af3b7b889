//! What a PostgreSQL URL means: hosts, options as in libpq, and which connections are encrypted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::options::split;
use super::tls::{ClientCertificate, Roots, Tls, Verification};
use crate::{Error, Location};

/// The name under which Gatewright's connections appear in `pg_stat_activity`, unless the URL gives another.
const APPLICATION: &str = "gatewright";
/// The longest wait for a TCP connection, unless the URL gives another.
const CONNECT: Duration = Duration::from_secs(5);

/// A database: the ways to its servers, in the order in which they are tried, and the schema.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) routes: Vec<Route>,
    /// The schema, quoted.
    pub(crate) schema: String,
    /// What the operator should know about the protection of the connections.
    pub(crate) warnings: Vec<String>,
}

/// Hosts that are reached in the same way.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) config: Config,
    pub(crate) tls: Tls,
    verification: Option<Verification>,
}

/// How a URL asks for encryption (libpq's `sslmode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Disable,
    /// `allow` and `prefer`: encrypted if the server can.
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// The options of a URL that this program interprets itself; the others are the driver's.
#[derive(Default)]
struct Protection {
    mode: Option<Mode>,
    /// The CA file; `system` stands for the system's authorities.
    root: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    direct: bool,
}

impl Address {
    /// Interprets the location of a PostgreSQL database.
    ///
    /// # Errors
    /// [`Error::Refused`] names the option that is unknown or cannot be used.
    pub(crate) fn of(location: &Location) -> Result<Self, Error> {
        let Location::Postgres { url, schema, tls_ca_file } = location else {
            return Err(Error::Refused("this is no PostgreSQL database".into()));
        };

        let (url, own) = split(url)?;
        let mut base: Config = url.parse().map_err(|error| refused(&chain(&error)))?;
        let protection = Protection::of(&own, tls_ca_file.as_deref())?;
        defaults(&mut base, &own)?;

        let mut address = Self {
            routes: Vec::new(),
            schema: format!("\"{}\"", schema.replace('"', "\"\"")),
            warnings: Vec::new(),
        };
        for place in places(&base)? {
            address.add(&base, &place, &protection)?;
        }
        Ok(address)
    }

    /// The schema's name without quotes.
    pub(crate) fn schema_name(&self) -> String {
        let inner = self.schema.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        inner.unwrap_or(&self.schema).replace("\"\"", "\"")
    }

    /// The same database under another name in `pg_stat_activity`.
    pub(crate) fn named(mut self, suffix: &str) -> Self {
        for route in &mut self.routes {
            let name = route.config.get_application_name().unwrap_or(APPLICATION).to_owned();
            route.config.application_name(format!("{name} {suffix}"));
        }
        self
    }

    /// Adds a host, to the last route if it is reached in the same way.
    fn add(&mut self, base: &Config, place: &Place, protection: &Protection) -> Result<(), Error> {
        let (ssl_mode, verification) = protection.at(place.is_local(), place.is_socket());
        if verification == Some(Verification::None) && !place.is_local() {
            self.warnings.push(format!(
                "the certificate of {} is not verified (sslmode=require): write sslmode=verify-full in \
                 database.url",
                place.name()
            ));
        } else if ssl_mode == SslMode::Disable && !place.is_local() {
            self.warnings
                .push(format!("the connections to {} are not encrypted (sslmode=disable)", place.name()));
        }

        let like = |route: &&mut Route| {
            route.verification == verification && route.config.get_ssl_mode() == ssl_mode
        };
        if let Some(route) = self.routes.last_mut().filter(like) {
            place.write(&mut route.config);
            return Ok(());
        }

        let mut config = bare(base);
        config.ssl_mode(ssl_mode);
        place.write(&mut config);
        let tls = match verification {
            None => Tls::none(),
            Some(verification) => {
                Tls::new(verification, &protection.roots(), protection.client()?.as_ref(), protection.direct)?
            }
        };
        self.routes.push(Route { config, tls, verification });
        Ok(())
    }
}

impl Protection {
    fn of(own: &BTreeMap<String, String>, tls_ca_file: Option<&Path>) -> Result<Self, Error> {
        let get = |name: &str| own.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let root = get("sslrootcert").map(PathBuf::from).or_else(|| tls_ca_file.map(Path::to_path_buf));

        let mode = match get("sslmode") {
            None => None,
            Some("disable") => Some(Mode::Disable),
            Some("allow" | "prefer") => Some(Mode::Prefer),
            Some("require") => Some(Mode::Require),
            Some("verify-ca") => Some(Mode::VerifyCa),
            Some("verify-full") => Some(Mode::VerifyFull),
            Some(other) => {
                return Err(refused(&format!(
                    "sslmode={other}: it is disable, allow, prefer, require, verify-ca or verify-full"
                )));
            }
        };

        let system = root.as_deref().is_some_and(|root| root == Path::new("system"));
        if system && mode.is_some_and(|mode| mode != Mode::Disable && mode != Mode::VerifyFull) {
            return Err(refused("sslrootcert=system needs sslmode=verify-full, as in libpq"));
        }

        let (certificate, key) = (get("sslcert").map(PathBuf::from), get("sslkey").map(PathBuf::from));
        if certificate.is_some() != key.is_some() {
            return Err(refused("sslcert and sslkey belong together"));
        }
        let direct = match get("sslnegotiation") {
            None | Some("postgres") => false,
            Some("direct") => true,
            Some(other) => {
                return Err(refused(&format!("sslnegotiation={other}: it is postgres or direct")));
            }
        };
        Ok(Self { mode, root, certificate, key, direct })
    }

    fn roots(&self) -> Roots {
        match &self.root {
            Some(root) if root != Path::new("system") => Roots::File(root.clone()),
            _ => Roots::System,
        }
    }

    fn client(&self) -> Result<Option<ClientCertificate>, Error> {
        let (Some(certificate), Some(key)) = (&self.certificate, &self.key) else { return Ok(None) };
        ClientCertificate::read(certificate, key).map(Some)
    }

    /// How a host is reached, and what is verified where TLS is used.
    ///
    /// Nothing written means `verify-full` to a remote host; to a local one it means no TLS, unless an
    /// authority is named. `prefer` and `allow` to a remote host mean `require`. As in libpq, `require`
    /// with a CA file means `verify-ca`, and a Unix socket is never encrypted.
    fn at(&self, local: bool, socket: bool) -> (SslMode, Option<Verification>) {
        let verified = self.root.is_some();
        let required = if verified { Verification::Authority } else { Verification::None };
        match self.mode {
            _ if socket => (SslMode::Disable, None),
            Some(Mode::Disable) => (SslMode::Disable, None),
            None if local && !verified => (SslMode::Disable, None),
            None | Some(Mode::VerifyFull) => (SslMode::Require, Some(Verification::Full)),
            Some(Mode::Prefer) if local => (SslMode::Prefer, Some(required)),
            Some(Mode::Prefer | Mode::Require) => (SslMode::Require, Some(required)),
            Some(Mode::VerifyCa) => (SslMode::Require, Some(Verification::Authority)),
        }
    }
}

/// One host of a URL.
struct Place {
    host: Option<Host>,
    address: Option<IpAddr>,
    port: Option<u16>,
}

impl Place {
    fn is_socket(&self) -> bool {
        self.address.is_none() && matches!(self.host, Some(Host::Unix(_)))
    }

    /// Whether the way to it leaves this machine.
    fn is_local(&self) -> bool {
        match (self.address, &self.host) {
            (Some(address), _) => is_loopback(address),
            (None, Some(Host::Unix(_))) => true,
            (None, Some(Host::Tcp(name))) => is_local(name),
            (None, None) => false,
        }
    }

    fn name(&self) -> String {
        match (&self.host, self.address) {
            (Some(Host::Tcp(name)), _) => name.clone(),
            (Some(Host::Unix(path)), _) => path.display().to_string(),
            (None, Some(address)) => address.to_string(),
            (None, None) => String::new(),
        }
    }

    fn write(&self, config: &mut Config) {
        match (&self.host, self.address) {
            (Some(Host::Tcp(name)), _) => drop(config.host(name)),
            (Some(Host::Unix(path)), _) => drop(config.host_path(path)),
            // The name that the certificate must have.
            (None, Some(address)) => drop(config.host(address.to_string())),
            (None, None) => {}
        }
        if let Some(address) = self.address {
            config.hostaddr(address);
        }
        if let Some(port) = self.port {
            config.port(port);
        }
    }
}

/// Whether a host name or address is this machine: a loopback address, `localhost` or a name below it
/// (RFC 6761 §6.3).
pub fn is_local(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    match name.parse::<IpAddr>() {
        Ok(address) => is_loopback(address),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|mapped| mapped.is_loopback())
        }
    }
}

/// The hosts of a URL with their ports, as libpq pairs them.
fn places(config: &Config) -> Result<Vec<Place>, Error> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = hosts.len().max(addresses.len());
    if count == 0 {
        return Err(refused("the host is missing"));
    }
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(refused("host and hostaddr have different lengths"));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(refused("the number of ports is not that of hosts"));
    }
    let place = |at: usize| Place {
        host: hosts.get(at).cloned(),
        address: addresses.get(at).copied(),
        port: ports.get(at).or(ports.first()).copied(),
    };
    Ok((0..count).map(place).collect())
}

/// Everything of a configuration but hosts and ports.
fn bare(base: &Config) -> Config {
    let mut config = Config::new();
    if let Some(user) = base.get_user() {
        config.user(user);
    }
    if let Some(password) = base.get_password() {
        config.password(password);
    }
    if let Some(name) = base.get_dbname() {
        config.dbname(name);
    }
    if let Some(options) = base.get_options() {
        config.options(options);
    }

    config.application_name(base.get_application_name().unwrap_or(APPLICATION));
    config.connect_timeout(base.get_connect_timeout().copied().unwrap_or(CONNECT));
    if let Some(timeout) = base.get_tcp_user_timeout() {
        config.tcp_user_timeout(*timeout);
    }
    config.keepalives(base.get_keepalives()).keepalives_idle(base.get_keepalives_idle());
    if let Some(interval) = base.get_keepalives_interval() {
        config.keepalives_interval(interval);
    }
    if let Some(retries) = base.get_keepalives_retries() {
        config.keepalives_retries(retries);
    }

    config.ssl_negotiation(base.get_ssl_negotiation()).channel_binding(base.get_channel_binding());
    config.target_session_attrs(base.get_target_session_attrs());
    config.load_balance_hosts(base.get_load_balance_hosts());
    config
}

/// Sets what the URL leaves open.
fn defaults(config: &mut Config, own: &BTreeMap<String, String>) -> Result<(), Error> {
    let unwritten = |name: &str| !own.contains_key(name);
    if unwritten("keepalives_idle") {
        config.keepalives_idle(Duration::from_secs(30));
    }
    if unwritten("keepalives_interval") {
        config.keepalives_interval(Duration::from_secs(10));
    }
    if unwritten("keepalives_retries") && unwritten("keepalives_count") {
        config.keepalives_retries(3);
    }
    match own.get("client_encoding").map(|name| name.to_ascii_lowercase().replace('-', "")) {
        None => Ok(()),
        Some(name) if matches!(name.as_str(), "utf8" | "auto") => Ok(()),
        Some(_) => Err(refused("client_encoding is always UTF8")),
    }
}

pub(super) fn refused(why: &str) -> Error {
    Error::Refused(format!("database.url: {why}"))
}

/// An error with the errors that caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_postgres::config::{ChannelBinding, TargetSessionAttrs};

    fn address(url: &str) -> Result<Address, String> {
        of(url, None)
    }

    fn of(url: &str, ca: Option<&str>) -> Result<Address, String> {
        let location = Location::Postgres {
            url: url.to_owned(),
            schema: "gatewright".to_owned(),
            tls_ca_file: ca.map(PathBuf::from),
        };
        Address::of(&location).map_err(|error| error.to_string())
    }

    /// The mode of each host, and what is verified.
    fn modes(mode: Option<Mode>, root: Option<&str>, local: bool) -> (SslMode, Option<Verification>) {
        let protection = Protection { mode, root: root.map(PathBuf::from), ..Protection::default() };
        protection.at(local, false)
    }

    #[test]
    fn a_remote_host_is_verified_unless_the_url_says_less() {
        use Verification::{Authority, Full, None as Unverified};
        for (mode, root, expected) in [
            (None, None, (SslMode::Require, Some(Full))),
            (None, Some("/ca.pem"), (SslMode::Require, Some(Full))),
            (Some(Mode::Prefer), None, (SslMode::Require, Some(Unverified))),
            (Some(Mode::Require), None, (SslMode::Require, Some(Unverified))),
            (Some(Mode::Require), Some("/ca.pem"), (SslMode::Require, Some(Authority))),
            (Some(Mode::VerifyCa), None, (SslMode::Require, Some(Authority))),
            (Some(Mode::VerifyFull), None, (SslMode::Require, Some(Full))),
            (Some(Mode::Disable), Some("/ca.pem"), (SslMode::Disable, None)),
        ] {
            assert_eq!(modes(mode, root, false), expected, "{mode:?} {root:?}");
        }
    }

    #[test]
    fn a_local_host_is_encrypted_only_when_the_operator_asks_for_it() {
        use Verification::{Authority, Full, None as Unverified};
        for (mode, root, expected) in [
            (None, None, (SslMode::Disable, None)),
            (None, Some("/ca.pem"), (SslMode::Require, Some(Full))),
            (Some(Mode::Prefer), None, (SslMode::Prefer, Some(Unverified))),
            (Some(Mode::Require), None, (SslMode::Require, Some(Unverified))),
            (Some(Mode::VerifyCa), Some("/ca.pem"), (SslMode::Require, Some(Authority))),
            (Some(Mode::Disable), None, (SslMode::Disable, None)),
        ] {
            assert_eq!(modes(mode, root, true), expected, "{mode:?} {root:?}");
        }
    }

    #[test]
    fn loopback_addresses_and_localhost_are_local() {
        for host in
            ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "localhost", "LocalHost.", "a.localhost"]
        {
            assert!(is_local(host), "{host}");
        }
        for host in ["10.0.0.1", "db", "localhost.example.org", "::2", "0.0.0.0", "localhosts"] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn a_unix_socket_is_never_encrypted_and_each_host_is_judged_by_itself() {
        let mixed = address("postgres://u@/d?host=/run/postgresql,127.0.0.1&sslmode=require").unwrap();
        let modes: Vec<_> = mixed.routes.iter().map(|route| route.config.get_ssl_mode()).collect();
        assert_eq!(modes, [SslMode::Disable, SslMode::Require]);
        let mixed = address("postgres://u@127.0.0.1:1,10.0.0.1:2/d?sslmode=prefer").unwrap();
        let hosts: Vec<_> = mixed
            .routes
            .iter()
            .map(|route| (route.config.get_ports().to_vec(), route.config.get_ssl_mode()))
            .collect();
        assert_eq!(hosts, [(vec![1], SslMode::Prefer), (vec![2], SslMode::Require)]);
    }

    #[test]
    fn a_hostaddr_decides_what_is_local_and_the_name_is_what_is_verified() {
        let far = address("postgres://u@localhost/d?hostaddr=10.0.0.1").unwrap();
        assert_eq!(far.routes[0].config.get_ssl_mode(), SslMode::Require);
        let bare = address("postgres://u@/d?hostaddr=10.0.0.1").unwrap();
        assert_eq!(bare.routes[0].config.get_hosts(), [Host::Tcp("10.0.0.1".into())]);
    }

    #[test]
    fn what_is_unverified_or_not_encrypted_is_said() {
        assert!(address("postgres://u@10.0.0.1/d").unwrap().warnings.is_empty());
        let required = address("postgres://u@10.0.0.1/d?sslmode=require").unwrap();
        assert!(required.warnings[0].contains("not verified"), "{:?}", required.warnings);
        let disabled = address("postgres://u@10.0.0.1/d?sslmode=disable").unwrap();
        assert!(disabled.warnings[0].contains("not encrypted"), "{:?}", disabled.warnings);
        assert!(address("postgres://u@127.0.0.1/d").unwrap().warnings.is_empty());
    }

    #[test]
    fn options_of_libpq_keep_their_meaning() {
        let url = "postgres://u:p%40ss@127.0.0.1/d?application_name=app&options=-c%20a%3Db&connect_timeout=7\
                   &target_session_attrs=primary&channel_binding=require&gssencmode=disable\
                   &client_encoding=utf8&keepalives_idle=5&sslmode=disable";
        let config = address(url).unwrap().routes.remove(0).config;
        assert_eq!(config.get_application_name(), Some("app"));
        assert_eq!(config.get_options(), Some("-c a=b"));
        assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(7)));
        assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!(config.get_channel_binding(), ChannelBinding::Require);
        assert_eq!(config.get_keepalives_idle(), Duration::from_secs(5));
        assert_eq!(config.get_password(), Some(b"p@ss".as_slice()));
        let named = address("postgres://127.0.0.1/d").unwrap().named("audit");
        assert_eq!(named.routes[0].config.get_application_name(), Some("gatewright audit"));
    }

    #[test]
    fn an_option_that_cannot_be_kept_is_named() {
        for (query, named) in [
            ("pgbouncer=true", "pgbouncer"),
            ("sslpassword=x", "sslpassword"),
            ("sslmode=no-verify", "no-verify"),
            ("target_session_attrs=standby", "standby"),
            ("channel_binding=maybe", "maybe"),
            ("gssencmode=require", "gssencmode"),
            ("client_encoding=latin1", "client_encoding"),
            ("sslrootcert=system&sslmode=require", "sslrootcert=system"),
            ("sslcert=/a.pem", "sslkey"),
            ("connect_timeout=soon", "connect_timeout"),
            ("port", "port"),
        ] {
            let why = address(&format!("postgres://10.0.0.1/d?{query}")).map(|_| ()).unwrap_err();
            assert!(why.contains(named) && why.contains("database.url"), "{query}: {why}");
        }
        let why = of("postgres://10.0.0.1/d", Some("/missing/ca.pem")).map(|_| ()).unwrap_err();
        assert!(why.contains("/missing/ca.pem"), "{why}");
    }
}
