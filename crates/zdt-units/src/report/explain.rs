//! Everything that follows from a `zdt.toml`, and why. Pure.

use std::fmt::Write;

use crate::model::{
    Errand, Exec, Foreign, HOOK_LIMIT, Model, Probe, Proxy, Ready, Service, Stop, Strategy, Task,
    UnitName, span,
};
use crate::render::{Directive, Rendered};
use crate::unit_file::{Line, UnitFile};

/// New connections a second in the forecast of how long a queue lasts.
const RATE: u32 = 1000;

/// What is derived for each service that `wanted` accepts, then each directive of its units.
pub(crate) fn explain(model: &Model, rendered: &Rendered, wanted: impl Fn(&str) -> bool) -> String {
    let mut out = String::new();
    for service in &model.services {
        if wanted(service.name.as_str()) {
            of_service(service, rendered, &mut out);
        }
    }
    for foreign in &model.foreign {
        if wanted(foreign.name.as_str()) {
            of_foreign(foreign, &mut out);
        }
    }
    out
}

fn of_service(service: &Service, rendered: &Rendered, out: &mut String) {
    heading(service.name.as_str(), out);
    let mut tell = |what: &str, text: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {what:<9}{text}");
    };
    tell("restart", strategy(service));
    tell("stop", stop(service));
    tell("ready", ready(service));
    if service.handover {
        tell("handover", handover(service));
    }
    for socket in &service.sockets {
        let queue = u64::from(socket.backlog) + 1;
        let lasts = queue as f64 / f64::from(RATE);
        tell(
            "queue",
            format!(
                "{queue} connections can wait on `{}`: {lasts:.1} s at {RATE} new ones a second \
                 (less where net.core.somaxconn is below {})",
                socket.name, socket.backlog
            ),
        );
    }
    if let Some(release) = &service.release {
        let root = &release.root;
        tell(
            "release",
            format!(
                "{root}/current, one of {root}/releases; {} are kept",
                release.keep
            ),
        );
    }
    if let Some(companion) = &service.companion {
        let of = &companion.of;
        let drain = match companion.drain_early {
            true => format!("; drains while `{of}` does"),
            false => String::new(),
        };
        tell(
            "release",
            format!("that of `{of}`, together with which it is replaced{drain}"),
        );
    }
    for (kind, errand) in service.tasks() {
        tell("task", task(service, kind, &errand));
    }
    if !service.bake.is_zero() {
        let bake = span(service.bake);
        tell(
            "bake",
            match service.strategy {
                Strategy::Rolling { pace, .. } if pace.canary => format!(
                    "a canary has to stay up for {bake}, and so has the new process of a deploy"
                ),
                _ => format!("a deploy is done when the new process has stayed up for {bake}"),
            },
        );
    }
    if let Some(proxy) = &service.proxy {
        tell("proxy", proxied(proxy));
    }
    for unit in units_of(service, rendered) {
        of_unit(unit, out);
    }
}

fn proxied(proxy: &Proxy) -> String {
    let domains = proxy.domains.iter().map(|domain| format!("`{domain}`"));
    let domains: Vec<String> = domains.collect();
    let hosts = match domains.is_empty() {
        true => "every host".to_owned(),
        false => domains.join(", "),
    };
    let servers = proxy.servers.iter();
    let servers = servers.map(|server| {
        let address = server.address.to_string();
        let address = address.trim_start_matches("http://").trim_end_matches(':');
        format!("`{}` at `{address}`", server.name)
    });
    let servers: Vec<String> = servers.collect();
    format!("{hosts} to {}", servers.join(", "))
}

fn task(service: &Service, task: Task, errand: &Errand) -> String {
    let when = match task {
        Task::Check => "before anything is touched",
        Task::Backup => "before a migration",
        Task::Migrate => "before the process is replaced",
        Task::MigrateDown => "where a migration has to be taken back",
        Task::Warm => "once the new process is ready",
    };
    format!(
        "{} {when}, in `{}`; at most {}",
        words(&errand.command),
        UnitName::task(&service.name, task),
        span(errand.timeout)
    )
}

fn heading(text: &str, out: &mut String) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(text);
    out.push('\n');
}

fn strategy(service: &Service) -> String {
    let serves = !service.sockets.is_empty();
    match service.strategy {
        Strategy::Queue if !serves => {
            "`queue`: the process is stopped, then the next one is started".to_owned()
        }
        Strategy::Queue => {
            "`queue`: the process is stopped, then the next one is started; new connections wait in the kernel"
                .to_owned()
        }
        Strategy::Standby => format!(
            "`standby`: a second process {} while the first one is replaced; it lives at most {}",
            if serves { "serves" } else { "works" },
            span(service.standby_timeout())
        ),
        Strategy::Rolling { instances, pace } => {
            let mut text = format!(
                "`rolling`: {instances} processes{}, replaced {}",
                if serves { " on the same sockets" } else { "" },
                match pace.batch {
                    1 => "one after the other".to_owned(),
                    batch => format!("{batch} at a time"),
                }
            );
            if pace.canary {
                text.push_str("; a canary first");
            }
            if pace.surge > 0 {
                let do_so = if serves { "serve" } else { "work" };
                text.push_str(&format!("; {} more {do_so} meanwhile", pace.surge));
            }
            if !pace.pause.is_zero() {
                text.push_str(&format!("; {} between two batches", span(pace.pause)));
            }
            text
        }
        Strategy::Reload => {
            "`reload`: on SIGHUP the process starts its successor, which says READY=1".to_owned()
        }
    }
}

