//! Which crate may use which other crate of the workspace, and which crates alone name a foreign one.

use super::Finding;
use super::source::Source;

/// Each crate with the ones of ours that it may use.
const FLOORS: [(&str, &[&str]); 18] = [
    ("argon2-arena", &[]),
    ("bcrypt-lanes", &[]),
    ("sched-policy", &[]),
    ("breach-filter", &[]),
    ("journal", &[]),
    ("listener", &[]),
    ("model", &[]),
    ("protocol", &["model"]),
    ("store", &["model", "protocol", "sched-policy"]),
    (
        "auth",
        &[
            "model",
            "protocol",
            "store",
            "argon2-arena",
            "bcrypt-lanes",
            "sched-policy",
            "breach-filter",
            "journal",
        ],
    ),
    ("web", &["model", "protocol", "store", "auth"]),
    ("jobs", &["model", "protocol", "store", "auth", "journal"]),
    (
        "gatewright",
        &["model", "protocol", "store", "auth", "web", "jobs", "breach-filter", "journal", "listener"],
    ),
    ("tests", &["model", "protocol", "store", "auth", "web", "testkit", "breach-filter", "journal"]),
    ("gatewright-fuzz", &["model", "protocol"]),
    ("testkit", &[]),
    (
        "benchmarks",
        &[
            "model",
            "protocol",
            "store",
            "testkit",
            "argon2-arena",
            "bcrypt-lanes",
            "sched-policy",
            "breach-filter",
        ],
    ),
    ("xtask", &["testkit", "breach-filter"]),
];

/// Foreign crates that only some of ours name, and why.
const KEPT: [(&str, &[&str], &str); 4] = [
    ("axum", &["web", "tests", "benchmarks"], "HTTP belongs to web"),
    ("tokio-postgres", &["store", "testkit", "benchmarks"], "SQL belongs to store"),
    ("rusqlite", &["store", "testkit", "benchmarks"], "SQL belongs to store"),
    ("redis", &["store", "testkit", "benchmarks"], "Redis belongs to store"),
];

struct Dependency<'a> {
    line: usize,
    name: &'a str,
    for_tests: bool,
}

pub(super) fn check(source: &Source) -> Vec<Finding> {
    if !source.path.ends_with("/Cargo.toml") {
        return Vec::new();
    }
    let own = package(&source.text);
    let Some((_, may_use)) = FLOORS.iter().find(|(name, _)| *name == own) else {
        let advice = format!("say in FLOORS of xtask/src/tidy/imports.rs what the new crate `{own}` may use");
        return vec![Finding::new(&source.path, 1, "import", advice)];
    };
    let refused = |dependency: Dependency| {
        let advice = refusal(own, may_use, &dependency)?;
        Some(Finding::new(&source.path, dependency.line, "import", advice))
    };
    dependencies(&source.text).into_iter().filter_map(refused).collect()
}

fn refusal(own: &str, may_use: &[&str], dependency: &Dependency) -> Option<String> {
    let name = dependency.name;
    if let Some((_, keepers, why)) = KEPT.iter().find(|(kept, ..)| *kept == name) {
        return (!keepers.contains(&own)).then(|| format!("`{own}` must not name `{name}`: {why}"));
    }
    let is_ours = FLOORS.iter().any(|(ours, _)| *ours == name);
    let for_tests = dependency.for_tests && (name == "testkit" || name == own);
    (is_ours && !for_tests && !may_use.contains(&name)).then(|| {
        let may_use = if may_use.is_empty() { "none of ours".to_owned() } else { may_use.join(", ") };
        format!("`{own}` must not use `{name}`: imports run one way, and it may use {may_use}")
    })
}

fn package(manifest: &str) -> &str {
    let mut lines = manifest.lines().skip_while(|line| line.trim() != "[package]");
    lines.find_map(|line| line.strip_prefix("name")?.split('"').nth(1)).unwrap_or_default()
}

/// Every dependency of every kind and platform, under its real name.
fn dependencies(manifest: &str) -> Vec<Dependency<'_>> {
    let mut found = Vec::new();
    let mut section = "";
    for (line, text) in (1..).zip(manifest.lines()) {
        let text = text.trim();
        let for_tests = section.contains("dev-dependencies");
        if let Some(header) = text.strip_prefix('[') {
            section = header.trim_end_matches(']');
            // `[dependencies.NAME]`
            if let Some((_, name)) = section.rsplit_once("dependencies.") {
                found.push(Dependency { line, name, for_tests: section.contains("dev-dependencies") });
            }
        } else if section.ends_with("dependencies") && !text.starts_with('#') && text.contains('=') {
            let key = text.split(['.', '=', ' ']).next().unwrap_or_default().trim_matches('"');
            let renamed = text.split_once("package = \"").and_then(|(_, rest)| rest.split('"').next());
            found.push(Dependency { line, name: renamed.unwrap_or(key), for_tests });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [usize; 0] = [];

    fn found(package: &str, dependencies: &str) -> Vec<usize> {
        let manifest = format!("[package]\nname = \"{package}\"\n{dependencies}");
        check(&Source::new("crates/x/Cargo.toml", &manifest))
            .into_iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn imports_run_one_way() {
        assert_eq!(found("auth", "[dependencies]\nmodel.workspace = true\nstore = { path = \"\" }"), NOTHING);
        assert_eq!(found("model", "[dependencies]\nserde = \"1\"\nprotocol.workspace = true"), [5]);
        assert_eq!(found("web", "[dependencies]\njobs.workspace = true"), [4]);
        assert_eq!(found("jobs", "[dependencies.web]\npath = \"\""), [3]);
        assert_eq!(found("store", "[target.'cfg(unix)'.dependencies]\nauth.workspace = true"), [4]);
        assert_eq!(found("store", "[dev-dependencies]\nauth.workspace = true"), [4]);
        assert_eq!(found("web", "[dependencies]\nw = { package = \"jobs\" }"), [4]);
        assert_eq!(found("newcomer", ""), [1]);
    }

    #[test]
    fn tools_for_tests_stay_in_tests() {
        assert_eq!(found("store", "[dev-dependencies]\ntestkit.workspace = true"), NOTHING);
        assert_eq!(found("store", "[dependencies]\ntestkit.workspace = true"), [4]);
        assert_eq!(found("store", "[features]\ntestkit = []"), NOTHING);
    }

    #[test]
    fn axum_and_the_drivers_have_one_keeper() {
        for (keeper, stranger, foreign) in [
            ("web", "auth", "axum"),
            ("store", "jobs", "tokio-postgres"),
            ("store", "auth", "rusqlite"),
            ("store", "gatewright", "redis"),
        ] {
            let named = format!("[dependencies]\n{foreign} = \"1\"");
            assert_eq!(found(keeper, &named), NOTHING, "{keeper} {foreign}");
            assert_eq!(found(stranger, &named), [4], "{stranger} {foreign}");
            assert_eq!(found(stranger, &named.replace("dep", "dev-dep")), [4], "{stranger} {foreign}");
        }
    }
}
