//! Documents generated from the code. They are checked in, and a test compares them.

/// Every generated file: its path from the root of the workspace, and its contents.
pub fn files() -> Vec<(&'static str, String)> {
    vec![
        ("docs/generated/configuration.md", crate::config::markdown()),
        ("docs/generated/gatewright.default.toml", crate::config::default_toml()),
        ("docs/generated/cli.md", crate::cli::markdown()),
        ("docs/generated/problems.md", web::problem::markdown()),
        ("docs/generated/authorization.md", web::reference::authorization()),
        ("docs/generated/input-rules.md", web::reference::input_rules()),
        ("docs/generated/events.md", audit::markdown()),
        ("docs/generated/cryptography.md", super::cryptography::markdown()),
        ("docs/generated/openapi.json", openapi()),
    ]
}

/// The OpenAPI document for an instance at the default address.
fn openapi() -> String {
    format!("{:#}\n", web::openapi_document("http://127.0.0.1:8080"))
}
