//! Single values of `zdt.toml`, each parsed once into a type that carries its rule.

use std::fmt;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::mistake::Mistake;
use super::text::{Text, Unfilled, Values};

/// Gives a string newtype its reading side.
macro_rules! reads_as_str {
    ($($name:ident)*) => {$(
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

reads_as_str!(Name ReleaseName AbsolutePath UserName DocUri CredentialName);

/// Written down as its text, and read back through its rule.
macro_rules! kept_as_str {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(|mistake| D::Error::custom(mistake.message))
            }
        }
    )*};
}

kept_as_str!(Name ReleaseName AbsolutePath);

mod unit;

pub use unit::{Task, UnitName};

/// The name of a service or a socket: a letter, then at most 30 of `A-Za-z0-9_-`.
///
/// Short and plain enough to be a unit name, a `FileDescriptorName=` and a
/// user name (31 bytes) without escaping.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let mut bytes = text.bytes();
        let starts_well = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
        let goes_on_well =
            bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if starts_well && goes_on_well && text.len() <= 31 {
            return Ok(Self(text.to_owned()));
        }
        Err(Mistake::new(format!("`{text}` does not do as a name"))
            .hint("use a letter, then up to 30 letters, digits, `_` and `-`"))
    }
}

/// The name of a release, such as `v1.4.2` or `2026-01-19T12.00.00`: a letter or a digit, then at
/// most 99 of `A-Za-z0-9._+-`.
///
/// Plain enough to be the name of a directory, and of a file beside it with a suffix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReleaseName(String);

impl ReleaseName {
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'+' | b'-');
        let starts_well = text
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric);
        if starts_well && text.bytes().all(plain) && text.len() <= 100 {
            return Ok(Self(text.to_owned()));
        }
        Err(
            Mistake::new(format!("`{text}` does not do as the name of a release")).hint(
                "use a letter or a digit, then up to 99 letters, digits, `.`, `_`, `+` and `-`",
            ),
        )
    }
}

/// A path that starts with `/` and means the same in a unit file as anywhere else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AbsolutePath(String);

impl AbsolutePath {
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        if !text.starts_with('/') {
            return Err(Mistake::new(format!("`{text}` is not an absolute path"))
                .hint("start it with `/`: a unit has no directory that it could be relative to"));
        }
        if text.chars().any(char::is_control) {
            return Err(Mistake::new("a path cannot have control characters in it"));
        }
        no_impossible_character("a path", text)?;
        if text.ends_with('\\') || text.ends_with(char::is_whitespace) {
            return Err(Mistake::new("a path cannot end in a backslash or a space"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether its text alone says that it is a directory.
    pub(super) fn is_directory(&self) -> bool {
        matches!(self.0.rsplit('/').next(), Some("" | "." | ".."))
    }
}

/// The name of a user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName(String);

impl UserName {
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let mut bytes = text.bytes();
        let starts_well = bytes
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        let goes_on_well =
            bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if starts_well && goes_on_well && text.len() <= 31 {
            return Ok(Self(text.to_owned()));
        }
        Err(
            Mistake::new(format!("`{text}` does not do as a user or group"))
                .hint("use a letter or `_`, then up to 30 letters, digits, `_` and `-`"),
        )
    }

    /// A name, or a number as the kernel has it.
    pub fn or_number(text: &str) -> Result<Self, Mistake> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits {
            return Self::parse(text);
        }
        // The last one stands for nobody at all; see `chown(2)`.
        match text.parse::<u32>() {
            Ok(number) if number < u32::MAX => Ok(Self(number.to_string())),
            _ => Err(Mistake::new(format!(
                "`{text}` is not the number of a user or group"
            ))),
        }
    }

    /// A service's own user, made by systemd when it starts.
    pub(super) fn of_service(name: &Name) -> Self {
        Self(name.as_str().to_owned())
    }
}

/// Where to read more, as `Documentation=` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocUri(String);

impl DocUri {
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let known = ["http://", "https://", "file:", "info:", "man:"]
            .iter()
            .any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
        if known && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        Err(
            Mistake::new(format!("`{text}` is not a place to read more")).hint(
                "write a URI that begins with `https://`, `http://`, `file:`, `info:` or `man:`",
            ),
        )
    }
}

/// A path with values that may not be filled in yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathText(Text);

impl PathText {
    pub fn parse(text: Text) -> Result<Self, Mistake> {
        AbsolutePath::parse(&text.of_instance(1)).map(|_| Self(text))
    }

    pub fn text(&self) -> &Text {
        &self.0
    }

    /// As a process gets it for which `values` are known.
    pub fn filled(&self, values: &Values) -> Result<Self, Unfilled> {
        Ok(Self(Text::literal(self.0.filled(values)?)))
    }

