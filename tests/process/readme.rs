//! The README's console examples, run by a shell against the built binary.

use testkit::process::Server;

use crate::node::{Setup, database};

const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"));

/// The commands of every `console` block, with their expected output.
fn commands() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for block in README.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        let mut continues = false;
        for line in block.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                all.push((format!("{command}\n"), String::new()));
                continues = open(command);
            } else if let Some((command, expected)) = all.last_mut() {
                if continues {
                    command.push_str(&format!("{line}\n"));
                    continues = open(command);
                } else {
                    expected.push_str(&format!("{line}\n"));
                }
            }
        }
    }
    all
}

/// Whether a command continues on the next line: a backslash at the end, or an open quote.
fn open(command: &str) -> bool {
    command.trim_end().ends_with('\\') || command.matches('\'').count() % 2 == 1
}

/// Whether `text` matches `pattern`, where `…` matches anything.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    rest.is_empty() || last.is_some_and(|last| text.ends_with(last) && !last.is_empty()) || last == Some("")
}

fn run(setup: &Setup) {
    let node = setup.start();
    let commands = commands();
    assert!(commands.len() >= 10, "the README has commands");

    let mut script = String::from("set -eu\n");
    for (index, (command, _)) in commands.iter().enumerate() {
        let command = command.replace("http://localhost:8080", &node.url(""));
        script.push_str(&format!("{command}echo; echo '== {index}'\n"));
    }

    let finished = Server::builder("sh").arg("-c").arg(&script).run("");
    assert!(finished.status.success(), "{}{}", finished.stdout, finished.stderr);

    let mut rest = finished.stdout.as_str();
    for (index, (command, expected)) in commands.iter().enumerate() {
        let (printed, after) = rest.split_once(&format!("== {index}\n")).unwrap();
        assert!(
            fits(expected.trim_end(), printed.trim_end()),
            "{command}\nthe README says\n{expected}\nbut it printed\n{printed}"
        );
        rest = after;
    }
}

#[test]
fn the_readme_examples_work_on_sqlite() {
    run(&Setup::sqlite());
}

#[test]
fn the_readme_examples_work_on_postgres() {
    let database = database();
    run(&Setup::postgres(database.url()));
}

#[test]
fn a_pattern_fits_only_what_it_says() {
    assert!(fits("{\"a\":\"…\",\"b\":1}", "{\"a\":\"xyz\",\"b\":1}"));
    assert!(!fits("{\"a\":\"…\",\"b\":1}", "{\"a\":\"xyz\",\"b\":2}"));
    assert!(!fits("204", "2045") && !fits("204", ""));
}

/// The lines of the block about PostgreSQL, against a server with the `pg_hba.conf` of Debian: the superuser
/// comes in as the system's user, other users with a password (SCRAM).
#[test]
fn the_lines_about_postgresql_work_on_a_server_with_debians_defaults() {
    // given a server, and `sudo -u postgres psql` that reaches it
    let hba = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    let server = testkit::Postgres::builder()
        .file("pg_hba.conf", hba)
        .setting("password_encryption", "scram-sha-256")
        .start();
    let folder = tempfile::tempdir().unwrap();
    let programs = folder.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    let psql = "exec \"$(command -v /usr/lib/postgresql/*/bin/psql | tail -n 1)\" -q";
    let sudo = format!(
        "#!/bin/sh\n[ \"$1 $2 $3\" = '-u postgres psql' ] || exit 9\nshift 3\n\
         PGHOST=127.0.0.1 PGPORT={} PGUSER=postgres {psql} \"$@\"\n",
        server.port()
    );
    std::fs::write(programs.join("sudo"), sudo).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(programs.join("sudo"), executable).unwrap();
    std::os::unix::fs::symlink(testkit::process::gatewright(), programs.join("gatewright")).unwrap();

    // when its lines are run
    let (_, after) = README.split_once("## On PostgreSQL").unwrap();
    let block = after.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0;
    assert!(block.contains("gatewright migrate\n") && block.ends_with("gatewright serve\n"), "{block}");
    let listen = format!("--set server.listen=127.0.0.1:{} --set server.ops_listen=", testkit::free_port());
    let script = block
        .replace("@localhost/", &format!("@localhost:{}/", server.port()))
        .replace("gatewright serve\n", &format!("exec gatewright serve {listen}\n"));
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let mut running = Server::builder("sh")
        .args(["-euc", &script])
        .folder(folder.path())
        .env("PATH", path)
        .env("HOME", folder.path())
        .ready_on_line("is up")
        .start();

    // then the server runs on it
    assert!(running.terminate().success(), "{}", running.stderr());
    let tables = testkit::postgres::rows(
        &format!("postgres://postgres@127.0.0.1:{}/app", server.port()),
        "SELECT tableowner FROM pg_tables WHERE schemaname = 'gatewright' AND tablename = 'users'",
    );
    assert_eq!(tables.unwrap(), [[Some("app".to_owned())]]);
}
