use std::time::Duration;

use super::*;

fn load(file: &str, env: &[(&str, &str)], set: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let directory = tempfile::tempdir().unwrap();
    if !file.is_empty() {
        std::fs::write(directory.path().join("gatewright.toml"), file).unwrap();
    }
    let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let args = LoadArgs { config: None, directory: directory.path().to_owned(), set: pairs(set) };
    Config::load(&args, pairs(env))
}

/// The messages, without the directory of the test.
fn messages<T: std::fmt::Debug>(result: Result<T, ConfigErrors>) -> Vec<String> {
    let short = |error: &ConfigError| match error.source.clone() {
        Source::File(path, line) => {
            let name = path.file_name().unwrap().into();
            ConfigError { source: Source::File(name, line), ..error.clone() }.to_string()
        }
        _ => error.to_string(),
    };
    result.unwrap_err().all().iter().map(short).collect()
}

#[test]
fn without_settings_the_database_is_sqlite_in_the_data_directory() {
    let loaded = load("", &[], &[]).unwrap();
    let config = loaded.config;
    assert!(loaded.file.is_none() && loaded.sources.is_empty() && loaded.warnings.is_empty());
    assert_eq!(config.shown("database.url").unwrap(), "sqlite:./gatewright-data/gatewright.db");
    assert_eq!(config.master_key_file, PathBuf::from("./gatewright-data/master.key"));
    assert_eq!(config.server.shutdown_delay, Duration::ZERO);
}

#[test]
fn the_data_directory_moves_default_paths_but_no_configured_ones() {
    let config = load("", &[], &[("data_dir", "/srv/g")]).unwrap().config;
    assert_eq!(config.shown("database.url").unwrap(), "sqlite:/srv/g/gatewright.db");
    assert_eq!(config.master_key_file, PathBuf::from("/srv/g/master.key"));
    let config =
        load("data_dir = '/srv/g'\nmaster_key_file = '/etc/k'", &[("DATABASE_URL", "sqlite:a")], &[]);
    let config = config.unwrap().config;
    assert_eq!(config.shown("database.url").unwrap(), "sqlite:a");
    assert_eq!(config.master_key_file, PathBuf::from("/etc/k"));
    assert_eq!(config.server.shutdown_delay, Duration::from_secs(0));
}

#[test]
fn later_layers_win_and_each_value_knows_where_it_came_from() {
    let file = "[database]\nurl = 'postgres://file/a'\npool_max = 10\npool_min = 1\n";
    let seeds =
        [("DATABASE_URL", "postgresql+asyncpg://seed/a"), ("DB_POOL_MAX_CONN", "20"), ("REDIS_URL", "")];
    let loaded = load(file, &seeds, &[]).unwrap();
    assert_eq!(loaded.config.shown("database.url").unwrap(), "postgres://seed/a");
    assert_eq!(loaded.config.database.pool_max, 20);
    assert!(matches!(loaded.source("database.pool_min"), Source::File(_, 4)));
    assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
    assert_eq!(loaded.config.server.shutdown_delay, Duration::from_secs(5), "not embedded");

    let env = [seeds.as_slice(), &[("GATEWRIGHT_DATABASE__POOL_MAX", "30"), ("HOME", "/")]].concat();
    let loaded = load(file, &env, &[]).unwrap();
    assert_eq!(loaded.config.database.pool_max, 30);
    let loaded = load(file, &env, &[("database.pool_max", "40"), ("database.pool_max", "41")]).unwrap();
    assert_eq!(loaded.config.database.pool_max, 41);
    assert_eq!(*loaded.source("database.pool_max"), Source::Flag("--set database.pool_max".to_owned()));
}

