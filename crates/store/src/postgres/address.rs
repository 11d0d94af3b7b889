//! What a PostgreSQL URL means: hosts, options as in libpq, and which connections are encrypted.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Rng;
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, SslMode, SslNegotiation, TargetSessionAttrs};

use super::options::{self, Options, get};
use super::passwords::{Passwords, PostgresEnvironment};
use super::place::{Place, places};
use super::tls::{ClientCertificate, Handshake, Roots, Tls, Verification, Versions};
use crate::{Error, Location};

/// The name under which Gatewright's connections appear in `pg_stat_activity`, unless the URL gives another.
const APPLICATION: &str = "gatewright";
/// The longest wait for a connection, unless the URL gives another.
const CONNECT: Duration = Duration::from_secs(5);
/// What `connect_timeout=0` means, which is no limit in libpq: nothing here waits for ever.
const LONGEST_CONNECT: Duration = Duration::from_mins(5);

/// A database: the ways to its servers, in the order in which they are tried, and the schema.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) routes: Vec<Route>,
    /// Whether the order is another one for each connection (`load_balance_hosts`).
    pub(crate) is_shuffled: bool,
    /// The schema, quoted.
    pub(crate) schema: String,
    /// What the operator should know about the protection of the connections.
    pub(crate) warnings: Vec<String>,
}

/// The way to one host.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) config: Config,
    pub(crate) tls: Tls,
    /// The longest wait for a connection and its handshake.
    pub(crate) limit: Duration,
    pub(crate) about: About,
    verification: Option<Verification>,
}

/// What messages say about a route.
#[derive(Clone, Debug)]
pub(crate) struct About {
    place: String,
    user: Option<String>,
    database: Option<String>,
    /// Which password is used, in words.
    pub(super) password: &'static str,
    /// Why a password file is not used.
    pub(super) ignored: Option<String>,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_deref().unwrap_or("that of this process");
        let database = self.database.as_deref().or(self.user.as_deref()).unwrap_or("that of the user");
        write!(f, "{} (user {}, database {})", self.place, user.escape_debug(), database.escape_debug())
    }
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

/// The options of a URL about encryption.
#[derive(Default)]
struct Protection {
    mode: Option<Mode>,
    /// The CA file; `system` stands for the system's authorities.
    root: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    handshake: Handshake,
}

impl Address {
    /// Interprets the location of a PostgreSQL database.
    ///
    /// # Errors
    /// [`Error::Refused`] names the option that is unknown or cannot be used.
    pub(crate) fn of(location: &Location) -> Result<Self, Error> {
        let Location::Postgres { url, schema, tls_ca_file, environment } = location else {
            return Err(Error::Refused("this is no PostgreSQL database".into()));
        };

        let options = options::read(url)?;
        let protection = Protection::of(&options, tls_ca_file.as_deref())?;
        let base = Base::of(&options, environment)?;
        let mut address = Self {
            routes: Vec::new(),
            is_shuffled: get(&options, "load_balance_hosts") == Some("random"),
            schema: format!("\"{}\"", schema.replace('"', "\"\"")),
            warnings: Vec::new(),
        };
        for place in places(&options)? {
            address.add(&base, &place, &protection)?;
        }
        Ok(address)
    }

    /// The schema's name without quotes.
    pub(crate) fn schema_name(&self) -> String {
        let inner = self.schema.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        inner.unwrap_or(&self.schema).replace("\"\"", "\"")
    }

    /// The routes in the order in which a connection tries them.
    pub(crate) fn order(&self) -> Vec<&Route> {
        let mut routes: Vec<&Route> = self.routes.iter().collect();
        if self.is_shuffled {
            let rng = Rng::system();
            routes.sort_by_cached_key(|_| u64::from_be_bytes(rng.bytes()));
        }
        routes
    }

    /// The same database under another name in `pg_stat_activity`.
    pub(crate) fn named(mut self, suffix: &str) -> Self {
        for route in &mut self.routes {
            let name = route.config.get_application_name().unwrap_or(APPLICATION).to_owned();
            route.config.application_name(format!("{name} {suffix}"));
        }
        self
    }

