//! The page itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names of all tests of the repository: those with an attribute, and those in a list of a harness of its own.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for directory in ["crates", "tests"] {
        for entry in walkdir::WalkDir::new(root().join(directory)) {
            let path = entry.unwrap().into_path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let in_list = path.components().any(|part| part.as_os_str() == "e2e")
                    || text.contains("libtest_mimic");
                collect(&text, in_list, &mut names);
            }
        }
    }
    names
}

fn collect(text: &str, in_list: bool, names: &mut BTreeSet<String>) {
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") {
            marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            continue;
        }
        let signature = [
            "pub fn ",
            "pub(crate) fn ",
            "pub(super) fn ",
            "async fn ",
            "fn ",
        ]
        .iter()
        .find_map(|start| line.strip_prefix(start));
        if let Some((name, _)) = signature.and_then(|rest| rest.split_once(['(', '<']))
            && (marked || in_list)
        {
            names.insert(name.to_owned());
        }
        marked = false;
    }
}

#[test]
fn each_row_of_the_page_names_a_test_that_exists() {
    let text = fs::read_to_string(root().join("docs/rollbridge.md")).unwrap();
    let tests = tests();
    let mut rows = 0;
    let mut missing = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [theirs, _, shown] = cells.as_slice() else {
            panic!("not three cells: {line}");
        };
        if theirs.starts_with("---") || *theirs == "Rollbridge" {
            continue;
        }
        rows += 1;
        let named: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            missing.push(format!("{theirs}: names no test"));
        }
        for name in named {
            let name = name.rsplit("::").next().unwrap();
            if !tests.contains(name) {
                missing.push(format!("{theirs}: there is no test `{name}`"));
            }
        }
    }
    assert_eq!(missing, [""; 0]);
    assert!(rows > 90, "{rows} rows");
}
