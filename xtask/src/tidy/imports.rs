//! Which crate may use which other crate of the workspace, and which crates alone name a foreign one.

use super::Finding;
use super::source::Source;

/// Libraries that know nothing of Gatewright. Each stands alone, and every crate may use them.
const LIBRARIES: [&str; 6] =
    ["argon2-arena", "bcrypt-lanes", "breach-filter", "journal", "listener", "sched-policy"];

/// The floors of the server, from the ground up: a crate uses those below its own floor, and none beside it.
const FLOORS: [&[&str]; 7] = [
    &["model"],
    &["protocol", "runtime"],
    &["hashing", "outbound", "store"],
    &["audit", "auth"],
    &["jobs", "web"],
    &["gatewright"],
    &["benchmarks", "tests"],
];

/// Pairs that the floors allow and the design does not: the first crate never names the second, and why.
const NEVER: [(&str, &str, &str); 1] = [(
    "web",
    "audit",
    "the server hands it metric collectors, and the recorder answers whether it can record",
)];

/// Tools, each with the ones of ours that it may use.
const TOOLS: [(&str, &[&str]); 3] =
    [("gatewright-fuzz", &["model", "protocol"]), ("testkit", &[]), ("xtask", &["breach-filter", "testkit"])];

/// Foreign crates that only some of ours name, and why.
const KEPT: [(&str, &[&str], &str); 5] = [
    ("axum", &["web", "tests", "benchmarks"], "HTTP belongs to web"),
    ("tokio-postgres", &["store", "testkit", "benchmarks"], "SQL belongs to store"),
    ("rusqlite", &["store", "testkit", "benchmarks"], "SQL belongs to store"),
    ("redis", &["store", "testkit", "benchmarks"], "Redis belongs to store"),
    ("reqwest", &["outbound", "tests", "benchmarks"], "requests to other programs belong to outbound"),
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
    let Some(place) = Place::of(own) else {
        let advice = format!("say in xtask/src/tidy/imports.rs on which floor the new crate `{own}` stands");
        return vec![Finding::new(&source.path, 1, "import", advice)];
    };

    let refused = |dependency: Dependency| {
        let advice = refusal(own, &place, &dependency)?;
        Some(Finding::new(&source.path, dependency.line, "import", advice))
    };
    dependencies(&source.text).into_iter().filter_map(refused).collect()
}

/// Where a crate of ours stands.
#[derive(PartialEq, Eq)]
enum Place {
    Library,
    Floor(usize),
    Tool(&'static [&'static str]),
}

impl Place {
    /// The place of the crate of this name; `None` for a foreign one.
    fn of(name: &str) -> Option<Self> {
        if LIBRARIES.contains(&name) {
            return Some(Self::Library);
        }
        let floor = FLOORS.iter().position(|floor| floor.contains(&name)).map(Self::Floor);
        floor.or_else(|| TOOLS.iter().find(|(tool, _)| *tool == name).map(|(_, uses)| Self::Tool(uses)))
    }

    /// Whether a crate that stands here may use the crate `name`, which stands at `other`.
    fn may_use(&self, name: &str, other: &Self) -> bool {
        match (self, other) {
            (Self::Library, _) => false,
            (Self::Tool(uses), _) => uses.contains(&name),
            (Self::Floor(_), Self::Library) => true,
            (Self::Floor(own), Self::Floor(other)) => other < own,
            (Self::Floor(own), Self::Tool(_)) => name == "testkit" && own + 1 == FLOORS.len(),
        }
    }
}

fn refusal(own: &str, place: &Place, dependency: &Dependency) -> Option<String> {
    let name = dependency.name;
    if let Some((_, keepers, why)) = KEPT.iter().find(|(kept, ..)| *kept == name) {
        return (!keepers.contains(&own)).then(|| format!("`{own}` must not name `{name}`: {why}"));
    }
    if let Some((.., why)) = NEVER.iter().find(|(from, to, _)| *from == own && *to == name) {
        return Some(format!("`{own}` must not name `{name}`: {why}"));
    }

    let other = Place::of(name)?;
    let for_tests = dependency.for_tests && (name == "testkit" || name == own);
    (!for_tests && !place.may_use(name, &other)).then(|| {
        format!("`{own}` must not use `{name}`: imports run down the floors, and libraries use none of ours")
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
    fn crates_on_one_floor_do_not_know_each_other() {
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
            "although it is a floor below"
        );
    }

    #[test]
    fn libraries_stand_alone_and_every_crate_may_use_them() {
        assert_eq!(found("journal", "[dependencies]\nsched-policy.workspace = true"), [4]);
        assert_eq!(found("listener", "[dependencies]\nmodel.workspace = true"), [4]);
        assert_eq!(found("store", "[dependencies]\nsched-policy.workspace = true"), NOTHING);
        assert_eq!(found("xtask", "[dependencies]\nmodel.workspace = true"), [4]);
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
            ("outbound", "web", "reqwest"),
        ] {
            let named = format!("[dependencies]\n{foreign} = \"1\"");
            assert_eq!(found(keeper, &named), NOTHING, "{keeper} {foreign}");
            assert_eq!(found(stranger, &named), [4], "{stranger} {foreign}");
            assert_eq!(found(stranger, &named.replace("dep", "dev-dep")), [4], "{stranger} {foreign}");
        }
    }
}
