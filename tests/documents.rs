//! The documents name what is there: files that ARCHITECTURE.md, CONTRIBUTING.md and the READMEs mention exist.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

/// What stands in backticks or in a link and looks like a path of this repository.
fn paths(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let linked = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    quoted
        .chain(linked)
        .filter(|path| path.contains('/') || path.ends_with(".md"))
        .filter(|path| !path.contains([' ', ':', '*', '<', '(', '{', '#', '"']) && !path.starts_with("out/"))
        .collect()
}

#[test]
fn files_named_in_documents_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "examples/data/README.md"] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        // Code blocks name files of the reader's own.
        let prose: String = text.split("```").step_by(2).collect();
        let beside = root.join(document);
        let folder = beside.parent().unwrap();
        for path in paths(&prose) {
            // Below `brokers/json-file/src/` and the core, files may be named as their folder has them.
            let roots = [root, folder, &root.join("watermill-core/src"), &root.join("brokers/json-file/src")]
                .map(Path::to_owned);
            let found = roots.iter().any(|from| from.join(path).exists());
            assert!(found || path == "examples/mine.rs", "{document} names `{path}`, which is not there");
        }
    }
}
