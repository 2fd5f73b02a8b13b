//! When a restart would do harm or nothing: what is wrong, and the command that mends it.

use std::error::Error;
use std::fmt;

use super::change::crossed;
use super::{Operation, Request};
use crate::model::{AbsolutePath, Member, Name, Reach, ReleaseName, Strategy, Task, UnitName};
use crate::observe::{Active, Load, Observed, Standing, UnitState};
use crate::tool::Tool;

/// Why there is no plan; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub reasons: Vec<Refusal>,
}

/// One thing that has to be mended first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    NotLoaded {
        unit: UnitName,
        load: Load,
    },
    /// The file changed, and the manager would start what it read before.
    NeedsReload {
        unit: UnitName,
    },
    /// Without the socket a restart would close the port, or start without one.
    SocketClosed {
        socket: UnitName,
        result: String,
        service: UnitName,
        /// Still serves from its own copy of the socket.
        service_runs: bool,
    },
    /// The unit counts as active and its port is closed: its addresses changed
    /// while it ran.
    PortClosed {
        socket: UnitName,
        refused: Vec<Reach>,
    },
    /// `zdt.toml` does not say where releases are kept.
    NoReleases {
        service: Name,
    },
    /// They are those of another service.
    OfAnother {
        service: Name,
        of: Name,
    },
    /// There is no release that could start.
    NotDeployed {
        service: Name,
        root: AbsolutePath,
    },
    NoSuchRelease {
        release: ReleaseName,
        root: AbsolutePath,
    },
    /// It serves already.
    Serves {
        release: ReleaseName,
    },
    /// Newer releases changed data in ways that `to` may not know.
    Migrated {
        service: Name,
        to: ReleaseName,
        crossed: Vec<ReleaseName>,
    },
    /// All of its processes are replaced at once.
    NoCanary {
        service: Name,
        strategy: Strategy,
    },
    /// Without it nobody would answer.
    LastUp {
        server: Member,
    },
    /// Nobody would look at the canary.
    NoBake {
        service: Name,
    },
}

pub(super) fn check(request: &Request<'_>, observed: &Observed) -> Result<(), Refused> {
    let all = || std::iter::once(observed).chain(&observed.companions);
    match request.operation {
        Operation::Stop => return all_of(of_rotation(request, observed)),
        Operation::Start => {
            let reasons = all().flat_map(of_units).filter(|reason| !is_opened(reason));
            let deployed = of_releases(request, observed);
            return all_of(reasons.chain(deployed).collect());
        }
        _ => {}
    }
    let mut reasons: Vec<Refusal> = all().flat_map(of_units).collect();
    reasons.extend(of_releases(request, observed));
    reasons.extend(of_canary(request));
    reasons.extend(of_rotation(request, observed));
    all_of(reasons)
}

/// A start opens the sockets of what does not run.
fn is_opened(reason: &Refusal) -> bool {
    matches!(
        reason,
        Refusal::SocketClosed {
            service_runs: false,
            ..
        }
    )
}

pub(super) fn check_units(observed: &Observed) -> Result<(), Refused> {
    all_of(of_units(observed))
}

fn all_of(reasons: Vec<Refusal>) -> Result<(), Refused> {
    match reasons.is_empty() {
        true => Ok(()),
        false => Err(Refused { reasons }),
    }
}

fn of_units(observed: &Observed) -> Vec<Refusal> {
    let service = &observed.service;
    let services = || std::iter::once(service).chain(&observed.beside);
    let units = || services().chain(&observed.sockets);
    let mut reasons: Vec<Refusal> = units()
        .filter(|state| state.load != Load::Loaded)
        .map(|state| Refusal::NotLoaded {
            unit: state.unit.clone(),
            load: state.load.clone(),
        })
        .collect();
    reasons.extend(
        units()
            .filter(|state| state.load == Load::Loaded && state.needs_reload)
            .map(|state| Refusal::NeedsReload {
                unit: state.unit.clone(),
            }),
    );
    reasons.extend(
        observed
            .sockets
            .iter()
            .filter(|socket| socket.load == Load::Loaded && socket.active != Active::Active)
            .filter(|socket| !opens_at_restart(socket, service))
            .map(|socket| closed(socket, service)),
    );
    let half = |socket: &&UnitState| socket.active == Active::Active && !socket.is_open();
    let loaded = |socket: &&UnitState| socket.load == Load::Loaded && !socket.needs_reload;
    reasons.extend(
        observed
            .sockets
            .iter()
            .filter(loaded)
            .filter(half)
            .map(|socket| Refusal::PortClosed {
                socket: socket.unit.clone(),
                refused: socket.refused.clone(),
            }),
    );
    reasons
}

