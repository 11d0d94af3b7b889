//! People come from other systems: one command reads the system's own export, and they log in as before.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::node::{Node, Setup, until};

const ONE: &str = "correct horse battery staple";
const TWO: &str = "pässwörd ✓ 2";

/// An export, and how it is imported: its system, file, and further options.
struct Export(&'static str, &'static str, &'static [&'static str]);

/// Several systems count from one.
const OTHER_NUMBERS: &[&str] = &["--ignore", "external_id"];

const EXPORTS: [Export; 15] = [
    Export("django", "django.json", &[]),
    Export("keycloak", "keycloak.json", &[]),
    Export("firebase", "firebase.json", &["--firebase-project", "firebase-project.json"]),
    Export(
        "firebase",
        "firebase.csv",
        &["--firebase-project", "firebase-project.json", "--ignore", "external_id"],
    ),
    Export("auth0", "auth0.json", &[]),
    Export("supabase", "supabase.csv", &[]),
    Export("wordpress", "wordpress.csv", OTHER_NUMBERS),
    Export("laravel", "laravel.csv", OTHER_NUMBERS),
    Export("devise", "devise.csv", &["--pepper-file", "devise.pepper", "--ignore", "external_id"]),
    Export("aspnet", "aspnet.csv", &["--null", "NULL", "--table", "AspNetUserTokens=aspnet-tokens.csv"]),
    Export("spring", "spring.csv", &[]),
    Export("kratos", "kratos.json", &[]),
    Export("better-auth", "better-auth.json", &[]),
    Export("pocketbase", "pocketbase.csv", &[]),
    Export("fastapi-users", "fastapi-users.csv", &[]),
];

/// A setup in whose folder all exports are.
fn with_exports() -> Setup {
    let setup = Setup::sqlite();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/exports");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, setup.folder.path().join(path.file_name().unwrap())).unwrap();
    }
    setup
}

/// Imports a file with new numbers; returns what the command says.
fn import(setup: &Setup, export: &Export, more: &[&str]) -> Value {
    let Export(system, file, options) = export;
    let args =
        [&["--json", "user", "import", "--from", system, file, "--new-numbers"], *options, more].concat();
    let said = setup.ask(&args);
    assert!(said.status.success(), "{args:?}: {}{}", said.stdout, said.stderr);
    serde_json::from_str(&said.stdout).unwrap()
}

async fn status(node: &Node, name: &str, password: &str) -> u16 {
    node.client.post_form(&node.v1("token"), &[("username", name), ("password", password)]).await.status
}

#[tokio::test]
async fn every_active_person_of_every_system_logs_in_as_before_and_no_other() {
    let setup = with_exports();
    for export in &EXPORTS {
        let said = import(&setup, export, &[]);
        let rows = if export.0 == "pocketbase" { 3 } else { 4 };
        assert_eq!((&said["imported"], &said["refused"]), (&json!(rows), &json!(0)), "{}: {said}", export.1);
        assert_eq!(said["without_password"], json!(1), "{}: {said}", export.1);
        assert_eq!(said["second_factors_lost"], json!(0), "{}: {said}", export.1);
        let again = import(&setup, export, &["--update"]);
        assert_eq!(again["unchanged"], json!(rows), "{}: {again}", export.1);
    }
    let directory = ["user", "import", "directory.csv", "--map", "userPassword=password_hash"];
    setup.command(&[&directory[..], &["--map", "disabled=is_inactive"]].concat());
    setup.command(&["user", "import", "salt-and-key.csv"]);

    let node = setup.start();
    let systems = EXPORTS.iter().map(|Export(system, file, _)| match *file {
        "firebase.csv" => "firebase-csv",
        _ => system,
    });
    for system in systems.chain(["directory"]) {
        for (name, password, wanted) in
            [("ana", ONE, 200), ("ana", TWO, 401), ("bob", TWO, 200), ("cle", ONE, 401), ("dee", ONE, 401)]
        {
            let email = format!("{name}@{system}.example");
            assert_eq!(status(&node, &email, password).await, wanted, "{email}");
        }
    }
    for (email, password) in [("ana@salt-and-key.example", ONE), ("bob@salt-and-key.example", TWO)] {
        assert_eq!(status(&node, email, password).await, 200, "{email}");
    }
    // The second login is checked against the hash that replaced the imported one, or against that.
    assert_eq!(status(&node, "ana@django.example", ONE).await, 200);
    assert_eq!(status(&node, "ana-django", ONE).await, 200);
}

