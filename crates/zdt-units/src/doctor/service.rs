//! What a service unit does to its port and to its requests.

use super::socket::{is_basic, not_loaded};
use super::{Findings, RotationSeen, ServiceUnit, SocketUnit, Subject, drop_in};
use crate::balancer::State;
use crate::model::span;
use crate::observe::{Active, Load};

pub(super) fn examine(subject: &Subject, found: &mut Findings) {
    // With `Accept=yes` there is a process for each connection, and nothing of this is about it.
    let accepts = subject.sockets.iter().any(|socket| socket.accept);
    for service in &subject.services {
        if service.state.load != Load::Loaded {
            not_loaded(&service.state.unit, &service.state.load, found);
        } else if !accepts {
            limits(service, &subject.sockets, found);
            company(service, &subject.sockets, found);
            stop(service, found);
            start(service, found);
            process(service, &subject.sockets, found);
        }
    }
}

/// Whatever ends a start for good closes the port that started it.
fn limits(service: &ServiceUnit, sockets: &[SocketUnit], found: &mut Findings) {
    let unit = &service.state.unit;
    if sockets.is_empty() {
        return;
    }
    let limit = service.start_limit;
    if limit.counts() {
        found.add(
            "ZDT-D001",
            unit,
            format!(
                "`{unit}` may start {} times in {}; one more closes the port",
                limit.burst,
                span(limit.interval)
            ),
            drop_in(unit, "Unit", "StartLimitIntervalSec=0"),
        );
    }
    let triggered = |socket: &&SocketUnit| socket.trigger_limit.counts();
    if let Some(socket) = sockets.iter().find(triggered)
        && service.restart != "always"
        && !service.is_standby
    {
        let limit = socket.trigger_limit;
        found.add(
            "ZDT-D002",
            unit,
            format!(
                "`{unit}` has Restart={}: when it ends, waiting connections start it again, and after \
                 {} times in {} `{}` closes",
                service.restart,
                limit.burst,
                span(limit.interval),
                socket.state.unit
            ),
            drop_in(unit, "Service", "Restart=always` and `RestartSec=500ms"),
        );
    }
    for condition in &service.conditions {
        found.add(
            "ZDT-D003",
            unit,
            format!("`{unit}` has {condition}="),
            format!("take {condition}= out of `{unit}`; the program may check it and exit"),
        );
    }
}

fn company(service: &ServiceUnit, sockets: &[SocketUnit], found: &mut Findings) {
    let unit = &service.state.unit;
    let others = service.needs.iter().filter(|other| !is_basic(other));
    for other in others.chain(
        service
            .part_of
            .iter()
            .filter(|other| !other.ends_with(".target")),
    ) {
        found.add(
            "ZDT-D004",
            unit,
            format!("`{unit}` cannot run without `{other}`, and stops with it"),
            format!("take `{other}` out of Requires=, BindsTo= and PartOf= of `{unit}`, and put it into Wants="),
        );
    }
    for socket in sockets {
        let socket = &socket.state.unit;
        if !service.needs.iter().any(|other| other == socket.as_str()) && !service.is_standby {
            let both = format!("Requires={socket}` and `After={socket}");
            found.add(
                "ZDT-D018",
                unit,
                format!("`{unit}` does not require `{socket}`"),
                drop_in(unit, "Unit", &both),
            );
        }
    }
}

fn stop(service: &ServiceUnit, found: &mut Findings) {
    let unit = &service.state.unit;
    if let (Some(stop), Some(drain)) = (service.stop_timeout, service.drain)
        && stop <= drain
    {
        found.add(
            "ZDT-D020",
            unit,
            format!(
                "`{unit}` has TimeoutStopSec={} and drains for {}",
                span(stop),
                span(drain)
            ),
            "`zdt-units install` writes a longer one; look for a drop-in with `systemctl cat`",
        );
    }
    if !matches!(service.kill_mode.as_str(), "mixed" | "control-group") {
        found.add(
            "ZDT-D021",
            unit,
            format!("`{unit}` has KillMode={}", service.kill_mode),
            drop_in(unit, "Service", "KillMode=mixed"),
        );
    }
    if let Some(wrapper) = wrapper(service) {
        found.add(
            "ZDT-D022",
            unit,
            format!("the main process of `{unit}` is `{wrapper}`, not the program"),
            format!("name the program itself in ExecStart= of `{unit}`, or write `exec` before it"),
        );
    }
}

