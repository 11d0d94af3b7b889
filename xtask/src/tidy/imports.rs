//! The allowed dependencies between the crates of the workspace. `deny.toml` says which crates may name which
//! external ones.

use std::collections::HashSet;

use super::Finding;
use super::source::Source;

/// Libraries independent of Gatewright. They use no crate of the workspace, and every crate may use them.
const LIBRARIES: [&str; 7] =
    ["argon2-arena", "bcrypt-lanes", "breach-filter", "journal", "listener", "rate-limit", "sched-policy"];

/// The layers of the server, lowest first: a crate uses crates of lower layers only.
const LAYERS: [&[&str]; 7] = [
    &["model"],
    &["protocol", "runtime"],
    &["hashing", "outbound", "store"],
    &["audit", "auth"],
    &["jobs", "web"],
    &["gatewright"],
    &["benchmarks", "tests"],
];

/// Dependencies that the layers allow and the design forbids: the crate, the other crate, and why.
const NEVER: [(&str, &str, &str); 1] = [(
    "web",
    "audit",
    "the server hands it metric collectors, and the recorder answers whether it can record",
)];

/// Tools, each with the workspace crates that it may use.
const TOOLS: [(&str, &[&str]); 3] =
    [("gatewright-fuzz", &["model", "protocol"]), ("testkit", &[]), ("xtask", &["breach-filter", "testkit"])];

struct Dependency<'a> {
    line: usize,
    /// The name of the package.
    name: &'a str,
    /// The name in code, with `-` for `_`.
    alias: &'a str,
    for_tests: bool,
}

pub(super) fn check(source: &Source) -> Vec<Finding> {
    if !source.path.ends_with("/Cargo.toml") {
        return Vec::new();
    }
    let own = package(&source.text);
    let Some(kind) = CrateKind::of(own) else {
        let advice = format!("add the new crate `{own}` to a layer in xtask/src/tidy/imports.rs");
        return vec![Finding::new(&source.path, 1, "import", advice)];
    };

    let refused = |dependency: Dependency| {
        let advice = refusal(own, &kind, &dependency)?;
        Some(Finding::new(&source.path, dependency.line, "import", advice))
    };
    dependencies(&source.text).into_iter().filter_map(refused).collect()
}

/// Dependencies that no code of their crate names.
pub(super) fn unused(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in sources {
        let Some(folder) = manifest.path.strip_suffix("Cargo.toml").filter(|folder| !folder.is_empty())
        else {
            continue;
        };
        let code = sources.iter().filter(|source| source.is_rust() && source.path.starts_with(folder));
        let named: HashSet<&str> = code.flat_map(|source| words(&source.text)).collect();

        for dependency in dependencies(&manifest.text) {
            if !named.contains(dependency.alias.replace('-', "_").as_str()) {
                let advice = format!("no code names `{}`: remove it", dependency.alias);
                findings.push(Finding::new(&manifest.path, dependency.line, "unused-dependency", advice));
            }
        }
    }
    findings
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|char: char| !char.is_alphanumeric() && char != '_')
}

/// The kind of a workspace crate.
#[derive(PartialEq, Eq)]
enum CrateKind {
    Library,
    Layer(usize),
    Tool(&'static [&'static str]),
}

impl CrateKind {
    /// The kind of the crate with this name; `None` for an external one.
    fn of(name: &str) -> Option<Self> {
        if LIBRARIES.contains(&name) {
            return Some(Self::Library);
        }
        let layer = LAYERS.iter().position(|layer| layer.contains(&name)).map(Self::Layer);
        layer.or_else(|| TOOLS.iter().find(|(tool, _)| *tool == name).map(|(_, uses)| Self::Tool(uses)))
    }

    /// Whether a crate of this kind may use the crate `name`, which has the kind `other`.
    fn may_use(&self, name: &str, other: &Self) -> bool {
        match (self, other) {
            (Self::Library, _) => false,
            (Self::Tool(uses), _) => uses.contains(&name),
            (Self::Layer(_), Self::Library) => true,
            (Self::Layer(own), Self::Layer(other)) => other < own,
            (Self::Layer(own), Self::Tool(_)) => name == "testkit" && own + 1 == LAYERS.len(),
        }
    }
}

fn refusal(own: &str, kind: &CrateKind, dependency: &Dependency) -> Option<String> {
    let name = dependency.name;
    if let Some((.., why)) = NEVER.iter().find(|(from, to, _)| *from == own && *to == name) {
        return Some(format!("`{own}` must not name `{name}`: {why}"));
    }

    let other = CrateKind::of(name)?;
    let for_tests = dependency.for_tests && (name == "testkit" || name == own);
    (!for_tests && !kind.may_use(name, &other)).then(|| {
        format!("`{own}` must not use `{name}`: crates use lower layers only, and libraries use none of ours")
    })
}

fn package(manifest: &str) -> &str {
    let mut lines = manifest.lines().skip_while(|line| line.trim() != "[package]");
    lines.find_map(|line| line.strip_prefix("name")?.split('"').nth(1)).unwrap_or_default()
}

/// Every dependency of every kind and platform, by its real name.
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
                let for_tests = section.contains("dev-dependencies");
                found.push(Dependency { line, name, alias: name, for_tests });
            }
        } else if section.ends_with("dependencies") && !text.starts_with('#') && text.contains('=') {
            let key = text.split(['.', '=', ' ']).next().unwrap_or_default().trim_matches('"');
            let renamed = text.split_once("package = \"").and_then(|(_, rest)| rest.split('"').next());
            found.push(Dependency { line, name: renamed.unwrap_or(key), alias: key, for_tests });
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
    fn crates_depend_on_lower_layers_only() {
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
    fn crates_of_one_layer_do_not_use_each_other() {
        for (one, other) in [("auth", "audit"), ("audit", "auth"), ("hashing", "store"), ("web", "jobs")] {
            assert_eq!(
                found(one, &format!("[dependencies]\n{other}.workspace = true")),
                [4],
                "{one} {other}"
            );
        }
        assert_eq!(
            found("web", "[dependencies]\naudit.workspace = true"),
            [4],
            "although it is in a lower layer"
        );
    }

    #[test]
    fn libraries_use_no_crate_and_every_crate_may_use_them() {
        assert_eq!(found("journal", "[dependencies]\nsched-policy.workspace = true"), [4]);
        assert_eq!(found("listener", "[dependencies]\nmodel.workspace = true"), [4]);
        assert_eq!(found("store", "[dependencies]\nsched-policy.workspace = true"), NOTHING);
        assert_eq!(found("xtask", "[dependencies]\nmodel.workspace = true"), [4]);
    }

    #[test]
    fn testkit_is_a_dev_dependency_only() {
        assert_eq!(found("store", "[dev-dependencies]\ntestkit.workspace = true"), NOTHING);
        assert_eq!(found("store", "[dependencies]\ntestkit.workspace = true"), [4]);
        assert_eq!(found("store", "[features]\ntestkit = []"), NOTHING);
    }

    #[test]
    fn a_dependency_that_no_code_names_is_refused() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\na-b = \"1\"\n\
                        c = { package = \"d\" }\ne = \"1\"\nf = \"1\"\n";
        let sources = [
            Source::new("crates/x/Cargo.toml", manifest),
            Source::new("crates/x/src/lib.rs", "use a_b::c::d;\n"),
            Source::new("crates/y/src/lib.rs", "use e::f;\n"),
            Source::new("Cargo.toml", "[workspace.dependencies]\nz = \"1\"\n"),
        ];
        let lines: Vec<usize> = unused(&sources).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [6, 7]);
    }
}
