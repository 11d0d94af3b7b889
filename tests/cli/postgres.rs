//! URLs of PostgreSQL and what is said where a server is not reached.

use std::os::unix::fs::PermissionsExt;

use testkit::process::{ServerBuilder, Signal};
use testkit::{Postgres, free_port};

use super::{PHRASE, Place};

/// Debian's default: a password over TCP.
const HBA: &str = "host all app 0.0.0.0/0 scram-sha-256\nhost all outsider 0.0.0.0/0 reject\n\
                   host all all 0.0.0.0/0 trust\n";

fn with_passwords() -> Postgres {
    let server = Postgres::builder().file("pg_hba.conf", HBA).start();
    server.sql("SET password_encryption = 'scram-sha-256'; CREATE ROLE app LOGIN PASSWORD 'hunter2'");
    server.sql("CREATE DATABASE app OWNER app");
    server.sql("CREATE ROLE nologin");
    server
}

fn at(place: &Place, args: &[&str], url: &str) -> ServerBuilder {
    place.builder(args).env("GATEWRIGHT_DATABASE__URL", url).env("HOME", place.path())
}

fn never_shown(text: &str) {
    assert!(!text.contains("hunter2") && !text.contains("wrong-one"), "{text}");
}

#[test]
fn the_password_comes_from_where_libpq_takes_it() {
    let (place, server) = (Place::new(), with_passwords());
    let port = server.port();
    let bare = format!("postgres://app@127.0.0.1:{port}/app");
    let plan = ["migrate", "--plan"];
    let good = |builder: ServerBuilder| {
        let ended = builder.run("");
        assert!(ended.status.success(), "{}", ended.stderr);
    };
    good(at(&place, &plan, &format!("postgres://app:hunter2@127.0.0.1:{port}/app")));
    good(at(&place, &plan, &format!("postgresql+asyncpg://app:hunter2@127.0.0.1:{port}/app")));
    good(at(&place, &plan, &format!("postgres://127.0.0.1:{port}/?user=app&password=hunter2&dbname=app")));
    good(at(&place, &plan, &bare).env("PGPASSWORD", "hunter2"));
    // The URL's own comes first.
    let wrong = at(&place, &plan, &format!("postgres://app:wrong-one@127.0.0.1:{port}/app"));
    let ended = wrong.env("PGPASSWORD", "hunter2").run("");
    assert!(ended.stderr.contains("password authentication failed"), "{}", ended.stderr);
    never_shown(&ended.stderr);

    let file = place.path().join(".pgpass");
    std::fs::write(&file, format!("127.0.0.1:{port}:app:app:hunter2\n")).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    good(at(&place, &plan, &bare));
    let named = place.path().join("named");
    std::fs::rename(&file, &named).unwrap();
    good(at(&place, &plan, &bare).env("PGPASSFILE", &named));
    good(at(&place, &plan, &format!("{bare}?passfile={}", named.display())));

    std::fs::set_permissions(&named, PermissionsExt::from_mode(0o644)).unwrap();
    let open = at(&place, &plan, &bare).env("PGPASSFILE", &named).run("");
    assert!(open.stderr.contains("asks for a password") && open.stderr.contains("0644"), "{}", open.stderr);
    never_shown(&open.stderr);
}

#[test]
fn a_server_that_is_not_reached_is_named_with_the_reason_and_the_next_step() {
    let (place, server) = (Place::new(), with_passwords());
    let (port, closed) = (server.port(), free_port());
    let here = format!("127.0.0.1:{port}");
    let cases = [
        (
            format!("postgres://app@{here}/app"),
            vec![here.as_str(), "user app", "database app", "asks for a password", "PGPASSWORD", ".pgpass"],
        ),
        (
            format!("postgres://app:wrong-one@{here}/app"),
            vec!["password authentication failed", "is the password"],
        ),
        (
            format!("postgres://app@127.0.0.1:{closed}/app"),
            vec!["refused", "is PostgreSQL running", "user app"],
        ),
        (format!("postgres://postgres@{here}/nowhere"), vec!["\"nowhere\" does not exist", "createdb"]),
        (format!("postgres://ghost@{here}/app"), vec!["\"ghost\" does not exist", "create the role"]),
        (format!("postgres://nologin@{here}/app"), vec!["not permitted to log in"]),
        (format!("postgres://outsider@{here}/app"), vec!["pg_hba.conf"]),
        (
            format!("postgres://app@{here}/app?sslmode=require"),
            vec!["the server has no TLS", "sslmode=disable"],
        ),
        (
            "postgres://app@nohost.invalid/app".to_owned(),
            vec!["nohost.invalid:5432", "is the host's name right"],
        ),
        ("postgres://app@%2Fno%2Fsuch/app".to_owned(), vec!["/no/such/.s.PGSQL.5432", "no socket"]),
        (
            format!("postgres://app@127.0.0.1:{closed},{here}/app"),
            vec!["refused", "asks for a password", &here],
        ),
    ];

    for (url, says) in cases {
        let ended = at(&place, &["migrate", "--set", "database.connect_wait=0s"], &url).run("");
        assert_eq!(ended.status.code(), Some(1), "{url}: {}", ended.stdout);
        for word in says {
            assert!(ended.stderr.contains(word), "{url}: {word}: {}", ended.stderr);
        }
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        never_shown(&ended.stderr);
    }
}

