//! What is run besides the process, in the release that is about to serve.

use std::ops::Range;
use std::time::Duration;

use super::super::{Errand, Exec, Given, Migrate, PathText, Slot, Task, Text};
use super::Build;
use super::text::{ReleaseLink, all_or_nothing};
use crate::config::{At, ErrandConfig, MigrateConfig, ServiceConfig};

pub(super) const CHECK_TIMEOUT: Duration = Duration::from_secs(60);
pub(super) const WARM_TIMEOUT: Duration = Duration::from_secs(60);
const MIGRATE_TIMEOUT: Duration = Duration::from_secs(300);

type Words = Option<At<Vec<At<String>>>>;

/// The tasks of a service, and where they stand.
pub(super) fn written(config: &ServiceConfig) -> Vec<(Task, &Range<usize>)> {
    let migrate = config.migrate.as_ref();
    let all: [(Task, Option<&Words>); 5] = [
        (Task::Check, config.check.as_ref().map(|it| &it.command)),
        (Task::Backup, migrate.map(|migrate| &migrate.backup)),
        (Task::Migrate, migrate.map(|migrate| &migrate.command)),
        (Task::MigrateDown, migrate.map(|migrate| &migrate.down)),
        (Task::Warm, config.warm.as_ref().map(|it| &it.command)),
    ];
    let there = all.into_iter();
    there
        .filter_map(|(task, words)| Some((task, &words?.as_ref()?.at)))
        .collect()
}

impl Build {
    pub(super) fn errand(
        &mut self,
        config: Option<&ErrandConfig>,
        timeout: Duration,
    ) -> Option<Option<Errand>> {
        let config = config?;
        let command = self.of_next(|build| build.command(config.command.as_ref()?));
        let least = Duration::from_millis(1);
        let timeout = self.duration(config.timeout.as_ref(), timeout, least);
        let errand = command.zip(timeout);
        Some(errand.map(|(command, timeout)| Errand { command, timeout }))
    }

    pub(super) fn migrate(&mut self, config: &MigrateConfig) -> Option<Migrate> {
        let mut command = |words: &Words| -> Option<Option<Exec>> {
            let words = words.as_ref()?;
            Some(self.of_next(|build| build.command(words)))
        };
        let up = command(&config.command);
        let down = command(&config.down);
        let backup = command(&config.backup);
        let least = Duration::from_millis(1);
        let timeout = self.duration(config.timeout.as_ref(), MIGRATE_TIMEOUT, least);
        Some(Migrate {
            command: up??,
            down: all_or_nothing(down)?,
            backup: all_or_nothing(backup)?,
            timeout: timeout?,
        })
    }

    pub(super) fn given(&mut self, config: &ServiceConfig) -> Given {
        let path = config.working_directory.as_ref();
        Given {
            environment: self.environment(config),
            environment_files: self.environment_files(config),
            credentials: self.credentials(config),
            working_directory: path.and_then(|path| self.parse_text(path, PathText::parse)),
        }
    }

    /// What the tasks are given: their `{{release.path}}` is the release that is about to serve, and
    /// where instances differ they are as the first one.
    pub(super) fn given_next(&mut self, config: &ServiceConfig) -> Given {
        // Its mistakes are those of the service, which are told already; or it names the port of a process, and a task
        // has none.
        let known = (self.problems.len(), self.only_with_launcher.len());
        self.link(ReleaseLink::Next);
        let mut given = self.given(config);
        self.link(ReleaseLink::Current);
        self.problems.truncate(known.0);
        self.only_with_launcher.truncate(known.1);
        let first = |text: &Text| text.fill(&Slot::Instance, "1");
        for (_, value) in &mut given.environment {
            *value = first(value);
        }
        for file in &mut given.environment_files {
            file.path = file.path.of_first();
        }
        for (_, path) in &mut given.credentials {
            *path = path.of_first();
        }
        given.working_directory = given.working_directory.map(|path| path.of_first());
        given
    }

    /// Reads what is run in the release that is about to serve, once for all instances.
    fn of_next<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let rolling = self.at_hand.as_mut();
        let rolling = rolling.is_some_and(|at_hand| std::mem::take(&mut at_hand.rolling));
        self.link(ReleaseLink::Next);
        let done = read(self);
        self.link(ReleaseLink::Current);
        if let Some(at_hand) = &mut self.at_hand {
            at_hand.rolling = rolling;
        }
        done
    }

    fn link(&mut self, link: ReleaseLink) {
        if let Some(at_hand) = &mut self.at_hand {
            at_hand.link = link;
        }
    }
}
