//! What systemd itself says about every committed unit: the goldens of `generate`, and `systemd/`.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;

use zdt_e2e::machine::{self, Machine};

/// Units that belong together.
struct Case {
    name: String,
    units: Vec<(String, String)>,
    /// For `systemd --user`.
    of_user: bool,
}

/// `systemd-analyze verify`, the loaded unit and the journal have nothing to say about any of them, and all of their
/// sockets open. About a unit with a slip in it, all three have.
pub(crate) fn generated_units_load_without_a_word(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let cases = cases(machine)?;
    for case in &cases {
        let machine = crate::builder().boot()?;
        let found = match case.of_user {
            true => verify(&machine, case, &["--user"])?,
            false => complaints(&machine, case)?,
        };
        assert!(found.is_empty(), "{}:\n{}", case.name, found.join("\n"));
    }
    let units: usize = cases.iter().map(|case| case.units.len()).sum();
    println!(
        "{}: {units} units of {} cases load without a word",
        release(machine)?,
        cases.len()
    );

    let slip = Case {
        of_user: false,
        name: "control".to_owned(),
        units: vec![(
            "slip.service".to_owned(),
            "[Service]\nExecStart=/bin/true\nRestartSecs=1\n".to_owned(),
        )],
    };
    let found = complaints(machine, &slip)?;
    println!("control, a misspelt key: {} complaints", found.len());
    assert!(
        found.iter().any(|said| said.starts_with("verify:")),
        "{found:?}"
    );
    assert!(
        found.iter().any(|said| said.starts_with("journal:")),
        "{found:?}"
    );
    Ok(())
}

/// What systemd counts as exposure, of ten. A unit without a sandbox was asked for as such.
pub(crate) fn generated_units_are_not_exposed(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let mut over = Vec::new();
    println!("\n{}", release(machine)?);
    // A user's own manager cannot fence much, and nobody is promised that it does.
    for case in cases(machine)?.iter().filter(|case| !case.of_user) {
        for (name, text) in case
            .units
            .iter()
            .filter(|(name, _)| name.ends_with(".service"))
        {
            let path = format!("/run/exposure/{}/{name}", case.name);
            machine.write_file(&path, text, 0o644)?;
            let limit = limit(text);
            // In tenths, and without a limit all there is.
            let threshold = format!("--threshold={}", limit.unwrap_or(100));
            let judged = machine.run(&[
                "systemd-analyze",
                "security",
                "--offline=true",
                "--no-pager",
                &threshold,
                &path,
            ])?;
            let figure = judged.stdout.lines().find_map(exposure);
            let figure = figure.ok_or_else(|| format!("no figure for {path}: {judged:?}"))?;
            println!(
                "{:24} {name:24} {figure:>5} {}",
                case.name,
                limit.map_or("no sandbox".to_owned(), |limit| format!(
                    "of {}.{}",
                    limit / 10,
                    limit % 10
                ))
            );
            if !judged.success() {
                over.push(format!("{}/{name}: {figure}", case.name));
            }
        }
    }
    assert!(over.is_empty(), "more exposed than it may be: {over:?}");

    // The gate closes: without its sandbox the same unit is over the limit.
    let bare = "[Service]\nExecStart=/bin/true\n";
    machine.write_file("/run/exposure/bare.service", bare, 0o644)?;
    let path = "/run/exposure/bare.service";
    let command = [
        "systemd-analyze",
        "security",
        "--offline=true",
        "--threshold=15",
        path,
    ];
    assert!(!machine.run(&command)?.success(), "a bare unit passed");
    Ok(())
}

/// The highest exposure of a unit, in tenths; `None` for one that has nothing of a sandbox.
fn limit(unit: &str) -> Option<u32> {
    let sets = |key: &str| unit.lines().any(|line| line.starts_with(key));
    if sets("PrivateNetwork=yes") {
        return Some(5);
    }
    let fenced = ["Private", "Protect", "Restrict"].into_iter().any(sets);
    fenced.then_some(15)
}

/// The figure in the last line of `systemd-analyze security`.
fn exposure(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("Overall exposure level for ")?;
    rest.split_once(": ")?.1.split(' ').next()
}

/// Everything that is said about the units of `case` when they are verified, loaded, and their sockets opened.
fn complaints(machine: &Machine, case: &Case) -> Result<Vec<String>, Box<dyn Error>> {
    let mut said = verify(machine, case, &[])?;
    let units = &case.units;
    for (name, _) in units {
        // A template has nothing to load until it has an instance.
        let name = name.replace("@.", "@1.");
        let state = machine.show(&name, "LoadState")?;
        let error = machine.show(&name, "LoadError")?;
        if (state.as_str(), error.as_str()) != ("loaded", "") {
            said.push(format!("load: {name} is {state}, {error}"));
        }
    }
    for (name, _) in units.iter().filter(|(name, _)| name.ends_with(".socket")) {
        let opened = machine.systemctl(&["start", name])?;
        said.extend(opened.stderr.lines().map(|line| format!("start: {line}")));
    }
    let journal = machine.run(&["journalctl", "--output=cat", "--priority=notice", "_PID=1"])?;
    let about_us = |line: &&str| {
        units.iter().any(|(name, _)| {
            line.contains(&unit_path(name)) || line.contains(&name.replace("@.", "@"))
        })
    };
    let journal = journal.ok()?.stdout;
    said.extend(
        journal
            .lines()
            .filter(about_us)
            .map(|line| format!("journal: {line}")),
    );
    Ok(said)
}

