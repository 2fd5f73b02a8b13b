//! `zdt-units generate`: one list of units, three ends: print, compare, write.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::named::{find, refuse_unknown};
use super::{Failed, config_file};
use crate::cli::GenerateArgs;
use crate::exit_code;
use crate::host::files;
use crate::install::is_ours;
use crate::plan::File;
use crate::render::{Manager, Proxies, Target, proxy_file, render};
use crate::report::diff;
use crate::unit_file::UnitFile;

pub(super) fn run(args: &GenerateArgs) -> Result<u8, Failed> {
    if let Some(name) = args.proxy {
        return proxy(args, name.into());
    }
    let read = config_file::read_for_systemd(&args.config)?;
    let target = args.target.target();
    let rendered = render(&read.model, &read.source, target);
    super::note(&rendered.notes);
    let Some(directory) = &args.out else {
        return print(&rendered.units, target);
    };
    let files = rendered.units.iter();
    let files: Vec<_> = files
        .map(|unit| (directory.join(unit.name.as_str()), unit.to_string()))
        .collect();
    note_stale(&rendered.units, directory);
    compare_or_write(args, files)
}

/// For a proxy it does not matter who runs the services.
fn proxy(args: &GenerateArgs, proxy: Proxies) -> Result<u8, Failed> {
    let read = config_file::read(&args.config)?;
    refuse_unknown(&read.model, &args.services)?;
    for name in &args.services {
        find(&read.model, name)?;
    }
    let file =
        proxy_file(&read.model, &read.source, proxy, &args.services).map_err(Failed::mistakes)?;
    super::note(&file.notes);
    match &args.out {
        None => {
            super::print(&file.text)?;
            Ok(exit_code::DONE)
        }
        Some(directory) => compare_or_write(args, vec![(directory.join(file.name), file.text)]),
    }
}

fn compare_or_write(args: &GenerateArgs, files: Vec<(PathBuf, String)>) -> Result<u8, Failed> {
    match args.check {
        true => check(&files),
        false => write(files),
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

fn check(files: &[(PathBuf, String)]) -> Result<u8, Failed> {
    let mut differences = String::new();
    for (path, text) in files {
        let there = current(path)?;
        differences.push_str(&diff::listing(path, there.as_deref(), text));
    }
    if differences.is_empty() {
        return Ok(exit_code::DONE);
    }
    super::print(&differences)?;
    Ok(exit_code::DIFFERS)
}

/// All files that differ, or none of them.
fn write(files: Vec<(PathBuf, String)>) -> Result<u8, Failed> {
    let mut talk = String::new();
    let mut differing = Vec::new();
    for (path, text) in files {
        if current(&path)?.as_deref() == Some(text.as_str()) {
            talk.push_str(&format!("unchanged `{}`\n", path.display()));
            continue;
        }
        talk.push_str(&format!("wrote `{}`\n", path.display()));
        let keep = None;
        differing.push(File { path, text, keep });
    }
    files::write(&differing, &[]).map_err(|failure| Failed::unexpected(failure.reason))?;
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
