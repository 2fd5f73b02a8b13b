//! The file of metrics, and the totals that it is made from.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::event::Record;
use crate::host::beside::beside;
use crate::report::metrics::Totals;

/// How long another process may be at it, in pauses of [`PAUSE`].
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct MetricsFile {
    path: PathBuf,
    totals: PathBuf,
}

impl MetricsFile {
    pub(super) fn new(path: PathBuf, state: &Path) -> Self {
        Self {
            path,
            totals: state.join("metrics.json"),
        }
    }

    /// Counts the ends of operations; other events change nothing.
    pub(super) fn take(&self, record: &Record) -> Result<(), String> {
        if !Totals::counts(record) {
            return Ok(());
        }
        let (path, totals) = (self.path.display(), self.totals.display());
        let failed = |error: io::Error| format!("metrics are not written to `{path}`: {error}");
        let _lock = self.lock().map_err(failed)?;
        let mut known: Totals = match fs::read_to_string(&self.totals) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| {
                format!("metrics are not counted: `{totals}` is damaged ({error}); remove it to begin at 0")
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Totals::default(),
            Err(error) => return Err(failed(error)),
        };
        known.take(record);
        let text = serde_json::to_string_pretty(&known)
            .map_err(|error| format!("metrics are not counted: {error}"))?;
        replace(&self.totals, &text).map_err(failed)?;
        replace(&self.path, &known.text()).map_err(failed)
    }

    fn lock(&self) -> io::Result<File> {
        let path = self.totals.with_extension("lock");
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut options = OpenOptions::new();
        let lock = options.create(true).append(true).open(path)?;
        for _ in 0..TRIES {
            if lock.try_lock().is_ok() {
                return Ok(lock);
            }
            std::thread::sleep(PAUSE);
        }
        Err(ErrorKind::TimedOut.into())
    }
}

/// At once or not at all.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    let mut temporary = beside(path, 0o644)?;
    temporary.write_all(text.as_bytes())?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}