fn of_releases(request: &Request<'_>, observed: &Observed) -> Option<Refusal> {
    let service = request.service;
    if let (Some(companion), Some(_)) = (&service.companion, request.operation.release()) {
        return Some(Refusal::OfAnother {
            service: service.name.clone(),
            of: companion.of.clone(),
        });
    }
    let Some(release) = &service.release else {
        return request.operation.release().map(|_| Refusal::NoReleases {
            service: service.name.clone(),
        });
    };
    let seen = observed.releases.as_ref()?;
    match &request.operation {
        Operation::Restart | Operation::Start if seen.current.is_none() => {
            Some(Refusal::NotDeployed {
                service: service.name.clone(),
                root: release.root.clone(),
            })
        }
        Operation::RollBack { release: to } => {
            let crossed = crossed(seen, seen.current.as_ref(), to);
            if !seen.has(to) {
                return Some(Refusal::NoSuchRelease {
                    release: to.clone(),
                    root: release.root.clone(),
                });
            }
            let stays = !service.has(Task::MigrateDown) || request.options.skip_migrations;
            if seen.current.as_ref() == Some(to) && seen.serving() == Some(to) {
                return Some(Refusal::Serves {
                    release: to.clone(),
                });
            }
            (!crossed.is_empty() && stays && !request.options.force).then(|| Refusal::Migrated {
                service: service.name.clone(),
                to: to.clone(),
                crossed,
            })
        }
        _ => None,
    }
}

fn of_canary(request: &Request<'_>) -> Option<Refusal> {
    if !request.options.canary {
        return None;
    }
    let service = request.service;
    match service.strategy {
        Strategy::Queue | Strategy::Reload => Some(Refusal::NoCanary {
            service: service.name.clone(),
            strategy: service.strategy,
        }),
        Strategy::Standby | Strategy::Rolling { .. } => {
            service.bake.is_zero().then(|| Refusal::NoBake {
                service: service.name.clone(),
            })
        }
    }
}

/// Whoever goes back has no time to lose, and stays in rotation where nobody else is up.
fn of_rotation(request: &Request<'_>, observed: &Observed) -> Vec<Refusal> {
    if request.options.last || matches!(request.operation, Operation::RollBack { .. }) {
        return Vec::new();
    }
    let services = std::iter::once(&request.service).chain(&request.companions);
    let seen = std::iter::once(observed).chain(&observed.companions);
    let last = services.zip(seen).filter_map(|(service, seen)| {
        let rotation = service.rotation.as_ref()?;
        (seen.rotation == Some(Standing::LastUp)).then(|| Refusal::LastUp {
            server: rotation.server.clone(),
        })
    });
    last.collect()
}

/// A socket unit that is new: systemd opens it while the running service is stopped.
fn opens_at_restart(socket: &UnitState, service: &UnitState) -> bool {
    let is_new = !socket.was_active && socket.active == Active::Inactive;
    is_new && !socket.needs_reload && service.instance.is_some()
}

fn closed(socket: &UnitState, service: &UnitState) -> Refusal {
    Refusal::SocketClosed {
        socket: socket.unit.clone(),
        result: socket.result.clone(),
        service: service.unit.clone(),
        service_runs: service.instance.is_some(),
    }
}

impl Refusal {
    /// The same of the units of another manager.
    pub fn message(&self, tool: Tool) -> String {
        match self {
            Self::NotLoaded { unit, .. } if tool == Tool::Launcher => {
                format!("the launcher has no unit `{unit}`")
            }
            _ => self.to_string(),
        }
    }

    /// The exact command for the units of another manager.
    pub fn hint_for(&self, tool: Tool) -> String {
        let command = tool.command();
        match self {
            _ if tool != Tool::Launcher => self.hint(),
            Self::NotLoaded { .. } | Self::NeedsReload { .. } => {
                "`zdt-units restart` lets the launcher read `zdt.toml`".to_owned()
            }
            Self::PortClosed { socket, .. } => {
                format!(
                    "`{command} restart {socket}` opens it again, and refuses clients meanwhile"
                )
            }
            Self::SocketClosed { socket, .. } => format!("open it with `{command} start {socket}`"),
            _ => self.hint(),
        }
    }

