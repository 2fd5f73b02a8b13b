//! Text of `zdt.toml` in which `{{…}}` stands for a value.

use std::fmt;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// The service's name.
    ServiceName,
    /// Where the release is that runs; where the new one is, while it is deployed.
    ReleasePath,
    /// Which of several equal instances: 1, 2, 3…
    Instance,
}

impl Slot {
    pub(crate) const ALL: [Self; 3] = [Self::ServiceName, Self::ReleasePath, Self::Instance];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ServiceName => "service.name",
            Self::ReleasePath => "release.path",
            Self::Instance => "instance",
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
    pub fn fill(&self, slot: Slot, value: &str) -> Self {
        let filled = self.0.iter().map(|piece| match piece {
            Piece::Slot(this) if *this == slot => Piece::Literal(value.to_owned()),
            piece => piece.clone(),
        });
        Self(filled.collect())
    }

    /// What is still to be filled in.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Slot(slot) => Some(*slot),
        })
    }

    /// As the process of instance `number` gets it.
    pub fn of_instance(&self, number: u32) -> String {
        self.fill(Slot::Instance, &number.to_string()).to_string()
    }
}

fn slot(name: &str) -> Result<Slot, Mistake> {
    let found = Slot::ALL.into_iter().find(|slot| slot.name() == name);
    found.ok_or_else(|| {
        let names = Slot::ALL.map(Slot::name);
        let mistake = Mistake::new(format!(
            "`{{{{{name}}}}}` is not a value that is known here"
        ));
        match nearest(name, &names) {
            Some(meant) => mistake.hint(format!("did you mean `{{{{{meant}}}}}`?")),
            None => mistake.hint(format!(
                "there is {}; write `{{{{{{{{` for a literal `{{{{`",
                list(&names)
            )),
        }
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
        let named = text.fill(Slot::ServiceName, "shop");
        assert_eq!(named.of_instance(2), "shop-2: 100% {x} }} {{y}}");
        assert_eq!(named.slots().collect::<Vec<_>>(), [Slot::Instance]);
    }

    #[test]
    fn what_is_not_known_says_what_is() {
        let said = ["{{sevice.name}}", "{{port}}", "{{open"]
            .map(|text| Text::parse(text).unwrap_err())
            .map(|mistake| format!("{}: {}", mistake.message, mistake.hint.unwrap_or_default()));
        assert_eq!(
            said,
            [
                "`{{sevice.name}}` is not a value that is known here: did you mean `{{service.name}}`?",
                "`{{port}}` is not a value that is known here: there is `service.name`, `release.path` and `instance`; write `{{{{` for a literal `{{`",
                "`{{` is not closed: close it with `}}`; write `{{{{` for a literal `{{`",
            ]
        );
    }
}
