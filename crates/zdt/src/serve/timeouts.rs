//! Closes connections that take longer than they may.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::registry::{Ask, Doing, Registry};

#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// Between two requests on a connection, and before the first. Longer than
    /// what common proxies use (Traefik 90 s, nginx 60 s), so that they close
    /// first and never send into a closing connection.
    pub(super) idle: Duration,
    /// From the first byte of a request head to its last.
    pub(super) header_read: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(120),
            header_read: Duration::from_secs(30),
        }
    }
}

/// Closes connections that take longer than the timeouts allow, for as long as
/// the server lives.
///
/// On a thread beside the runtime: while a timer is armed, a worker reads the
/// clock each time it runs out of work, and each request pays for that.
#[expect(clippy::disallowed_methods, reason = "a thread of its own may sleep")]
pub(super) fn enforce(timeouts: Timeouts, registry: &Arc<Registry>) -> io::Result<()> {
    let registry = Arc::downgrade(registry);
    let sweeps = move || {
        while let Some(registry) = registry.upgrade() {
            registry.scan(Instant::now(), |_, seen| match seen.doing {
                Doing::Silent | Doing::Idle if seen.quiet_for >= timeouts.idle => Ask::CloseQuiet,
                Doing::HalfRead if seen.quiet_for >= timeouts.header_read => Ask::CloseHalfRead,
                _ => Ask::Nothing,
            });
            drop(registry);
            std::thread::sleep(Duration::from_secs(1));
        }
    };
    let thread = std::thread::Builder::new().name("zdt-timeouts".into());
    thread.spawn(sweeps).map(drop)
}
