//! Where Redis is: the URL of a server, of the Sentinels that know it, or of nodes of a Cluster.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion};

/// The port of a Sentinel if the URL names none.
const SENTINEL_PORT: &str = "26379";
const FORMS: &str = "it is not of the form redis://user:password@host:port/database, unix:///path, \
                     redis+sentinel://host,host/service/database or redis+cluster://host,host";

/// A parsed URL. `rediss` in place of `redis` means TLS, and `valkey` means `redis`.
///
/// | form | meaning |
/// |---|---|
/// | `redis://user:password@host:port/database` | a server |
/// | `unix:///path?db=0&user=…&pass=…` | a server at a socket |
/// | `redis+sentinel://user:password@host:port,host:port/service/database` | the primary Sentinels name |
/// | `redis+cluster://user:password@host:port,host:port` | a Cluster, of which these are some nodes |
///
/// User and password are those of the data nodes. Sentinels that ask for them get `sentinel_username` and
/// `sentinel_password` of the query.
#[derive(Clone, Debug)]
pub struct Address {
    pub(super) topology: Topology,
    /// The servers, Sentinels or nodes that are named; with the credentials of the data nodes.
    pub(super) nodes: Vec<ConnectionInfo>,
}

/// How servers work together.
#[derive(Clone, Debug)]
pub(super) enum Topology {
    Single,
    Sentinel { service: String, database: i64, login: Login },
    Cluster,
}

/// The credentials for Sentinels.
#[derive(Clone, Default)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Address {
    /// Parses a URL.
    ///
    /// # Errors
    /// A text that does not repeat the URL.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or(FORMS)?;
        let scheme = scheme.to_ascii_lowercase().replace("valkey", "redis");
        if rest.contains('#') {
            return Err("it has a fragment: write `%23` for a `#`".to_owned());
        }

        let (base, topology) = match scheme.split_once('+') {
            None | Some(("redis", "unix")) => {
                let nodes = vec![node(&format!("{scheme}://{rest}"))?];
                return Ok(Self { topology: Topology::Single, nodes });
            }
            Some((base @ ("redis" | "rediss"), topology @ ("sentinel" | "cluster"))) => (base, topology),
            Some(_) => return Err(FORMS.to_owned()),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
            None => (String::new(), authority),
        };

        let is_sentinel = topology == "sentinel";
        let nodes = hosts.split(',').map(|host| {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
            let port = if is_sentinel && !has_port { format!(":{SENTINEL_PORT}") } else { String::new() };
            node(&format!("{base}://{credentials}{host}{port}"))
        });
        let nodes = nodes.collect::<Result<_, _>>()?;
        let topology = if is_sentinel { sentinel(path, query)? } else { cluster(path, query)? };
        Ok(Self { topology, nodes })
    }

    /// The same with RESP3, the protocol in which one connection both calls and receives messages.
    pub(super) fn with_pushes(mut self) -> Self {
        let with = |node: ConnectionInfo| {
            let settings = node.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
            node.set_redis_settings(settings)
        };
        self.nodes = self.nodes.into_iter().map(with).collect();
        self
    }

    /// Whether connections use TLS.
    pub fn is_secure(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.addr(), ConnectionAddr::TcpTls { .. }))
    }

    /// Whether passwords and data travel in clear text to another machine.
    pub fn is_exposed(&self) -> bool {
        self.nodes.iter().any(|node| match node.addr() {
            ConnectionAddr::Tcp(host, _) => !crate::is_local(host),
            _ => false,
        })
    }
}

fn sentinel(path: &str, query: &str) -> Result<Topology, String> {
    let (service, database) = path.split_once('/').unwrap_or((path, "0"));
    if service.is_empty() {
        return Err("the name of the service is missing: redis+sentinel://host,host/service".to_owned());
    }
    let database = database.parse().map_err(|_| "what follows the service is no number of a database")?;

    // The client library decodes user and password of a URL, so those of the query are given to it as such.
    let values = |name: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    };
    let [user, password] = [values("sentinel_username"), values("sentinel_password")];
    let login = node(&format!("redis://{user}:{password}@sentinel"))?;
    let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let login = Login {
        user: text(login.redis_settings().username()),
        password: text(login.redis_settings().password()),
    };
    Ok(Topology::Sentinel { service: service.to_owned(), database, login })
}

fn cluster(path: &str, query: &str) -> Result<Topology, String> {
    if matches!(path, "" | "0") && query.is_empty() {
        Ok(Topology::Cluster)
    } else {
        Err("the URL of a Cluster ends with its hosts: a Cluster has one database".to_owned())
    }
}

/// Parses the URL of one server.
fn node(url: &str) -> Result<ConnectionInfo, String> {
    // The errors of the library may repeat a part of the URL.
    url.into_connection_info().map_err(|_| FORMS.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nodes, then user, password and database of the first, then the topology.
    fn told(url: &str) -> Result<String, String> {
        let address = Address::parse(url)?;
        let nodes: Vec<String> = address
            .nodes
            .iter()
            .map(|node| format!("{}{}", node.addr(), if address.is_secure() { " TLS" } else { "" }))
            .collect();
        let first = address.nodes[0].redis_settings();
        let topology = match address.topology {
            Topology::Single => "single".to_owned(),
            Topology::Sentinel { service, database, login } => {
                format!("{service}/{database} {:?} {:?}", login.user, login.password)
            }
            Topology::Cluster => "cluster".to_owned(),
        };
        let login = format!("{:?} {:?} {}", first.username(), first.password(), first.db());
        Ok(format!("{} | {login} | {topology}", nodes.join(" ")))
    }

    #[test]
    fn every_part_is_read_or_left_out() {
        let cases = [
            ("redis://h", "h:6379 | None None 0 | single"),
            ("valkey://h:1", "h:1 | None None 0 | single"),
            (
                "rediss://u:p%40ss:%25%2f@[::1]:7000/3",
                "::1:7000 TLS | Some(\"u\") Some(\"p@ss:%/\") 3 | single",
            ),
            ("redis://:only@h/", "h:6379 | None Some(\"only\") 0 | single"),
            (
                "unix:///run/redis.sock?db=2&user=u&pass=p",
                "/run/redis.sock | Some(\"u\") Some(\"p\") 2 | single",
            ),
            (
                "redis+sentinel://u:p@a,[::1],b:7/main/2",
                "a:26379 ::1:26379 b:7 | Some(\"u\") Some(\"p\") 0 | main/2 None None",
            ),
            (
                "rediss+sentinel://a/main?sentinel_username=s&sentinel_password=t%26",
                "a:26379 TLS | None None 0 | main/0 Some(\"s\") Some(\"t&\")",
            ),
            ("rediss+cluster://u:p@a:1,b", "a:1 TLS b:6379 TLS | Some(\"u\") Some(\"p\") 0 | cluster"),
        ];

        for (url, expected) in cases {
            assert_eq!(told(url).as_deref(), Ok(expected), "{url}");
        }
    }

    #[test]
    fn an_invalid_url_is_refused_and_not_repeated() {
        for url in [
            "h",
            "http://h",
            "http+cluster://h",
            "redis://h:x",
            "redis://h/x",
            "redis://[::1",
            "rediss://u:hunter2@h/#insecure",
            "redis+sentinel://:hunter2@h",
            "redis+sentinel://:hunter2@h/main/x",
            "redis+sentinel://h,/main",
            "redis+cluster://:hunter2@h/3",
            "redis+other://h",
        ] {
            let why = told(url).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
