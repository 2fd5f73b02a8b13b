//! The units that run a service: the process, and the settings without which a
//! restart could lose something.

use super::{Manager, Target, header, sandbox, stop};
use crate::model::{
    EnvironmentFile, Ports, Ready, Restarts, Service, Strategy, Text, UnitName, span,
};
use crate::unit_file::{Section, UnitFile, Value};

/// The release that can be told `Type=notify-reload`; an older one would take
/// the service for one that is ready as soon as it is started.
const NOTIFY_RELOAD: u32 = 253;

/// The release that waits until the program was executed; an older one goes on when it was forked.
const TYPE_EXEC: u32 = 240;

/// What one of the units is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The one process, or the template of several.
    Main,
    /// Serves while the main process is replaced.
    Standby,
}

/// All units of `service` but its sockets.
pub(super) fn units(service: &Service, source: &str, target: Target) -> Vec<UnitFile> {
    let write = |part, name| unit(service, part, name, source, target);
    let name = &service.name;
    match service.strategy {
        Strategy::Queue | Strategy::Reload => vec![write(Part::Main, UnitName::service(name))],
        Strategy::Standby => vec![
            write(Part::Main, UnitName::service(name)),
            write(Part::Standby, UnitName::standby(name)),
        ],
        Strategy::Rolling { .. } => vec![
            write(Part::Main, UnitName::template(name)),
            together(service, source, target),
        ],
    }
}

fn unit(service: &Service, part: Part, name: UnitName, source: &str, target: Target) -> UnitFile {
    let rolling = matches!(service.strategy, Strategy::Rolling { .. });
    let mut sections = vec![
        unit_section(service, part),
        service_section(service, part, &name, target),
    ];
    if part == Part::Main && !rolling {
        sections.push(install(service, target));
    }
    UnitFile {
        service: service.name.clone(),
        header: header(&name, source),
        sections,
        name,
    }
}

/// `NAME.target`: all instances of a service.
fn together(service: &Service, source: &str, target: Target) -> UnitFile {
    let name = service.unit();
    let mut section = Section::new("Unit");
    section.set(
        "Description",
        Value::text(&format!("{}: all instances", service.name)),
    );
    documentation(service, &mut section);
    section.set("Wants", Value::units(&service.instances()));
    UnitFile {
        service: service.name.clone(),
        header: header(&name, source),
        sections: vec![section, install(service, target)],
        name,
    }
}

fn unit_section(service: &Service, part: Part) -> Section {
    let sockets = || service.sockets.iter().map(|socket| &socket.unit);
    let mut section = Section::new("Unit");
    section.set("Description", Value::text(&description(service, part)));
    documentation(service, &mut section);
    if !service.sockets.is_empty() {
        section.set("Requires", Value::units(sockets()));
    }
    if !service.after.is_empty() {
        // With `Requires=` a failing unit would take the socket down with it.
        section.set("Wants", Value::units(&service.after));
    }
    if !service.sockets.is_empty() || !service.after.is_empty() {
        section.set("After", Value::units(sockets().chain(&service.after)));
    }
    if let Strategy::Rolling { .. } = service.strategy {
        section.set("PartOf", &service.unit());
    }
    section
        .comment(match service.sockets.is_empty() {
            true => "however often it crashes, it is started again",
            false => "a crash loop must never close the port",
        })
        .set("StartLimitIntervalSec", "0");
    section
}

fn description(service: &Service, part: Part) -> String {
    let name = &service.name;
    match (part, service.strategy) {
        (Part::Standby, _) => format!("{name}: serves while {name}.service is restarted"),
        (Part::Main, Strategy::Rolling { .. }) => format!("{name}: one of several instances"),
        (Part::Main, _) => name.to_string(),
    }
}

pub(super) fn documentation(service: &Service, section: &mut Section) {
    if !service.documentation.is_empty() {
        section.set("Documentation", Value::uris(&service.documentation));
    }
}

