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
        .filter(|path| path.contains('/') || path.ends_with(".md") || path.ends_with(".rs"))
        .filter(|path| !path.contains([' ', ':', '*', '<', '(', '{', '#', '"']))
        // What is asked of a server is no file. Others are written by examples, or by the reader.
        .filter(|path| !path.starts_with('/'))
        .filter(|path| !path.starts_with("out/") && *path != "examples/mine.rs")
        .collect()
}

/// Where documents may name files from: a page that speaks of a folder names its files alone.
const FOLDERS: [&str; 8] = [
    "",
    "brokers/json-file/src",
    "brokers/kafka/src",
    "tests/servers/src/kafka",
    "watermill-core/src",
    "watermill-core/src/broker",
    "watermill-core/src/key",
    "watermill-derive/src",
];

#[test]
fn files_named_in_documents_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for document in
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/kafka.md", "examples/data/README.md"]
    {
        let text = fs::read_to_string(root.join(document)).unwrap();
        // Code blocks name files of the reader's own.
        let prose: String = text.split("```").step_by(2).collect();
        for path in paths(&prose) {
            let found = FOLDERS.iter().any(|folder| root.join(folder).join(path).exists());
            assert!(found, "{document} names `{path}`, which is not there");
        }
    }
}
