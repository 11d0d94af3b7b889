//! The libraries that applications verify access tokens with, with every algorithm that the server signs
//! with. What each of them needs is a page of the documentation, which the run must give.

use std::fmt::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Scripts, json_of};
use crate::clocks::start_at;
use crate::node::{Node, PASSWORD, Setup, pair};

const PAGE: &str = "../docs/generated/libraries.md";
const ALGORITHMS: [&str; 4] = ["ES256", "RS256", "EdDSA", "HS256"];
/// A secret of 32 characters, for HS256.
const SECRET: &str = "0123456789abcdef0123456789ABCDEF";
/// What a token is that must be refused, in the words of the page.
const REFUSED: [(&str, &str); 5] = [
    ("expired", "expired"),
    ("tampered", "changed"),
    ("unsigned", "without a signature"),
    ("other_issuer", "of another issuer"),
    ("other_audience", "for another audience"),
];

/// What one run of all libraries has found.
struct Found {
    algorithm: &'static str,
    libraries: Vec<Value>,
    flows: Vec<Value>,
}

/// A server with its address as issuer, which signs with `algorithm`.
fn setup(algorithm: &str, port: u16) -> Setup {
    let mut setup = Setup::sqlite();
    let issuer = format!("http://127.0.0.1:{port}");
    for (name, value) in [
        ("SERVER__PUBLIC_URL", issuer.as_str()),
        ("TOKENS__ISSUER", &issuer),
        ("TOKENS__AUDIENCE", "https://api.example"),
        ("TOKENS__ALGORITHM", algorithm),
    ] {
        setup.set(name, value);
    }
    if algorithm == "HS256" {
        let file = setup.folder.path().join("hs256.secret");
        let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
        std::io::Write::write_all(&mut opened.unwrap(), SECRET.as_bytes()).unwrap();
        setup.set("TOKENS__HS256_SECRET_FILE", file.to_str().unwrap());
    }
    setup
}

/// The same server, data and keys, with one more setting.
fn with(setup: &Setup, name: &str, value: &str) -> Setup {
    let mut other = Setup { folder: Arc::clone(&setup.folder), env: setup.env.clone() };
    other.set(name, value);
    other
}

async fn access_token(mut node: Node) -> String {
    let (access, _) = pair(&node.log_in("ann").await);
    assert!(node.server.terminate().success());
    access
}

/// The token with another header or other claims, and the signature of before.
fn changed(token: &str, part: usize, from: &str, to: &str) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(&parts[part]).unwrap()).unwrap();
    assert!(text.contains(from), "{text}");
    parts[part] = BASE64_URL_SAFE_NO_PAD.encode(text.replace(from, to));
    parts.join(".")
}

/// Lets one server issue tokens, also in the past and for others, and every library verify them.
async fn run(algorithm: &'static str) -> Found {
    let port = testkit::free_port();
    let setup = setup(algorithm, port);

    // All of these are signed by one key.
    let past = start_at(&setup, "-2h");
    assert_eq!(past.register("ann").await.status, 201);
    let expired = access_token(past).await;
    let other_issuer = access_token(with(&setup, "TOKENS__ISSUER", "https://other.example").start()).await;
    let other_audience =
        access_token(with(&setup, "TOKENS__AUDIENCE", "https://other.example").start()).await;
    let added =
        setup.command(&["--json", "client", "add", "shop", "--name", "Shop", "--allow", "introspect"]);
    let added: Value = serde_json::from_str(&added).unwrap();
    let node = setup.start_on(port);
    let (good, _) = pair(&node.log_in("ann").await);

    let none = changed(&good, 0, &format!("\"{algorithm}\""), "\"none\"");
    let unsigned = format!("{}.", none.rsplit_once('.').unwrap().0);
    let input = json!({
        "algorithm": algorithm,
        "issuer": node.url(""),
        "audience": "https://api.example",
        "secret": if algorithm == "HS256" { SECRET.into() } else { Value::Null },
        "jwks_uri": node.url("/.well-known/jwks.json"),
        "me": node.v1("me"),
        "username": "ann",
        "password": PASSWORD,
        "client_id": "shop",
        "client_secret": added["client_secret"],
        "tokens": {
            "good": good,
            "expired": expired,
            "tampered": changed(&good, 1, "basic_user", "admin"),
            "unsigned": unsigned,
            "other_issuer": other_issuer,
            "other_audience": other_audience,
        },
    });

    let found = tokio::task::spawn_blocking(move || {
        let (scripts, input) = (Scripts::new(), input.to_string());
        let python = scripts.python("python").arg(scripts.path("matrix.py")).run(&input);
        let node = scripts.node().arg(scripts.path("matrix.mjs")).run(&input);
        [json_of(&python), json_of(&node)]
    });
    let found = found.await.unwrap();
    let libraries = found.iter().flat_map(|found| found["rows"].as_array().unwrap().clone()).collect();
    let flows = found.iter().map(|found| found["flow"].clone()).collect();
    Found { algorithm, libraries, flows }
}

