//! Names that only some files may use, because the types alone do not keep them there.

use super::Finding;
use super::source::{Source, has_extension, whole_words};

/// A name, the places that may use it, and why.
struct Kept {
    name: &'static str,
    places: &'static [&'static str],
    why: &'static str,
}

const KEPT: [Kept; 2] = [
    Kept {
        name: "AppState",
        places: &["crates/web/src/request/", "crates/web/src/router.rs"],
        why: "a handler that names the router's state could take a second lease from it",
    },
    Kept {
        name: "ReleasesConnection",
        places: &["crates/runtime/src/", "crates/store/src/lease.rs"],
        why: "`Parked` is a proof only while every implementor returns its connection; list it here",
    },
];

/// Uses of kept names in other places, tests excepted.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    if !has_extension(&source.path, "rs") || !source.path.starts_with("crates/") {
        return Vec::new();
    }
    let foreign = KEPT.iter().filter(|kept| !kept.places.iter().any(|place| source.path.starts_with(place)));
    let uses = foreign.flat_map(|kept| {
        let lines = source.code_lines().filter(|(line, _)| !source.is_test(*line));
        lines.filter_map(move |(line, code)| {
            whole_words(code, kept.name).next()?;
            let advice = format!("`{}` is not for this file: {}", kept.name, kept.why);
            Some(Finding::new(&source.path, line, "kept-name", advice))
        })
    });
    uses.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<usize> {
        check(&Source::new(path, text)).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_handler_does_not_name_the_routers_state() {
        let handler = "use crate::request::AppState;\nfn handler(state: State<AppState>) {}\n";
        assert_eq!(found("crates/web/src/api/v1/account.rs", handler), [1, 2]);
        assert!(found("crates/web/src/router.rs", handler).is_empty());
        assert!(found("crates/web/src/request/context.rs", handler).is_empty());
        assert!(found("crates/web/src/api/health.rs", "// AppState\nstruct MyAppState;\n").is_empty());
    }

    #[test]
    fn a_new_implementor_of_the_release_is_listed() {
        let implementor = "impl ReleasesConnection for Mine {}\n";
        assert_eq!(found("crates/auth/src/login.rs", implementor), [1]);
        assert!(found("crates/store/src/lease.rs", implementor).is_empty());
        assert!(found("crates/hashing/src/tests.rs", implementor).is_empty());
    }
}
