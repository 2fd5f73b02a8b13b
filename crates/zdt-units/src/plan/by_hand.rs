//! Steps as commands, for whoever has to go on where a plan could not.

use super::{Act, Action, ReleaseAct, Step};
use crate::model::{Probe, Reach, UnitName};

/// What does the same as `steps`, one command a line; `systemctl` has the manager's option in it.
pub fn by_hand(steps: &[Step], systemctl: &str) -> Vec<String> {
    steps
        .iter()
        .filter_map(|step| step.action.command(systemctl))
        .collect()
}

impl Action {
    /// `None` for what only looks at something, or has no counterpart that is as safe.
    fn command(&self, systemctl: &str) -> Option<String> {
        let joined = |units: &[UnitName]| {
            let units: Vec<&str> = units.iter().map(UnitName::as_str).collect();
            units.join(" ")
        };
        Some(match self {
            Self::StartUnit { unit } | Self::RunTask { unit, .. } => {
                format!("{systemctl} start {unit}")
            }
            Self::RestartUnit { unit } => format!("{systemctl} restart {unit}"),
            Self::RestartUnits { units } => format!("{systemctl} restart {}", joined(units)),
            Self::ReloadUnit { unit } => format!("{systemctl} reload {unit}"),
            Self::StopUnits { units } => format!("{systemctl} stop {}", joined(units)),
            Self::OpenSockets { sockets, .. } => format!("{systemctl} start {}", joined(sockets)),
            Self::CloseSockets { units, sockets, .. } => {
                let all = [&sockets[..], units].concat();
                format!("{systemctl} stop {}", joined(&all))
            }
            Self::AwaitReady { unit, health, .. } => match &health.probe {
                Probe::Ready { reach, path } => curl(reach, path, &[]),
                Probe::Http(http) => curl(&http.reach, &http.path, &http.headers),
                Probe::Command { command } => command.join(" "),
                Probe::Active => format!("{systemctl} is-active {unit}"),
                Probe::Tcp { .. } => return None,
            },
            Self::RestoreUnits { place, added, .. } => {
                let removed: Vec<_> = added
                    .iter()
                    .map(|path| format!(" && rm {}", path.display()))
                    .collect();
                format!("cp -rT {} /{}", place.display(), removed.concat())
            }
            Self::PutBack { service, .. } => format!("zdt-units balancer restore {service}"),
            Self::Install(Act::Reload) => format!("{systemctl} daemon-reload"),
            Self::Release(ReleaseAct::Point {
                root,
                link,
                release,
            }) => format!(
                "ln -s releases/{release} {root}/{link}.new && mv -T {root}/{link}.new {root}/{link}"
            ),
            Self::ConfirmInstance { .. }
            | Self::ConfirmReload { .. }
            | Self::CheckHealth { .. }
            | Self::StayUp { .. }
            | Self::CloseUntaken { .. }
            | Self::TakeOut { .. }
            | Self::KeepUnits { .. }
            | Self::Install(_)
            | Self::Release(_) => return None,
        })
    }
}

fn curl(reach: &Reach, path: &str, headers: &[(String, String)]) -> String {
    let mut command = "curl -fsS".to_owned();
    for (name, value) in headers {
        command.push_str(&format!(" -H '{name}: {}'", value.replace('\'', r"'\''")));
    }
    command.push_str(&match reach {
        Reach::Tcp(_) | Reach::OwnPort(_) => format!(" {reach}{path}"),
        Reach::Unix(socket) => format!(" --unix-socket {socket} http://localhost{path}"),
    });
    command
}