/// Installs the units of `case`, and asks `systemd-analyze verify` about all of them.
fn verify(machine: &Machine, case: &Case, flags: &[&str]) -> Result<Vec<String>, Box<dyn Error>> {
    stand_ins(machine, case)?;
    let units: Vec<_> = case
        .units
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    machine.install(&units)?;
    let paths: Vec<_> = units.iter().map(|(name, _)| unit_path(name)).collect();
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    let verify = [
        "env",
        "XDG_RUNTIME_DIR=/run",
        "systemd-analyze",
        "verify",
        "--recursive-errors=yes",
    ];
    let verified = machine.run(&[&verify, flags, &paths].concat())?;
    let said = verified.stderr.lines();
    let mut said: Vec<_> = said.map(|line| format!("verify: {line}")).collect();
    if !verified.success() {
        said.push(format!("verify: ended with {:?}", verified.code));
    }
    Ok(said)
}

fn unit_path(name: &str) -> String {
    format!("/etc/systemd/system/{name}")
}

/// The programs and users that the units name, where the machine does not have them.
fn stand_ins(machine: &Machine, case: &Case) -> Result<(), machine::Error> {
    let mut programs = BTreeSet::new();
    let mut users = BTreeSet::new();
    let directives = case.units.iter().flat_map(|(_, text)| text.lines());
    for (key, value) in directives.filter_map(|line| line.split_once('=')) {
        match key {
            "User" | "Group" | "SocketUser" | "SocketGroup" => {
                users.insert(format!("u {value}"));
            }
            _ if key.starts_with("Exec") => {
                let program = value.split([' ', '"']).find(|word| word.starts_with('/'));
                programs.extend(program.map(|program| program.replace("%%", "%")));
            }
            _ => {}
        }
    }
    for program in programs {
        let script = r#"[ -e "$1" ] || { mkdir -p "${1%/*}" && cp /bin/true "$1"; }"#;
        machine
            .run(&["sh", "-c", script, "stand-in", &program])?
            .ok()?;
    }
    if !users.is_empty() {
        let sysusers = ["systemd-sysusers", "--inline"];
        let users = users.iter().map(String::as_str);
        machine
            .run(&sysusers.into_iter().chain(users).collect::<Vec<_>>())?
            .ok()?;
    }
    Ok(())
}

/// Every directory of committed units: `systemd/` and what is below it, and the goldens of the generator, without those
/// for a newer systemd than that of `machine`.
fn cases(machine: &Machine) -> Result<Vec<Case>, Box<dyn Error>> {
    let release: u32 = release(machine)?.trim_start_matches("systemd ").parse()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut cases = Vec::new();
    let mut directories = vec![
        root.join("systemd"),
        root.join("crates/zdt-units/tests/generate"),
    ];
    while let Some(directory) = directories.pop() {
        let mut units = Vec::new();
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else if is_unit(&path) {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                units.push((name.into_owned(), fs::read_to_string(&path)?));
            }
        }
        units.sort();
        let name = case_name(&root, &directory);
        let target = name.split_once("/expected-").map(|(_, target)| target);
        let needs = target.and_then(|target| target.parse::<u32>().ok());
        if !units.is_empty() && needs.is_none_or(|needs| needs <= release) {
            cases.push(Case {
                of_user: target == Some("user"),
                name,
                units,
            });
        }
    }
    cases.sort_by(|one, two| one.name.cmp(&two.name));
    assert!(cases.len() >= 6, "committed units are gone");
    Ok(cases)
}

fn is_unit(path: &Path) -> bool {
    let kind = path.extension().and_then(|kind| kind.to_str());
    matches!(
        kind,
        Some("service" | "socket" | "target" | "slice" | "timer" | "path")
    )
}

/// `dual-stack` for `crates/zdt-units/tests/generate/dual-stack/expected`.
fn case_name(root: &Path, directory: &Path) -> String {
    let name = directory.strip_prefix(root).unwrap_or(directory);
    let name = name
        .strip_prefix("crates/zdt-units/tests/generate")
        .unwrap_or(name);
    let name = name.to_string_lossy();
    name.strip_suffix("/expected").unwrap_or(&name).to_owned()
}

/// As `systemctl --version` names it: `systemd 252`.
fn release(machine: &Machine) -> Result<String, machine::Error> {
    let version = machine.systemctl(&["--version"])?.ok()?.stdout;
    Ok(version.split(' ').take(2).collect::<Vec<_>>().join(" "))
}
