//! What keeps a service down, and starts it again if this program is killed.

#![expect(clippy::disallowed_methods, reason = "a process outlives this one")]

use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::super::{Failed, stopped};
use crate::event::EventKind;
use crate::host::Failure;
use crate::host::any::AnyHost;
use crate::host::supervisor::protocol::Question;
use crate::host::systemd::Hold;
use crate::model::UnitName;

/// From before the service goes down until it may come back.
pub(super) enum Down {
    /// A transient unit is ordered before the service.
    Unit,
    /// A launcher starts nothing that it was told to stop. This process waits for the end of ours.
    Process { _waits: Child },
}

impl Down {
    pub(super) async fn begin(host: &AnyHost, hold: &Hold, program: &Path) -> Result<Self, Failed> {
        match host {
            AnyHost::Systemd(systemd) => {
                systemd.hold_back(hold, program).await.map_err(stopped)?;
                Ok(Self::Unit)
            }
            AnyHost::Launcher(launcher) => {
                let mut command = Command::new(program);
                command.args(["held", &hold.pid.to_string(), "--control"]);
                command.arg(launcher.control());
                for unit in &hold.held {
                    command.args(["--start", unit.as_str()]);
                }
                // Ctrl-C is not meant for it.
                let child = command
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .process_group(0)
                    .kill_on_drop(true)
                    .spawn();
                let child = child.map_err(|error| {
                    let program = program.display();
                    stopped(
                        Failure::new(format!("failed to run `{program}`: {error}"))
                            .without_effect(),
                    )
                });
                Ok(Self::Process { _waits: child? })
            }
        }
    }

    pub(super) async fn take(
        &self,
        host: &AnyHost,
        units: &[UnitName],
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        match host {
            AnyHost::Systemd(systemd) => systemd.take_down(units, tell).await,
            AnyHost::Launcher(launcher) => {
                let units = units.to_vec();
                let held = true;
                launcher.follow(&Question::Stop { units, held }, tell).await
            }
        }
    }

    /// The service may start again. Who waits for the end of this process goes on until the service is back.
    pub(super) async fn end(&self, host: &AnyHost, hold: &Hold) -> Result<(), Failure> {
        match (self, host) {
            (Self::Unit, AnyHost::Systemd(systemd)) => systemd.let_go(hold).await,
            _ => Ok(()),
        }
    }
}