const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ash", "busybox"];
/// They start the program as a child and stay.
const PARENTS: &[&str] = &[
    "sudo", "su", "runuser", "timeout", "script", "npm", "yarn", "pnpm", "npx",
];

/// What stays between the manager and the program. `env`, `nohup` and `nice` become the program.
fn wrapper(service: &ServiceUnit) -> Option<String> {
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let program = name(service.exec.first()?);
    if let Some(process) = &service.process {
        let stays = SHELLS.contains(&process.program.as_str())
            || PARENTS.contains(&process.program.as_str());
        return (stays && process.has_children).then(|| process.program.clone());
    }
    let script = service
        .exec
        .windows(2)
        .find(|pair| pair[0] == "-c")
        .map(|pair| pair[1].as_str());
    // A shell becomes the last command where there is only one, but not every shell does.
    let becomes = script.is_some_and(|script| script.trim_start().starts_with("exec "));
    let stays = PARENTS.contains(&program.as_str())
        || SHELLS.contains(&program.as_str()) && script.is_some() && !becomes;
    stays.then_some(program)
}

fn start(service: &ServiceUnit, found: &mut Findings) {
    let unit = &service.state.unit;
    if !service.kind.starts_with("notify") {
        found.add(
            "ZDT-D030",
            unit,
            format!("`{unit}` has Type={}", service.kind),
            "let the program send READY=1 (`zdt::serve` does), and write `Type=notify`",
        );
    }
    if service.start_timeout.is_none() && service.kind != "oneshot" {
        found.add(
            "ZDT-D031",
            unit,
            format!("`{unit}` has TimeoutStartSec=infinity"),
            drop_in(unit, "Service", "TimeoutStartSec=60s"),
        );
    }
    let loops = service.state.active == Active::Activating && service.state.sub == "auto-restart";
    if loops || service.state.active == Active::Failed {
        let what = match loops {
            true => match service.state.restarts {
                0 => format!("`{unit}` ended, and is about to be started again"),
                more => format!("`{unit}` was started again {more} times, and ended each time"),
            },
            false => format!("`{unit}` has failed ({})", service.state.result),
        };
        found.add(
            "ZDT-D032",
            unit,
            what,
            format!("`journalctl -u {unit}` says why"),
        );
    }
}

fn process(service: &ServiceUnit, sockets: &[SocketUnit], found: &mut Findings) {
    let unit = &service.state.unit;
    if let Some((_, unclaimed)) = service.state.status.split_once("NOT serving ") {
        let unclaimed = unclaimed.split(", which").next().unwrap_or(unclaimed);
        found.add(
            "ZDT-D010",
            unit,
            format!("the process of `{unit}` does not serve {unclaimed}, which it was given"),
            format!("take it by that name in the program, or remove the socket from `{unit}`"),
        );
    }
    let held = service
        .process
        .as_ref()
        .and_then(|process| process.sockets.as_ref());
    if let (Some(held), true) = (held, service.state.serves()) {
        for socket in sockets
            .iter()
            .filter(|socket| socket.state.is_open() && !socket.inodes.is_empty())
        {
            if !socket.inodes.iter().any(|inode| held.contains(inode)) {
                let socket = &socket.state.unit;
                found.add(
                    "ZDT-D011",
                    unit,
                    format!("no process of `{unit}` has the socket of `{socket}`"),
                    format!("`systemctl restart {unit}`; if that does not help, the program closes what it is given"),
                );
            }
        }
    }
    let needed: u64 = sockets.iter().map(|socket| u64::from(socket.backlog)).sum();
    let needed = needed.min(4096);
    if service.open_files <= needed && needed > 0 && !sockets.is_empty() {
        found.add(
            "ZDT-D063",
            unit,
            format!(
                "`{unit}` may have {} files open, and {needed} connections may wait for it",
                service.open_files
            ),
            "`open_files = 65536` in `zdt.toml`, or `LimitNOFILE=65536` below `[Service]`",
        );
    }
}

