//! Clients that generators make of the OpenAPI document, unpatched, and checkers of the document.

use testkit::process::Finished;

use super::Scripts;
use crate::node::{Node, Setup};

/// A server, the scripts, and the server's document in their folder.
async fn document() -> (Node, Scripts) {
    let (mut setup, port) = (Setup::sqlite(), testkit::free_port());
    // Only an issuer of https or of a loopback address has metadata.
    setup.set("SERVER__PUBLIC_URL", &format!("http://127.0.0.1:{port}"));
    let node = setup.start_on(port);
    let scripts = Scripts::new();
    let document = node.client.get(&node.url("/openapi.json")).await;
    assert_eq!(document.status, 200);
    std::fs::write(scripts.path("openapi.json"), &document.body).unwrap();
    (node, scripts)
}

/// Panics unless the command succeeds and prints this, and nothing else.
fn assert_prints(finished: &Finished, output: &str) {
    let printed = format!("{}{}", finished.stdout, finished.stderr);
    assert!(finished.status.success() && printed.trim() == output, "{printed}");
}

#[tokio::test]
async fn a_client_of_openapi_python_client_works_unpatched() {
    // Given the client that is generated, without a warning.
    let (node, scripts) = document().await;
    std::fs::write(scripts.path("config.yml"), "post_hooks: []\n").unwrap();
    let generator = scripts.python("openapi-python-client").args(["generate", "--meta", "none"]);
    let options = ["--path", "openapi.json", "--config", "config.yml", "--output-path", "gatewright_client"];
    assert_prints(&generator.args(options).run(""), "Generating gatewright_client");

    // Then it registers, logs in, refreshes, patches, lists and logs out, and reads every refusal.
    let script = scripts.python("python").arg("generated.py").arg(".").arg(node.url(""));
    assert_prints(&script.run(""), "works");
}

#[tokio::test]
async fn a_client_of_openapi_typescript_works_unpatched() {
    // Given the generated types and a program that compiles with them.
    let (node, scripts) = document().await;
    let generator = "node_modules/openapi-typescript/bin/cli.js";
    let generated = scripts.node().args([generator, "openapi.json", "--output", "schema.ts"]).run("");
    assert!(generated.status.success(), "{}{}", generated.stdout, generated.stderr);
    let compiler = scripts.node().args(["node_modules/typescript/bin/tsc", "--strict", "--target", "es2022"]);
    let options = ["--module", "nodenext", "--lib", "es2022,dom"];
    assert_prints(&compiler.args(options).arg("generated.ts").run(""), "");

    // Then it does what the Python client does.
    assert_prints(&scripts.node().arg("generated.js").arg(node.url("")).run(""), "works");
}

#[tokio::test]
async fn checkers_of_openapi_documents_find_nothing() {
    let (_node, scripts) = document().await;
    assert_prints(&scripts.python("openapi-spec-validator").arg("openapi.json").run(""), "openapi.json: OK");
    assert_prints(&scripts.node().arg("swagger_parser.mjs").run(""), "valid");

    let redocly = scripts.node().args(["node_modules/@redocly/cli/bin/cli.js", "lint", "openapi.json"]);
    let redocly = redocly.env("REDOCLY_TELEMETRY", "off").env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true");
    let finished = redocly.args(["--format", "json"]).run("");
    let found = super::json_of(&finished);
    assert!(finished.status.success() && found["problems"] == serde_json::json!([]), "{found:#}");
}
