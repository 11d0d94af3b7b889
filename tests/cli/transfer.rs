use serde_json::{Value, json};

use super::{PHRASE, Place};

const HASH: &str = "$5$rounds=1000$$mAwhFY7O7ZrOdMqLHnXfo0MEchkMOxIjJUTi3.3mBs5";

fn write(place: &Place, name: &str, text: impl AsRef<[u8]>) {
    std::fs::write(place.path().join(name), text).unwrap();
}

fn read(place: &Place, name: &str) -> String {
    std::fs::read_to_string(place.path().join(name)).unwrap()
}

#[test]
fn bad_rows_are_reported_and_the_rest_goes_on() {
    let place = Place::new();
    let table = format!(
        "\u{feff}ID,email,username,password_hash,roles,shoe size\r\n\
         7,a@example.org,anna,{HASH},admin,38\r\n\
         8,nobody,,,,\r\n\
         9,a@example.org,,,,\r\n\
         10,c@example.org\r\n\
         11,d@example.org,,md5,,\r\n\
         12,\"e@example.org\",\"two\r\nlines\",,,\r\n\
         ,f@example.org,,,,\r\n"
    );

    write(&place, "users.csv", table);
    let ended = place.run(&["user", "import", "users.csv", "--report", "report.jsonl"], "");
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stderr.lines().last(), Some("gatewright: 5 of 7 rows were refused"));
    assert!(ended.stdout.contains("line 3: email: an email address has one @\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("accounts without a password: 1\n"), "{}", ended.stdout);
    assert!(
        ended.stdout.ends_with("ignored: shoe size\n2 imported, 0 unchanged, 5 refused\n"),
        "{}",
        ended.stdout
    );

    let report: Vec<Value> =
        read(&place, "report.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (first, last) = (json!("a@example.org"), json!("f@example.org"));
    let row = json!({
        "line": 2, "outcome": "imported", "id": 7, "old_id": "7", "email": first, "username": "anna"
    });
    assert_eq!(report.first(), Some(&row));
    assert_eq!(report.last(), Some(&json!({"line": 9, "outcome": "imported", "id": 8, "email": last})));
    let named = |row: &&Value| row["line"] != 5;
    assert!(report.iter().filter(named).all(|row| row["email"].is_string()), "also refused rows are named");
    let reasons: Vec<(u64, &str)> = report
        .iter()
        .filter_map(|row| Some((row.get("line")?.as_u64()?, row.get("reason")?.as_str()?)))
        .collect();

    for ((line, reason), (wanted, why)) in reasons.iter().zip([
        (3, "one @"),
        (4, "the same email as line 2"),
        (5, "2 cells, and the table 6 columns"),
        (6, "not a known password-hash format"),
        (7, "username: "),
    ]) {
        assert!(*line == wanted && reason.contains(why), "{line} {reason}");
    }

    assert_eq!(reasons.len(), 5);
    assert_eq!(place.json(&["user", "show", "anna"], "")["role"], "admin");
    assert!(!ended.stdout.contains("$5$") && !ended.stderr.contains("$5$"));
}

/// Runs an import that must stop before it writes; returns what it says.
fn stopped(place: &Place, args: &[&str], input: &str) -> String {
    let ended = place.run(&[&["user", "import"], args].concat(), input);
    assert_eq!(ended.status.code(), Some(1), "{args:?}: {} {}", ended.stdout, ended.stderr);
    ended.stderr
}

fn users(place: &Place) -> usize {
    place.json(&["user", "list"], "").as_array().unwrap().len()
}

#[test]
fn a_stray_quote_stops_the_import_before_anything_is_written() {
    let place = Place::new();
    place.good(&["user", "add", "a@example.org", "--password-file", "-"], PHRASE);
    let head = format!("email,name,password_hash\nw@example.org,W,{HASH}\n");
    for (rows, line, what) in [
        (format!("x1@example.org,\"Bob,{HASH}\nx2@example.org,\"Al,{HASH}\n"), 4, "began in line 3"),
        (format!("x1@example.org,\"Bob,{HASH}\nx2@example.org,Al\",{HASH}\n"), 3, "--multiline"),
        (format!("x1@example.org,\"Bob,{HASH}\nx2@example.org,Al,{HASH}\n"), 3, "is not closed"),
        (format!("x1@example.org,B\"ob,{HASH}\n"), 3, "inside a cell"),
    ] {
        write(&place, "users.csv", format!("{head}{rows}"));
        let said = stopped(&place, &["users.csv", "--ignore", "name"], "");
        assert!(said.contains(&format!("line {line}: ")) && said.contains(what), "{said}");
        assert_eq!(users(&place), 1, "{rows}");
    }
    let said = stopped(&place, &["users.csv", "--until-fault", "--ignore", "name"], "");
    assert!(said.contains("cannot be read any further: line 3: "), "{said}");
    assert_eq!(users(&place), 2);
}

#[test]
fn what_would_be_lost_stops_the_import_until_it_is_named() {
    let place = Place::new();
    let rows = format!(
        "{{\"email\":\"a@example.org\",\"encrypted_password\":\"{HASH}\",\"banned_until\":null}}\n\
         {{\"email\":\"b@example.org\",\"encrypted_password\":\"{HASH}\",\"banned_until\":\"2099-01-\
          01\",\"totp\":true}}\n"
    );
    write(&place, "users.jsonl", rows);
    let said = stopped(&place, &["users.jsonl"], "");
    for hint in [
        "--map encrypted_password=password_hash",
        "--map banned_until=inactive_until",
        "\"totp\" looks like a second factor in 1 of 2 rows (line 2 is the first)",
    ] {
        assert!(said.contains(hint), "{hint}: {said}");
    }

    let maps = ["--map", "encrypted_password=password_hash", "--map", "banned_until=inactive_until"];
    let args = [&["--json", "user", "import", "users.jsonl", "--ignore", "totp"][..], &maps].concat();
    let said: Value = serde_json::from_str(&place.good(&args, "")).unwrap();
    assert_eq!((&said["imported"], &said["inactive"]), (&json!(2), &json!(1)));
    assert_eq!((&said["without_password"], &said["second_factors_lost"]), (&json!(0), &json!(1)));
    let typo = stopped(&place, &["users.jsonl", "--map", "encrypted=password_hash", "--ignore", "totp"], "");
    assert!(typo.contains("no row has a member \"encrypted\""), "{typo}");
    let unknown = place.bad(2, &["user", "import", "users.jsonl", "--map", "a=b"], "");
    assert!(unknown.contains("is no member of a row"), "{unknown}");
}

#[test]
fn the_shape_of_a_file_is_seen_or_named() {
    let place = Place::new();
    let row = |name: &str| format!("{{\n \"email\": \"{name}@example.org\",\n \"roles\": []\n}}");
    for (name, text) in [
        ("array.json", format!("[{},\n{}]", row("a"), row("b"))),
        ("pretty.jsonl", format!("{}\n{}\n", row("c"), row("d"))),
        ("member.json", format!("{{\"total\": 2, \"users\": [{}, {}]}}", row("e"), row("f"))),
        ("tabs.tsv", "email\tusername\ng@example.org\tNULL\nh@example.org\tNULL\n".to_owned()),
        ("semicolons.csv", "\u{feff}email;name\r\ni@example.org;\"a;b\"\r\nj@example.org;c,d\r\n".to_owned()),
    ] {
        write(&place, name, text);
        let more: &[&str] = match name {
            "tabs.tsv" => &["--null", "NULL"],
            "semicolons.csv" => &["--delimiter", ";"],
            _ => &[],
        };
        let said = place.good(&[&["user", "import", name], more].concat(), "");
        assert!(said.ends_with("2 imported, 0 unchanged, 0 refused\n"), "{name}: {said}");
    }

    let null = stopped(&place, &["tabs.tsv"], "");
    assert!(null.contains("\"username\" is \"NULL\" in 2 of 2 rows: give --null 'NULL'"), "{null}");
    let utf16: Vec<u8> = "\u{feff}email\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (name, text, what) in [
        ("utf16.csv", utf16, "it is UTF-16"),
        ("zip.csv", b"PK\x03\x04xx".to_vec(), "a spreadsheet"),
        ("dump.csv", b"-- PostgreSQL database dump\n".to_vec(), "a dump in SQL"),
        ("data.csv", b"1,a@example.org\n".to_vec(), "holds data"),
        (
            "cut.json",
            b"[{\"email\": \"a@example.org\"},\n {\"ema".to_vec(),
            "line 2: the file ends in the middle",
        ),
    ] {
        write(&place, name, text);
        let said = stopped(&place, &[name], "");
        assert!(said.contains(what), "{name}: {said}");
    }
}

#[test]
fn a_report_is_never_written_over_a_file_that_is_there() {
    let place = Place::new();
    place.good(&["user", "add", "a@example.org", "--password-file", "-"], PHRASE);
    let rows = "{\"email\":\"b@example.org\"}\n";
    write(&place, "users.jsonl", rows);
    write(&place, "report.jsonl", "of last week");
    for (report, holds) in [("users.jsonl", rows), ("./users.jsonl", rows), ("report.jsonl", "of last week")]
    {
        let said = place.bad(1, &["user", "import", "users.jsonl", "--report", report], "");
        let wanted = format!("{report} exists already: remove it, or choose another file for the report");
        assert!(said.contains(&wanted), "{said}");
        assert_eq!(read(&place, report), holds);
    }
    assert_eq!(users(&place), 1, "no row was taken");
    place.good(&["user", "import", "users.jsonl", "--report", "new.jsonl"], "");
    assert_eq!(read(&place, "new.jsonl").lines().count(), 1);
}

#[test]
fn an_import_that_cannot_begin_leaves_no_report() {
    let place = Place::new();
    write(&place, "users.jsonl", "{\"email\":\"b@example.org\"}\n");
    // There is no database, and a dry run does not create one.
    place.bad(1, &["user", "import", "users.jsonl", "--dry-run", "--report", "report.jsonl"], "");
    assert!(!place.path().join("report.jsonl").exists());
}

#[test]
fn a_dry_run_checks_everything_and_writes_nothing() {
    let place = Place::new();
    place.good(&["user", "add", "a@example.org", "--password-file", "-"], PHRASE);
    let rows = "{\"email\":\"b@example.org\",\"id\":50}\n{\"email\":\"c@example.org\",\"id\":50}\n\
                {\"email\":\"a@example.org\",\"id\":2}\n{\"email\":\n";
    let args = ["--json", "user", "import", "-", "--format", "jsonl", "--dry-run"];
    let ended = place.run(&args, rows);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);

    let said: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&said["dry_run"], &said["imported"], &said["refused"]), (&true.into(), &1.into(), &3.into()));
    let reasons: Vec<&str> =
        said["first_refused"].as_array().unwrap().iter().filter_map(|row| row["reason"].as_str()).collect();
    assert_eq!(
        reasons,
        [
            "it has the same number as line 1",
            "user 1 has its email",
            "it is not JSON, or names a member twice"
        ]
    );

    assert_eq!(place.json(&["user", "list"], "").as_array().unwrap().len(), 1);
    assert!(!place.audit().contains("users_imported"));

    // The dry run did not use up the number.
    let added = place.json(&["user", "add", "n@example.org", "--password-file", "-"], PHRASE);
    assert_eq!(added["id"], 2);
}