fn service_section(service: &Service, part: Part, name: &UnitName, target: Target) -> Section {
    let mut section = Section::new("Service");
    let reload = service.strategy == Strategy::Reload;
    match service.ready {
        Ready::Started if target.systemd >= TYPE_EXEC => section.set("Type", "exec"),
        Ready::Started => section.set("Type", "simple"),
        Ready::Notify => {
            let kind = match reload && target.systemd >= NOTIFY_RELOAD {
                true => "notify-reload",
                false => "notify",
            };
            section.set("Type", kind).set("NotifyAccess", "main")
        }
    };
    section.set("ExecStart", &service.exec);
    if service.handover {
        section
            .comment(
                "closes connections that a release without hand-over was given, and never answers",
            )
            .set("ExecStartPost", SWEEP);
    }
    if reload && target.systemd < NOTIFY_RELOAD {
        section
            .comment("the pause lets `RELOADING=1` arrive; the reload then waits for `READY=1`")
            .set("ExecReload", RELOAD);
    }
    stop::commands(service, &mut section);
    if !service.sockets.is_empty() && !finds_its_sockets(service, name) {
        let sockets = service.sockets.iter().map(|socket| &socket.unit);
        section.set("Sockets", Value::units(sockets));
    }
    if let Strategy::Standby | Strategy::Rolling { .. } = service.strategy
        && !service.sockets.is_empty()
    {
        section
            .comment(
                "else each start would make the shared sockets blocking, and hang those who serve",
            )
            .set("NonBlocking", "yes");
    }
    if let Some(path) = &service.working_directory {
        section.set("WorkingDirectory", path);
    }
    environment(service, &mut section);
    for (name, path) in &service.credentials {
        section.set("LoadCredential", Value::credential(name, path));
    }
    lifetime(service, part, target, &mut section);
    if service.handover {
        section.comment(
            "each connection is a descriptor, also while it is on its way to the next process",
        );
    }
    section.set("LimitNOFILE", service.open_files);
    if let Some(memory) = service.memory {
        section
            .comment("slows it down and takes memory back; `MemoryMax=` would kill it, with requests in it")
            .set("MemoryHigh", memory.limit);
    }
    handover(service, &mut section);
    sandbox::write(service, target.manager, &mut section);
    section
}

/// `SIGHUP`, on a machine that may have no `kill` but the shell's.
const RELOAD: &str = "/bin/sh -c \"kill -HUP $$MAINPID && exec sleep 0.2\"";

/// With root's rights, which it takes to look into another process. A machine without the program goes on without.
const SWEEP: &str = "-+zdt-units sweep $MAINPID";

/// Where a process leaves its connections for another one.
fn handover(service: &Service, section: &mut Section) {
    if !service.handover {
        return;
    }
    section
        .comment("queues of connections for the next process, and room for the program's own")
        .set("FileDescriptorStoreMax", "16");
    if let Some(directory) = service.handover_directory() {
        section
            .comment("where processes that serve at the same time find each other")
            .set("RuntimeDirectory", Value::text(&directory))
            .set("RuntimeDirectoryMode", "0700")
            .comment("the end of one must not take it away from the others")
            .set("RuntimeDirectoryPreserve", "yes");
    }
}

/// A service is passed the socket of its own name without being told.
fn finds_its_sockets(service: &Service, name: &UnitName) -> bool {
    let stem = name.as_str().strip_suffix(".service");
    let own = |unit: &UnitName| unit.as_str().strip_suffix(".socket") == stem;
    matches!(service.sockets.as_slice(), [only] if own(&only.unit))
}

fn environment(service: &Service, section: &mut Section) {
    for (name, value) in service.library_environment() {
        section.set(
            "Environment",
            Value::assignment(name, &Text::literal(value)),
        );
    }
    if let Strategy::Rolling { instances, .. } = service.strategy {
        let instances = Text::literal(instances.to_string());
        section.set("Environment", Value::instance()).set(
            "Environment",
            Value::assignment("ZDT_INSTANCES", &instances),
        );
    }
    if let Some(root) = service.releases() {
        let path = Text::literal(format!("{root}/current"));
        section.set("Environment", Value::assignment("ZDT_RELEASE_PATH", &path));
    }
    if let Some(port) = service.ports.and_then(Ports::fixed) {
        let port = Text::literal(port.to_string());
        section.set("Environment", Value::assignment("ZDT_PORT", &port));
    }
    if service.strategy == Strategy::Reload {
        let limit = Text::literal(span(service.start_timeout));
        let limit = Value::assignment("ZDT_RELOAD_LIMIT", &limit);
        section
            .set("Environment", "ZDT_RELOAD=1")
            .comment("systemd gives a reload up after the same time")
            .set("Environment", limit);
    }
    if service.handover {
        section.set("Environment", "ZDT_HANDOVER=1");
    }
    if let Some(directory) = service.handover_directory() {
        section.set("Environment", Value::handover_directory(&directory));
    }
    variables(&service.environment, &service.environment_files, section);
}

