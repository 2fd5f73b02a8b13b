//! How a process is asked to end (`systemd.service(5)`, `ExecStop=`).
//!
//! systemd has one limit for all of these commands, and signals the process when one exceeds it. So each has a limit of
//! its own. It also runs them when a process has ended by itself, and then there is nobody to ask.

use crate::model::{HOOK_LIMIT, Service, Strategy};
use crate::unit_file::{Section, Value};

/// The commands, in their order; what ends the process comes last.
pub(super) fn commands(service: &Service, section: &mut Section) {
    let stop = &service.stop;
    if let Some(quiet) = &stop.quiet {
        section
            .comment("the process takes no new work from here on")
            .set("ExecStop", Value::hook(HOOK_LIMIT, quiet));
    }
    match &stop.drain {
        Some(drain) => {
            section
                .comment("ends when the work is done")
                .set("ExecStop", Value::hook(stop.drain_limit, drain));
        }
        None if !stop.drain_limit.is_zero() => {
            section
                .comment("time to end by itself")
                .set("ExecStop", Value::wait(stop.drain_limit));
        }
        None => {}
    }
    if let Some(command) = &stop.command {
        section
            .comment("in the place of a signal; one that is still there afterwards gets it")
            .set("ExecStop", Value::hook(HOOK_LIMIT, command))
            .set("ExecStop", Value::wait(service.drain.stop_timeout()));
    } else if service.strategy == Strategy::Reload {
        section
            .comment("else systemd kills at once a process that it has not started by itself")
            .set("ExecStop", Value::end(stop.signal));
    }
}
