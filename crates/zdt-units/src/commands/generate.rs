//! `zdt-units generate`: one list of units, three ends: print, compare, write.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::{Failed, config_file};
use crate::cli::GenerateArgs;
use crate::exit_code;
use crate::host::files;
use crate::install::is_ours;
use crate::plan::File;
use crate::render::{Manager, Target, render};
use crate::report::diff;
use crate::unit_file::UnitFile;

pub(super) fn run(args: &GenerateArgs) -> Result<u8, Failed> {
    let read = config_file::read_for_systemd(&args.config)?;
    let target = args.target.target();
    let rendered = render(&read.model, &read.source, target);
    super::note(&rendered.notes);
    match &args.out {
        None => print(&rendered.units, target),
        Some(directory) if args.check => check(&rendered.units, directory),
        Some(directory) => write(&rendered.units, directory),
    }
}

fn print(units: &[UnitFile], target: Target) -> Result<u8, Failed> {
    let directory = match target.manager {
        Manager::System => "/etc/systemd/system",
        Manager::User => "~/.config/systemd/user",
    };
    let blocks: Vec<String> = units
        .iter()
        .map(|unit| format!("# {directory}/{}\n{unit}", unit.name))
        .collect();
    super::print(&blocks.join("\n"))?;
    Ok(exit_code::DONE)
}

fn check(units: &[UnitFile], directory: &Path) -> Result<u8, Failed> {
    note_stale(units, directory);
    let mut differences = String::new();
    for unit in units {
        let path = directory.join(unit.name.as_str());
        let there = current(&path)?;
        differences.push_str(&diff::listing(&path, there.as_deref(), &unit.to_string()));
    }
    if differences.is_empty() {
        return Ok(exit_code::DONE);
    }
    super::print(&differences)?;
    Ok(exit_code::DIFFERS)
}

/// All files that differ, or none of them.
fn write(units: &[UnitFile], directory: &Path) -> Result<u8, Failed> {
    let mut talk = String::new();
    let mut differing = Vec::new();
    for unit in units {
        let path = directory.join(unit.name.as_str());
        let text = unit.to_string();
        if current(&path)?.as_deref() == Some(text.as_str()) {
            talk.push_str(&format!("unchanged `{}`\n", path.display()));
            continue;
        }
        talk.push_str(&format!("wrote `{}`\n", path.display()));
        let keep = None;
        differing.push(File { path, text, keep });
    }
    files::write(&differing, &[]).map_err(|failure| Failed::unexpected(failure.reason))?;
    note_stale(units, directory);
    let _ = io::stderr().write_all(talk.as_bytes());
    Ok(exit_code::DONE)
}

/// Names files of ours that nothing generates any more. They may be of another
/// `zdt.toml`, so they are neither removed nor a difference.
fn note_stale(units: &[UnitFile], directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut stale: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default();
            !units.iter().any(|unit| name == unit.name.as_str())
        })
        .filter(|path| matches!(current(path), Ok(Some(text)) if is_ours(&text)))
        .map(|path| format!("`{}` is not generated from this file", path.display()))
        .collect();
    stale.sort();
    super::note(&stale);
}

fn current(path: &Path) -> Result<Option<String>, Failed> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Failed::unexpected(format!(
            "failed to read `{}`: {source}",
            path.display()
        ))),
    }
}