/// Those of the user.
pub(super) fn variables(
    environment: &[(String, Text)],
    files: &[EnvironmentFile],
    section: &mut Section,
) {
    for (name, value) in environment {
        section.set("Environment", Value::assignment(name, value));
    }
    for file in files {
        section.set("EnvironmentFile", Value::environment_file(file));
    }
}

/// When it is started again, and how long it may take to start and to stop.
fn lifetime(service: &Service, part: Part, target: Target, section: &mut Section) {
    let drain = service.drain;
    match part {
        Part::Main => {
            let serves = !service.sockets.is_empty();
            section.set("Restart", "always");
            if serves {
                section.comment("not below 250ms: more than 20 starts in 2 s would close the port");
            }
            section.set("RestartSec", service.restarts.pause);
            let steps = steps(service.restarts).filter(|_| target.systemd >= RESTART_STEPS);
            if let Some(steps) = steps {
                section
                    .comment(match serves {
                        true => "a crash loop slows down, and connections wait that much longer",
                        false => "a crash loop slows down",
                    })
                    .set("RestartSteps", steps)
                    .set("RestartMaxDelaySec", service.restarts.longest);
            }
        }
        Part::Standby => {
            section
                .set("Restart", "no")
                .comment("one that was forgotten ends by itself")
                .set("RuntimeMaxSec", service.standby_timeout());
        }
    }
    let longer_than = match service.end_timeout() > drain.stop_timeout() {
        true => "longer than each command of the stop".to_owned(),
        false => format!(
            "longer than the drain: grace {}, limit {}, linger {}",
            span(drain.grace),
            span(drain.limit),
            span(drain.linger)
        ),
    };
    section
        .set("TimeoutStartSec", service.start_timeout)
        .comment(longer_than)
        .set("TimeoutStopSec", service.end_timeout());
    match service.strategy {
        Strategy::Reload => {
            section
                .comment("the process that was replaced is a helper now, and it drains")
                .set("KillMode", "control-group");
        }
        _ => {
            section
                .comment("helpers keep running until the main process has drained")
                .set("KillMode", "mixed");
        }
    }
    section.set("KillSignal", service.stop.signal.as_str());
    if let Some(limit) = service.watchdog {
        section.set("WatchdogSec", limit);
    }
}

/// The release that can slow a crash loop down. An older one keeps its pace,
/// which is not a loss worth a word.
const RESTART_STEPS: u32 = 254;

/// In how many steps systemd goes from the first pause to the longest one: so many that none is more than `factor`
/// times as long as the one before. `None`: they stay as they are.
fn steps(restarts: Restarts) -> Option<u64> {
    let grows = restarts.factor > 1 && restarts.longest > restarts.pause;
    let mut pause = restarts.pause;
    let mut steps = 0;
    while grows && pause < restarts.longest {
        pause *= restarts.factor;
        steps += 1;
    }
    (steps > 0).then_some(steps)
}

fn install(service: &Service, target: Target) -> Section {
    let mut section = Section::new("Install");
    let at_boot = match target.manager {
        Manager::System => "multi-user.target",
        Manager::User => "default.target",
    };
    section.set("WantedBy", at_boot);
    if !service.sockets.is_empty() {
        let sockets = service.sockets.iter().map(|socket| &socket.unit);
        section.set("Also", Value::units(sockets));
    }
    section
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn pauses_grow_in_steps_of_at_most_the_factor() {
        let of = |factor, longest| {
            steps(Restarts {
                factor,
                longest: Duration::from_secs(longest),
                pause: Duration::from_secs(1),
                ..Restarts::default()
            })
        };
        let found = [
            of(2, 10),
            of(2, 8),
            of(3, 10),
            of(100, 10),
            of(1, 10),
            of(2, 1),
        ];
        assert_eq!(found, [Some(4), Some(3), Some(3), Some(1), None, None]);
    }
}
