//! Proves a restart, or shows what it loses: real restarts of a service, or of any
//! program, under a table of clients that meet it in different ways.
//!
//! `table` says what the clients do, `calibrate` what the program answers them without a
//! restart, `measure` restarts it under all of them, `judge` draws the conclusion as a
//! [`result`], and `text` shows it.

mod advice;
mod calibrate;
mod checks;
mod judge;
mod measure;
pub mod result;
mod table;
mod text;
mod websocket;

pub(crate) use self::checks::checks;
pub(crate) use self::judge::{About, judge};
pub(crate) use self::measure::{Progress, Restarted, Restarts, measure};
pub(crate) use self::table::check;
pub use self::table::{Kind, Options};
pub(crate) use self::text::shown;
