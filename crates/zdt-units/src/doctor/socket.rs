//! What closes a port, or has closed it.

use super::{Findings, SocketUnit, Subject, drop_in};
use crate::config::list;
use crate::model::{Address, Reach, UnitName};
use crate::observe::{Active, Load};

pub(super) fn examine(subject: &Subject, found: &mut Findings) {
    for socket in &subject.sockets {
        let unit = &socket.state.unit;
        if socket.state.load != Load::Loaded {
            not_loaded(unit, &socket.state.load, found);
            continue;
        }
        closed(subject, socket, found);
        settings(socket, found);
        company(socket, found);
        let by_service = |service: &super::ServiceUnit| {
            is_enabled(&service.file_state)
                && service.needs.iter().any(|other| other == unit.as_str())
        };
        if !is_enabled(&socket.file_state) && !subject.services.iter().any(by_service) {
            found.add(
                "ZDT-D017",
                unit,
                format!("`{unit}` is not enabled"),
                format!("`systemctl enable {unit}`"),
            );
        }
    }
    let has_socket = |service: &&super::ServiceUnit| {
        !service.triggered_by.is_empty() || !subject.sockets.is_empty()
    };
    for service in subject
        .services
        .iter()
        .filter(|service| service.state.load == Load::Loaded)
    {
        if !has_socket(&service) {
            let unit = &service.state.unit;
            found.add(
                "ZDT-D014",
                unit,
                format!("no socket unit starts `{unit}`"),
                "describe it in `zdt.toml`, then `zdt-units install --take-over`",
            );
        }
    }
}

/// Something starts it at boot, or a program made it.
fn is_enabled(file_state: &str) -> bool {
    matches!(
        file_state,
        "enabled" | "enabled-runtime" | "linked" | "generated" | "transient"
    )
}

pub(super) fn not_loaded(unit: &UnitName, load: &Load, found: &mut Findings) {
    let (what, fix) = match load {
        Load::Loaded => return,
        Load::Masked => (
            format!("`{unit}` is masked"),
            format!("`systemctl unmask {unit}`"),
        ),
        Load::NotFound => (
            format!("systemd has no unit `{unit}`"),
            "`zdt-units install`, or the package that has it".to_owned(),
        ),
        Load::Other(word) => (
            format!("systemd cannot load `{unit}` ({word})"),
            format!("`systemd-analyze verify {unit}` says what is wrong with it"),
        ),
    };
    found.add("ZDT-D006", unit, what, fix);
}

fn closed(subject: &Subject, socket: &SocketUnit, found: &mut Findings) {
    let unit = &socket.state.unit;
    if socket.state.active != Active::Active {
        let service = socket
            .triggers
            .first()
            .map(|unit| format!(" {unit}"))
            .unwrap_or_default();
        let runs = subject
            .services
            .iter()
            .any(|service| service.state.instance.is_some());
        let fix = match (socket.state.result.as_str(), runs) {
            (_, true) => {
                format!("`systemctl restart{service}` opens it while the process is stopped")
            }
            ("success", false) => format!("`systemctl start {unit}`"),
            (_, false) => {
                format!("`systemctl reset-failed {unit}{service}; systemctl start {unit}{service}`")
            }
        };
        let what = match socket.state.result.as_str() {
            "success" => format!("`{unit}` is {}", socket.state.active),
            result => format!("`{unit}` is {} ({result})", socket.state.active),
        };
        found.add("ZDT-D007", unit, what, fix);
    } else if !socket.state.refused.is_empty() {
        let refused: Vec<_> = socket.state.refused.iter().map(Reach::to_string).collect();
        let refused: Vec<_> = refused.iter().map(String::as_str).collect();
        found.add(
            "ZDT-D008",
            unit,
            format!("`{unit}` is active and refuses connections to {}", list(&refused)),
            format!("`systemctl restart {unit}`; it stops the service and refuses clients for that moment"),
        );
    }
}

fn settings(socket: &SocketUnit, found: &mut Findings) {
    let unit = &socket.state.unit;
    let mut yes = |on: bool, code: &str, directive: &str| {
        if on {
            let no = format!("{directive}=no");
            found.add(
                code,
                unit,
                format!("`{unit}` has {directive}=yes"),
                drop_in(unit, "Socket", &no),
            );
        }
    };
    yes(socket.flush_pending, "ZDT-D009", "FlushPending");
    yes(socket.accept, "ZDT-D016", "Accept");
    yes(socket.reuse_port, "ZDT-D044", "ReusePort");
    let is_unix = |address: &Address| matches!(address, Address::Unix(_));
    if socket.addresses.iter().any(is_unix) && socket.backlog < 1024 {
        found.add(
            "ZDT-D043",
            unit,
            format!(
                "`{unit}` queues {} connections on a Unix socket",
                socket.backlog
            ),
            drop_in(unit, "Socket", "Backlog=4096"),
        );
    }
}

/// Units that start without fail before anything of ours: their end is that of the machine.
pub(super) fn is_basic(unit: &str) -> bool {
    [".slice", ".mount", ".target", ".socket", ".device"]
        .iter()
        .any(|kind| unit.ends_with(kind))
}

fn company(socket: &SocketUnit, found: &mut Findings) {
    let unit = &socket.state.unit;
    for other in socket.needs.iter().chain(&socket.part_of) {
        if !is_basic(other) {
            found.add(
                "ZDT-D005",
                unit,
                format!("`{unit}` is stopped together with `{other}`"),
                format!("take `{other}` out of Requires=, BindsTo= and PartOf= of `{unit}`"),
            );
        }
    }
    for stranger in &socket.strangers {
        found.add(
            "ZDT-D012",
            unit,
            format!("{stranger} listens at an address of `{unit}`"),
            "stop it, or move one of the two to another port",
        );
    }
    for rival in &socket.rivals {
        found.add(
            "ZDT-D013",
            unit,
            format!("`{unit}` and `{rival}` have the same address"),
            format!("`systemctl disable --now {rival}`, or give it another address"),
        );
    }
}
