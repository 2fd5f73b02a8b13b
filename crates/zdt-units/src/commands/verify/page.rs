//! `--html`: the page for those who were not there.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::super::Failed;
use super::say;
use crate::exit_code;
use crate::report::html;
use crate::verify::result::Verified;

/// A page that will be written, whole or not at all.
pub(super) struct Page {
    path: PathBuf,
    file: NamedTempFile,
}

impl Page {
    /// Fails before a restart where writing would fail after all of them.
    pub(super) fn begin(path: &Path) -> Result<Self, Failed> {
        let refused = |why: &str| {
            let path = path.display();
            Failed::said(exit_code::USAGE, format!("failed to write `{path}`: {why}"))
        };
        if path.exists() && !path.is_file() {
            return Err(refused("it is there, and not a file"));
        }
        let directory = match path.parent() {
            Some(directory) if directory != Path::new("") => directory,
            _ => Path::new("."),
        };
        if !directory.is_dir() {
            return Err(refused("its directory is not there").hint("create the directory first"));
        }
        let file = tempfile::Builder::new()
            .prefix(".zdt-")
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(directory)
            .map_err(|error| refused(&error.to_string()))?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    pub(super) fn write(self, verified: &Verified) -> Result<(), Failed> {
        let Self { path, mut file } = self;
        let written = file
            .write_all(html::page(verified).as_bytes())
            .and_then(|()| file.persist(&path).map_err(io::Error::from));
        match written {
            Ok(_) => {
                say(&format!("wrote `{}`", path.display()));
                Ok(())
            }
            Err(error) => Err(Failed::unexpected(format!(
                "failed to write `{}`: {error}",
                path.display()
            ))),
        }
    }
}
