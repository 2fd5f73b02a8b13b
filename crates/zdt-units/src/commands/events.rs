//! `zdt-units events` and `history`: what was written down.

#![expect(
    clippy::disallowed_methods,
    reason = "commands read files and the wall clock"
)]

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::operation::runtime;
use super::{Failed, scope};
use crate::cli::{ConfigArgs, ControlArgs, EventsArgs, HistoryArgs};
use crate::event::{Records, Stored};
use crate::exit_code;
use crate::host::sinks::{self, EventReader};
use crate::report::brief;
use crate::report::history::History;

/// Between two looks for more.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) fn run(args: &EventsArgs) -> Result<u8, Failed> {
    let path = path(&args.config, args.user, &args.control)?;
    let since = args.since.map(|since| since.before(SystemTime::now()));
    let mut shown = Shown {
        args,
        since,
        records: Records::default(),
    };
    let mut reader = EventReader::new(path.clone());
    let stored = read(&mut reader, &path, args.follow)?;
    if !args.follow && !path.exists() {
        super::note(&[format!(
            "nothing was written down yet: there is no `{}`",
            path.display()
        )]);
    }
    if !shown.show(&stored)? || !args.follow {
        return Ok(exit_code::DONE);
    }
    runtime()?.block_on(async {
        loop {
            tokio::time::sleep(PAUSE).await;
            if !shown.show(&read(&mut reader, &path, true)?)? {
                return Ok(exit_code::DONE);
            }
        }
    })
}

pub(super) fn history(args: &HistoryArgs) -> Result<u8, Failed> {
    let path = path(&args.config, args.user, &args.control)?;
    let mut records = Records::default();
    let stored = read(&mut EventReader::new(path.clone()), &path, false)?;
    let wanted = stored.into_iter().filter(|stored| {
        let service = args.service.as_deref();
        service.is_none_or(|service| service == stored.service())
    });
    let told = wanted.filter_map(|stored| Some(records.take(stored.event?, stored.time)));
    let history = History::of(told, args.last.get());
    if args.json {
        let text = serde_json::to_string_pretty(&history)
            .map_err(|error| Failed::unexpected(error.to_string()))?;
        super::print(&format!("{text}\n"))?;
    } else if let Some(history) = history {
        super::print(&history.table())?;
    } else {
        let path = path.display();
        super::note(&[match &args.service {
            Some(service) => format!("no operation on `{service}` has ended yet in `{path}`"),
            None => format!("no operation has ended yet in `{path}`"),
        }]);
    }
    Ok(exit_code::DONE)
}

/// Where events are, by the file that says so or by default.
fn path(config: &ConfigArgs, user: bool, control: &ControlArgs) -> Result<PathBuf, Failed> {
    let (events, scope) = scope::events(config, user, control)?;
    sinks::file(&events, &scope.log()).ok_or_else(|| {
        Failed::config("`[events]` has `file = false`, so nothing is written down")
            .hint("the journal may have it: `journalctl --identifier zdt-units`")
    })
}

fn read(reader: &mut EventReader, path: &Path, follow: bool) -> Result<Vec<Stored>, Failed> {
    let lines = reader.read().map_err(|error| {
        let failed = Failed::unexpected(format!("failed to read `{}`: {error}", path.display()));
        match error.kind() {
            ErrorKind::PermissionDenied => failed.hint("run it as root"),
            _ => failed,
        }
    })?;
    let count = lines.len();
    let stored: Vec<Stored> = lines.into_iter().filter_map(Stored::read).collect();
    let cut_off = usize::from(!follow && reader.is_amid_a_line());
    match count - stored.len() + cut_off {
        0 => {}
        damaged => super::note(&[format!(
            "{damaged} damaged {} of `{}` left out, as a full disk or a power cut leaves them",
            if damaged == 1 { "line" } else { "lines" },
            path.display()
        )]),
    }
    Ok(stored)
}

/// What is shown of them.
struct Shown<'a> {
    args: &'a EventsArgs,
    since: Option<SystemTime>,
    records: Records,
}

impl Shown<'_> {
    /// Whether anybody still reads.
    fn show(&mut self, stored: &[Stored]) -> Result<bool, Failed> {
        let mut out = String::new();
        for stored in stored {
            // Also those that are not shown say something about those that are.
            let event = stored.event.clone();
            let record = event.map(|event| self.records.take(event, stored.time));
            let service = self.args.service.as_deref();
            if self.since.is_some_and(|since| stored.time < since)
                || service.is_some_and(|service| service != stored.service())
                || !stored.is_wanted(&self.args.kind)
            {
                continue;
            }
            match (self.args.json, record) {
                (true, _) => out.push_str(&format!("{}\n", stored.line)),
                (false, Some(record)) => out.push_str(&format!(
                    "{}  {}\n",
                    humantime::format_rfc3339_millis(stored.time),
                    named(&record.event.service, &brief::line(&record))
                )),
                (false, None) => {}
            }
        }
        let mut stdout = io::stdout();
        let written = stdout
            .write_all(out.as_bytes())
            .and_then(|()| stdout.flush());
        match written {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failed::unexpected(format!(
                "failed to write to standard output: {error}"
            ))),
        }
    }
}

/// Most texts say which service it is.
fn named(service: &str, text: &str) -> String {
    match service.is_empty() || text.contains(&format!("`{service}`")) {
        true => text.to_owned(),
        false => format!("`{service}`: {text}"),
    }
}
