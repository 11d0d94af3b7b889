//! URLs of databases, Redis and web services.

use std::path::{Path, PathBuf};

use http::Uri;
use model::Secret;
use nix::unistd::{Uid, User};
use store::PostgresEnvironment;
use store::redis::Address;

use super::value::{Value, Veiled};

/// The location of the database.
#[derive(Clone, Debug)]
pub enum DatabaseUrl {
    /// The embedded database, in this file.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(PostgresUrl),
}

impl DatabaseUrl {
    /// Whether this is the embedded database.
    pub fn is_embedded(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// The embedded database of a data directory.
    pub fn embedded(data_dir: &Path) -> Self {
        Self::Sqlite(data_dir.join("gatewright.db"))
    }
}

/// A `postgres://` connection URI. It may contain a password, so it is not printed.
#[derive(Clone, Debug)]
pub struct PostgresUrl {
    url: Veiled,
    environment: PostgresEnvironment,
}

impl PostgresUrl {
    /// The whole URI, password included.
    pub fn expose(&self) -> &Secret<String> {
        &self.url.whole
    }

    /// What it may leave open.
    pub fn environment(&self) -> &PostgresEnvironment {
        &self.environment
    }

    /// Takes over what the environment says about passwords, as libpq does. The user is that of the process.
    pub(crate) fn read_environment(&mut self, env: &[(String, String)]) {
        let get = |wanted: &str| {
            let found = env.iter().find(|(name, value)| name == wanted && !value.is_empty());
            found.map(|(_, value)| value.clone())
        };
        let user = User::from_uid(Uid::effective()).ok().flatten();
        let home = get("HOME").map(PathBuf::from).or_else(|| user.as_ref().map(|user| user.dir.clone()));
        self.environment = PostgresEnvironment {
            password: get("PGPASSWORD").map(Secret::new),
            password_file: get("PGPASSFILE").map(PathBuf::from),
            home,
            user: user.map(|user| user.name),
        };
    }
}

/// The scheme before `://`, and the rest after it.
fn scheme(text: &str) -> (String, &str) {
    match text.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => (String::new(), text),
    }
}

/// `url` with the password in its user part and in its query replaced.
fn without_password(url: &str) -> String {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?']).next().unwrap_or(authority);
    // Where the user part has no end before the path, a `/` or `?` may be one of the password.
    let (before_query, query) = match url.split_once('?') {
        Some((before, query)) if authority.contains('@') || !url.contains('@') => (before, Some(query)),
        _ => (url, None),
    };
    let (scheme, rest) = before_query.split_once("://").unwrap_or(("", before_query));
    let rest = match rest.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:***@{host}"),
            None => format!("{user}@{host}"),
        },
        None => rest.to_owned(),
    };
    let hidden = |pair: &str| match pair.split_once('=') {
        // The name may be hidden by percent-encoding.
        Some((name, _)) if is_password(name) || name.contains('%') => format!("{name}=***"),
        _ => pair.to_owned(),
    };
    let query = query.map(|query| query.split('&').map(hidden).collect::<Vec<_>>().join("&"));
    query.map_or_else(|| format!("{scheme}://{rest}"), |query| format!("{scheme}://{rest}?{query}"))
}

/// Whether a parameter of a URL is a password: `password`, `sslpassword`, or `pass` of Redis' sockets.
fn is_password(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("pass") && name != "passfile"
}

fn veiled(url: String) -> Veiled {
    Veiled { shown: without_password(&url), whole: Secret::new(url) }
}

/// The file of a `sqlite:` URL. `driver` means SQLAlchemy's form, where three slashes precede a relative
/// path.
fn sqlite(path: &str, driver: bool) -> Result<DatabaseUrl, String> {
    let path = match (driver, path.strip_prefix("///")) {
        (true, Some(path)) => path,
        (_, _) if path.starts_with("//") => return Err("write `sqlite:PATH`, without `//`".to_owned()),
        _ => path,
    };
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    match path {
        "" => Err("the path of the file is missing".to_owned()),
        ":memory:" => Err("a database in memory would be empty at every start".to_owned()),
        path => Ok(DatabaseUrl::Sqlite(PathBuf::from(path))),
    }
}

fn postgres(rest: &str, driver: bool) -> Result<DatabaseUrl, String> {
    if rest.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("it has white space or control characters: percent-encode them".to_owned());
    }
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    if authority.matches('@').count() > 1 {
        return Err("the password has an `@`: write `%40`".to_owned());
    }
    let path = rest.split('?').next().unwrap_or(rest);
    if !authority.contains('@') && (path.contains('@') || (authority.contains(':') && rest.contains('@'))) {
        return Err(
            "an `@` comes after a `/` or `?`: in user, password and database write `%2F` for `/`, `%3F` \
                    for `?` and `%40` for `@`"
                .to_owned(),
        );
    }

    // asyncpg's name of libpq's `sslmode` is `ssl`.
    let rest = if driver {
        let rest = rest.replace("?ssl=", "?sslmode=").replace("&ssl=", "&sslmode=");
        rest.replace("sslmode=true", "sslmode=require")
    } else {
        rest.to_owned()
    };
    let url = veiled(format!("postgres://{rest}"));
    Ok(DatabaseUrl::Postgres(PostgresUrl { url, environment: PostgresEnvironment::default() }))
}

