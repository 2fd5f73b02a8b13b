//! A restart as people watch it on a terminal: the same lines as everywhere, and below them,
//! for each service, what it waits for.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use owo_colors::OwoColorize;

use super::human;
use crate::config::Colour;
use crate::event::{Event, EventKind, Level, Outcome, Phase};
use crate::model::span;

/// Lines that move, on standard error.
#[derive(Debug)]
pub struct Progress {
    lines: MultiProgress,
    /// The step of each service that is under way.
    waits: BTreeMap<String, ProgressBar>,
    colour: Colour,
}

impl Progress {
    pub fn new(colour: Colour) -> Self {
        Self {
            lines: MultiProgress::new(),
            waits: BTreeMap::new(),
            colour,
        }
    }

    pub fn take(&mut self, event: &Event) {
        self.say(&painted(event, self.colour));
        match &event.kind {
            EventKind::StepStarted {
                phase,
                step,
                limit_ms,
                ..
            } => {
                let text = waiting(&event.service, *phase, *step, *limit_ms);
                self.wait(&event.service, text);
            }
            EventKind::StepCompleted { .. }
            | EventKind::StepFailed { .. }
            | EventKind::Finished { .. } => self.done(&event.service),
            _ => {}
        }
    }

    /// Above what moves.
    pub fn say(&self, text: &str) {
        if !text.is_empty() {
            let text = text.strip_suffix('\n').unwrap_or(text);
            let _ = self.lines.println(text);
        }
    }

    fn wait(&mut self, service: &str, text: String) {
        self.done(service);
        let style = ProgressStyle::with_template("           {spinner} {elapsed} {msg}")
            .expect("the template is a constant");
        let bar = self.lines.add(ProgressBar::new_spinner().with_style(style));
        bar.set_message(text);
        bar.enable_steady_tick(TICK);
        self.waits.insert(service.to_owned(), bar);
    }

    fn done(&mut self, service: &str) {
        if let Some(bar) = self.waits.remove(service) {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        for bar in self.waits.values() {
            bar.finish_and_clear();
        }
    }
}

const TICK: Duration = Duration::from_millis(100);

/// `of at most 30s: step 2 of `shop``, after the time that it took so far.
fn waiting(service: &str, phase: Phase, step: usize, limit: Duration) -> String {
    let step = match phase {
        Phase::Forward => format!("step {step}"),
        Phase::Rollback => format!("step back {step}"),
    };
    let limit = span(limit);
    match service {
        "" => format!("of at most {limit}: {step}"),
        service => format!("of at most {limit}: {step} of `{service}`"),
    }
}

/// What went well is green, what did not is red.
fn painted(event: &Event, colour: Colour) -> String {
    let text = human::lines(event);
    if text.is_empty() || matches!(colour, Colour::Never) {
        return text;
    }
    let completed = EventKind::Finished {
        outcome: Outcome::Completed,
    };
    match event.kind.level() {
        Level::Error => text.trim_end().red().to_string(),
        Level::Warning => text.trim_end().yellow().to_string(),
        _ if event.kind == completed => text.trim_end().green().to_string(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_that_wants_it_gets_colour() {
        let outcome = Outcome::Completed;
        let elapsed = Duration::from_millis(1250);
        let event = Event::new("5f0c", "shop", elapsed, EventKind::Finished { outcome });
        assert_eq!(painted(&event, Colour::Never), "    1.250s  done\n");
        assert_eq!(
            painted(&event, Colour::Always),
            "\u{1b}[32m    1.250s  done\u{1b}[39m"
        );
    }

    #[test]
    fn a_wait_says_how_long_it_may_last() {
        let limit = Duration::from_secs(111);
        assert_eq!(
            waiting("shop", Phase::Forward, 2, limit),
            "of at most 111s: step 2 of `shop`"
        );
        assert_eq!(
            waiting("", Phase::Rollback, 1, limit),
            "of at most 111s: step back 1"
        );
    }
}
