//! Whole unit files for whole `zdt.toml`s, and what systemd says to them.
//!
//! `BLESS=1 cargo test -p zdt-units --test generate` writes what is expected.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "reads the cases and runs systemd-analyze"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use zdt_units::model::Model;
use zdt_units::render::{
    DEFAULT_SYSTEMD, Directive, Manager, OLDEST_SYSTEMD, Rendered, Target, render,
};
use zdt_units::unit_file::UnitFile;

fn cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/generate");
    let mut cases: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    assert!(cases.len() >= 4, "the cases are gone: {cases:?}");
    cases
}

/// `expected` is for the default target; `expected-257` and `expected-user` are
/// for that release and for a user's own manager.
fn targets(case: &Path) -> Vec<(PathBuf, Target)> {
    let mut targets = vec![(case.join("expected"), Target::default())];
    for entry in fs::read_dir(case).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let target = match name.strip_prefix("expected-") {
            None => continue,
            Some("user") => Target {
                manager: Manager::User,
                ..Target::default()
            },
            Some(release) => Target {
                systemd: release.parse().unwrap(),
                ..Target::default()
            },
        };
        targets.push((path, target));
    }
    targets
}

fn rendered(case: &Path, target: Target) -> Rendered {
    let text = fs::read_to_string(case.join("zdt.toml")).unwrap();
    let model = Model::read("zdt.toml", &text).unwrap_or_else(|mistakes| {
        panic!("{}: {:?}", case.display(), mistakes.problems());
    });
    render(&model, "zdt.toml", target)
}

fn generated(case: &Path) -> Vec<UnitFile> {
    rendered(case, Target::default()).units
}

#[test]
fn every_case_gives_the_expected_files_and_no_others() {
    for (directory, target) in cases().iter().flat_map(|case| targets(case)) {
        let rendered = rendered(directory.parent().unwrap(), target);
        let units = rendered.units.iter();
        let mut files: BTreeMap<String, String> = units
            .map(|unit| (unit.name.to_string(), unit.to_string()))
            .collect();
        if !rendered.notes.is_empty() {
            files.insert("notes.txt".to_owned(), rendered.notes.join("\n") + "\n");
        }
        if std::env::var_os("BLESS").is_some() {
            let _ = fs::remove_dir_all(&directory);
            fs::create_dir(&directory).unwrap();
            for (name, text) in &files {
                fs::write(directory.join(name), text).unwrap();
            }
        }
        let expected: BTreeMap<String, String> = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        assert_eq!(
            files.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>(),
            "{}",
            directory.display()
        );
        for (name, text) in &files {
            assert!(
                *text == expected[name],
                "{}/{name} is not what is generated:\n{text}",
                directory.display()
            );
        }
    }
}

#[test]
fn systemd_loads_every_case_without_a_word() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        assert!(
            std::env::var_os("ZDT_REQUIRE_SYSTEMD").is_none(),
            "`systemd-analyze` is missing, and ZDT_REQUIRE_SYSTEMD is set"
        );
        println!("left out: there is no `systemd-analyze` here");
        return;
    }
    for case in cases() {
        let units = generated(&case);
        let directory = tempfile::tempdir().unwrap();
        for unit in &units {
            fs::write(directory.path().join(unit.name.as_str()), unit.to_string()).unwrap();
        }
        let verified = Command::new("systemd-analyze")
            .arg("verify")
            .args(units.iter().map(|unit| format!("./{}", unit.name)))
            .current_dir(directory.path())
            .output()
            .unwrap();
        let said = (
            String::from_utf8_lossy(&verified.stderr).into_owned(),
            verified.status.code(),
        );
        assert_eq!(said, (String::new(), Some(0)), "{}", case.display());
    }
}

#[test]
fn nothing_newer_than_the_wanted_systemd_is_written() {
    for systemd in [OLDEST_SYSTEMD, 245, 249, DEFAULT_SYSTEMD, 253, 257, 262] {
        let target = Target {
            systemd,
            ..Target::default()
        };
        for unit in cases().iter().flat_map(|case| rendered(case, target).units) {
            for directive in unit
                .sections
                .iter()
                .flat_map(|section| section.directives())
            {
                let known = Directive::named(directive)
                    .unwrap_or_else(|| panic!("`{directive}` is not in `render/directive.rs`"));
                assert!(known.since <= systemd, "{}: {known:?}", unit.name);
            }
            // The values that an older release would misread.
            let reloads = unit.to_string().contains("Type=notify-reload");
            assert!(!reloads || systemd >= 253, "{}", unit.name);
            let executed = unit.to_string().contains("Type=exec\n");
            assert!(!executed || systemd >= 240, "{}", unit.name);
            // It would close the connections that it is given to keep.
            let hands_over = unit.to_string().contains("ZDT_HANDOVER=1");
            assert!(!hands_over || systemd >= 246, "{}", unit.name);
        }
    }
}

/// `systemd/` is what the examples' `zdt.toml`s give, to be read without
/// running anything: a directory for each example, and nothing else.
#[test]
fn the_committed_units_are_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut expected = BTreeMap::new();
    for example in fs::read_dir(root.join("examples")).unwrap() {
        let example = example.unwrap();
        if !example.path().join("zdt.toml").exists() {
            continue;
        }
        for unit in generated(&example.path()) {
            let path = Path::new(&example.file_name()).join(unit.name.as_str());
            expected.insert(path, unit.to_string());
        }
    }
    assert!(!expected.is_empty(), "the examples are gone");

    let committed = root.join("systemd");
    if std::env::var_os("BLESS").is_some() {
        for (path, text) in &expected {
            let path = committed.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }
    let mut found = BTreeMap::new();
    for directory in fs::read_dir(&committed).unwrap() {
        let directory = directory.unwrap().path();
        if !directory.is_dir() {
            continue;
        }
        for unit in fs::read_dir(directory).unwrap() {
            let path = unit.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            found.insert(path.strip_prefix(&committed).unwrap().to_owned(), text);
        }
    }
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>(),
        "write them with `BLESS=1`; what is too many is removed by hand"
    );
    for (path, text) in &expected {
        assert!(
            *text == found[path],
            "systemd/{} is not what is generated:\n{text}",
            path.display()
        );
    }
}
