//! Text of `zdt.toml` in which `{{…}}` stands for a value.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use super::Name;
use super::mistake::Mistake;
use crate::config::{list, nearest};

/// Text with values that are not filled in yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Piece {
    Literal(String),
    Slot(Slot),
}

/// What `{{…}}` can stand for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// The service's name.
    ServiceName,
    /// Where the release is that runs; where the new one is, while it is deployed.
    ReleasePath,
    /// What the release is called.
    ReleaseName,
    /// What it was made from, if that is known.
    ReleaseRevision,
    /// Which of several equal instances: 1, 2, 3…
    Instance,
    /// How many there are.
    Instances,
    /// The port that the process is to listen on.
    Port,
    /// That of another service.
    PortOf(Name),
}

/// What is known when a process is started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// From 1.
    pub instance: Option<u32>,
    pub port: Option<u16>,
    /// Those of other services.
    pub ports: BTreeMap<Name, u16>,
    pub release: Option<String>,
    pub revision: Option<String>,
}

/// A value that is wanted and not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{{{{{}}}}}` has no value yet: {}", .0.name(), .0.why_missing())]
pub struct Unfilled(pub Slot);

impl Slot {
    const PLAIN: [Self; 7] = [
        Self::ServiceName,
        Self::ReleasePath,
        Self::ReleaseName,
        Self::ReleaseRevision,
        Self::Instance,
        Self::Instances,
        Self::Port,
    ];

    pub(crate) fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::ServiceName => "service.name",
            Self::ReleasePath => "release.path",
            Self::ReleaseName => "release.name",
            Self::ReleaseRevision => "release.revision",
            Self::Instance => "instance",
            Self::Instances => "instances",
            Self::Port => "port",
            Self::PortOf(name) => return Cow::Owned(format!("port.{name}")),
        })
    }

    fn why_missing(&self) -> String {
        match self {
            Self::ReleaseName => "nothing was deployed".to_owned(),
            Self::ReleaseRevision => "the release does not say what it was made from".to_owned(),
            Self::Port => "the process was given no port".to_owned(),
            Self::PortOf(name) => format!("`{name}` was given no port"),
            Self::ServiceName | Self::ReleasePath | Self::Instance | Self::Instances => {
                "it is not known here".to_owned()
            }
        }
    }
}

impl Values {
    fn value(&self, slot: &Slot) -> Option<String> {
        match slot {
            Slot::Instance => self.instance.map(|number| number.to_string()),
            Slot::Port => self.port.map(|port| port.to_string()),
            Slot::PortOf(name) => self.ports.get(name).map(u16::to_string),
            Slot::ReleaseName => self.release.clone(),
            Slot::ReleaseRevision => self.revision.clone(),
            // Filled in when the file is read.
            Slot::ServiceName | Slot::ReleasePath | Slot::Instances => None,
        }
    }
}

impl Text {
    /// `{{{{` is a literal `{{`.
    pub(super) fn parse(text: &str) -> Result<Self, Mistake> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            literal.push_str(before);
            if let Some(after) = after.strip_prefix("{{") {
                literal.push_str("{{");
                rest = after;
                continue;
            }
            let (name, after) = after.split_once("}}").ok_or_else(|| {
                Mistake::new("`{{` is not closed")
                    .hint("close it with `}}`; write `{{{{` for a literal `{{`")
            })?;
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            pieces.push(Piece::Slot(slot(name.trim())?));
            rest = after;
        }
        literal.push_str(rest);
        pieces.push(Piece::Literal(literal));
        pieces.retain(|piece| *piece != Piece::Literal(String::new()));
        Ok(Self(pieces))
    }

    /// Text without anything to fill in.
    pub fn literal(text: impl Into<String>) -> Self {
        Self(vec![Piece::Literal(text.into())])
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// With `value` in the place of `slot`.
    #[must_use]
    pub fn fill(&self, slot: &Slot, value: &str) -> Self {
        let filled = self.0.iter().map(|piece| match piece {
            Piece::Slot(this) if this == slot => Piece::Literal(value.to_owned()),
            piece => piece.clone(),
        });
        Self(filled.collect())
    }

    /// What is still to be filled in.
    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Slot(slot) => Some(slot),
        })
    }

    /// As a process gets it for which `values` are known.
    pub fn filled(&self, values: &Values) -> Result<String, Unfilled> {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Literal(text) => Ok(text.clone()),
            Piece::Slot(slot) => values.value(slot).ok_or_else(|| Unfilled(slot.clone())),
        });
        pieces.collect()
    }

    /// As instance `number` gets it, as far as the number alone says.
    pub fn of_instance(&self, number: u32) -> String {
        self.fill(&Slot::Instance, &number.to_string()).to_string()
    }
}