#[test]
fn an_export_is_private_and_has_no_hashes_by_default() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    place.good(&["user", "add", "a@example.org", "--password-file", "-"], PHRASE);
    let ended = place.run(&["user", "export", "all.csv"], "");
    assert_eq!(ended.stdout, "1 users were exported to all.csv\n");
    assert!(place.audit().contains("users_exported"));

    let mode = place.path().join("all.csv").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = read(&place, "all.csv");
    assert!(text.starts_with("id,uuid,email,") && !text.contains("argon2"), "{text}");
    let bare = place.good(&["user", "export"], "");
    assert!(
        bare.contains("a@example.org") && !bare.contains("argon2") && !bare.contains("password"),
        "{bare}"
    );

    let there = place.bad(1, &["user", "export", "all.csv"], "");
    assert!(there.contains("all.csv cannot be written: File exists"), "{there}");
    assert_eq!(read(&place, "all.csv"), text);
    let hashes = place.good(&["user", "export", "--with-hashes"], "");
    assert!(
        hashes.contains(r#""password_hash":"$argon2id$"#)
            && hashes.contains(r#""password_rules":"gatewright""#)
    );

    assert_eq!(hashes.lines().count(), 1);
}

#[test]
fn unreadable_imports_are_reported_in_one_sentence() {
    let place = Place::new();
    write(&place, "users.txt", "");
    write(&place, "twice.csv", "a,a\n");
    write(&place, "users.jsonl", "");
    write(&place, "project.json", "{}");
    let format = place.bad(2, &["user", "import", "users.txt"], "");
    assert!(format.contains("--format json or csv"), "{format}");
    let missing = place.bad(1, &["user", "import", "nowhere.csv"], "");
    assert!(missing.contains("nowhere.csv cannot be read"), "{missing}");
    write(&place, "half.csv", "email;username\na@example.org;anna\n");
    let semicolons = place.bad(1, &["user", "import", "half.csv"], "");
    assert!(semicolons.contains("--delimiter ';'"), "{semicolons}");
    let names = place.bad(1, &["user", "import", "twice.csv"], "");
    assert!(names.contains("does not name each column once"), "{names}");
    let none = place.bad(1, &["user", "import", "users.jsonl", "--dry-run"], "");
    assert!(none.contains("there is no database at"), "{none}");
    let project = place.bad(1, &["user", "import", "users.jsonl", "--firebase-project", "project.json"], "");
    assert!(project.contains("project.json: malformed"), "{project}");
    assert!(!place.path().join("gatewright-data").exists());
    assert_eq!(place.good(&["user", "import", "users.jsonl"], ""), "0 imported, 0 unchanged, 0 refused\n");
}

#[test]
fn no_cell_of_an_exported_table_is_a_formula_and_it_is_imported_as_it_was() {
    let place = Place::new();
    let names = ["=cmd", "+plus", "-minus", "'=quoted"];
    let rows: Vec<_> = (1..)
        .zip(names)
        .map(|(id, name)| {
            json!({"id": id, "email": format!("{name}@example.org"), "username": name}).to_string()
        })
        .collect();
    write(&place, "users.jsonl", rows.join("\n"));
    place.good(&["user", "import", "users.jsonl"], "");
    place.good(&["user", "export", "all.csv"], "");
    let table = read(&place, "all.csv");
    for row in table.lines().skip(1) {
        for cell in row.split(',') {
            assert!(!cell.trim_start_matches('"').starts_with(['=', '+', '-', '@']), "{row}");
        }
    }
    assert!(table.contains(",'=cmd,") && table.contains(",''=quoted,"), "{table}");

    let other = Place::new();
    write(&other, "all.csv", &table);
    other.good(&["user", "import", "all.csv"], "");
    other.good(&["user", "export", "again.csv"], "");
    assert_eq!(read(&other, "again.csv"), table);
    assert_eq!(other.json(&["user", "show", "username:=cmd"], "")["email"], "=cmd@example.org");
}

fn add<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&["user", "add"], args, &["--password-file", "-"]].concat()
}

