//! How a service is asked whether it is well.

use std::time::Duration;

use super::super::mistake::Mistake;
use super::super::{Address, CommandHealth, Health, Reach, Text};
use super::Build;
use crate::config::{At, ForeignHealthConfig, HealthConfig, Problem};

impl Build {
    /// Its own address, if it has one, and the rest with a place-holder for it.
    pub(super) fn health(&mut self, config: &HealthConfig) -> Option<(Option<Reach>, Health)> {
        let own = config
            .listen
            .as_ref()
            .map(|text| self.parse(text, Address::parse));
        let path = match &config.ready {
            None => Some("/readyz".to_owned()),
            Some(text) => self.parse(text, request_path),
        };
        let pace = self.pace(&config.successes, &config.interval, &config.timeout);
        let own = match own {
            None => None,
            Some(address) => Some(address?.reach()),
        };
        let anywhere = || Reach::Tcp(([127, 0, 0, 1], 80).into());
        Some((
            own.clone(),
            Health {
                reach: own.unwrap_or_else(anywhere),
                path: path?,
                successes: pace?.0,
                interval: pace?.1,
                timeout: pace?.2,
            },
        ))
    }

    pub(super) fn command_health(&mut self, config: &ForeignHealthConfig) -> Option<CommandHealth> {
        let pace = self.pace(&config.successes, &config.interval, &config.timeout);
        let Some(command) = &config.command else {
            self.problems.push(
                Problem::new(&config.at, "`health` of a unit of others is a command")
                    .hint("for example `health = { command = [\"pg_isready\", \"-q\"] }`"),
            );
            return None;
        };
        let words = self.command(command)?;
        let (successes, interval, timeout) = pace?;
        Some(CommandHealth {
            command: words.iter().map(Text::to_string).collect(),
            successes,
            interval,
            timeout,
        })
    }

    /// How many successes in a row, how far apart, and until when.
    pub(super) fn pace(
        &mut self,
        successes: &Option<At<i64>>,
        interval: &Option<At<String>>,
        timeout: &Option<At<String>>,
    ) -> Option<(u32, Duration, Duration)> {
        let least = Duration::from_millis(1);
        let successes = self.number(successes.as_ref(), 1, 1..=1000);
        let interval = self.duration(interval.as_ref(), Duration::from_millis(200), least);
        let timeout = self.duration(timeout.as_ref(), Duration::from_secs(30), least);
        let successes = u32::try_from(successes?).expect("the range was checked");
        Some((successes, interval?, timeout?))
    }
}

fn request_path(text: &str) -> Result<String, Mistake> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !text.starts_with('/') || !plain {
        return Err(
            Mistake::new(format!("`{text}` is not the path of a request"))
                .hint("start it with `/`, for example `/readyz`"),
        );
    }
    Ok(text.to_owned())
}