    /// The exact command, and what it does where that is not plain.
    pub fn hint(&self) -> String {
        match self {
            Self::NotLoaded { unit, load } => match load {
                Load::NotFound | Load::Loaded => "install it with `zdt-units install`".to_owned(),
                Load::Masked => format!(
                    "allow it again with `systemctl unmask {unit}`; if that leaves no unit, \
                     `zdt-units install` writes it"
                ),
                Load::Other(_) => {
                    format!("see what is wrong with it with `systemd-analyze verify {unit}`")
                }
            },
            Self::NoReleases { .. } => {
                "add `release = { root = \"/srv/NAME\" }`, and `{{release.path}}` to `exec`"
                    .to_owned()
            }
            Self::OfAnother { of, .. } => {
                format!("name `{of}`: the two are deployed and rolled back together")
            }
            Self::NotDeployed { service, .. } => {
                format!("`zdt-units deploy {service} --from PATH` brings the first one")
            }
            Self::NoSuchRelease { .. } | Self::Serves { .. } => {
                "name another one; `zdt-units releases` lists them".to_owned()
            }
            Self::Migrated { service, to, .. } => format!(
                "declare `migrate = {{ down = [...] }}`, or, if `{to}` runs with the data as they are, \
                 `zdt-units rollback {service} {to} --force`"
            ),
            Self::NoCanary { .. } => "`standby` and `rolling` have one".to_owned(),
            Self::LastUp { .. } => {
                "put another one back first; or leave it in rotation with `--keep-in-rotation`, which loses nothing; \
                 or take the outage with `--last`"
                    .to_owned()
            }
            Self::NoBake { .. } => {
                "add `bake = \"30s\"` to the service: so long it has to stay up".to_owned()
            }
            Self::NeedsReload { .. } => {
                "let systemd read it with `systemctl daemon-reload`".to_owned()
            }
            Self::PortClosed { socket, .. } => format!(
                "its addresses changed while it ran; `systemctl restart {socket}` opens them, \
                 stops the service for that moment, and refuses clients meanwhile"
            ),
            Self::SocketClosed {
                socket,
                service,
                service_runs: true,
                ..
            } => format!(
                "`systemctl restart {service}` opens `{socket}` again while the process is \
                 stopped; until then only what the process holds by itself is open"
            ),
            Self::SocketClosed {
                socket,
                result,
                service,
                service_runs: false,
            } => match result.as_str() {
                "success" => format!("open it with `systemctl start {socket}`"),
                _ => format!(
                    "open it with `systemctl reset-failed {socket} {service}; systemctl start {socket} {service}`"
                ),
            },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoaded { unit, load } => match load {
                Load::NotFound | Load::Loaded => write!(f, "systemd has no unit `{unit}`"),
                Load::Masked => write!(f, "`{unit}` is masked"),
                Load::Other(word) => write!(f, "systemd cannot load `{unit}` ({word})"),
            },
            Self::NeedsReload { unit } => {
                write!(f, "the file of `{unit}` has changed since systemd read it")
            }
            Self::PortClosed { socket, refused } => {
                let refused: Vec<_> = refused.iter().map(Reach::to_string).collect();
                let refused: Vec<_> = refused.iter().map(String::as_str).collect();
                let refused = crate::config::list(&refused);
                write!(
                    f,
                    "`{socket}` is active, but connections to {refused} are refused"
                )
            }
            Self::NoReleases { service } => {
                write!(
                    f,
                    "`zdt.toml` does not say where the releases of `{service}` are kept"
                )
            }
            Self::OfAnother { service, of } => {
                write!(f, "`{service}` runs with the releases of `{of}`")
            }
            Self::NotDeployed { service, root } => {
                write!(
                    f,
                    "`{service}` has no release: there is no `{root}/current`"
                )
            }
            Self::NoSuchRelease { release, root } => {
                write!(f, "there is no release `{release}` in `{root}/releases`")
            }
            Self::Serves { release } => write!(f, "`{release}` serves already"),
            Self::Migrated { to, crossed, .. } => {
                let crossed: Vec<_> = crossed.iter().map(ReleaseName::as_str).collect();
                let crossed = crate::config::list(&crossed);
                write!(
                    f,
                    "{crossed} changed data since `{to}` served, and that stays changed"
                )
            }
            Self::NoCanary { service, strategy } => write!(
                f,
                "`{service}` is restarted by `{strategy}`, which replaces all there is at once"
            ),
            Self::LastUp { server } => write!(
                f,
                "`{server}` is the last server that is up in `{}`: out of rotation nobody would answer",
                server.backend
            ),
            Self::NoBake { service } => {
                write!(
                    f,
                    "a canary of `{service}` would not be looked at, without `bake`"
                )
            }
            Self::SocketClosed { socket, result, .. } => match result.as_str() {
                "success" => write!(f, "`{socket}` is not active, so its port is closed"),
                _ => write!(
                    f,
                    "`{socket}` is not active ({result}), so its port is closed"
                ),
            },
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons: Vec<_> = self.reasons.iter().map(Refusal::to_string).collect();
        f.write_str(&reasons.join("; "))
    }
}

impl Error for Refused {}
