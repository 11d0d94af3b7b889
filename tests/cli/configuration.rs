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
