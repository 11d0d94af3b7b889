use super::{PHRASE, Place};

#[test]
fn all_errors_are_reported_at_once_with_status_2() {
    let place = Place::new();
    let wrong = ["config", "check", "--set", "server.lisen=1", "--set", "tokens.access_ttl=soon"];
    let ended = place.run(&wrong, "");
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("2 errors") && ended.stderr.contains("server.listen"), "{}", ended.stderr);
    let ended = place.run(&[&["--json"], wrong.as_slice()].concat(), "");
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.status.code(), json["errors"].as_array().unwrap().len()), (Some(2), 2));
    let missing = ["config", "check", "--set", "passwords.blocklist=nowhere.txt"];
    assert!(place.bad(2, &missing, "").contains("passwords.blocklist: nowhere.txt cannot be read"));
    assert!(place.good(&["config", "check"], "").contains("is good"));
}

#[test]
fn values_for_programs_have_their_types() {
    let place = Place::new();
    let set = ["--set", "server.trusted_proxies=10.0.0.0/8,::1", "--set", "audit.retention=36h"];
    let printed = place.json(&[&["config", "print"], &set[..]].concat(), "");
    let value = |key: &str| printed[key]["value"].clone();
    assert_eq!(value("database.pool_max"), 50);
    assert_eq!(value("database.auto_migrate"), false);
    assert_eq!(value("server.trusted_proxies"), serde_json::json!(["10.0.0.0/8", "::1/128"]));
    assert_eq!(value("redis.url"), serde_json::Value::Null);
    assert_eq!(value("accounts.scopes"), serde_json::json!({}));
    assert_eq!(
        (&printed["audit.retention"]["value"], &printed["audit.retention"]["seconds"]),
        (&"36h".into(), &129_600.into())
    );
    assert_eq!(printed["health.timeout"]["seconds"], 0.1);
    assert_eq!(printed["passwords.argon2_memory"]["bytes"], 8192);
    assert_eq!(printed["database.url"]["source"], "default");
    let defaults = place.json(&["config", "default"], "");
    assert_eq!(defaults["passwords.argon2_memory"]["bytes"], 19 << 20);
    let explained = place.json(&["config", "explain", "database.pool_max"], "");
    assert_eq!((&explained["value"], &explained["default"]), (&50.into(), &50.into()));
}

