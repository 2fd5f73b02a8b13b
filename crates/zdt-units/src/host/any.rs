//! systemd or a launcher, whichever runs the services.

use std::collections::BTreeSet;

use super::balancer;
use super::facts::processes;
use super::launcher::Launcher;
use super::systemd::Systemd;
use super::{Failure, Host};
use crate::doctor::{ServiceUnit, SocketUnit};
use crate::event::EventKind;
use crate::model::UnitName;
use crate::observe::{Observed, Watched};
use crate::plan::Action;
use crate::tool::Tool;

/// A host that is chosen when a command begins.
#[derive(Debug)]
pub enum AnyHost {
    Systemd(Box<Systemd>),
    Launcher(Box<Launcher>),
}

impl Host for AnyHost {
    fn tool(&self) -> Tool {
        match self {
            Self::Systemd(systemd) => systemd.tool(),
            Self::Launcher(launcher) => launcher.tool(),
        }
    }

    async fn observe(&mut self, watched: &Watched) -> Result<Observed, Failure> {
        let mut observed = match self {
            Self::Systemd(systemd) => systemd.observe(watched).await,
            Self::Launcher(launcher) => launcher.observe(watched).await,
        }?;
        balancer::observe(watched, &mut observed).await?;
        Ok(observed)
    }

    async fn words(&mut self, action: &Action) -> String {
        match self {
            Self::Systemd(systemd) => systemd.words(action).await,
            Self::Launcher(launcher) => launcher.words(action).await,
        }
    }

    async fn perform(
        &mut self,
        action: &Action,
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        match self {
            Self::Systemd(systemd) => systemd.perform(action, tell).await,
            Self::Launcher(launcher) => launcher.perform(action, tell).await,
        }
    }
}

/// What is looked at besides what a plan needs.
impl AnyHost {
    /// The process that holds the sockets.
    pub(super) fn manager_pid(&self) -> u32 {
        match self {
            Self::Systemd(systemd) => systemd.manager_pid(),
            Self::Launcher(launcher) => launcher.pid(),
        }
    }

    /// The port that the process of `unit` was given, where processes are given any.
    pub(super) async fn port(&self, unit: &UnitName) -> Option<u16> {
        match self {
            Self::Systemd(_) => None,
            Self::Launcher(launcher) => launcher.port(unit).await.ok().flatten(),
        }
    }

    pub(super) async fn describe(&self) -> String {
        match self {
            Self::Systemd(systemd) => systemd.describe().await,
            Self::Launcher(launcher) => launcher.describe(),
        }
    }

    /// Socket units, also of others.
    pub(super) async fn sockets(&self) -> Vec<UnitName> {
        match self {
            Self::Systemd(systemd) => systemd.matching("*.socket").await,
            Self::Launcher(launcher) => launcher.sockets().await,
        }
    }

    /// The units beside the main one: those wanted, and further instances that are loaded.
    pub(super) async fn others(&self, watched: &Watched) -> Result<Vec<UnitName>, Failure> {
        match self {
            Self::Systemd(systemd) => Ok(systemd.others(watched).await),
            Self::Launcher(launcher) => launcher.others(watched).await,
        }
    }

    /// The unit, and the processes of it besides its main one.
    pub(super) async fn service_facts(
        &self,
        unit: &UnitName,
    ) -> Result<(ServiceUnit, BTreeSet<u32>), Failure> {
        match self {
            Self::Systemd(systemd) => {
                let (seen, group) = systemd.service_facts(unit).await?;
                Ok((seen, processes(&group)))
            }
            Self::Launcher(launcher) => launcher.service_facts(unit).await,
        }
    }

    /// The unit without what the kernel knows of it, and whether its addresses are in this network.
    pub(super) async fn socket_facts(
        &self,
        unit: &UnitName,
    ) -> Result<(SocketUnit, bool), Failure> {
        match self {
            Self::Systemd(systemd) => systemd.socket_facts(unit).await,
            Self::Launcher(launcher) => Ok((launcher.socket_facts(unit).await?, true)),
        }
    }
}
