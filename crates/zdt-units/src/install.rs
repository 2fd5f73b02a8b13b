//! Decides what `install` and `uninstall` will do. Pure: no I/O, no clock, no `async`.
//!
//! The units that are wanted, and what is on disk and in the manager, become a
//! [`Plan`]: what changes, what that costs, and the steps that do it.

mod change;
mod drift;
mod others;
mod plan;
mod refuse;
mod seen;
mod steps;
mod take_over;
mod text;
mod uninstall;

pub use change::{Change, Cost, DirectiveChange, UnitChange};
pub use drift::Drift;
pub use plan::{Gap, Plan, Request, TakeOver, plan};
pub use refuse::Refusal;
pub use seen::{Copied, DropIn, FileSeen, Holder, Loaded, Place, Seen, TakenOver, UnitSeen};
pub(crate) use text::is_ours;
pub use text::{Entry, UnitText, owner};
pub use uninstall::{Uninstall, uninstall};

#[cfg(test)]
mod tests;
