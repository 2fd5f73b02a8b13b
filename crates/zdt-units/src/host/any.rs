//! systemd or a launcher, whichever runs the services.

use super::launcher::Launcher;
use super::systemd::Systemd;
use super::{Failure, Host};
use crate::event::EventKind;
use crate::observe::{Observed, Watched};
use crate::plan::Action;

/// A host that is chosen when a command begins.
#[derive(Debug)]
pub enum AnyHost {
    Systemd(Box<Systemd>),
    Launcher(Box<Launcher>),
}

impl Host for AnyHost {
    async fn observe(&mut self, watched: &Watched) -> Result<Observed, Failure> {
        match self {
            Self::Systemd(systemd) => systemd.observe(watched).await,
            Self::Launcher(launcher) => launcher.observe(watched).await,
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
