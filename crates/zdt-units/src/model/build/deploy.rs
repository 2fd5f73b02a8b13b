//! How a service is replaced, and by what.

use std::time::Duration;

use super::super::{AbsolutePath, Migrate, Release, Strategy};
use super::Build;
use super::text::{all_or_nothing, unknown_word};
use crate::config::{MigrateConfig, Problem, ReleaseConfig, ServiceConfig};

impl Build {
    pub(super) fn strategy(&mut self, config: &ServiceConfig) -> Option<Strategy> {
        let instances = config.instances.as_ref();
        let number = self.number(instances, 2, 1..=1000);
        let number = number.map(|number| u32::try_from(number).expect("the range was checked"));
        let strategy = match &config.strategy {
            None => Some(Strategy::Queue),
            Some(word) => self.parse(word, |text| match text {
                "queue" => Ok(Strategy::Queue),
                "standby" => Ok(Strategy::Standby),
                "rolling" => Ok(Strategy::Rolling {
                    instances: number.unwrap_or(1),
                }),
                "reload" => Ok(Strategy::Reload),
                _ => Err(unknown_word(
                    "strategy",
                    text,
                    &["queue", "standby", "rolling", "reload"],
                )),
            }),
        };
        let several = instances.filter(|_| number.is_some_and(|number| number > 1));
        if let (Some(instances), Some(false)) = (
            several,
            strategy.map(|strategy| matches!(strategy, Strategy::Rolling { .. })),
        ) {
            self.problems.push(
                Problem::new(
                    &instances.at,
                    format!(
                        "{} instances need `strategy = \"rolling\"`",
                        instances.value
                    ),
                )
                .hint("the other strategies have one process"),
            );
        }
        number.and(strategy)
    }

    pub(super) fn release(&mut self, config: &ReleaseConfig) -> Option<Release> {
        let root = config
            .root
            .as_ref()
            .map(|root| self.parse(root, AbsolutePath::parse));
        let keep = self.number(config.keep.as_ref(), 5, 2..=1000);
        let keep_days = config
            .keep_days
            .as_ref()
            .map(|days| self.number(Some(days), 0, 1..=36500));
        Some(Release {
            root: root??,
            keep: u32::try_from(keep?).expect("the range was checked"),
            keep_days: all_or_nothing(keep_days)?
                .map(|days| u32::try_from(days).expect("the range was checked")),
        })
    }

    pub(super) fn migrate(&mut self, config: &MigrateConfig) -> Option<Migrate> {
        let command = config.command.as_ref().map(|words| self.command(words));
        let down = config.down.as_ref().map(|words| self.command(words));
        let least = Duration::from_millis(1);
        let timeout = self.duration(config.timeout.as_ref(), Duration::from_secs(300), least);
        Some(Migrate {
            command: command??,
            down: all_or_nothing(down)?,
            timeout: timeout?,
        })
    }
}