fn stop(service: &Service) -> String {
    let Stop {
        quiet,
        drain: work,
        drain_limit,
        command,
        signal,
    } = &service.stop;
    let mut said = Vec::new();
    if let Some(quiet) = quiet {
        said.push(format!("{} within {}", words(quiet), span(HOOK_LIMIT)));
    }
    match work {
        Some(work) => said.push(format!("{} within {}", words(work), span(*drain_limit))),
        None if drain_limit.is_zero() => {}
        None => said.push(format!("{} to end by itself", span(*drain_limit))),
    }
    match command {
        Some(command) => said.push(format!("{} within {}", words(command), span(HOOK_LIMIT))),
        None if *signal != Stop::default().signal || !said.is_empty() => {
            said.push(signal.to_string());
        }
        None => {}
    }
    let drain = service.drain;
    let by_itself = drain.grace + drain.limit + drain.linger;
    said.push(format!(
        "{} at most: grace {}, limit {}, linger {}; killed {} later if it is still there",
        span(by_itself),
        span(drain.grace),
        span(drain.limit),
        span(drain.linger),
        span(service.end_timeout() - by_itself),
    ));
    said.join(", then ")
}

/// The program and its arguments, each marked as what it is.
fn words(exec: &Exec) -> String {
    let words = std::iter::once(exec.program()).chain(exec.arguments());
    let words: Vec<_> = words.map(|word| format!("`{word}`")).collect();
    words.join(" ")
}

fn ready(service: &Service) -> String {
    let said = match service.ready {
        Ready::Notify => format!("READY=1 within {}", span(service.start_timeout)),
        Ready::Started => "as soon as it was started".to_owned(),
    };
    let Some(health) = &service.health else {
        return said;
    };
    let times = match health.successes {
        1 => "once".to_owned(),
        times => format!("{times} times in a row"),
    };
    let well = match &health.probe {
        Probe::Ready { .. } => format!("200 from {}", health.probe.target()),
        probe => probe.to_string(),
    };
    format!(
        "{said}, then {well} {times} within {}",
        span(health.timeout)
    )
}

fn handover(service: &Service) -> String {
    let store = "systemd keeps them for the process that it starts next";
    let to = match (service.handover_directory(), service.strategy) {
        (Some(directory), _) => {
            format!(
                "a process that serves, found in `%t/{directory}`, takes them; without one {store}"
            )
        }
        (None, Strategy::Reload) => {
            format!("the process that replaces this one takes them; at a stop {store}")
        }
        (None, _) => store.to_owned(),
    };
    format!("idle connections stay open over a restart: {to}")
}

fn of_foreign(foreign: &Foreign, out: &mut String) {
    heading(foreign.name.as_str(), out);
    let _ = writeln!(
        out,
        "  `{}`, a unit of others: no file is written for it",
        foreign.unit
    );
    if let Some(health) = &foreign.health {
        let _ = writeln!(out, "  well when {}", health.probe);
    }
}

fn units_of<'r>(service: &Service, rendered: &'r Rendered) -> impl Iterator<Item = &'r UnitFile> {
    rendered
        .units
        .iter()
        .filter(move |unit| unit.service == service.name)
}

fn of_unit(unit: &UnitFile, out: &mut String) {
    let _ = writeln!(out, "\n  {}", unit.name);
    let mut above = None;
    let mut told = None;
    for line in unit.sections.iter().flat_map(|section| &section.lines) {
        let (key, value) = match line {
            Line::Comment(text) => {
                above = Some(text.as_str()).filter(|text| !text.starts_with("---"));
                continue;
            }
            Line::Directive { key, value } => (*key, value),
        };
        let setting = format!("{key}={}", value.as_str());
        // What the file itself says is more exact.
        let in_general = Directive::named(key).map_or("", |directive| directive.why);
        let why = above.take().unwrap_or(in_general);
        // Said once for a directive that stands there several times.
        let why = if told == Some(key) { "" } else { why };
        told = Some(key);
        let _ = match (setting.chars().count(), why) {
            (_, "") => writeln!(out, "    {setting}"),
            (0..=WIDTH, why) => writeln!(out, "    {setting:<WIDTH$}  {why}"),
            (_, why) => writeln!(out, "    {setting}\n    {:WIDTH$}  {why}", ""),
        };
    }
}

const WIDTH: usize = 38;