#[test]
fn what_a_system_knows_of_people_is_kept() {
    let setup = with_exports();
    let said = import(&setup, &EXPORTS[0], &["--map-role", "superuser=admin"]);
    assert_eq!(said["roles"]["superuser"], json!(1));
    import(&setup, &EXPORTS[1], &[]);
    import(&setup, &EXPORTS[9], &[]);
    let exported = setup.command(&["user", "export", "--with-hashes"]);
    let users: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |email: &str| users.iter().find(|user| user["email"] == email).unwrap();
    assert_eq!(of("bob@django.example")["role"], "admin");
    assert_eq!(of("ana@django.example")["role"], "basic_user");
    let ana = of("ana@keycloak.example");
    assert_eq!(ana["uuid"], ana["external_id"]);
    assert_eq!(
        (&ana["username"], &ana["created_at"]),
        (&json!("ana-keycloak"), &json!("2024-05-06T07:08:09.123Z"))
    );
    assert!(ana["email_verified_at"].is_string());
    // Base32 of the secret's bytes, as the app was shown it.
    assert_eq!(ana["second_factors"][0]["secret"], "JRZDA52GLFREG6SIO5MG2VDOKVVVMZZR");
    let aspnet = of("ana@aspnet.example");
    assert_eq!(aspnet["second_factors"][0]["secret"], "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP");
    assert_eq!(aspnet["username"], Value::Null, "it is the email");
}

#[test]
fn what_an_export_would_lose_is_said_and_nothing_is_written() {
    let setup = with_exports();
    for (args, what) in [
        (
            vec!["--from", "aspnet", "aspnet.csv"],
            "\"inactive_until\" is \"NULL\" in 3 of 4 rows: give --null 'NULL'",
        ),
        (
            vec!["--from", "aspnet", "aspnet.csv", "--null", "NULL"],
            "\"twofactorenabled\" looks like a second factor",
        ),
        (vec!["supabase.csv"], "\"encrypted_password\" looks like a password hash"),
        (vec!["supabase.csv"], "try --from supabase"),
        (vec!["keycloak.json"], "try --from keycloak"),
        (vec!["django.json"], "try --from django"),
        (vec!["devise.csv"], "\"locked_at\" looks like the state of the account"),
        (vec!["directory.csv"], "\"userpassword\" looks like a password hash"),
    ] {
        let said = setup.ask(&[&["user", "import"], &args[..]].concat());
        assert_eq!(said.status.code(), Some(1), "{args:?}: {}", said.stdout);
        assert!(
            said.stderr.contains("nothing was imported") && said.stderr.contains(what),
            "{args:?}: {}",
            said.stderr
        );
    }

    let redacted =
        json!({"users": [{"localId": "a", "email": "a@example.org", "passwordHash": "UkVEQUNURUQ="}]});
    std::fs::write(setup.folder.path().join("redacted.json"), redacted.to_string()).unwrap();
    let said = setup.ask(&["user", "import", "--from", "firebase", "redacted.json"]);
    assert!(said.stdout.contains("REDACTED"), "{}{}", said.stdout, said.stderr);
}

