//! The reference and the schema, both made from the keys of `zdt.toml`, and the codes of `doctor`.
//!
//! `BLESS=1 cargo test -p zdt-units --test keys` writes them.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "reads the documents and the cases"
)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use zdt_units::config::Colour;
use zdt_units::config::keys::{self, reference, schema};
use zdt_units::model::Model;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compares `path` with what it is to be, or writes it.
fn check(path: &Path, wanted: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, wanted).unwrap();
    }
    assert!(
        fs::read_to_string(path).unwrap() == wanted,
        "{} is not up to date",
        path.display()
    );
}

#[test]
fn the_reference_has_every_key() {
    let path = root().join("docs/zdt-toml.md");
    let mut text = fs::read_to_string(&path).unwrap();
    for (name, shape) in [
        ("breaker", keys::BREAKER),
        ("events", keys::EVENTS),
        ("webhook", keys::WEBHOOK),
        ("event exec", keys::EVENT_EXEC),
        ("service", keys::SERVICE),
        ("socket", keys::SOCKET),
        ("health", keys::HEALTH),
        ("drain", keys::DRAIN),
        ("sandbox", keys::SANDBOX),
        ("stop", keys::STOP),
        ("restart", keys::RESTART),
        ("memory", keys::MEMORY),
        ("port", keys::PORT),
        ("launcher", keys::LAUNCHER),
        ("rolling", keys::ROLLING),
        ("balancer", keys::BALANCER),
        ("release", keys::RELEASE),
        ("check", keys::CHECK),
        ("migrate", keys::MIGRATE),
        ("proxy", keys::PROXY),
        ("json", keys::EXPECTED),
        ("foreign", keys::FOREIGN),
    ] {
        let begin = format!("<!-- keys: {name} -->\n");
        let from = text.find(&begin).expect(name) + begin.len();
        let to = from + text[from..].find("<!-- end -->").expect(name);
        text.replace_range(from..to, &reference(&shape));
    }
    check(&path, &text);
}

/// The page of `doctor` has every code.
#[test]
fn the_codes_are_fresh() {
    let path = root().join("docs/doctor.md");
    let mut text = fs::read_to_string(&path).unwrap();
    let begin = "<!-- codes -->\n";
    let from = text.find(begin).unwrap() + begin.len();
    let to = from + text[from..].find("<!-- end -->").unwrap();
    text.replace_range(from..to, &zdt_units::doctor::page());
    check(&path, &text);
}

#[test]
fn the_schema_is_fresh() {
    let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    check(&root().join("docs/zdt-toml.schema.json"), &text);
}

/// What the reader accepts the schema accepts, and it knows what keys there are.
#[test]
fn the_schema_agrees_with_the_reader() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    let read =
        |path: &Path| -> Value { toml::from_str(&fs::read_to_string(path).unwrap()).unwrap() };
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut accepted = 0;
    for entry in fs::read_dir(tests.join("generate")).unwrap() {
        let path = entry.unwrap().path().join("zdt.toml");
        let problems: Vec<_> = schema
            .iter_errors(&read(&path))
            .map(|error| error.to_string())
            .collect();
        assert_eq!(problems, [""; 0], "{}", path.display());
        accepted += 1;
    }
    assert!(accepted > 8, "the cases are gone");
    assert!(!schema.is_valid(&read(&tests.join("mistakes/keys.toml"))));
    let without_program: Value =
        toml::from_str("[service.db]\nunit = \"db.service\"\nexec = []").unwrap();
    assert!(!schema.is_valid(&without_program));
}

/// Every file that the documents show is read without a mistake.
#[test]
fn the_documents_show_what_is_right() {
    let mut shown = 0;
    let documents = fs::read_dir(root().join("docs")).unwrap();
    let documents = documents.map(|entry| entry.unwrap().path());
    for path in documents.chain([root().join("README.md")]) {
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let blocks = text.split("```toml\n").skip(1);
        let files = blocks.filter_map(|block| block.split("```").next());
        let whole = |file: &&str| file.lines().any(|line| line.starts_with("[service."));
        for file in files.filter(whole) {
            if let Err(mistakes) = Model::read("zdt.toml", file) {
                panic!("{}: {}", path.display(), mistakes.render(Colour::Never));
            }
            shown += 1;
        }
    }
    assert!(shown >= 3, "the documents show {shown}");
}