pub(super) fn examine_wished(subject: &Subject, found: &mut Findings) {
    let name = &subject.name;
    let Some(wished) = &subject.wished else {
        return;
    };
    for service in &subject.services {
        let unit = &service.state.unit;
        if wished.handover && service.store == 0 && service.state.load == Load::Loaded {
            found.add(
                "ZDT-D060",
                unit,
                format!("`{unit}` has FileDescriptorStoreMax=0, and `handover = true`"),
                "`zdt-units install`; look for a drop-in with `systemctl cat`",
            );
        }
        if service.is_standby && service.state.serves() && !wished.busy {
            found.add(
                "ZDT-D061",
                unit,
                format!("`{unit}` serves, and no restart is going on"),
                format!("`systemctl stop {unit}`"),
            );
        }
    }
    let serving = subject
        .services
        .iter()
        .filter(|service| !service.is_standby);
    let serving = serving.filter(|service| service.state.serves()).count();
    if serving != wished.instances && serving > 0 {
        found.add(
            "ZDT-D062",
            name,
            format!(
                "{serving} of `{name}` serve, and `zdt.toml` wants {}",
                wished.instances
            ),
            "`zdt-units install`",
        );
    }
    if let Some(why) = wished.unhealthy.as_ref().filter(|_| serving > 0) {
        found.add(
            "ZDT-D064",
            name,
            format!("the health endpoint of `{name}`: {why}"),
            format!("`journalctl -u {name}`; a restart would wait for it and fail"),
        );
    }
    if let Some(release) = &wished.release {
        let link = release.link.display();
        let back = format!("`zdt-units rollback {name}`");
        let wrong = match &release.target {
            None => Some((
                format!("there is no `{link}`"),
                format!(
                    "`zdt-units deploy {name} --from PATH`; until then clients wait, and each start is in vain"
                ),
            )),
            Some(target) if !release.exists => Some((
                format!(
                    "`{link}` points to `{}`, which is not there",
                    target.display()
                ),
                back,
            )),
            Some(target) if !release.is_release => Some((
                format!(
                    "`{link}` points to `{}`, which is no release",
                    target.display()
                ),
                back,
            )),
            Some(_) => None,
        };
        if let Some((what, fix)) = wrong {
            found.add("ZDT-D065", name, what, fix);
        }
    }
    if let Some(rotation) = wished.rotation.as_ref().filter(|_| !wished.busy) {
        in_rotation(name, rotation, wished.broken_off.is_some(), serving, found);
    }
    if let Some(what) = &wished.broken_off {
        found.add(
            "ZDT-D066",
            name,
            format!("an operation on `{name}` broke off: {what}"),
            format!("`zdt-units recover {name}`"),
        );
    }
}

fn in_rotation(
    name: &str,
    rotation: &RotationSeen,
    broken_off: bool,
    serving: usize,
    found: &mut Findings,
) {
    match rotation {
        // Who does not serve is rightly out.
        RotationSeen::Told { .. } if serving == 0 => {}
        RotationSeen::Told {
            state: State::Up, ..
        } => {}
        RotationSeen::Told {
            server,
            balancer,
            state,
            says,
        } => {
            let (how, fix) = match state {
                State::Out if broken_off => (
                    "was taken out of rotation, and not put back",
                    format!("`zdt-units recover {name}`"),
                ),
                State::Out => (
                    "was taken out of rotation, and not put back",
                    format!("`zdt-units balancer restore {name}`"),
                ),
                State::Down | State::Up => (
                    "fails the balancer's check",
                    format!(
                        "see what the check asks, and what it is answered: `zdt-units balancer show {name}`"
                    ),
                ),
            };
            found.add(
                "ZDT-D067",
                name,
                format!("`{server}` {how}: `{says}` at {balancer}"),
                fix,
            );
        }
        RotationSeen::Untold { why, fix } => found.add("ZDT-D068", name, why, fix),
    }
}
