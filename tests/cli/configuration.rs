use super::Place;

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