    fn add(&mut self, base: &Base<'_>, place: &Place, protection: &Protection) -> Result<(), Error> {
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

        let mut config = base.config.clone();
        config.ssl_mode(ssl_mode);
        place.write(&mut config);
        let about = base.authenticate(&mut config, place);
        // The authorities of the system take a while to read.
        let known = self.routes.iter().find(|route| route.verification == verification);
        let tls = match (known, verification) {
            (Some(known), _) => known.tls.clone(),
            (None, None) => Tls::none(),
            (None, Some(verification)) => {
                let client = protection.client()?;
                Tls::new(verification, &protection.roots(), client.as_ref(), protection.handshake)?
            }
        };
        self.routes.push(Route { config, tls, limit: base.limit, about, verification });
        Ok(())
    }
}

/// What is the same for every host.
struct Base<'a> {
    config: Config,
    limit: Duration,
    user: Option<String>,
    database: Option<String>,
    password: Option<&'a str>,
    environment: &'a PostgresEnvironment,
    passwords: Passwords,
}

impl<'a> Base<'a> {
    fn of(options: &'a Options, environment: &'a PostgresEnvironment) -> Result<Self, Error> {
        let user = get(options, "user").map(str::to_owned).or_else(|| environment.user.clone());
        let database = get(options, "dbname").map(str::to_owned);
        let limit = match number(options, "connect_timeout")? {
            None => CONNECT,
            Some(seconds) => u64::try_from(seconds)
                .ok()
                .filter(|seconds| *seconds > 0)
                // Shorter ones cut connections off that are under way; libpq has the same bound.
                .map_or(LONGEST_CONNECT, |seconds| Duration::from_secs(seconds.max(2))),
        };

        let mut config = Config::new();
        if let Some(user) = &user {
            config.user(user);
        }
        if let Some(database) = &database {
            config.dbname(database);
        }
        if let Some(text) = get(options, "options") {
            config.options(text);
        }
        let application = get(options, "application_name").or(get(options, "fallback_application_name"));
        config.application_name(application.unwrap_or(APPLICATION)).connect_timeout(limit);
        set_driver(&mut config, options)?;
        match get(options, "client_encoding").map(|name| name.to_ascii_lowercase().replace('-', "")) {
            None => {}
            Some(name) if matches!(name.as_str(), "utf8" | "auto") => {}
            Some(_) => return Err(refused("client_encoding is always UTF8")),
        }

        let passwords = Passwords::read(get(options, "passfile").map(Path::new), environment)?;
        let password = get(options, "password");
        Ok(Self { config, limit, user, database, password, environment, passwords })
    }

    /// Sets the password for a host, and says where it is from.
    fn authenticate(&self, config: &mut Config, place: &Place) -> About {
        let user = self.user.as_deref().unwrap_or_default();
        let database = self.database.as_deref().unwrap_or(user);
        let of_variable = self.environment.password.as_ref().map(|password| password.expose().as_str());
        let of_file = || self.passwords.of(&place.name_in_file(), place.port, database, user);
        let (password, origin) = if let Some(password) = self.password {
            (Some(password), "the password of database.url")
        } else if let Some(password) = of_variable.filter(|password| !password.is_empty()) {
            (Some(password), "the password of PGPASSWORD")
        } else {
            (of_file().map(|password| password.expose().as_str()), "the password of the password file")
        };
        if let Some(password) = password {
            config.password(password);
        }
        About {
            place: place.shown(),
            user: self.user.clone(),
            database: self.database.clone(),
            password: if password.is_some() { origin } else { "no password" },
            ignored: self.passwords.ignored.clone(),
        }
    }
}

