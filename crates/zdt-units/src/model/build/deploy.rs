//! How a service is replaced, and by what.

use std::time::Duration;

use super::super::{AbsolutePath, Breaker, Pace, Release, Slot, Strategy, Text};
use super::Build;
use super::kind::{serves, strategy_word};
use super::text::{all_or_nothing, unknown_word};
use crate::config::{At, BreakerConfig, Problem, ReleaseConfig, RollingConfig, ServiceConfig};

/// Whose pace it is.
#[derive(Clone, Copy)]
struct PaceOf {
    /// Missing where they are a mistake, or say nothing.
    instances: Option<u32>,
    bakes: bool,
    /// Whether clients miss it.
    serves: bool,
}

impl Build {
    pub(super) fn breaker(&mut self, config: &BreakerConfig) -> Option<Breaker> {
        let default = Breaker::default();
        let second = Duration::from_secs(1);
        let failures = self.number(config.failures.as_ref(), default.failures.into(), 0..=100);
        let within = self.duration(config.within.as_ref(), default.within, second);
        let pause = self.duration(config.pause.as_ref(), default.pause, second);
        Some(Breaker {
            failures: failures
                .map(|number| u32::try_from(number).expect("the range was checked"))?,
            within: within?,
            pause: pause?,
        })
    }

    pub(super) fn strategy(&mut self, config: &ServiceConfig) -> Option<Strategy> {
        let instances = config.instances.as_ref();
        let number = self.number(instances, 2, 1..=1000);
        let number = number.map(|number| u32::try_from(number).expect("the range was checked"));
        let pace = match &config.rolling {
            None => Some(Pace::default()),
            Some(rolling) => {
                let is_rolling = strategy_word(config) == "rolling";
                let pace = PaceOf {
                    instances: number.filter(|_| is_rolling),
                    bakes: config.bake.is_some(),
                    serves: serves(config),
                };
                self.pace_of(rolling, pace)
            }
        };
        let rolling = Strategy::Rolling {
            instances: number.unwrap_or(1),
            pace: pace.unwrap_or_default(),
        };
        let strategy = match &config.strategy {
            None if strategy_word(config) == "rolling" => Some(rolling),
            None => Some(Strategy::Queue),
            Some(word) => self.parse(word, |text| match text {
                "queue" => Ok(Strategy::Queue),
                "standby" => Ok(Strategy::Standby),
                "rolling" => Ok(rolling),
                "reload" => Ok(Strategy::Reload),
                _ => Err(unknown_word(
                    "strategy",
                    text,
                    &["queue", "standby", "rolling", "reload"],
                )),
            }),
        };
        let is_rolling = strategy.map(|strategy| matches!(strategy, Strategy::Rolling { .. }));
        if let (Some(rolling), Some(false)) = (&config.rolling, is_rolling) {
            self.problems.push(
                Problem::new(&rolling.at, "`rolling` needs `strategy = \"rolling\"`")
                    .hint("the other strategies have one process"),
            );
        }
        if self.is_of_another_kind(config, strategy) {
            return None;
        }
        let several = instances.filter(|_| number.is_some_and(|number| number > 1));
        if let (Some(instances), Some(false)) = (several, is_rolling) {
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
        number.and(pace).and(strategy)
    }

    /// `None` after a mistake.
    fn pace_of(
        &mut self,
        config: &RollingConfig,
        PaceOf {
            instances,
            bakes,
            serves,
        }: PaceOf,
    ) -> Option<Pace> {
        let known = self.problems.len();
        let small = |number: i64| u32::try_from(number).expect("the range was checked");
        let surge = self.number(config.surge.as_ref(), 0, 0..=1000).map(small);
        let missing = self.number(config.max_unavailable.as_ref(), 0, 0..=1000);
        let missing = missing.map(small);
        let together = missing.unwrap_or(0) + surge.unwrap_or(0);
        let implied = i64::from(together.clamp(1, instances.unwrap_or(1).max(1)));
        let batch = self.number(config.batch.as_ref(), implied, 1..=1000);
        let batch = batch.map(small);
        let pause = self.duration(config.pause.as_ref(), Duration::ZERO, Duration::ZERO);
        let canary = config.canary.as_ref().filter(|canary| canary.value);
        if let Some(canary) = canary.filter(|_| !bakes) {
            self.problems.push(
                Problem::new(&canary.at, "a canary without `bake` is not looked at")
                    .hint("add `bake = \"30s\"` to the service: so long it has to stay up"),
            );
        }
        if let (Some(batch), Some(surge), Some(instances)) = (batch, surge, instances) {
            let at = config.batch.as_ref().map_or(&config.at, |batch| &batch.at);
            if batch > instances {
                let hint = match instances {
                    1 => "leave `batch` out".to_owned(),
                    _ => format!("take at most {}", instances - u32::from(surge == 0)),
                };
                let what = format!("`batch` is {batch}, and there are {instances} instances");
                self.problems.push(Problem::new(at, what).hint(hint));
            } else if batch == instances && instances > 1 && surge == 0 && serves {
                let what = format!("nobody serves while {batch} of {instances} are replaced");
                let hint = format!("take at most {}, or add `surge = 1`", instances - 1);
                self.problems.push(Problem::new(at, what).hint(hint));
            }
            let limit = config.max_unavailable.as_ref().zip(missing);
            let gone = batch.min(instances).saturating_sub(surge);
            if let Some((written, limit)) = limit.filter(|(_, limit)| gone > *limit) {
                let what =
                    format!("{gone} of {instances} are missing at a time, and {limit} may be");
                let hint = match limit + surge {
                    0 => format!("take `surge = {gone}`, or `max_unavailable = {gone}`"),
                    most => format!("take `batch = {most}`, or `surge = {}`", batch - limit),
                };
                self.problems
                    .push(Problem::new(&written.at, what).hint(hint));
            }
        }
        (self.problems.len() == known).then_some(Pace {
            batch: batch?,
            surge: surge?,
            pause: pause?,
            canary: canary.is_some(),
        })
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

    /// A program that is somewhere else would be the same after every deployment.
    pub(super) fn uses_releases(&mut self, config: &ServiceConfig) {
        let Some(release) = &config.release else {
            return;
        };
        let exec = config.exec.iter().flat_map(|words| &words.value);
        let mut texts = exec.chain(&config.working_directory);
        let uses = |text: &At<String>| match Text::parse(&text.value) {
            Ok(text) => text.slots().any(|slot| *slot == Slot::ReleasePath),
            // It has a mistake of its own.
            Err(_) => true,
        };
        if config.exec.is_some() && !texts.any(uses) {
            self.problems.push(
                Problem::new(&release.at, "nothing runs from a release of this service").hint(
                    "begin `exec` with `{{release.path}}`: `exec = [\"{{release.path}}/bin/app\"]`",
                ),
            );
        }
    }
}
