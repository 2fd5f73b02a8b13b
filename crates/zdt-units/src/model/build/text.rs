//! One value at a time: `{{…}}` filled in, parsed, and its mistake noted where it stands.

use std::time::Duration;

use super::super::mistake::Mistake;
use super::super::value::duration;
use super::super::{AbsolutePath, Slot, Text};
use super::Build;
use crate::config::{At, Problem, ServiceConfig, list, nearest};

/// What `{{…}}` stands for in the service at hand.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) service: String,
    /// Where its releases are.
    pub(super) root: Option<AbsolutePath>,
    /// Which of them is meant.
    pub(super) link: ReleaseLink,
    pub(super) rolling: bool,
}

/// The link in whose place `{{release.path}}` stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReleaseLink {
    /// To the release that serves.
    Current,
    /// To the release that is about to.
    Next,
}

impl Values {
    /// Before its releases and its strategy are known.
    pub(super) fn of(config: &ServiceConfig) -> Self {
        Self {
            service: config.name.value.clone(),
            root: None,
            link: ReleaseLink::Current,
            rolling: false,
        }
    }
}

impl Build {
    pub(super) fn duration(
        &mut self,
        text: Option<&At<String>>,
        default: Duration,
        least: Duration,
    ) -> Option<Duration> {
        let Some(text) = text else {
            return Some(default);
        };
        self.parse(text, |written| {
            let parsed = duration(written)?;
            if parsed < least {
                return Err(Mistake::new(format!("`{written}` leaves no time at all")));
            }
            Ok(parsed)
        })
    }

    pub(super) fn number(
        &mut self,
        number: Option<&At<i64>>,
        default: i64,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let Some(number) = number else {
            return Some(default);
        };
        if range.contains(&number.value) {
            return Some(number.value);
        }
        self.problems.push(
            Problem::new(&number.at, format!("{} is out of range", number.value)).hint(format!(
                "from {} to {}",
                range.start(),
                range.end()
            )),
        );
        None
    }

    /// Notes the mistake of `parse`, if any, where `text` stands.
    pub(super) fn parse<T>(
        &mut self,
        text: &At<String>,
        parse: impl FnOnce(&str) -> Result<T, Mistake>,
    ) -> Option<T> {
        let filled = self.fill(text, &[])?.to_string();
        self.note(text, parse(&filled))
    }

    /// As [`parse`](Self::parse), for text that each instance may get in its own way.
    pub(super) fn parse_text<T>(
        &mut self,
        text: &At<String>,
        parse: impl FnOnce(Text) -> Result<T, Mistake>,
    ) -> Option<T> {
        let rolling = self.values.as_ref().is_some_and(|values| values.rolling);
        let later: &[Slot] = if rolling { &[Slot::Instance] } else { &[] };
        let filled = self.fill(text, later)?;
        self.note(text, parse(filled))
    }

    /// Puts the values of the service at hand into `text`; only those of `later` may be left.
    pub(super) fn fill(&mut self, text: &At<String>, later: &[Slot]) -> Option<Text> {
        let Some(values) = &self.values else {
            return Some(Text::literal(&text.value));
        };
        let filled = Text::parse(&text.value).and_then(|parsed| {
            let mut filled = parsed.fill(Slot::ServiceName, &values.service);
            if let Some(root) = &values.root {
                let link = match values.link {
                    ReleaseLink::Current => "current",
                    ReleaseLink::Next => "next",
                };
                filled = filled.fill(Slot::ReleasePath, &format!("{root}/{link}"));
            }
            let mut left = filled.slots();
            match left.find(|slot| !later.contains(slot)) {
                None => Ok(()),
                Some(Slot::ReleasePath) => Err(Mistake::new("this service has no releases")
                    .hint("add `release = { root = \"/srv/NAME\" }`")),
                Some(slot) => Err(Mistake::new(format!("`{{{{{}}}}}` has no value here", slot.name()))
                    .hint("it is the number of an instance, for `exec`, `environment` and paths of files with `strategy = \"rolling\"`")),
            }?;
            drop(left);
            Ok(filled)
        });
        self.note(text, filled)
    }

    pub(super) fn note<T>(&mut self, text: &At<String>, parsed: Result<T, Mistake>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(mistake) => {
                let mut problem = Problem::new(&text.at, mistake.message);
                problem.hint = mistake.hint;
                self.problems.push(problem);
                None
            }
        }
    }
}

/// What was written must be right; what was not written may be missing.
pub(super) fn all_or_nothing<T>(written: Option<Option<T>>) -> Option<Option<T>> {
    match written {
        None => Some(None),
        Some(parsed) => parsed.map(Some),
    }
}

pub(super) fn unknown_word(key: &str, text: &str, known: &[&str]) -> Mistake {
    let mistake = Mistake::new(format!("`{text}` is not a value of `{key}`"));
    match nearest(text, known) {
        Some(known) => mistake.hint(format!("did you mean `{known}`?")),
        None => mistake.hint(format!("it takes {}", list(known))),
    }
}