#[test]
fn all_mistakes_are_reported_at_once_each_with_its_place() {
    let file = "datadir = 'x'\n[server]\nlisten = ':8080'\nrequest_timeout = 10\nlistn = 1\n\
                [nothing]\nlike = 'it'\n";
    let env = [
        ("GATEWRIGHT_DATABASE__POOL_MIN", "many"),
        ("GATEWRIGHT_DATABASE__URL", "mysql://u:hunter2@h/d"),
        ("GATEWRIGHT_SERVER_LISTEN", "127.0.0.1:1"),
    ];

    let got = messages(load(file, &env, &[("tokens.acess_ttl", "1h"), ("tokens.access_ttl", "91d")]));
    for part in [
        "datadir: there is no such setting; did you mean `data_dir`? (gatewright.toml:1)",
        "server.listen: the address is missing: write `0.0.0.0:8080` for every interface; given `:8080`",
        "server.request_timeout: the unit is missing: `10s`?; given `10`; expected a duration with its unit",
        "server.listn: there is no such setting; did you mean `server.listen`? (gatewright.toml:5)",
        "nothing.like: there is no such setting (gatewright.toml:7)",
        "database.pool_min: not a whole number from 0 to 4294967295; given `many`; expected a whole number \
         (environment variable GATEWRIGHT_DATABASE__POOL_MIN)",
        "database.url: `mysql` databases are not supported; expected",
        "did you mean `GATEWRIGHT_SERVER__LISTEN`? (environment variable GATEWRIGHT_SERVER_LISTEN)",
        "tokens.acess_ttl: there is no such setting; did you mean `tokens.access_ttl`? (flag --set tokens.",
        "tokens.access_ttl: 91d is not from 1m to 1d (flag --set tokens.access_ttl)",
    ] {
        assert!(got.iter().any(|message| message.contains(part)), "{part}\nin {got:#?}");
    }

    assert!(!got.iter().any(|message| message.contains("hunter2")));
}

#[test]
fn a_setting_of_a_later_version_is_refused_and_says_so() {
    let file = "[mail]\ntransport = 'off'\n";
    let env = [("GATEWRIGHT_MAIL__FROM", "a@b.example"), ("GATEWRIGHT_TELEMETRY__OTLP_ENDPOINT", "http://c")];
    let found = messages(load(file, &env, &[("registration.reveal_taken", "false")]));

    assert_eq!(found.len(), 4, "{found:#?}");
    for message in &found {
        assert!(message.contains("this version has no "), "{message}");
    }
}

#[test]
fn a_rate_is_a_number_in_a_time_or_off() {
    let rate = |text: &str| {
        let set = [("rate_limits.login", text)];
        load("", &[], &set).map(|loaded| loaded.config.rate_limits.login.map(|rule| (rule.most, rule.window)))
    };
    assert_eq!(rate("5/minute").unwrap(), Some((5, Duration::from_mins(1))));
    assert_eq!(rate("7 / 90s").unwrap(), Some((7, Duration::from_secs(90))));
    assert_eq!(rate("OFF").unwrap(), None);
    for text in ["", "5", "5/", "/minute", "0/minute", "-1/minute", "5/minutes", "5/1ms", "5/21d", "5/m/s"] {
        let found = messages(rate(text));
        assert!(found.len() == 1 && found[0].contains("rate_limits.login"), "{text}: {found:?}");
    }
}

#[test]
fn a_stream_needs_a_redis_and_a_redis_needs_no_stream() {
    let found = messages(load("[audit]\nredis_stream = 'audit'\n", &[], &[]));
    assert!(found.len() == 1 && found[0].contains("redis.url is required with it"), "{found:?}");
    let alone = load("", &[("REDIS_URL", "redis://localhost")], &[]).unwrap();
    assert!(alone.warnings.is_empty(), "{:?}", alone.warnings);
}

#[test]
fn syntax_errors_are_reported_with_their_line_and_all_other_errors() {
    let got = messages(load("[server]\nlisten = \nmax_connections = 0\n", &[], &[]));
    assert!(
        got.iter().any(|message| message.starts_with("not TOML: ") && message.contains("gatewright.toml:2"))
    );
    assert!(got.iter().any(|message| message.contains("server.max_connections: 0 is not from 1")), "{got:?}");
}

#[test]
fn a_named_file_must_exist() {
    let args = LoadArgs { config: Some("/nowhere/at/all.toml".into()), ..LoadArgs::default() };
    let got = Config::load(&args, []).unwrap_err().to_string();
    assert!(got.contains("cannot be read") && got.contains("/nowhere/at/all.toml"), "{got}");
}