fn slot(name: &str) -> Result<Slot, Mistake> {
    if let Some(found) = Slot::PLAIN.into_iter().find(|slot| slot.name() == name) {
        return Ok(found);
    }
    if let Some(service) = name.strip_prefix("port.") {
        return Name::parse(service).map(Slot::PortOf);
    }
    let names = Slot::PLAIN.map(|slot| slot.name());
    let mut names: Vec<&str> = names.iter().map(Cow::as_ref).collect();
    names.push("port.NAME");
    let mistake = Mistake::new(format!(
        "`{{{{{name}}}}}` is not a value that is known here"
    ));
    Err(match nearest(name, &names) {
        Some(meant) => mistake.hint(format!("did you mean `{{{{{meant}}}}}`?")),
        None => mistake.hint(format!(
            "there is {}; write `{{{{{{{{` for a literal `{{{{`",
            list(&names)
        )),
    })
}

/// As in `zdt.toml`, with what is not filled in yet between `{{` and `}}`.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Literal(text) => f.write_str(text),
            Piece::Slot(slot) => write!(f, "{{{{{}}}}}", slot.name()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_filled_in_and_the_rest_is_as_it_was() {
        let text = Text::parse("{{service.name}}-{{ instance }}: 100% {x} }} {{{{y}}").unwrap();
        let named = text.fill(&Slot::ServiceName, "shop");
        assert_eq!(named.of_instance(2), "shop-2: 100% {x} }} {{y}}");
        assert_eq!(named.slots().collect::<Vec<_>>(), [&Slot::Instance]);
    }

    #[test]
    fn a_process_gets_every_value_or_is_not_started() {
        let text = "{{instance}} {{port}} {{port.cache}} {{release.name}} {{release.revision}}";
        let text = Text::parse(text).unwrap();
        let mut values = Values {
            instance: Some(2),
            port: Some(20001),
            ports: [(Name::parse("cache").unwrap(), 6379)].into(),
            release: Some("v2".to_owned()),
            revision: Some("a1b2c3".to_owned()),
        };
        assert_eq!(text.filled(&values).unwrap(), "2 20001 6379 v2 a1b2c3");

        let mut said = Vec::new();
        values.revision = None;
        said.push(text.filled(&values).unwrap_err().to_string());
        values.ports.clear();
        said.push(text.filled(&values).unwrap_err().to_string());
        assert_eq!(
            said,
            [
                "`{{release.revision}}` has no value yet: the release does not say what it was made from",
                "`{{port.cache}}` has no value yet: `cache` was given no port",
            ]
        );
    }

    #[test]
    fn what_is_not_known_says_what_is() {
        let said = ["{{sevice.name}}", "{{weather}}", "{{port.a b}}", "{{open"]
            .map(|text| Text::parse(text).unwrap_err())
            .map(|mistake| format!("{}: {}", mistake.message, mistake.hint.unwrap_or_default()));
        assert_eq!(
            said,
            [
                "`{{sevice.name}}` is not a value that is known here: did you mean `{{service.name}}`?",
                "`{{weather}}` is not a value that is known here: there is `service.name`, `release.path`, `release.name`, `release.revision`, `instance`, `instances`, `port` and `port.NAME`; write `{{{{` for a literal `{{`",
                "`a b` does not do as a name: use a letter, then up to 30 letters, digits, `_` and `-`",
                "`{{` is not closed: close it with `}}`; write `{{{{` for a literal `{{`",
            ]
        );
    }
}
