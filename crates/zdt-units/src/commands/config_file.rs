//! Finds and reads `zdt.toml`.

#![expect(
    clippy::disallowed_methods,
    reason = "commands are where files are read"
)]

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use super::Failed;
use crate::cli::ConfigArgs;
use crate::config::{Colour, Mistakes};
use crate::model::Model;

/// A model and the name of the file that it came from.
pub(super) struct Read {
    pub(super) model: Model,
    /// Without directories, so that generated files do not depend on where they were made.
    pub(super) source: String,
    pub(super) path: PathBuf,
}

/// A model, and the file that it came from as it is.
pub(super) struct Whole {
    pub(super) model: Model,
    pub(super) path: PathBuf,
    pub(super) text: String,
}

pub(super) fn read(args: &ConfigArgs) -> Result<Read, Failed> {
    read_by(args, Model::read).map(Read::from)
}

/// For units of systemd, which cannot do all that `zdt-units run` can.
pub(super) fn read_for_systemd(args: &ConfigArgs) -> Result<Read, Failed> {
    read_by(args, Model::for_systemd).map(Read::from)
}

pub(super) fn read_whole(args: &ConfigArgs) -> Result<Whole, Failed> {
    read_by(args, Model::read)
}

impl From<Whole> for Read {
    fn from(whole: Whole) -> Self {
        let source = whole.path.file_name().unwrap_or(whole.path.as_os_str());
        Self {
            source: source.to_string_lossy().into_owned(),
            model: whole.model,
            path: whole.path,
        }
    }
}

fn read_by(
    args: &ConfigArgs,
    model: impl FnOnce(&str, &str) -> Result<Model, Mistakes>,
) -> Result<Whole, Failed> {
    let path = find(args)?;
    let text = std::fs::read_to_string(&path).map_err(|source| {
        Failed::config(format!("failed to read `{}`: {source}", path.display()))
    })?;
    let model = model(&path.display().to_string(), &text)
        .map_err(|mistakes| Failed::Mistakes(mistakes.render(colour())))?;
    Ok(Whole { model, path, text })
}

/// What a launcher has loaded, where it was not started from this directory.
pub(super) fn loaded((path, text): (Option<&PathBuf>, &str)) -> Result<Read, Failed> {
    let path = path.cloned().unwrap_or_else(|| PathBuf::from("zdt.toml"));
    let model = Model::read(&path.display().to_string(), text)
        .map_err(|mistakes| Failed::Mistakes(mistakes.render(colour())))?;
    let text = text.to_owned();
    Ok(Read::from(Whole { model, path, text }))
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
