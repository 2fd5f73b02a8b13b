//! The pages as a whole: links lead somewhere, nothing is missing from the runbook, and a newcomer finds every page.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "reads the documents"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use zdt_units::doctor;
use zdt_units::event::KINDS;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap()
}

/// All pages, but not those of a build or of another repository within.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    let mut directories = vec![root()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let skipped = name.starts_with('.') || name == "target" || name == "node_modules";
            if path.is_dir() && !skipped {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// What is not code.
fn prose(text: &str) -> String {
    let mut in_code = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            prose += line;
            prose.push('\n');
        }
    }
    prose
}

/// Where the headings of a page can be linked to, as GitHub names them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for line in prose(text).lines() {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let slug: String = heading.trim().to_lowercase().chars().filter(kept).collect();
        let slug = slug.replace(' ', "-");
        let times = seen.entry(slug.clone()).or_default();
        anchors.insert(match *times {
            0 => slug,
            more => format!("{slug}-{more}"),
        });
        *times += 1;
    }
    anchors
}

/// Targets of links within the repository.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose.split("](").skip(1);
    let targets = targets.filter_map(|rest| Some(rest.split_once(')')?.0.replace('\n', "")));
    targets.filter(|target| !target.contains("://")).collect()
}

fn broken(page: &Path, target: &str) -> bool {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = match path {
        "" => page.to_owned(),
        path => page.parent().unwrap().join(path),
    };
    if anchor.is_empty() {
        return !path.exists();
    }
    fs::read_to_string(path).map_or(true, |text| !anchors(&text).contains(anchor))
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut wrong = Vec::new();
    let mut followed = 0;
    for page in &pages {
        for target in links(&fs::read_to_string(page).unwrap()) {
            followed += 1;
            if broken(page, &target) {
                wrong.push(format!("{}: {target}", page.display()));
            }
        }
    }
    println!("{followed} links on {} pages", pages.len());
    assert_eq!(wrong, [""; 0], "of {followed}");
    assert!(followed > 300, "{followed} links");
    let readme = root().join("README.md");
    assert!(broken(&readme, "docs/nowhere.md") && broken(&readme, "docs/run.md#nowhere"));
}

/// Who begins at the README comes to each page of `docs` by one step.
#[test]
fn the_readme_leads_to_every_page() {
    let readme = links(&fs::read_to_string(root().join("README.md")).unwrap());
    let linked: BTreeSet<&str> = readme
        .iter()
        .map(|target| target.split('#').next().unwrap())
        .collect();
    let pages = pages();
    let pages = pages.iter().map(|page| page.strip_prefix(root()).unwrap());
    let missing: Vec<_> = pages
        .filter(|page| page.starts_with("docs"))
        .filter(|page| !linked.contains(page.to_str().unwrap()))
        .collect();
    assert!(missing.is_empty(), "not linked: {missing:?}");
}

/// Each exit code, finding and kind of event has a row: what is seen, what happened, what to do.
#[test]
fn the_runbook_has_everything() {
    let text = fs::read_to_string(root().join("docs/runbook.md")).unwrap();
    let codes = fs::read_to_string(root().join("docs/exit-codes.md")).unwrap();
    let numbers = codes.lines().filter_map(|line| {
        let number = line.strip_prefix("| ")?.split(" | ").next()?;
        number.parse::<u8>().ok().map(|number| number.to_string())
    });
    let page = doctor::page();
    let findings = page.split('`').filter(|word| word.starts_with("ZDT-D"));
    let findings = findings.map(str::to_owned);
    let wanted: Vec<String> = numbers
        .chain(findings)
        .chain(KINDS.iter().map(|kind| (*kind).to_owned()))
        .collect();
    assert!(wanted.len() > 10 + 30 + 20, "{wanted:?}");
    let row = |seen: &String| {
        let begins = format!("| `{seen}`");
        let line = text.lines().find(|line| line.starts_with(&begins))?;
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        (cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty())).then_some(())
    };
    let missing: Vec<&String> = wanted.iter().filter(|seen| row(seen).is_none()).collect();
    assert_eq!(missing, [""; 0]);
    println!("{} rows", wanted.len());
}
