//! What is run: the program, what it is given, and what it may not do.

use std::time::Duration;

use super::super::mistake::Mistake;
use super::super::value::{program, variable, word};
use super::super::{
    CredentialName, Drain, EnvironmentFile, Exec, Name, Network, PathText, Sandbox, Text,
};
use super::Build;
use super::text::unknown_word;
use crate::config::{At, DrainConfig, Problem, SandboxConfig, ServiceConfig};

impl Build {
    pub(super) fn exec(&mut self, config: &ServiceConfig) -> Option<Exec> {
        self.command(config.exec.as_ref()?)
    }

    /// A program and its arguments.
    pub(super) fn command(&mut self, words: &At<Vec<At<String>>>) -> Option<Exec> {
        let Some((first, rest)) = words.value.split_first() else {
            self.problems.push(
                Problem::new(&words.at, "this command is empty")
                    .hint("its first part is the program"),
            );
            return None;
        };
        let program = self.parse_text(first, program);
        let arguments: Vec<_> = rest
            .iter()
            .filter_map(|text| self.parse_text(text, word))
            .collect();
        Some(Exec::new(program?, arguments))
    }

    pub(super) fn environment(&mut self, config: &ServiceConfig) -> Vec<(String, Text)> {
        config
            .environment
            .iter()
            .filter_map(|(name, value)| {
                let name = self.parse(name, variable);
                let value = self.parse_text(value, word);
                Some((name?, value?))
            })
            .collect()
    }

    pub(super) fn environment_files(&mut self, config: &ServiceConfig) -> Vec<EnvironmentFile> {
        config
            .environment_files
            .iter()
            .filter_map(|file| {
                let optional = file.value.starts_with('-');
                let path = At {
                    value: file.value[usize::from(optional)..].to_owned(),
                    at: file.at.clone(),
                };
                let path = self.parse_text(&path, PathText::parse)?;
                Some(EnvironmentFile { path, optional })
            })
            .collect()
    }

    pub(super) fn credentials(
        &mut self,
        config: &ServiceConfig,
    ) -> Vec<(CredentialName, PathText)> {
        config
            .credentials
            .iter()
            .filter_map(|(name, path)| {
                let name = self.parse(name, CredentialName::parse);
                let path = self.parse_text(path, credential_path);
                Some((name?, path?))
            })
            .collect()
    }

    pub(super) fn sandbox(&mut self, config: &SandboxConfig) -> Option<Sandbox> {
        let on = Sandbox::On {
            network: Network::Outbound,
            state: None,
            jit: false,
        };
        match config {
            SandboxConfig::Absent => Some(on),
            SandboxConfig::Word(word) => self.parse(word, |text| match text {
                "default" => Ok(on),
                "none" => Ok(Sandbox::Off),
                _ => Err(unknown_word("sandbox", text, &["default", "none"])),
            }),
            SandboxConfig::Table {
                network,
                state,
                jit,
            } => {
                let network = match network {
                    None => Some(Network::Outbound),
                    Some(word) => self.parse(word, |text| match text {
                        "none" => Ok(Network::Nothing),
                        "outbound" => Ok(Network::Outbound),
                        _ => Err(unknown_word("network", text, &["none", "outbound"])),
                    }),
                };
                let state = match state {
                    None => None,
                    Some(name) => Some(self.parse(name, Name::parse)?),
                };
                Some(Sandbox::On {
                    network: network?,
                    state,
                    jit: jit.as_ref().is_some_and(|jit| jit.value),
                })
            }
        }
    }

    pub(super) fn drain(&mut self, config: &DrainConfig) -> Option<Drain> {
        let default = Drain::default();
        let least = Duration::ZERO;
        let grace = self.duration(config.grace.as_ref(), default.grace, least);
        let limit = self.duration(config.limit.as_ref(), default.limit, least);
        let linger = self.duration(config.linger.as_ref(), default.linger, least);
        Some(Drain {
            grace: grace?,
            limit: limit?,
            linger: linger?,
        })
    }
}

/// systemd 257 and newer pass it to their executor among words with spaces between, in which a backslash escapes but is
/// not itself escaped. Every systemd ignores one that is not in its shortest form.
fn credential_path(text: Text) -> Result<PathText, Mistake> {
    let path = PathText::parse(text)?;
    let shown = path.text().of_instance(1);
    let breaks = [(' ', "space"), ('\\', "backslash")];
    if let Some((_, name)) = breaks.iter().find(|(char, _)| shown.contains(*char)) {
        return Err(Mistake::new(format!(
            "`{shown}` has a {name} in it, with which systemd 257 and newer cannot start the service"
        ))
        .hint(format!(
            "give the file a path without a {name}, by a symbolic link if it has to stay where it is"
        )));
    }
    if shown.ends_with('/') {
        return Err(Mistake::new(format!(
            "`{shown}` is a directory, not the file of a secret"
        )));
    }
    let mut components = shown.split('/').skip(1);
    if components.any(|component| matches!(component, "" | "." | "..")) {
        return Err(Mistake::new(format!(
            "`{shown}` is not the shortest way to write that path, and systemd ignores it"
        ))
        .hint("leave out `//`, `/./` and `/../`"));
    }
    Ok(path)
}
