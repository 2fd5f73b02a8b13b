//! What the exit codes of `zdt-units` mean. They are a contract with scripts.

/// Done; nothing was lost.
pub const DONE: u8 = 0;
/// Something unexpected, or a measurement that says nothing.
pub const UNEXPECTED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// `zdt.toml` is invalid.
pub const CONFIG: u8 = 3;
/// Refused; nothing was touched.
pub const REFUSED: u8 = 4;
/// Stopped before anything was changed.
pub const STOPPED: u8 = 5;
/// Rolled back; the old release serves.
pub const ROLLED_BACK: u8 = 6;
/// The rollback failed too; look now.
pub const LOOK_NOW: u8 = 7;
/// Generated files differ from those on disk (`--check`).
pub const DIFFERS: u8 = 8;
/// Requests were lost.
pub const LOST: u8 = 9;
