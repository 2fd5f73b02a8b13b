//! The units of what is run besides the process: a check, a migration and the like.
//!
//! Nothing pulls them in; `zdt-units` starts them when their time has come.

use std::time::Duration;

use super::service::{documentation, variables};
use super::{Target, header, sandbox};
use crate::model::{Errand, Service, Task, Text, UnitName};
use crate::unit_file::{Section, UnitFile, Value};

/// How long one that was told to stop is waited for.
const STOP: Duration = Duration::from_secs(10);

pub(super) fn units(service: &Service, source: &str, target: Target) -> Vec<UnitFile> {
    let tasks = service.tasks().into_iter();
    tasks
        .map(|(task, errand)| unit(service, task, &errand, source, target))
        .collect()
}

fn unit(service: &Service, task: Task, errand: &Errand, source: &str, target: Target) -> UnitFile {
    let name = UnitName::task(&service.name, task);
    UnitFile {
        service: service.name.clone(),
        header: header(&name, source),
        sections: vec![
            unit_section(service, task),
            service_section(service, errand, target),
        ],
        name,
    }
}

fn unit_section(service: &Service, task: Task) -> Section {
    let mut section = Section::new("Unit");
    let what = match task {
        Task::Check => "says whether the next release can serve",
        Task::Backup => "keeps what a migration may spoil",
        Task::Migrate => "changes data for the next release",
        Task::MigrateDown => "takes a migration back",
        Task::Warm => "fills the caches of a new process",
    };
    let description = format!("{}: {what}", service.name);
    section.set("Description", Value::text(&description));
    documentation(service, &mut section);
    if !service.after.is_empty() {
        section
            .set("Wants", Value::units(&service.after))
            .set("After", Value::units(&service.after));
    }
    section
        .comment("each restart may run it, however soon it follows the last one")
        .set("StartLimitIntervalSec", "0");
    section
}

fn service_section(service: &Service, errand: &Errand, target: Target) -> Section {
    let mut section = Section::new("Service");
    section.set("Type", "oneshot");
    if service.release.is_some() || service.companion.is_some() {
        section.comment(
            "`next` is the release that is about to serve, `current` the one that serves until then",
        );
    }
    section.set("ExecStart", &errand.command);
    let next = &service.given_next;
    if let Some(path) = &next.working_directory {
        section.set("WorkingDirectory", path);
    }
    let name = Text::literal(service.name.as_str());
    section.set("Environment", Value::assignment("ZDT_SERVICE", &name));
    variables(&next.environment, &next.environment_files, &mut section);
    for (name, path) in &next.credentials {
        section.set("LoadCredential", Value::credential(name, path));
    }
    section
        .set("Restart", "no")
        .set("TimeoutStartSec", errand.timeout)
        .set("TimeoutStopSec", STOP)
        .set("LimitNOFILE", service.open_files);
    sandbox::write(service, target.manager, &mut section);
    section
}