#[test]
fn a_known_password_shows_that_a_secret_does_not_fit() {
    let setup = with_exports();
    let write = |name: &str, text: &str| std::fs::write(setup.folder.path().join(name), text).unwrap();
    write("one.txt", &format!("{ONE}\n"));
    write("wrong.pepper", "another secret\n");
    let project = std::fs::read_to_string(setup.folder.path().join("firebase-project.json")).unwrap();
    write("wrong-project.json", &project.replace("jxspr8", "AxspA8"));
    let wordpress = std::fs::read_to_string(setup.folder.path().join("wordpress.csv")).unwrap();
    write("cut.csv", &wordpress.replace("$wp$2y$", "$2y$"));
    write("two.txt", &format!("{TWO}\n"));
    let check = |args: &[&str], email: &str, password: &str| {
        let check = ["--check", email, "--check-password-file", password, "--dry-run"];
        setup.ask(&[&["user", "import", "--from"], args, &check].concat())
    };
    // A dry run needs a database.
    setup.command(&["user", "add", "x@example.org", "--password-file", "-"]);

    for (args, email, password, what) in [
        (
            &["devise", "devise.csv", "--pepper-file", "wrong.pepper"][..],
            "ana@devise.example",
            "one.txt",
            "neither with the pepper of --pepper-file nor without",
        ),
        (&["devise", "devise.csv"], "ana@devise.example", "one.txt", "a pepper: --pepper-file"),
        (
            &["laravel", "laravel.csv", "--pepper-file", "devise.pepper"],
            "ana@laravel.example",
            "one.txt",
            "matches without a pepper",
        ),
        (
            &["firebase", "firebase.json", "--firebase-project", "wrong-project.json"],
            "ana@firebase.example",
            "one.txt",
            "base64_signer_key",
        ),
        (
            &["wordpress", "cut.csv"],
            "bob@wordpress.example",
            "two.txt",
            "the prefix `$wp` of the hash was taken off",
        ),
        (&["laravel", "laravel.csv"], "dee@laravel.example", "one.txt", "the row has no password"),
        (&["laravel", "laravel.csv"], "who@laravel.example", "one.txt", "no row of laravel.csv is of"),
    ] {
        let said = check(args, email, password);
        assert_eq!(said.status.code(), Some(1), "{args:?}: {}", said.stdout);
        assert!(said.stderr.contains(what), "{args:?}: {}", said.stderr);
    }
    let said =
        check(&["devise", "devise.csv", "--pepper-file", "devise.pepper"], "ana@devise.example", "one.txt");
    assert!(said.stdout.contains("matches the bcrypt-peppered hash"), "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("ana@devise.example") && said.stdout.contains("OUTCOME"), "{}", said.stdout);
}

#[tokio::test]
async fn hashes_of_broken_kinds_are_imported_only_when_it_is_said() {
    let setup = Setup::sqlite();
    // `correct horse battery staple` by Django's oldest rule, and by `openssl passwd -1`.
    let rows = "email,hash\nb@example.org,$1$saltsalt$BsXyQbZiQujHkdhwPwdol.\na@example.org,md5$salt\
     $2338b2cbd799d580b6a70349f87de5ea\n";
    std::fs::write(setup.folder.path().join("weak.csv"), rows).unwrap();
    let said = setup.ask(&["user", "import", "weak.csv"]);
    assert!(said.stdout.contains("--allow-weak"), "{}{}", said.stdout, said.stderr);
    setup.command(&["user", "import", "weak.csv", "--allow-weak"]);
    let node = setup.start();
    for email in ["a@example.org", "b@example.org"] {
        assert_eq!(status(&node, email, ONE).await, 200, "{email}");
    }
    // The first login replaces the hash.
    until(Duration::from_secs(30), "the hashes are replaced", async || {
        let exported = setup.command(&["user", "export", "--with-hashes"]);
        !exported.contains("md5$") && !exported.contains("$1$")
    })
    .await;
}

#[tokio::test]
async fn fault_an_import_that_is_killed_goes_on_and_brings_all_of_them_once() {
    const ROWS: usize = 3000;
    let setup = Setup::sqlite();
    let mut rows = String::from("email,external_id,password_hash\n");
    for at in 0..ROWS {
        rows += &format!(
            "user{at}@example.org,old-{at},$5$rounds=1000$$mAwhFY7O7ZrOdMqLHnXfo0MEchkMOxIjJUTi3.3mBs5\n"
        );
    }
    std::fs::write(setup.folder.path().join("users.csv"), rows).unwrap();
    // Killed as soon as the report has its first batch.
    let script = "\"$0\" user import users.csv --report first.jsonl >/dev/null 2>&1 & \
                  while ! [ \"$(wc -l < first.jsonl)\" -ge 500 ]; do kill -0 $! || break; done; \
                  kill -9 $!; wait $!; true";
    setup.in_shell(script);
    let report = std::fs::read_to_string(setup.folder.path().join("first.jsonl")).unwrap();
    let reported = report.matches('\n').count();
    assert!((500..ROWS).contains(&reported), "{reported} lines");
    let said = setup.command(&["--json", "user", "import", "users.csv"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    let (imported, unchanged) = (said["imported"].as_u64().unwrap(), said["unchanged"].as_u64().unwrap());
    assert_eq!(imported + unchanged, ROWS as u64);
    assert!(unchanged >= reported as u64, "what the report names is there");
    assert_eq!(setup.command(&["user", "export"]).lines().count(), ROWS);
}
