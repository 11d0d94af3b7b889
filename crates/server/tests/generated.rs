//! Checks that the generated documents are current.

use std::path::Path;

#[test]
fn generated_documents_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, content) in gatewright::app::generated_docs::files() {
        let found = std::fs::read_to_string(root.join(path)).unwrap_or_default();
        let differs = found.lines().zip(content.lines()).position(|(found, made)| found != made);
        assert!(
            found == content,
            "{path} differs from the generated document (line {}): cargo xtask gen",
            differs.unwrap_or_else(|| found.lines().count().min(content.lines().count())) + 1
        );
    }
}