impl Value for DatabaseUrl {
    const EXPECTED: &'static str = "`sqlite:PATH` or `postgres://user:password@host:port/database`";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("sqlite:") {
            return sqlite(path, false);
        }
        let (scheme, rest) = scheme(text);
        match scheme.split_once('+').map_or((scheme.as_str(), false), |(scheme, _)| (scheme, true)) {
            ("sqlite", true) => sqlite(&format!("//{rest}"), true),
            ("postgres" | "postgresql", driver) => postgres(rest, driver),
            ("", _) => Err("it does not begin with `sqlite:` or `postgres://`".to_owned()),
            (other, _) => Err(format!("`{other}` databases are not supported")),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres(url) => url.expose().expose().clone(),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Sqlite(_) => self.text(),
            Self::Postgres(url) => url.url.shown.clone(),
        }
    }
}

/// The URL of Redis, in one of the forms of [`store::redis::Address`]. It may contain a password, so it is
/// not printed.
#[derive(Clone, Debug)]
pub struct RedisUrl {
    url: Veiled,
    address: Address,
}

impl RedisUrl {
    /// What the URL means.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl Value for RedisUrl {
    const EXPECTED: &'static str = "`redis://user:password@host:port/database`, `rediss://…` with TLS, \
         `unix:///path`, `redis+sentinel://host,host/service` or `redis+cluster://host,host`";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        Ok(Self { address: Address::parse(text)?, url: veiled(text.to_owned()) })
    }

    fn text(&self) -> String {
        self.url.whole.expose().clone()
    }

    fn shown(&self) -> String {
        self.url.shown.clone()
    }
}

/// An absolute `http` or `https` URL without query, fragment and user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebUrl(String);

impl WebUrl {
    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL without a trailing slash, ready to append a path.
    pub fn base(&self) -> &str {
        self.0.trim_end_matches('/')
    }

    /// Whether the scheme is `https`.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Whether the host is this machine.
    pub fn is_here(&self) -> bool {
        let host = self.0.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_ascii_lowercase));
        let host = host.unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl Value for WebUrl {
    const EXPECTED: &'static str =
        "an absolute URL such as `https://auth.example.org`, without query and fragment";

    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.contains('#') || text.contains('?') {
            return Err("it has a query or a fragment".to_owned());
        }
        let uri = text.parse::<Uri>().map_err(|_| "not a URL".to_owned())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("it does not begin with `https://` or `http://`".to_owned());
        }
        match uri.authority() {
            Some(authority) if authority.as_str().contains('@') => Err("it names a user".to_owned()),
            Some(authority) if !authority.host().is_empty() => Ok(Self(text.to_owned())),
            _ => Err("the host is missing".to_owned()),
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// A web origin (RFC 6454) as browsers send it in `Origin`: scheme, host, and the port unless it is the
/// default one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin(String);

fn is_scheme(text: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic()) && text.bytes().all(is_inside)
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte))
}

impl WebOrigin {
    /// This host with any port, for development.
    pub const ANY_LOCAL_PORT: &'static str = web::ANY_LOCAL_PORT;

    /// The origin as the `Origin` header contains it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for WebOrigin {
    const EXPECTED: &'static str = "origins such as `https://app.example.org`";