#[test]
fn settings_that_do_not_fit_together_are_refused() {
    let refused = |set: &[(&str, &str)]| messages(load("", &[], set)).join("\n");
    assert!(
        refused(&[("database.pool_min", "60")])
            .starts_with("database.pool_min: database.pool_min (60) is more")
    );
    assert!(
        refused(&[("tokens.session_ttl", "1d")]).starts_with("tokens.session_ttl: tokens.refresh_ttl (30d)")
    );
    assert!(refused(&[("server.tls_cert_file", "c")]).contains("server.tls_key_file is required"));
    assert!(refused(&[("server.tls_key_file", "c")]).contains("server.tls_cert_file is required"));
    assert!(refused(&[("tokens.algorithm", "hs256")]).contains("tokens.hs256_secret_file: required"));
    assert!(refused(&[("tokens.hs256_secret_file", "f")]).contains("allowed only"));
    assert!(refused(&[("legacy.sunset", "soon")]).contains("not a date"));
    assert!(refused(&[("server.public_url", "https://a/?q")]).contains("a query"));
    assert!(refused(&[("tokens.issuer", "auth")]).contains("https://"));
    assert!(refused(&[("server.ops_listen", "127.0.0.1:8080")]).contains("the same address"));

    assert!(refused(&[("server.listen", "")]).contains("at least one address"));
    assert!(refused(&[("server.listen", "127.0.0.1:1,unix:/s,127.0.0.1:1")]).contains("listed twice"));
    assert!(refused(&[("server.listen", "unix:/s")]).contains("server.public_url: it is required"));
    assert!(refused(&[("server.listen", "unix:s")]).contains("begins with `/`"));
    assert!(refused(&[("server.listen", &format!("unix:/{}", "s".repeat(107)))]).contains("107 bytes"));
    assert!(refused(&[("server.proxy_protocol", "v1")]).contains("`off` or `v2`"));
    assert!(refused(&[("server.proxy_protocol", "v2")]).contains("server.trusted_proxies is required"));
}

/// A hash above these limits could be created but never verified.
#[test]
fn a_hashing_cost_above_the_caps_is_refused() {
    let refused = |set: &[(&str, &str)]| messages(load("", &[], set)).join("\n");
    assert!(refused(&[("passwords.bcrypt_cost", "17")]).contains("17 is not from 4 to 16"));
    assert!(refused(&[("passwords.argon2_memory", "2GiB")]).contains("is not from 8KiB to 1GiB"));
    assert!(refused(&[("passwords.argon2_iterations", "65")]).contains("65 is not from 1 to 64"));
    let both = [("passwords.argon2_memory", "1GiB"), ("passwords.argon2_iterations", "5")];
    assert!(refused(&both).contains("more than 4GiB"));
    assert!(
        load("", &[], &[("passwords.argon2_memory", "1GiB"), ("passwords.argon2_iterations", "4")]).is_ok()
    );
}

#[test]
fn toml_has_lists_tables_numbers_and_dates() {
    let file = "[server]\ntrusted_proxies = ['10.0.0.0/8', '::1']\nmax_connections = 1_000\n[legacy]\n\
                sunset = 2027-06-30\nenabled = false\n\
                [accounts.scopes]\nadmin = ['a', 'b']\nbasic_user = 'c'\n";
    let config = load(file, &[], &[]).unwrap().config;
    assert_eq!(config.shown("server.trusted_proxies").unwrap(), "10.0.0.0/8,::1/128");
    assert_eq!(config.server.max_connections, 1000);
    assert_eq!(config.shown("legacy.sunset").unwrap(), "2027-06-30");
    assert_eq!(config.shown("accounts.scopes").unwrap(), "admin=a b,basic_user=c");
    let listed = load("[server]\npublic_url = ['http://a']\n", &[], &[]);
    assert!(messages(listed).join("").contains("not a list"));
}

