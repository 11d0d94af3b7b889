//! TLS to a PostgreSQL with certificates that the test makes.

use std::path::PathBuf;

use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use store::{Error, Location, PostgresEnvironment, Store};
use tempfile::TempDir;
use testkit::Postgres;

use crate::fixtures::{NOON, settings, spawner};

/// A server that only takes encrypted connections, and files for its clients.
struct Encrypted {
    server: Postgres,
    folder: TempDir,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for host names, or for the client `common_name`, and its key.
    fn issue(&self, names: &[&str], common_name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

impl Encrypted {
    fn start() -> Self {
        let (authority, other) = (Authority::new("ours"), Authority::new("theirs"));
        let (certificate, key) = authority.issue(&["localhost"], "server");
        // The fixtures' own connections stay without TLS; those of the role `app` must have it.
        let rules = "host all postgres 127.0.0.1/32 trust\n\
                     hostssl all app 0.0.0.0/0 scram-sha-256\nhostssl all app ::/0 scram-sha-256\n\
                     hostssl all certified 0.0.0.0/0 cert\nhostssl all certified ::/0 cert\n";
        let server = Postgres::builder()
            .setting("ssl", "on")
            .setting("ssl_cert_file", "ours.crt")
            .setting("ssl_key_file", "ours.key")
            .setting("ssl_ca_file", "ca.crt")
            .file("ours.crt", &certificate)
            .file("ours.key", &key)
            .file("ca.crt", &authority.pem)
            .file("pg_hba.conf", rules)
            .start();
        server.sql("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'secret'");
        server.sql("CREATE ROLE certified LOGIN SUPERUSER");

        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = authority.issue(&[], "certified");
        for (name, content) in [
            ("ca.pem", authority.pem.as_str()),
            ("other.pem", other.pem.as_str()),
            ("client.pem", certificate.as_str()),
            ("client.key", key.as_str()),
        ] {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        Self { server, folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn url(&self, host: &str, query: &str) -> String {
        format!("postgres://app:secret@{host}:{}/postgres?{query}", self.server.port())
    }

    async fn open(&self, url: &str, ca: Option<&str>) -> Result<Store, Error> {
        let location = Location::Postgres {
            url: url.to_owned(),
            schema: "gatewright".to_owned(),
            tls_ca_file: ca.map(|name| PathBuf::from(self.path(name))),
            environment: PostgresEnvironment::default(),
        };
        let ours = settings(location);
        store::migrate(&ours, NOON, &spawner()).await?;
        store::open(&ours, &spawner()).await
    }

    /// Whether every connection of a role is encrypted.
    fn are_encrypted(&self, role: &str) -> bool {
        let sql = format!(
            "SELECT bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
             WHERE a.usename = '{role}'"
        );
        self.server.sql(&sql)[0][0].as_deref() == Some("t")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_verifies_what_it_says() {
    let encrypted = Encrypted::start();
    let (ca, other) = (encrypted.path("ca.pem"), encrypted.path("other.pem"));
    for (host, query, works) in [
        ("localhost", format!("sslrootcert={ca}"), true),
        ("localhost", format!("sslmode=verify-full&sslrootcert={ca}"), true),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={ca}"), false),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={ca}"), true),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={ca}"), true),
        ("localhost", format!("sslmode=verify-full&sslrootcert={other}"), false),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={other}"), false),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={other}"), false),
        ("localhost", "sslmode=verify-full".to_owned(), false),
        ("localhost", "sslmode=verify-full&sslrootcert=system".to_owned(), false),
        ("127.0.0.1", "sslmode=require".to_owned(), true),
        ("127.0.0.1", "sslmode=prefer".to_owned(), true),
        ("127.0.0.1", "sslmode=disable".to_owned(), false),
        // A local server: without a word there is no TLS, which this server refuses.
        ("127.0.0.1", String::new(), false),
        ("127.0.0.1", "channel_binding=require&sslmode=require".to_owned(), true),
        ("127.0.0.1", "channel_binding=disable&sslmode=require".to_owned(), true),
    ] {
        let opened = encrypted.open(&encrypted.url(host, &query), None).await;
        assert_eq!(opened.is_ok(), works, "{host} {query}: {:?}", opened.err());
        if works {
            assert!(encrypted.are_encrypted("app"), "{query}");
        }
    }

    let by_setting = encrypted.open(&encrypted.url("localhost", ""), Some("ca.pem")).await;
    by_setting.unwrap();
    let disabled = encrypted.open(&encrypted.url("localhost", "sslmode=disable"), Some("ca.pem")).await;
    assert!(disabled.is_err(), "`disable` is what it says, also beside a file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_identifies_the_client_and_errors_say_their_cause() {
    let encrypted = Encrypted::start();
    let files = format!(
        "sslmode=verify-full&sslrootcert={}&sslcert={}&sslkey={}",
        encrypted.path("ca.pem"),
        encrypted.path("client.pem"),
        encrypted.path("client.key")
    );
    let url = encrypted.url("localhost", &files).replace("app:secret@", "certified@");
    let store = encrypted.open(&url, None).await.unwrap();
    assert!(encrypted.are_encrypted("certified"));
    drop(store);

    let url = encrypted.url("127.0.0.1", &files);
    let why = encrypted.open(&url, None).await.map(|_| ()).unwrap_err().to_string();
    assert!(why.contains("certificate") && why.contains("127.0.0.1"), "{why}");
    let url = encrypted.url("localhost", &files.replace("ca.pem", "other.pem"));
    let why = encrypted.open(&url, None).await.map(|_| ()).unwrap_err().to_string();
    assert!(why.contains("UnknownIssuer"), "{why}");
}

/// The address by which other machines reach this one; none where there is no network.
fn outer_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: this only selects a route.
    socket.connect("192.0.2.1:9").ok()?;
    socket
        .local_addr()
        .ok()
        .map(|address| address.ip())
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_server_is_verified_without_a_word() {
    let Some(address) = outer_address() else { return };
    let authority = Authority::new("ours");
    let (certificate, key) = authority.issue(&[&address.to_string()], "server");
    let server = Postgres::builder()
        .setting("listen_addresses", "*")
        .setting("ssl", "on")
        .setting("ssl_cert_file", "ours.crt")
        .setting("ssl_key_file", "ours.key")
        .file("ours.crt", &certificate)
        .file("ours.key", &key)
        // An attacker on the way could take the encryption away; the server would not mind.
        .file("pg_hba.conf", "host all all 0.0.0.0/0 trust\n")
        .start();
    let url = format!("postgres://postgres@{address}:{}/postgres", server.port());
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();

    let location = |query: &str, ca: Option<PathBuf>| Location::Postgres {
        url: format!("{url}{query}"),
        schema: "gatewright".to_owned(),
        tls_ca_file: ca,
        environment: PostgresEnvironment::default(),
    };
    for (location, works) in [
        (location("", None), false),
        (location("", Some(ca)), true),
        (location("?sslmode=prefer", None), true),
    ] {
        let migrated = store::migrate(&settings(location), NOON, &spawner()).await;
        assert_eq!(migrated.is_ok(), works, "{migrated:?}");
    }
}
