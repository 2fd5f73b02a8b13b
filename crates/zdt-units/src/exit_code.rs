//! What the program's exit status means. These numbers are a contract; see `docs/exit-codes.md`.

/// It did what was asked.
pub const DONE: u8 = 0;
/// Something that this program did not expect, such as a full disk.
pub const UNEXPECTED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// `zdt.toml` is missing, unreadable or invalid.
pub const CONFIG: u8 = 3;
/// The restart was refused; nothing was touched.
pub const REFUSED: u8 = 4;
/// It failed before anything was changed.
pub const STOPPED: u8 = 5;
/// The new release did not serve; the old one serves again.
pub const ROLLED_BACK: u8 = 6;
/// It failed, and there was no way back or that failed too: look now.
pub const LOOK_NOW: u8 = 7;
/// `--check`: the files are not what would be written. `--strict`: the machine is not what it should be.
pub const DIFFERS: u8 = 8;
/// Restarted, but requests were lost.
pub const LOST: u8 = 9;