#[test]
fn an_error_for_programs_is_one_line_of_json_with_a_code() {
    let place = Place::new();
    place.good(&["user", "add", "a@example.org", "--username", "anna", "--password-file", "-"], PHRASE);
    let error = |args: &[&str], input: &str| -> serde_json::Value {
        let ended = place.run(&[&["--json"], args].concat(), input);
        let last = ended.stderr.lines().last().unwrap_or_default();
        let error: serde_json::Value =
            serde_json::from_str(last).unwrap_or_else(|why| panic!("{why}: {last}"));
        assert_eq!(error["exit_status"].as_i64(), ended.status.code().map(i64::from), "{error}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
        error
    };

    let add = |email: &str| error(&["user", "add", email, "--password-file", "-"], PHRASE);
    for (found, code) in [
        (error(&["user", "show", "absent"], ""), "user_unknown"),
        (add("a@example.org"), "email_taken"),
        (add("not an address"), "invalid"),
        (error(&["user", "add", "b@example.org", "--password-file", "-"], "password123\n"), "invalid"),
        (error(&["user", "add", "b@example.org", "--password-file", "nowhere"], ""), "file"),
        (error(&["client", "remove", "api", "--yes"], ""), "client_unknown"),
        (error(&["user", "dance"], ""), "usage"),
        (error(&["man"], ""), "usage"),
        (error(&["user", "list", "--set", "tokens.access_ttl=soon"], ""), "configuration_invalid"),
        (error(&["config", "check", "--set", "tokens.access_ttl=soon"], ""), "configuration_invalid"),
        (error(&["user", "list", "--data-dir", "elsewhere"], ""), "database_missing"),
        (error(&["user", "list", "--set", "master_key_file=elsewhere"], ""), "master_key"),
        (error(&["audit", "tail", "--kind", "login_faild"], ""), "usage"),
    ] {
        assert_eq!(found["code"], code, "{found}");
    }
    let wrong = error(&["user", "list", "--set", "tokens.access_ttl=soon"], "");
    assert_eq!(wrong["errors"][0]["key"], "tokens.access_ttl");
    assert!(!place.path().join("elsewhere").exists());
}

#[test]
fn settings_are_printed_and_explained_with_where_they_come_from() {
    let place = Place::new();
    std::fs::write(place.path().join("gatewright.toml"), "[tokens]\naccess_ttl = \"10m\"\n").unwrap();
    let printed = place.good(&["config", "print", "--set", "database.url=postgres://u:hidden@h/d"], "");
    assert!(
        printed.contains("access_ttl = \"10m\" # ") && printed.contains("gatewright.toml:2"),
        "{printed}"
    );
    assert!(!printed.contains("hidden"), "{printed}");
    let explained = place.json(&["config", "explain", "tokens.access_ttl"], "");
    assert_eq!((&explained["value"], &explained["default"]), (&"10m".into(), &"30m".into()));
    assert!(place.bad(2, &["config", "explain", "nothing"], "").contains("no setting"));
    let defaults = place.good(&["config", "default"], "");
    std::fs::write(place.path().join("default.toml"), &defaults).unwrap();
    place.good(&["--config", "default.toml", "config", "check"], "");
}

#[test]
fn how_the_address_of_a_client_is_found_is_explained() {
    let place = Place::new();
    std::fs::write(
        place.path().join("gatewright.toml"),
        "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"2001:db8:ffff::/48\"]\n",
    )
    .unwrap();
    let request = "GET / HTTP/1.1\r\nHost: a\r\nForwarded: for=6.6.6.6\r\n\
                   X-Forwarded-For: 1.1.1.1, 203.0.113.7\r\nX-Forwarded-For: 10.0.0.2\r\n\r\nbody: x";
    let explain = |peer: &'static str| ["config", "explain-address", "--peer", peer];

    let text = place.good(&explain("10.0.0.1"), request);
    for line in [
        "peer: 10.0.0.1, a trusted proxy",
        "  1. `10.0.0.2`: 10.0.0.2, a trusted proxy; the next one counts",
        "  2. `203.0.113.7`: 203.0.113.7, not a trusted proxy: the client",
        "forwarded: ignored",
        "address of the client: 203.0.113.7",
        "limited by the network: 203.0.113.7",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let json = place.json(&explain("10.0.0.1:4711"), request);
    assert_eq!(
        (&json["address"], &json["peer_is_trusted"], &json["fields"]),
        (&"203.0.113.7".into(), &true.into(), &2.into())
    );
    assert_eq!(json["hops"][1]["verdict"], "client");

    let json = place.json(&explain("198.51.100.7"), request);
    assert_eq!((&json["address"], &json["peer_is_trusted"]), (&"198.51.100.7".into(), &false.into()));
    assert_eq!(json["hops"], serde_json::json!([]));
    let json = place.json(&explain("unix"), "> X-Forwarded-For: 2001:db8:1:2:3::4\n> Host: a\n");
    assert_eq!(
        (&json["address"], &json["network"]),
        (&"2001:db8:1:2:3::4".into(), &"2001:db8:1:2::/64".into())
    );
    let text = place.good(&explain("10.0.0.1"), "X-Forwarded-For: unknown\n");
    assert!(
        text.contains("`unknown`: unreadable") && text.contains("address of the client: 10.0.0.1"),
        "{text}"
    );
    let text = place.good(&explain("10.0.0.1"), "");
    assert!(
        text.contains("not in the request") && text.contains("address of the client: 10.0.0.1"),
        "{text}"
    );

    let other = [explain("10.0.0.1").as_slice(), &["--set", "server.forwarded_header=forwarded"]].concat();
    assert_eq!(place.json(&other, request)["address"], "6.6.6.6");
    assert!(place.bad(2, &explain("10.0.0.1"), "Host: a\nno field\n").contains("line 2"));
}

#[test]
fn the_program_describes_itself() {
    let place = Place::new();
    assert_eq!(place.good(&["--version"], ""), format!("gatewright {}\n", env!("CARGO_PKG_VERSION")));
    assert!(place.good(&["completions", "bash"], "").contains("_gatewright"));
    assert!(place.good(&["man"], "").contains(".TH gatewright"));
    place.good(&["man", "--dir", "pages"], "");
    for page in ["gatewright.1", "gatewright-user-add.1", "gatewright-keys-rotate.1"] {
        assert!(place.path().join("pages").join(page).is_file(), "{page}");
    }
    assert_eq!(place.run(&[], "").status.code(), Some(2));
    assert_eq!(place.run(&["dance"], "").status.code(), Some(2));
}

/// The text of `--help`, compared word by word with `docs/generated/cli.md`.
#[test]
fn help_is_what_the_documentation_says() {
    let place = Place::new();
    let page = gatewright::cli::markdown();
    for (path, args) in [("gatewright", &["--help"][..]), ("gatewright user add", &["user", "add", "--help"])]
    {
        let begin = format!("## `{path}`\n\n```text\n");
        let text = page.split_once(begin.as_str()).unwrap().1.split_once("\n```").unwrap().0;
        let help = place.good(args, "");
        let help: Vec<_> = help.lines().map(str::trim_end).collect();
        assert_eq!(help.join("\n").trim_end(), text);
    }
}
