//! Proves a restart, or shows what it loses: real restarts of a service, or of any
//! program, under a table of clients that meet it in different ways.

pub mod result;