    /// As the first instance gets it.
    pub(super) fn of_first(&self) -> Self {
        Self(self.0.fill(&super::text::Slot::Instance, "1"))
    }
}

/// The name of a secret: the file in `$CREDENTIALS_DIRECTORY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialName(String);

impl CredentialName {
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let own_directory = text.bytes().all(|byte| byte == b'.');
        if !own_directory && text.len() <= 100 && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(
            Mistake::new(format!("`{text}` does not do as the name of a credential"))
                .hint("use up to 100 letters, digits, `.`, `_` and `-`"),
        )
    }
}

/// What is executed: no shell, no search path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    program: PathText,
    arguments: Vec<Text>,
}

impl Exec {
    pub(super) fn new(program: PathText, arguments: Vec<Text>) -> Self {
        Self { program, arguments }
    }

    /// An absolute path of a file, without control characters and any of `"'\*?[`.
    pub fn program(&self) -> &Text {
        self.program.text()
    }

    /// Without the program itself; none has a NUL in it.
    pub fn arguments(&self) -> &[Text] {
        &self.arguments
    }
}

pub(super) fn program(text: Text) -> Result<PathText, Mistake> {
    let shown = text.of_instance(1);
    if shown.contains(" -") {
        return Err(
            Mistake::new("this is a command line, and no shell reads it")
                .hint("`exec` takes one string for the program and one for each argument"),
        );
    }
    let path = PathText::parse(text)?;
    if AbsolutePath(shown.clone()).is_directory() {
        return Err(Mistake::new(format!(
            "`{shown}` is a directory, not a program"
        )));
    }
    // The last three since systemd 262; before, it took them as they are.
    if let Some(char) = shown.chars().find(|char| r#""'\*?["#.contains(*char)) {
        return Err(Mistake::new(format!(
            "`{shown}` has a `{char}` in it, which systemd refuses in a program"
        )));
    }
    Ok(path)
}

/// An argument or the value of a variable.
pub(super) fn word(text: Text) -> Result<Text, Mistake> {
    no_impossible_character("this", &text.to_string())?;
    Ok(text)
}

/// No process can be given a NUL, and systemd refuses what Unicode calls noncharacters.
fn no_impossible_character(what: &str, text: &str) -> Result<(), Mistake> {
    if text.contains('\0') {
        return Err(Mistake::new(format!("{what} cannot have a NUL in it")));
    }
    let noncharacter = |char: &char| {
        let point = u32::from(*char);
        (0xfdd0..=0xfdef).contains(&point) || point & 0xfffe == 0xfffe
    };
    match text.chars().find(noncharacter) {
        Some(char) => Err(Mistake::new(format!(
            "{what} cannot have U+{:04X} in it, which systemd refuses",
            u32::from(char)
        ))),
        None => Ok(()),
    }
}

/// Variables that the generated unit sets, or the service manager.
const RESERVED: &[(&str, &str)] = &[
    ("ZDT_DRAIN_GRACE", "set `drain.grace` instead"),
    ("ZDT_DRAIN_LIMIT", "set `drain.limit` instead"),
    ("ZDT_DRAIN_LINGER", "set `drain.linger` instead"),
    (
        "ZDT_INSTANCE",
        "the unit sets it to the number of the instance",
    ),
    (
        "ZDT_INSTANCES",
        "the unit sets it to how many instances there are",
    ),
    ("ZDT_PORT", "set `port` instead"),
    ("ZDT_RELEASE_PATH", "it is where the release is"),
    ("ZDT_PID", "the commands of `stop` find the process by it"),
    ("ZDT_SERVICE", "it is the service's name in this file"),
    ("ZDT_HANDOVER", "set `handover` instead"),
    ("ZDT_HANDOVER_DIR", "set `handover` instead"),
    ("ZDT_RELOAD", "set `strategy = \"reload\"` instead"),
    ("ZDT_RELOAD_LIMIT", "set `start_timeout` instead"),
    ("FDSTORE", "the service manager sets it"),
    ("LISTEN_FDS", "the service manager sets it"),
    ("LISTEN_FDNAMES", "the service manager sets it"),
    ("LISTEN_PID", "the service manager sets it"),
    ("NOTIFY_SOCKET", "the service manager sets it"),
    ("WATCHDOG_USEC", "set `watchdog` instead"),
    ("WATCHDOG_PID", "the service manager sets it"),
    ("INVOCATION_ID", "the service manager sets it"),
];

pub(super) fn variable(name: &str) -> Result<String, Mistake> {
    let mut bytes = name.bytes();
    let starts_well = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !starts_well || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(Mistake::new(format!("`{name}` does not do as a variable"))
            .hint("use letters, digits and `_`, not a digit first"));
    }
    if let Some((_, why)) = RESERVED.iter().find(|(reserved, _)| *reserved == name) {
        return Err(Mistake::new(format!("`{name}` is not yours to set")).hint(*why));
    }
    Ok(name.to_owned())
}

