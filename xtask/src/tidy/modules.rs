//! Names of modules and locations of their files.

use std::collections::HashSet;

use super::Finding;
use super::source::Source;

const EMPTY_NAMES: [&str; 7] = ["utils", "util", "common", "prelude", "helpers", "helper", "misc"];

/// Checks the paths of all Rust files.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let paths = || sources.iter().filter(|source| source.is_rust()).map(|source| source.path.as_str());
    let folders: HashSet<&str> = paths().flat_map(folders).collect();
    paths().flat_map(|path| name(path).into_iter().chain(place(path, &folders))).collect()
}

fn name(path: &str) -> Option<Finding> {
    let of_file = path.trim_end_matches(".rs").split('/');
    let empty = of_file.into_iter().find(|part| EMPTY_NAMES.contains(part))?;
    let advice = format!("`{empty}` says nothing: name the module after what it holds");
    Some(Finding::new(path, 1, "module-name", advice))
}

/// A module is one file, or one folder with `mod.rs`.
fn place(path: &str, folders: &HashSet<&str>) -> Option<Finding> {
    let folder = path.strip_suffix(".rs").filter(|stem| folders.contains(stem))?;
    let advice = format!("the folder {folder}/ lies beside it: move the file to {folder}/mod.rs");
    Some(Finding::new(path, 1, "module-file", advice))
}

/// Every folder that contains `path`.
fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(paths: &[&str]) -> Vec<(&'static str, String)> {
        let sources: Vec<Source> = paths.iter().map(|path| Source::new(path, "")).collect();
        check(&sources).into_iter().map(|finding| (finding.check, finding.path)).collect()
    }

    #[test]
    fn modules_with_empty_names_are_reported() {
        for path in
            ["src/utils.rs", "src/common/mod.rs", "tests/common/mod.rs", "src/prelude.rs", "src/helpers.rs"]
        {
            assert_eq!(found(&[path]), [("module-name", path.to_owned())], "{path}");
        }
        assert_eq!(found(&["src/misconduct.rs", "docs/common.md"]), []);
    }

    #[test]
    fn a_module_file_beside_its_folder_is_reported() {
        assert_eq!(found(&["src/a.rs", "src/a/b.rs"]), [("module-file", "src/a.rs".to_owned())]);
        assert_eq!(found(&["src/a/b/c.rs", "src/a.rs"]), [("module-file", "src/a.rs".to_owned())]);
        assert_eq!(found(&["src/a/mod.rs", "src/a/b.rs", "src/ab.rs", "src/b.rs"]), []);
        assert_eq!(found(&["src/a.rs", "src/a/page.css", "other/a/b.rs"]), []);
    }
}