#[test]
fn what_cannot_start_is_refused_by_the_check_of_the_configuration() {
    let place = Place::new();
    place.good(&["keys", "init"], "");
    let cases = [
        ("postgres://a@b:99999/c", "99999"),
        ("postgres://a:hunter2@b/c?foo=bar", "no option `foo`"),
        ("postgres://a:hunter2@b/c?sslmod=require", "did you mean `sslmode`?"),
        ("postgres://a:hunter2@b/c?service=prod", "service files are not read"),
        ("postgres://a:hunter2@b/c?target_session_attrs=standby", "takes writes"),
        ("postgres://a:hunter2@b/c?sslrootcert=/no/ca.pem", "/no/ca.pem"),
        ("postgres://a:hunter2@b/c?sslcert=/no/cert.pem&sslkey=/no/key.pem", "/no/key.pem"),
        ("postgres://a:hunter2%@b/c", "hexadecimal"),
        ("postgres://a:hunter2/@b/c", "%2F"),
        ("postgres://a:hun@ter2@b/c", "%40"),
        ("postgres://a@b/c?connect_timeout=soon", "connect_timeout=soon"),
        ("postgres://a@[::1/c", "`[::1]:5432`"),
    ];

    for (url, says) in cases {
        let ended = at(&place, &["config", "check"], url).run("");
        assert_eq!(ended.status.code(), Some(2), "{url}: {}", ended.stdout);
        assert!(
            ended.stderr.contains(says) && ended.stderr.contains("database.url"),
            "{url}: {}",
            ended.stderr
        );
        never_shown(&ended.stderr);
        assert!(!ended.stderr.contains("ter2"), "{}", ended.stderr);
    }
    for url in [
        "postgres://u:p%40ss@h1:1,h2:2/d?sslmode=require&channel_binding=prefer&connect_timeout=10",
        "postgres:///d?host=/run/postgresql",
        "postgres:///d",
        "postgres://u@h/d?hostaddr=10.0.0.1&keepalives=1&keepalives_count=2&tcp_user_timeout=9",
        "postgres://u@h/d?application_name=x&options=-c%20a%3Db&load_balance_hosts=random&sslmode=verify-ca",
    ] {
        let ended = at(&place, &["config", "check"], url).run("");
        assert!(ended.status.success(), "{url}: {}", ended.stderr);
    }
}

#[test]
fn a_database_that_starts_later_is_waited_for_and_a_wrong_password_is_not() {
    let place = Place::new();
    place.good(&["keys", "init"], "");
    let mut server = with_passwords();
    let url = format!("postgres://app:hunter2@127.0.0.1:{}/app", server.port());
    let ended = at(&place, &["migrate"], &url).run("");
    assert!(ended.status.success(), "{}", ended.stderr);
    server.stop_fast();

    // given a server that is started before its database
    let listen = format!("server.listen=127.0.0.1:{}", free_port());
    let serve = ["serve", "--set", &listen, "--set", "server.ops_listen=", "--set", "database.pool_min=1"];
    let mut early = at(&place, &serve, &url).ready_on_line("is waited for").start();
    // when the database comes
    server.restart();
    // then it starts
    early.wait_for_line("Gatewright");
    assert!(early.terminate().success(), "{}", early.stderr());

    // and SIGTERM ends the wait, of a server and of a command
    server.stop_fast();
    let mut early = at(&place, &serve, &url).ready_on_line("is waited for").start();
    early.signal(Signal::TERM);
    assert!(early.wait().success(), "{}", early.stderr());
    let mut migrate = at(&place, &["migrate"], &url).ready_on_line("is waited for").start();
    migrate.signal(Signal::TERM);
    assert_eq!(migrate.wait().code(), Some(143), "{}", migrate.stderr());
    server.restart();

    // and what does not change by itself is not waited for
    let port = server.port();
    for url in [
        format!("postgres://app:wrong-one@127.0.0.1:{port}/app"),
        format!("postgres://app@127.0.0.1:{port}/app"),
        format!("postgres://postgres@127.0.0.1:{port}/nowhere"),
    ] {
        let ended = at(&place, &serve, &url).run("");
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        assert!(!ended.stderr.contains("is waited for"), "{}", ended.stderr);
        never_shown(&ended.stderr);
    }
}

#[test]
fn a_command_beside_a_database_that_another_key_has_sealed_says_so() {
    let place = Place::new();
    let server = Postgres::shared();
    let database = server.fresh_database();
    let made = at(&place, &["keys", "init"], database.url()).run("");
    assert!(made.status.success(), "{}", made.stderr);
    assert!(at(&place, &["migrate"], database.url()).run("").status.success());
    let add = ["user", "add", "a@example.org", "--password-file", "-"];
    assert!(at(&place, &add, database.url()).run(PHRASE).status.success());

    let elsewhere = Place::new();
    let ended = at(&elsewhere, &["user", "list"], database.url()).run("");
    assert!(ended.stderr.contains("was sealed with the master key"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("keys init"), "{}", ended.stderr);
    assert_eq!(elsewhere.path().read_dir().unwrap().count(), 0);
}