/// Sets what the driver does by itself.
fn set_driver(config: &mut Config, options: &Options) -> Result<(), Error> {
    let seconds = |name: &str, otherwise: u64| {
        let number = number(options, name)?;
        Ok::<_, Error>(match number {
            None => Some(Duration::from_secs(otherwise)),
            // As in libpq: the system's own.
            Some(number) => u64::try_from(number).ok().filter(|n| *n > 0).map(Duration::from_secs),
        })
    };
    config.keepalives(get(options, "keepalives") != Some("0"));
    if let Some(idle) = seconds("keepalives_idle", 30)? {
        config.keepalives_idle(idle);
    }
    if let Some(interval) = seconds("keepalives_interval", 10)? {
        config.keepalives_interval(interval);
    }
    let count = number(options, "keepalives_count")?.unwrap_or(3);
    if let Some(count) = u32::try_from(count).ok().filter(|count| *count > 0) {
        config.keepalives_retries(count);
    }
    if let Some(millis) = number(options, "tcp_user_timeout")?.and_then(|millis| u64::try_from(millis).ok()) {
        config.tcp_user_timeout(Duration::from_millis(millis));
    }

    config.target_session_attrs(match get(options, "target_session_attrs") {
        Some("read-write" | "primary") => TargetSessionAttrs::ReadWrite,
        _ => TargetSessionAttrs::Any,
    });
    config.channel_binding(match get(options, "channel_binding") {
        Some("disable") => ChannelBinding::Disable,
        Some("require") => ChannelBinding::Require,
        _ => ChannelBinding::Prefer,
    });
    // The addresses of one name.
    config.load_balance_hosts(match get(options, "load_balance_hosts") {
        Some("random") => LoadBalanceHosts::Random,
        _ => LoadBalanceHosts::Disable,
    });
    config.ssl_negotiation(match get(options, "sslnegotiation") {
        Some("direct") => SslNegotiation::Direct,
        _ => SslNegotiation::Postgres,
    });
    Ok(())
}

fn number(options: &Options, name: &str) -> Result<Option<i64>, Error> {
    let parse = |text: &str| {
        let number = text.trim().parse::<i32>().map(i64::from);
        number.map_err(|_| refused(&format!("{name}={}: it is not a whole number", text.escape_debug())))
    };
    get(options, name).map(parse).transpose()
}

impl Protection {
    fn of(options: &Options, tls_ca_file: Option<&Path>) -> Result<Self, Error> {
        let get = |name: &str| get(options, name);
        let root = get("sslrootcert").map(PathBuf::from).or_else(|| tls_ca_file.map(Path::to_path_buf));
        let mode = match get("sslmode") {
            None => None,
            Some("disable") => Some(Mode::Disable),
            Some("require") => Some(Mode::Require),
            Some("verify-ca") => Some(Mode::VerifyCa),
            Some("verify-full") => Some(Mode::VerifyFull),
            // `allow` and `prefer`: other words were refused.
            Some(_) => Some(Mode::Prefer),
        };

        let system = root.as_deref().is_some_and(|root| root == Path::new("system"));
        if system && mode.is_some_and(|mode| mode != Mode::Disable && mode != Mode::VerifyFull) {
            return Err(refused("sslrootcert=system needs sslmode=verify-full, as in libpq"));
        }
        let files = (get("sslcert").map(PathBuf::from), get("sslkey").map(PathBuf::from));
        let certificate = match (files, get("sslcertmode")) {
            ((None, None), Some("require")) => {
                return Err(refused("sslcertmode=require needs sslcert and sslkey"));
            }
            ((None, None), _) | (_, Some("disable")) => None,
            ((Some(certificate), Some(key)), _) => Some((certificate, key)),
            ((None, Some(_)) | (Some(_), None), _) => {
                return Err(refused("sslcert and sslkey belong together"));
            }
        };

        let direct = get("sslnegotiation") == Some("direct");
        if direct && mode.is_some_and(|mode| mode < Mode::Require) {
            return Err(refused("sslnegotiation=direct needs sslmode=require or more, as in libpq"));
        }
        let versions = Versions {
            tls12: get("ssl_min_protocol_version") != Some("TLSv1.3"),
            tls13: get("ssl_max_protocol_version") != Some("TLSv1.2"),
        };
        if !versions.tls12 && !versions.tls13 {
            return Err(refused("ssl_min_protocol_version is above ssl_max_protocol_version"));
        }
        let handshake = Handshake { direct, names_server: get("sslsni") != Some("0"), versions };
        Ok(Self { mode, root, certificate, handshake })
    }

    fn roots(&self) -> Roots {
        match &self.root {
            Some(root) if root != Path::new("system") => Roots::File(root.clone()),
            _ => Roots::System,
        }
    }

