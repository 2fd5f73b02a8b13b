//! A unit file as data: ordered sections and keys, values that are escaped when they are made.

mod escape;

use std::fmt;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::model::{
    AbsolutePath, CredentialName, DocUri, EnvironmentFile, Exec, Name, PathText, Text, UnitName,
    UserName, span,
};

/// One file, ready to be written under its unit's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitFile {
    pub name: UnitName,
    /// The service of `zdt.toml` that it is for.
    pub service: Name,
    /// Comment lines above everything else.
    pub header: Vec<String>,
    pub sections: Vec<Section>,
}

/// `[Unit]` and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub name: &'static str,
    pub lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Without its `#`.
    Comment(String),
    Directive {
        key: &'static str,
        value: Value,
    },
}

/// The right side of a directive, escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value(String);

impl Section {
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            lines: Vec::new(),
        }
    }

    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) -> &mut Self {
        self.lines.push(Line::Directive {
            key,
            value: value.into(),
        });
        self
    }

    /// Stands above the next line and says why that one is there.
    pub fn comment(&mut self, text: impl Into<String>) -> &mut Self {
        let text = text.into();
        debug_assert!(!text.contains('\n'), "a comment is one line");
        self.lines.push(Line::Comment(text));
        self
    }

    pub fn directives(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.lines.iter().filter_map(|line| match line {
            Line::Comment(_) => None,
            Line::Directive { key, .. } => Some(*key),
        })
    }
}

impl Value {
    /// Text that is taken whole; it has no line break.
    pub fn text(text: &str) -> Self {
        debug_assert!(!text.contains('\n'), "a value is one line");
        Self(escape::whole(text))
    }

    /// `NAME=value` for `Environment=`.
    pub fn assignment(name: &str, value: &Text) -> Self {
        Self(escape::assignment(name, value))
    }

    /// Names with a space between.
    pub fn units<'a>(units: impl IntoIterator<Item = &'a UnitName>) -> Self {
        let units: Vec<_> = units.into_iter().map(UnitName::as_str).collect();
        Self(units.join(" "))
    }

    /// One file of `EnvironmentFile=`, not the pattern that systemd takes it for.
    pub fn environment_file(file: &EnvironmentFile) -> Self {
        let optional = if file.optional { "-" } else { "" };
        Self(format!("{optional}{}", escape::pattern(file.path.text())))
    }

    /// URIs with a space between.
    pub fn uris(uris: &[DocUri]) -> Self {
        let uris: Vec<_> = uris.iter().map(|uri| escape::whole(uri.as_str())).collect();
        Self(uris.join(" "))
    }

    /// `NAME:PATH` for `LoadCredential=`.
    pub fn credential(name: &CredentialName, path: &PathText) -> Self {
        Self(format!("{name}:{}", escape::path(path.text())))
    }

    /// Asks the process to stop by `exec`, with its number in `ZDT_PID`; that has so much time, and its failure is no
    /// failure. Without a process it does nothing.
    pub fn hook(limit: Duration, exec: &Exec) -> Self {
        let command = escape::words(exec.program(), exec.arguments());
        Self(format!("{} {command}", asking(limit)))
    }

    /// Waits for so long until the process has ended.
    pub fn wait(limit: Duration) -> Self {
        let alive = r#"/bin/sh -c "while kill -0 $$ZDT_PID 2>/dev/null; do sleep 0.1; done""#;
        Self(format!("{} {alive}", asking(limit)))
    }

    /// Tells the process to end, and waits for it. systemd does not wait for a main process that was not its child when
    /// it became that (`MAINPID=`): where nothing else runs in the unit, `SIGKILL` follows at once.
    pub fn end(signal: Signal) -> Self {
        let name = signal.as_str().trim_start_matches("SIG");
        Self(format!(
            "-/bin/sh -c \"exec 2>/dev/null; kill -{name} $$MAINPID && while kill -0 $$MAINPID; do sleep 0.05; done\""
        ))
    }

    /// Below the manager's runtime directory: `/run`, or that of the user.
    pub fn handover_directory(name: &str) -> Self {
        Self(format!("ZDT_HANDOVER_DIR=%t/{}", escape::whole(name)))
    }

    /// The number of an instance, filled in by systemd.
    pub fn instance() -> Self {
        Self("ZDT_INSTANCE=%i".to_owned())
    }

    /// Permission bits: `0660`.
    pub fn mode(mode: u32) -> Self {
        Self(format!("{mode:04o}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a command of `ExecStop=` begins with that is to run for so long and no longer. What it cannot be told by
/// `SIGTERM` it is told by `SIGKILL`.
fn asking(limit: Duration) -> String {
    let seconds = limit.as_secs_f64();
    format!(
        r#"-/bin/sh -c "test -z \"$$MAINPID\" || exec env ZDT_PID=$$MAINPID timeout -k 1 {seconds} \"$$@\"" stop"#
    )
}

/// A value written in this program's own text, which needs no escaping.
impl From<&'static str> for Value {
    fn from(literal: &'static str) -> Self {
        Self(literal.to_owned())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

impl From<Duration> for Value {
    fn from(duration: Duration) -> Self {
        Self(span(duration))
    }
}

impl From<&UnitName> for Value {
    fn from(unit: &UnitName) -> Self {
        Self(unit.as_str().to_owned())
    }
}

impl From<&UserName> for Value {
    fn from(user: &UserName) -> Self {
        Self(user.as_str().to_owned())
    }
}

impl From<&AbsolutePath> for Value {
    fn from(path: &AbsolutePath) -> Self {
        Self(escape::whole(path.as_str()))
    }
}

impl From<&PathText> for Value {
    fn from(path: &PathText) -> Self {
        Self(escape::path(path.text()))
    }
}

impl From<&Exec> for Value {
    fn from(exec: &Exec) -> Self {
        Self(escape::command(exec.program(), exec.arguments()))
    }
}

impl fmt::Display for UnitFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.header {
            writeln!(f, "# {line}")?;
        }
        for section in &self.sections {
            write!(f, "\n{section}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[{}]", self.name)?;
        for line in &self.lines {
            match line {
                Line::Comment(text) => writeln!(f, "# {text}")?,
                Line::Directive { key, value } => writeln!(f, "{key}={}", value.0)?,
            }
        }
        Ok(())
    }
}
