//! Runs a service where there is no systemd: holds its sockets, starts its
//! process, starts the next one when it ends, and never closes a port meanwhile.
//!
//! It is never in the path of the data: connections are accepted by the process,
//! and wait in the kernel while there is none.
//!
//! ```no_run
//! # use zdt_units::model::Service;
//! # async fn example(service: Service) -> Result<(), Box<dyn std::error::Error>> {
//! use zdt_units::host::supervisor::{Held, Launch, Part, Supervisor};
//!
//! let held = Held::bind(&service.sockets)?;
//! let (supervisor, mut events) = Supervisor::start(Launch::of(&service, Part::Main), held)?;
//! println!("{}", supervisor.restart().await?);
//! let code = supervisor.stop().await;
//! while let Some(event) = events.next().await {
//!     println!("{event}");
//! }
//! # Ok(()) }
//! ```

mod cgroup;
mod control;
mod credentials;
mod descriptors;
mod environment;
mod event;
mod gate;
pub mod hook;
mod jobs;
mod kept;
mod launch;
mod manager;
mod memory;
mod message;
mod notify;
pub mod output;
mod pidfd;
mod ports;
pub mod process;
pub mod protocol;
pub mod reap;
pub(super) mod sockets;
pub mod start;
mod state;
mod store;
mod unit;
pub mod upgrade;

use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use self::cgroup::enter as enter_cgroup;
pub use self::event::{Event, Exit, RestartReport, WhyKilled};
pub(crate) use self::gate::{Program, Waiting};
pub use self::launch::{Launch, OWN_PROGRAM, Part};
pub use self::manager::{Boot, Happened, Manager};
use self::output::Output;
pub use self::sockets::{BindErrors, Held};
pub use self::state::Hook;
pub use self::store::Store;
use self::unit::{Ask, Definition, Lasts, Unit};
use crate::model::UnitName;

/// A running service. Without any handle left its process is killed.
#[derive(Clone, Debug)]
pub struct Supervisor {
    unit: Unit,
    ended: watch::Receiver<Option<u8>>,
}

/// What happens to the service, in order.
#[derive(Debug)]
pub struct Events(mpsc::UnboundedReceiver<(UnitName, Event)>);

/// Why a restart did not end with a process that serves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestartError {
    #[error("{0}; it is started again and again, and the sockets stay open")]
    Failed(String),
    #[error("the service is being stopped")]
    Stopping,
}

impl Supervisor {
    /// Starts the service on `held`, which stays open until it is stopped.
    ///
    /// Makes this process the one that inherits orphans (`PR_SET_CHILD_SUBREAPER`),
    /// so that what a service leaves behind can be waited for.
    pub fn start(launch: Launch, held: Held) -> io::Result<(Self, Events)> {
        nix::sys::prctl::set_child_subreaper(true)?;
        let (told, mut seen) = mpsc::unbounded_channel();
        let (pass_on, events) = mpsc::unbounded_channel();
        let (end, ended) = watch::channel(None);
        let name = UnitName::service(&launch.service);
        let definition = Definition {
            launch: Arc::new(launch),
            held: Arc::new(held),
            ports: Arc::default(),
        };
        let output = Output::inherited(name.clone());
        let unit = Unit::new(name, definition, output, Lasts::UntilStopped, told)?;
        unit.ask(Ask::Start(oneshot::channel().0));
        tokio::spawn(async move {
            let mut last = None;
            while let Some((unit, event)) = seen.recv().await {
                if let Event::Ended { code } = event {
                    last = Some(code);
                }
                let _ = pass_on.send((unit, event));
            }
            end.send_replace(last);
        });
        Ok((Self { unit, ended }, Events(events)))
    }

    /// Replaces the process, and returns when the new one is ready. During
    /// another restart: when the one after it is.
    pub async fn restart(&self) -> Result<RestartReport, RestartError> {
        let (answer, answered) = oneshot::channel();
        self.unit.ask(Ask::Restart(Some(answer)));
        answered.await.unwrap_or(Err(RestartError::Stopping))
    }

    /// As [`restart`](Self::restart), without waiting.
    pub fn begin_restart(&self) {
        self.unit.ask(Ask::Restart(None));
    }

    /// Lets the process drain and end, and returns what to exit with: its own
    /// status, 0 if the signal ended it.
    pub async fn stop(&self) -> u8 {
        self.begin_stop();
        self.ended().await
    }

    /// As [`stop`](Self::stop), without waiting.
    pub fn begin_stop(&self) {
        self.unit.ask(Ask::Stop(None));
    }

    /// Ends everything at once; what is being served is lost.
    pub fn kill(&self) {
        self.unit.ask(Ask::Kill);
    }

    /// Returns when the service was stopped.
    pub async fn ended(&self) -> u8 {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(code) => code.unwrap_or_default(),
            Err(_) => crate::exit_code::UNEXPECTED,
        }
    }
}

impl Events {
    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<Event> {
        Some(self.0.recv().await?.1)
    }

    /// Returns when a process is ready, with its number, or `None` if none will be.
    pub async fn until_ready(&mut self) -> Option<u32> {
        while let Some(event) = self.next().await {
            if let Event::Ready { pid, .. } = event {
                return Some(pid);
            }
        }
        None
    }
}