    fn client(&self) -> Result<Option<ClientCertificate>, Error> {
        let Some((certificate, key)) = &self.certificate else { return Ok(None) };
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
    use model::Secret;
    use tokio_postgres::config::Host;

    fn address(url: &str) -> Result<Address, String> {
        of(url, None)
    }

    fn of(url: &str, ca: Option<&str>) -> Result<Address, String> {
        let location = Location::Postgres {
            url: url.to_owned(),
            schema: "gatewright".to_owned(),
            tls_ca_file: ca.map(PathBuf::from),
            environment: PostgresEnvironment::default(),
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
    fn several_hosts_are_paired_with_their_ports_and_addresses() {
        let shown = |url: &str| -> Vec<String> {
            address(url).unwrap().routes.iter().map(|route| route.about.place.clone()).collect()
        };
        assert_eq!(
            shown("postgres://a:1,[::1]:2,/d?sslmode=require"),
            ["a:1".to_owned(), "[::1]:2".to_owned(), shown("postgres:///d").remove(0),]
        );
        assert_eq!(shown("postgres://a,b/d?port=7"), ["a:7", "b:7"]);
        assert_eq!(shown("postgres://a,b/d?port=7,"), ["a:7", "b:5432"]);
        assert_eq!(shown("postgres://a/d?hostaddr=10.0.0.1"), ["a:5432 (10.0.0.1)"]);
        assert_eq!(shown("postgres://%2Frun%2Fpg:6/d"), ["/run/pg/.s.PGSQL.6"]);
        assert_eq!(shown("postgres://a/d?host=b"), ["b:5432"]);
        assert!(shown("postgres:///d").remove(0).ends_with("/.s.PGSQL.5432"));
    }

    #[test]
    fn the_password_is_that_of_the_url_then_of_the_environment_then_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pgpass");
        std::fs::write(&file, "a:*:d:u:of_a\n*:5432:*:u:of_file\n").unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&file, private).unwrap();
        let found = |url: &str, variable: Option<&str>| -> Vec<Option<Vec<u8>>> {
            let location = Location::Postgres {
                url: url.to_owned(),
                schema: "gatewright".to_owned(),
                tls_ca_file: None,
                environment: PostgresEnvironment {
                    password: variable.map(|password| Secret::new(password.to_owned())),
                    password_file: Some(file.clone()),
                    home: None,
                    user: Some("u".to_owned()),
                },
            };
            let routes = Address::of(&location).unwrap().routes;
            routes.iter().map(|route| route.config.get_password().map(<[u8]>::to_vec)).collect()
        };

        let (url, none) = ("?sslmode=disable", None);
        assert_eq!(found(&format!("postgres://u:own@a/d{url}"), Some("var")), [Some(b"own".to_vec())]);
        assert_eq!(found(&format!("postgres://u:@a/d{url}"), Some("var")), [Some(b"var".to_vec())]);
        assert_eq!(
            found(&format!("postgres://a,b,c:7/d{url}"), none),
            [Some(b"of_a".to_vec()), Some(b"of_file".to_vec()), None]
        );
        assert_eq!(found(&format!("postgres://a/d{url}"), Some("")), [Some(b"of_a".to_vec())]);
        assert_eq!(found(&format!("postgres://other@a/d{url}"), none), [None]);
    }

    #[test]
    fn an_option_that_cannot_be_kept_is_named() {
        let cases = [
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
            ("port=99999", "99999"),
            ("port=0", "`0`"),
            ("port=1,2", "number of ports"),
            ("hostaddr=db.example", "hostaddr=db.example"),
            ("hostaddr=10.0.0.1,10.0.0.2", "different lengths"),
            ("host=@abstract", "abstract"),
            ("sslnegotiation=direct&sslmode=prefer", "sslnegotiation"),
            ("ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2", "ssl_min_protocol_version"),
            ("sslcertmode=require", "sslcertmode"),
            ("keepalives_idle=x", "keepalives_idle=x"),
            ("passfile=/dev/null/below", "/dev/null/below"),
        ];

        for (query, named) in cases {
            let why = address(&format!("postgres://10.0.0.1/d?{query}")).map(|_| ()).unwrap_err();
            assert!(why.contains(named) && why.contains("database.url"), "{query}: {why}");
        }
        let why = of("postgres://10.0.0.1/d", Some("/missing/ca.pem")).map(|_| ()).unwrap_err();
        assert!(why.contains("/missing/ca.pem"), "{why}");
    }
}