    fn parse(text: &str) -> Result<Self, String> {
        if matches!(text.trim(), "*" | "null") {
            return Err(format!("`{}` would allow every page: list the origins", text.trim()));
        }
        let text = text.trim().to_ascii_lowercase();
        if text == Self::ANY_LOCAL_PORT {
            return Ok(Self(text));
        }
        let (scheme, host) = text.split_once("://").ok_or("it has no scheme such as `https://`")?;
        let host = host.trim_end_matches('/');
        let url = match scheme {
            "http" | "https" => WebUrl::parse(&text)?.base().to_owned(),
            // An app's scheme: RFC 3986 §3.1, with a host as web views and extensions have one.
            _ if is_scheme(scheme) && is_host(host) => return Ok(Self(format!("{scheme}://{host}"))),
            _ => return Err("it is not a scheme, `://` and a host".to_owned()),
        };
        if host.contains(['/', '*']) {
            return Err("an origin has no path and no wildcard".to_owned());
        }
        let host = url.split_once("://").map_or(host, |(_, host)| host);
        let usual = if scheme == "https" { ":443" } else { ":80" };
        Ok(Self(format!("{scheme}://{}", host.strip_suffix(usual).unwrap_or(host))))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(text: &str) -> String {
        DatabaseUrl::parse(text).map_or_else(|why| format!("refused: {why}"), |url| url.text())
    }

    #[test]
    fn every_form_of_a_database_url_is_sqlite_or_postgres() {
        for (text, url) in [
            ("sqlite:./a.db", "sqlite:./a.db"),
            ("sqlite:/var/lib/a.db", "sqlite:/var/lib/a.db"),
            ("sqlite+aiosqlite:///./a.db", "sqlite:./a.db"),
            ("sqlite+aiosqlite:////var/a.db", "sqlite:/var/a.db"),
            ("postgresql://u:p@h:5432/d", "postgres://u:p@h:5432/d"),
            ("postgresql+asyncpg://u:p@h/d?ssl=require", "postgres://u:p@h/d?sslmode=require"),
            ("postgresql+psycopg2://h/d", "postgres://h/d"),
            ("postgres:///d?host=/run/postgresql", "postgres:///d?host=/run/postgresql"),
            ("postgresql+asyncpg://u:p@h/d?ssl=true", "postgres://u:p@h/d?sslmode=require"),
            ("postgres:///d", "postgres:///d"),
            (
                "postgres://h:5432/d?user=a@b",
                "refused: an `@` comes after a `/` or `?`: in user, password and \
             database write `%2F` for `/`, `%3F` for `?` and `%40` for `@`",
            ),
        ] {
            assert_eq!(database(text), url, "{text}");
        }

        for text in ["", "h/d", "mysql://h/d", "sqlite:", "sqlite::memory:", "sqlite:///a.db"] {
            assert!(database(text).starts_with("refused: "), "{text}");
        }
        for text in
            ["postgres://u:p@ss@h/d", "postgres://u:12/34@h/d", "postgres://u:a?b@h/d", "postgres://u/x@h/d"]
        {
            assert!(database(text).contains("%40"), "{text}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let url = DatabaseUrl::parse("postgres://u:hunter2@h/d?password=hunter2&x=1").unwrap();
        assert_eq!(url.shown(), "postgres://u:***@h/d?password=***&x=1");
        assert!(!format!("{url:?}").contains("hunter2"));
        for url in ["postgres://u:hunt?er2@h/d", "postgres://u:hunt/er2@h/d", "postgres://u:hunt/er2@h/d?x=1"]
        {
            assert!(!without_password(url).contains("hunt"), "{}", without_password(url));
        }
        let hidden = DatabaseUrl::parse("postgres://h/d?p%61ssword=hunter2&passfile=/f").unwrap();
        assert_eq!(hidden.shown(), "postgres://h/d?p%61ssword=***&passfile=/f");

        let url = RedisUrl::parse("rediss://:hunter2@h:6379/0").unwrap();
        assert_eq!(url.shown(), "rediss://:***@h:6379/0");
        assert!(!url.toml().contains("hunter2") && url.text().contains("hunter2"));
        let url = RedisUrl::parse("redis+sentinel://:hunter2@h/main?sentinel_password=hunter2").unwrap();
        assert_eq!(url.shown(), "redis+sentinel://:***@h/main?sentinel_password=***");
        assert!(!format!("{url:?}").contains("hunter2"), "{url:?}");
        assert_eq!(RedisUrl::parse("unix:///s?pass=hunter2").unwrap().shown(), "unix:///s?pass=***");
        for (text, exposed) in [
            ("redis+cluster://:p@localhost,10.0.0.1", true),
            ("rediss+cluster://:p@10.0.0.1", false),
            ("unix:///s", false),
            ("redis://:p@10.0.0.1:6379/0", true),
            ("redis://cache", true),
            ("rediss://cache", false),
            ("redis://localhost:6379", false),
            ("redis://:p@[::1]:6379/0", false),
        ] {
            assert_eq!(RedisUrl::parse(text).unwrap().address().is_exposed(), exposed, "{text}");
        }
    }

    #[test]
    fn web_addresses_are_absolute_and_bare() {
        assert_eq!(WebUrl::parse("https://a.example/x/").unwrap().base(), "https://a.example/x");
        for (text, is_here) in [
            ("http://localhost:1/x", true),
            ("http://[::1]/", true),
            ("http://127.9.9.9", true),
            ("http://a", false),
        ] {
            assert_eq!(WebUrl::parse(text).unwrap().is_here(), is_here, "{text}");
        }
        for text in ["a.example", "/x", "ftp://a", "https://", "https://a?x", "https://a#x", "https://u@a"] {
            assert!(WebUrl::parse(text).is_err(), "{text}");
        }
        assert_eq!(WebOrigin::parse("HTTPS://App.example:443/").unwrap().as_str(), "https://app.example");
        assert!(WebOrigin::parse("https://a/x").is_err() && WebOrigin::parse("null").is_err());
        assert!(WebOrigin::parse("*").is_err());
    }

    #[test]
    fn origins_may_have_the_scheme_of_an_app() {
        for origin in [
            "capacitor://localhost",
            "ionic://localhost",
            "tauri://localhost",
            "chrome-extension://abcdefghijklmnop",
            "http://localhost:*",
            "http://localhost:5173",
        ] {
            assert_eq!(WebOrigin::parse(&format!(" {origin} ")).unwrap().as_str(), origin);
        }
        for bad in [
            "capacitor:",
            "://localhost",
            "app://",
            "https://*",
            "http://127.0.0.1:*",
            "app://a/b",
            "a b://c",
        ] {
            assert!(WebOrigin::parse(bad).is_err(), "{bad}");
        }
    }
}