#[test]
fn a_command_that_fails_leaves_nothing_behind() {
    let place = Place::new();

    for (args, input) in [
        (add(&["not an address"]), PHRASE),
        (add(&["a@example.org"]), "password123\n"),
        (add(&["a@example.org", "--username", "admin"]), PHRASE),
        (vec!["user", "add", "a@example.org", "--password-file", "nowhere"], ""),
        (vec!["client", "add", "a b", "--name", "x"], ""),
        (vec!["user", "set-role", "anna", "admin"], ""),
        (vec!["user", "export", "all.csv"], ""),
        (vec!["audit", "export", "--out", "trail.jsonl"], ""),
        (vec!["user", "import", "nowhere.csv"], ""),
        (vec!["keys", "init", "--set", "master_key_file=/proc/no/master.key"], ""),
        (add(&["a@example.org", "--set", "master_key_file=/proc/no/master.key"]), PHRASE),
        (add(&["a@example.org", "--set", "passwords.blocklist=nowhere.txt"]), PHRASE),
        (add(&["a@example.org", "--set", "database.url=sqlite:nowhere/a.db"]), PHRASE),
    ] {
        let ended = place.run(&args, input);
        assert!(!ended.status.success(), "{args:?}: {}", ended.stdout);
        let left: Vec<_> = place.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{args:?} has left {left:?}: {}", ended.stderr);
    }

    // A server, too: the certificate is missing.
    let tls = ["--set", "server.tls_cert_file=nowhere", "--set", "server.tls_key_file=nowhere"];
    let listen = ["--set", "server.listen=127.0.0.1:0", "--set", "server.ops_listen="];
    place.bad(2, &[&["serve"], &tls[..], &listen[..]].concat(), "");
    place.bad(1, &[&["serve", "--set", "master_key_file=/proc/no/master.key"], &listen[..]].concat(), "");
    assert_eq!(place.path().read_dir().unwrap().count(), 0);
}

#[test]
fn an_unreadable_configuration_file_is_not_absent() {
    let place = Place::new();
    std::os::unix::fs::symlink("nowhere.toml", place.path().join("gatewright.toml")).unwrap();
    let refused = place.bad(2, &["config", "check"], "");
    assert!(refused.contains("the file cannot be read"), "{refused}");
    std::fs::remove_file(place.path().join("gatewright.toml")).unwrap();
    std::fs::create_dir(place.path().join("gatewright.toml")).unwrap();
    place.bad(2, &["config", "check"], "");
}
