//! One value at a time: `{{…}}` filled in, parsed, and its mistake noted where it stands.

use std::time::Duration;

use super::super::mistake::Mistake;
use super::super::value::duration;
use super::super::{AbsolutePath, Ports, Slot, Text};
use super::Build;
use crate::config::{At, Problem, ServiceConfig, list, nearest};

/// What `{{…}}` stands for in the service at hand.
#[derive(Debug)]
pub(super) struct AtHand {
    pub(super) service: String,
    /// Where its releases are.
    pub(super) root: Option<AbsolutePath>,
    /// Which of them is meant.
    pub(super) link: ReleaseLink,
    pub(super) rolling: bool,
    pub(super) instances: u32,
    pub(super) ports: Option<Ports>,
}

impl AtHand {
    /// What is known only when a process is started.
    fn later(&self, slot: &Slot) -> bool {
        match slot {
            Slot::Instance => self.rolling,
            Slot::Port => self.ports.is_some() && self.link == ReleaseLink::Current,
            Slot::PortOf(_) => true,
            Slot::ReleaseName | Slot::ReleaseRevision => self.root.is_some(),
            Slot::ServiceName | Slot::ReleasePath | Slot::Instances => false,
        }
    }
}

/// The link in whose place `{{release.path}}` stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReleaseLink {
    /// To the release that serves.
    Current,
    /// To the release that is about to.
    Next,
}

impl AtHand {
    /// Before its releases and its strategy are known.
    pub(super) fn of(config: &ServiceConfig) -> Self {
        Self {
            service: config.name.value.clone(),
            root: None,
            link: ReleaseLink::Current,
            rolling: false,
            instances: 1,
            ports: None,
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
        let filled = self.fill(text, |_, _| false)?.to_string();
        self.note(text, parse(&filled))
    }

    /// As [`parse`](Self::parse), for text that each process may get in its own way.
    pub(super) fn parse_text<T>(
        &mut self,
        text: &At<String>,
        parse: impl FnOnce(Text) -> Result<T, Mistake>,
    ) -> Option<T> {
        let filled = self.fill(text, AtHand::later)?;
        let only_launcher = |slot: &&Slot| **slot != Slot::Instance;
        if let Some(slot) = filled.slots().find(only_launcher).cloned() {
            self.only_with_launcher(unknown_to_systemd(text, &slot));
        }
        self.note(text, parse(filled))
    }

    /// Puts the values of the service at hand into `text`; only those may be left that are known `later`.
    pub(super) fn fill(
        &mut self,
        text: &At<String>,
        later: impl Fn(&AtHand, &Slot) -> bool,
    ) -> Option<Text> {
        let Some(at_hand) = &self.at_hand else {
            return Some(Text::literal(&text.value));
        };
        let parsed = Text::parse(&text.value).map(|parsed| {
            let mut filled = parsed
                .fill(&Slot::ServiceName, &at_hand.service)
                .fill(&Slot::Instances, &at_hand.instances.to_string());
            if let Some(root) = &at_hand.root {
                let link = match at_hand.link {
                    ReleaseLink::Current => "current",
                    ReleaseLink::Next => "next",
                };
                filled = filled.fill(&Slot::ReleasePath, &format!("{root}/{link}"));
            }
            match at_hand.ports.and_then(Ports::fixed) {
                Some(port) => filled.fill(&Slot::Port, &port.to_string()),
                None => filled,
            }
        });
        let filled = self.note(text, parsed)?;
        let filled = self.ports_of_others(text, &filled)?;
        let at_hand = self.at_hand.as_ref()?;
        let left = filled.slots().find(|slot| !later(at_hand, slot));
        let checked = left.map_or(Ok(()), |slot| Err(without_value(at_hand, slot)));
        self.note(text, checked)?;
        Some(filled)
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

fn without_value(at_hand: &AtHand, slot: &Slot) -> Mistake {
    let no_value = || Mistake::new(format!("`{{{{{}}}}}` has no value here", slot.name()));
    match slot {
        Slot::ReleasePath | Slot::ReleaseName | Slot::ReleaseRevision if at_hand.root.is_none() => {
            Mistake::new("this service has no releases")
                .hint("add `release = { root = \"/srv/NAME\" }`")
        }
        Slot::Port if at_hand.ports.is_none() => Mistake::new("this service has no port")
            .hint("add `port = 8080`, or a range with `from` and `to`"),
        Slot::Port => no_value().hint("a range of ports is for the processes that serve: one each"),
        Slot::Instance => no_value().hint("it is the number of an instance, for `exec`, `environment` and paths of files with `strategy = \"rolling\"`"),
        _ => no_value().hint("it is known when a process is started: for `exec`, `environment` and paths of files"),
    }
}

fn unknown_to_systemd(text: &At<String>, slot: &Slot) -> Problem {
    let hint = match slot {
        Slot::ReleaseName | Slot::ReleaseRevision => {
            "take `{{release.path}}`: the link of that name says which release it is; or run this service by `zdt-units run`"
        }
        _ => "take one fixed port, or run these services by `zdt-units run`",
    };
    let message = format!("systemd does not know `{{{{{}}}}}`", slot.name());
    Problem::new(&text.at, message).hint(hint)
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
