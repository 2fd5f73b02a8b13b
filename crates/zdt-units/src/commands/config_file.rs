//! Finds and reads `zdt.toml`.

#![expect(
    clippy::disallowed_methods,
    reason = "commands are where files are read"
)]

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use super::Failed;
use crate::cli::ConfigArgs;
use crate::config::Colour;
use crate::model::Model;

/// A model and the name of the file that it came from.
pub(super) struct Read {
    pub(super) model: Model,
    /// Without directories, so that generated files do not depend on where they were made.
    pub(super) source: String,
    pub(super) path: PathBuf,
}

pub(super) fn read(args: &ConfigArgs) -> Result<Read, Failed> {
    let path = find(args)?;
    let text = std::fs::read_to_string(&path).map_err(|source| {
        Failed::config(format!("failed to read `{}`: {source}", path.display()))
    })?;
    parse(path, &text)
}

/// What a launcher has loaded, where it was not started from this directory.
pub(super) fn loaded((path, text): (Option<&PathBuf>, &str)) -> Result<Read, Failed> {
    let path = path.cloned();
    parse(path.unwrap_or_else(|| PathBuf::from("zdt.toml")), text)
}

fn parse(path: PathBuf, text: &str) -> Result<Read, Failed> {
    let model = Model::read(&path.display().to_string(), text)
        .map_err(|mistakes| Failed::Mistakes(mistakes.render(colour())))?;
    let source = path.file_name().unwrap_or(path.as_os_str());
    Ok(Read {
        model,
        source: source.to_string_lossy().into_owned(),
        path,
    })
}

/// Whether there is a file, or one is named.
pub(super) fn exists(args: &ConfigArgs) -> bool {
    args.config.is_some() || usual().is_some()
}

fn find(args: &ConfigArgs) -> Result<PathBuf, Failed> {
    if let Some(path) = &args.config {
        return Ok(path.clone());
    }
    usual().ok_or_else(|| {
        Failed::config("there is no `zdt.toml` here and no `/etc/zdt/zdt.toml`")
            .hint("name the file with `--config FILE`")
    })
}

fn usual() -> Option<PathBuf> {
    let places = ["zdt.toml", "/etc/zdt/zdt.toml"];
    let found = places.iter().map(Path::new).find(|path| path.exists());
    found.map(Path::to_owned)
}

fn colour() -> Colour {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    match wanted && io::stderr().is_terminal() {
        true => Colour::Always,
        false => Colour::Never,
    }
}