/// Longer than this is a typing mistake, and sums of a few of them never overflow.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// `30s`, `500ms`, `1m 30s`; whole microseconds, at most a day.
pub(super) fn duration(text: &str) -> Result<Duration, Mistake> {
    let parsed = humantime::parse_duration(text).map_err(|_| {
        Mistake::new(format!("`{text}` is not a duration"))
            .hint("write a number and its unit: `500ms`, `30s`, `1m 30s`")
    })?;
    if parsed > LONGEST {
        return Err(Mistake::new(format!("`{text}` is longer than a day")));
    }
    if !parsed.subsec_nanos().is_multiple_of(1000) {
        return Err(Mistake::new(format!(
            "`{text}` is finer than a microsecond"
        )));
    }
    Ok(parsed)
}

/// A duration as systemd, the `zdt` library and people read it: `30s`, `500ms`.
pub fn span(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{}s", duration.as_secs())
    } else if duration.subsec_nanos().is_multiple_of(1_000_000) {
        format!("{}ms", duration.as_millis())
    } else {
        format!("{}us", duration.as_micros())
    }
}

/// Permission bits in octal: `0660`.
pub(super) fn mode(text: &str) -> Result<u32, Mistake> {
    let digits =
        matches!(text.len(), 3 | 4) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    if !digits {
        return Err(Mistake::new(format!("`{text}` is not a file mode"))
            .hint("write it in octal, for example `0660`"));
    }
    let mode = u32::from_str_radix(text, 8).expect("at most four octal digits");
    if mode > 0o777 {
        return Err(
            Mistake::new(format!("`{text}` has bits that a socket does not take"))
                .hint("write it in octal, for example `0660`"),
        );
    }
    Ok(mode)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "reads the document")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_duration_is_written_in_the_largest_unit_that_is_exact() {
        let written: Vec<_> = ["1m 30s", "500ms", "1500ms", "250us", "0s"]
            .iter()
            .map(|text| span(duration(text).unwrap()))
            .collect();
        assert_eq!(written, ["90s", "500ms", "1500ms", "250us", "0s"]);
    }

    #[test]
    fn names_are_short_and_plain() {
        let good =
            ["a", "shop", "Shop_2-eu", &"a".repeat(31)].map(|text| Name::parse(text).is_ok());
        let bad = ["", "2shop", "-a", "a.b", "a b", "ä", &"a".repeat(32)]
            .map(|text| Name::parse(text).is_ok());
        assert_eq!((good, bad), ([true; 4], [false; 7]));
    }

    #[test]
    fn a_program_is_a_file() {
        let good = ["/bin/sh", "/srv/a b/$x", "/srv/..a", "/srv/../a"]
            .map(|text| program(Text::literal(text)).is_ok());
        let bad = [
            "sh", "/", "/srv/", "/srv/.", "/srv/..", "/a'b", "/a*", "/sh -c",
        ]
        .map(|text| program(Text::literal(text)).is_ok());
        assert_eq!((good, bad), ([true; 4], [false; 8]));
    }

    #[test]
    fn what_systemd_cannot_carry_is_refused() {
        let said = ["a\0", "\u{fdd0}", "\u{1ffff}"]
            .map(|text| word(Text::literal(text)).unwrap_err().message);
        assert_eq!(
            said,
            [
                "this cannot have a NUL in it",
                "this cannot have U+FDD0 in it, which systemd refuses",
                "this cannot have U+1FFFF in it, which systemd refuses",
            ]
        );
        assert!(word(Text::literal("\u{1}\n\u{fffd}\u{1fffd}")).is_ok());
        assert!(AbsolutePath::parse("/\u{fffe}").is_err());
    }

    /// Those that the page marks, and no others.
    #[test]
    fn reserved_variables_are_not_yours_to_set() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/environment.md");
        let page = std::fs::read_to_string(page).unwrap();
        let rows = page.lines().filter(|row| row.ends_with("(reserved) |"));
        let cells = rows.filter_map(|row| row.split('|').nth(1));
        let marked: BTreeSet<&str> = cells
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .collect();
        let reserved = RESERVED.iter().map(|(name, _)| *name).collect();
        assert_eq!(marked, reserved);
        for name in marked {
            let said = variable(name).unwrap_err().message;
            assert_eq!(said, format!("`{name}` is not yours to set"));
        }
        assert!(variable("ZDT_ALLOW_BIND").is_ok());
    }

    #[test]
    fn a_file_mode_is_octal() {
        let modes = ["660", "0660", "0777", "1777", "0888", "rw", "66"].map(|text| mode(text).ok());
        assert_eq!(
            modes,
            [
                Some(0o660),
                Some(0o660),
                Some(0o777),
                None,
                None,
                None,
                None
            ]
        );
    }
}