/// The names in backticks.
fn names(names: &Value) -> String {
    let names: Vec<_> =
        names.as_array().unwrap().iter().map(|name| format!("`{}`", name.as_str().unwrap())).collect();
    names.join(", ")
}

/// A row of the page about one library, which refuses what must be refused.
fn row(algorithm: &str, library: &Value) -> String {
    let text = |name: &str| library[name].as_str().unwrap();
    let head = format!("| {} | {} | {algorithm} |", text("library"), text("version"));
    if let Some(why) = library["refused"]["good"].as_str() {
        return format!("{head} no: {why} | another algorithm | |");
    }
    for (case, what) in REFUSED {
        assert!(library["refused"][case].is_string(), "{head} accepts {what}: {library}");
    }

    let defaults = library["defaults"].as_str().map_or_else(|| "yes".to_owned(), |why| format!("no: {why}"));
    let mut checks = Vec::new();
    for (option, cases) in library["checked"].as_object().unwrap() {
        let accepted: Vec<_> = REFUSED
            .iter()
            .filter(|(case, _)| cases.as_array().unwrap().contains(&json!(case)))
            .map(|(_, what)| *what)
            .collect();
        if !accepted.is_empty() {
            checks.push(format!("`{option}`: one {}", accepted.join(", ")));
        }
    }
    format!("{head} {defaults} | {} | {} |", names(&library["needed"]), checks.join("; "))
}

/// A row of the page about one library of OAuth.
fn flow(algorithm: &str, flow: &Value) -> String {
    let mut cells = vec![flow["library"].as_str().unwrap(), flow["version"].as_str().unwrap(), algorithm];
    let steps = ["login without https", "login", "wrong password", "refresh", "introspection", "revocation"];
    cells.extend(steps.iter().map(|step| flow["steps"][step].as_str().unwrap_or("works")));
    format!("| {} |", cells.join(" | "))
}

fn page(all: &[Found]) -> String {
    let mut page = include_str!("../../clients/libraries.md").to_owned();
    for at in 0..all[0].libraries.len() {
        for found in all {
            writeln!(page, "{}", row(found.algorithm, &found.libraries[at])).unwrap();
        }
    }

    page.push_str(
        "\n## Login, refresh, introspection, revocation\n\n\
         The endpoints come from `/.well-known/oauth-authorization-server` (RFC 8414). A wrong password is \
         `invalid_grant`; libraries that look at the header first find the 401 and its challenge. Both want \
         https, which an option switches off for a server on loopback.\n\n\
         | library | version | algorithm | http | login | wrong password | refresh | introspection \
         | revocation |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for at in 0..all[0].flows.len() {
        for found in all {
            writeln!(page, "{}", flow(found.algorithm, &found.flows[at])).unwrap();
        }
    }
    page
}

#[expect(clippy::disallowed_methods, reason = "a test's runtime is the owner of its tasks")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_libraries_says_what_each_needs_to_verify_tokens_of_every_algorithm() {
    let mut runs = Vec::new();
    for algorithm in ALGORITHMS {
        runs.push(tokio::spawn(run(algorithm)));
    }
    let mut all = Vec::new();
    for found in runs {
        all.push(found.await.unwrap());
    }
    super::assert_is_page(Path::new(PAGE), &page(&all));
}
