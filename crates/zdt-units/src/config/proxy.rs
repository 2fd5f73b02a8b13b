//! `proxy = { … }` as written.

use std::ops::Range;

use super::problem::Problem;
use super::reader::{At, Table};

/// `[service.NAME.proxy]`.
#[derive(Debug)]
pub struct ProxyConfig {
    pub at: Range<usize>,
    pub domains: Option<At<Vec<At<String>>>>,
    pub servers: Vec<(At<String>, At<String>)>,
    pub keepalive_min_timeout: Option<At<String>>,
}

pub(super) fn read(mut table: Table<'_>, problems: &mut Vec<Problem>) -> ProxyConfig {
    let config = ProxyConfig {
        at: table.at.clone(),
        domains: table.strings("domains", problems),
        servers: table.string_table("servers", problems),
        keepalive_min_timeout: table.string("keepalive_min_timeout", problems),
    };
    table.finish(problems);
    config
}
