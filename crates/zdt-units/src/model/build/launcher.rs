//! What the launcher is told.

use super::super::mistake::Mistake;
use super::super::value::mode;
use super::super::{AbsolutePath, Address, Launcher, Output, UserName};
use super::Build;
use super::text::{all_or_nothing, unknown_word};
use crate::config::keys::OUTPUTS;
use crate::config::{LauncherConfig, OutputConfig};

impl Build {
    /// `None` after a mistake.
    pub(super) fn launcher(&mut self, config: &LauncherConfig) -> Option<Launcher> {
        let default = Launcher::default();
        let control = config.control.as_ref();
        let control = control.map(|text| self.parse(text, control_path));
        let mode = match &config.mode {
            None => Some(default.mode),
            Some(text) => self.parse(text, mode),
        };
        let owner = config.owner.as_ref();
        let owner = owner.map(|text| self.parse(text, UserName::or_number));
        let group = config.group.as_ref();
        let group = group.map(|text| self.parse(text, UserName::or_number));
        let state = config.state.as_ref();
        let state = state.map(|text| self.parse(text, AbsolutePath::parse));
        let output = match &config.output {
            None => Some(default.output),
            Some(OutputConfig::Word(word)) => self.parse(word, |text| match text {
                "prefixed" => Ok(Output::Prefixed),
                "json" => Ok(Output::Json),
                "journal" => Ok(Output::Journal),
                _ => Err(unknown_word("output", text, OUTPUTS)),
            }),
            Some(OutputConfig::Files(directory)) => {
                let directory = directory.as_ref();
                let directory = directory.and_then(|text| self.parse(text, AbsolutePath::parse));
                directory.map(Output::Files)
            }
        };
        let lines = self.number(config.lines.as_ref(), default.lines.into(), 0..=100_000);
        Some(Launcher {
            control: all_or_nothing(control)?,
            mode: mode?,
            owner: all_or_nothing(owner)?,
            group: all_or_nothing(group)?,
            state: all_or_nothing(state)?,
            output: output?,
            lines: u32::try_from(lines?).expect("the range was checked"),
        })
    }
}

/// The path of a Unix socket.
fn control_path(text: &str) -> Result<AbsolutePath, Mistake> {
    let path = AbsolutePath::parse(text)?;
    Address::parse(text)?;
    Ok(path)
}
