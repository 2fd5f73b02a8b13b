//! `NAME.service`: the process, and the settings without which a restart could lose something.

use super::{MANUAL, header, sandbox};
use crate::model::{Service, span};
use crate::unit_file::{Section, UnitFile, Value};

pub(super) fn unit(service: &Service, source: &str) -> UnitFile {
    let name = service.unit();
    UnitFile {
        header: header(&name, source),
        sections: vec![
            unit_section(service),
            service_section(service),
            install(service),
        ],
        name,
    }
}

fn unit_section(service: &Service) -> Section {
    let sockets = || service.sockets.iter().map(|socket| &socket.unit);
    let mut section = Section::new("Unit");
    section
        .set("Description", Value::text(service.name.as_str()))
        .set("Documentation", MANUAL)
        .set("Requires", Value::units(sockets()));
    if !service.after.is_empty() {
        // With `Requires=` a failing unit would take the socket down with it.
        section.set("Wants", Value::units(&service.after));
    }
    section
        .set("After", Value::units(sockets().chain(&service.after)))
        .comment("a crash loop must never close the port")
        .set("StartLimitIntervalSec", "0");
    section
}

fn service_section(service: &Service) -> Section {
    let mut section = Section::new("Service");
    section
        .set("Type", "notify")
        .set("NotifyAccess", "main")
        .set("ExecStart", &service.exec);
    if service.sockets.len() > 1 {
        let sockets = service.sockets.iter().map(|socket| &socket.unit);
        section.set("Sockets", Value::units(sockets));
    }
    if let Some(path) = &service.working_directory {
        section.set("WorkingDirectory", path);
    }
    for (name, value) in service.library_environment() {
        section.set("Environment", Value::assignment(name, &value));
    }
    for (name, value) in &service.environment {
        section.set("Environment", Value::assignment(name, value));
    }
    for file in &service.environment_files {
        section.set("EnvironmentFile", Value::environment_file(file));
    }

    let drain = service.drain;
    section
        .set("Restart", "always")
        .comment("not below 250ms: more than 20 starts in 2 s would close the port")
        .set("RestartSec", service.restart_pause)
        .set("TimeoutStartSec", service.start_timeout)
        .comment(format!(
            "longer than the drain: grace {}, limit {}, linger {}",
            span(drain.grace),
            span(drain.limit),
            span(drain.linger)
        ))
        .set("TimeoutStopSec", service.stop_timeout())
        .comment("helpers keep running until the main process has drained")
        .set("KillMode", "mixed")
        .set("KillSignal", "SIGTERM");
    if let Some(limit) = service.watchdog {
        section.set("WatchdogSec", limit);
    }
    section.set("LimitNOFILE", service.open_files);
    sandbox::write(service, &mut section);
    section
}

fn install(service: &Service) -> Section {
    let mut section = Section::new("Install");
    section.set("WantedBy", "multi-user.target").set(
        "Also",
        Value::units(service.sockets.iter().map(|socket| &socket.unit)),
    );
    section
}