#[test]
fn variables_that_kubernetes_adds_for_a_service_are_not_mistakes() {
    let env = [
        ("GATEWRIGHT_SERVICE_HOST", "10.0.0.1"),
        ("GATEWRIGHT_SERVICE_PORT_HTTP", "80"),
        ("GATEWRIGHT_PORT", "tcp://10.0.0.1:80"),
        ("GATEWRIGHT_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("GATEWRIGHT_OPS_PORT_9464_TCP", "tcp://10.0.0.1:9464"),
    ];
    load("", &env, &[]).unwrap();
    assert!(load("", &[("GATEWRIGHT_SERVER__PORT_", "1")], &[]).is_err());
}

#[test]
fn printing_hides_passwords_and_is_read_again() {
    let loaded = load("", &[("DATABASE_URL", "postgres://u:hunter2@h/d")], &[]).unwrap();
    let print = loaded.print();
    assert!(print.contains("url = \"postgres://u:***@h/d\" # environment variable DATABASE_URL"), "{print}");
    assert!(!format!("{print}{loaded:?}").contains("hunter2"));
    load(&load("", &[], &[]).unwrap().print(), &[], &[]).unwrap();
}

#[test]
fn explain_prints_the_value_its_source_and_its_default() {
    let loaded = load("", &[], &[("tokens.access_ttl", "5m")]).unwrap();
    let text = loaded.explain("tokens.access_ttl").unwrap();
    assert!(text.contains("\"5m\" (flag --set tokens.access_ttl)") && text.contains("`\"30m\"`"), "{text}");
    assert!(text.contains("GATEWRIGHT_TOKENS__ACCESS_TTL"));
    assert_eq!(loaded.explain("tokens.nothing"), None);
}

#[test]
fn the_generated_texts_name_every_setting_and_the_file_is_valid() {
    let (page, file) = (markdown(), default_toml());
    for setting in Config::settings() {
        assert!(page.contains(&format!("### `{}`", setting.key)));
    }
    load(&file, &[], &[]).unwrap();
    // Without the `#` before each setting, the file is the defaults.
    let uncommented = file.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest,
        _ => line,
    });
    let loaded = load(&uncommented.collect::<Vec<_>>().join("\n"), &[], &[]).unwrap();
    assert_eq!(loaded.sources.len(), Config::settings().len());
}

#[test]
fn a_reload_applies_reloadable_settings_and_names_the_others() {
    let old = load("", &[], &[]).unwrap().config;
    let flags = [("telemetry.log_level", "debug"), ("server.listen", "127.0.0.1:1")];
    let new = load("", &[], &flags).unwrap().config;
    let changes = Config::reloadable_changes(&old, &new);
    assert_eq!(changes.applied, ["telemetry.log_level"]);
    assert_eq!(changes.need_restart, ["server.listen"]);
    let next = old.reloaded(&new);
    assert_eq!(next.telemetry.log_level.as_str(), "debug");
    assert_eq!(next.server.listen, old.server.listen);
}

/// Every crate states its defaults in its own `Settings`, and the sections agree with them.
#[test]
fn the_default_configuration_gives_every_crate_its_defaults() {
    let text = |settings: &dyn std::fmt::Debug| format!("{settings:#?}");

    let config = load("", &[], &[]).unwrap().config;
    let public_url = config.server.public_url();
    let auth = config.auth(&public_url).unwrap();
    let jobs = jobs::RegistrySettings::from(&config.cleanup);
    let shipper = audit::ship::ShipperSettings::from(&config.audit);

    assert_eq!(text(&auth), text(&auth::Settings::default()));
    assert_eq!(text(&config.web(&public_url)), text(&web::Settings::default()));
    assert_eq!(text(&store::Settings::from(&config.database)), text(&store::Settings::default()));
    assert_eq!(text(&listener::Limits::from(&config.server)), text(&listener::Limits::default()));
    assert_eq!(jobs.cleanup_interval, jobs::RegistrySettings::default().cleanup_interval);
    assert_eq!(shipper.retention, audit::ship::ShipperSettings::default().retention);
    assert_eq!(shipper.journal_keep, audit::ship::ShipperSettings::default().journal_keep);
}

#[test]
fn a_public_url_that_does_not_fit_the_listener_is_warned_of() {
    let warnings = |set: &[(&str, &str)]| load("", &[], set).unwrap().warnings.join("\n");
    let open = ("server.listen", "0.0.0.0:8080");
    assert!(warnings(&[open]).contains("server.public_url is not set"));
    assert!(warnings(&[open]).contains("server.listen has no TLS"));
    assert!(warnings(&[open, ("server.public_url", "https://localhost")]).contains("is of this machine"));
    assert!(warnings(&[open, ("server.public_url", "http://auth.example")]).contains("is not https"));
    assert_eq!(warnings(&[open, ("server.public_url", "https://auth.example")]), "");
    assert_eq!(warnings(&[("server.listen", "127.0.0.1:8080")]), "");
}
