//! `[service.NAME.balancer]` as written.

use std::ops::Range;

use super::problem::Problem;
use super::reader::{At, Table};

/// `balancer = { … }`.
#[derive(Debug)]
pub struct BalancerConfig {
    pub at: Range<usize>,
    pub haproxy: Option<At<String>>,
    pub nginx: Option<At<String>>,
    pub traefik: Option<At<String>>,
    pub api: Option<At<String>>,
    pub drain: Option<At<Vec<At<String>>>>,
    pub restore: Option<At<Vec<At<String>>>>,
    pub server: Option<At<String>>,
    pub test: Option<At<Vec<At<String>>>>,
    pub reload: Option<At<Vec<At<String>>>>,
    pub settle: Option<At<String>>,
    pub timeout: Option<At<String>>,
}

pub(super) fn read(mut table: Table<'_>, problems: &mut Vec<Problem>) -> BalancerConfig {
    let config = BalancerConfig {
        at: table.at.clone(),
        haproxy: table.string("haproxy", problems),
        nginx: table.string("nginx", problems),
        traefik: table.string("traefik", problems),
        api: table.string("api", problems),
        drain: table.strings("drain", problems),
        restore: table.strings("restore", problems),
        server: table.string("server", problems),
        test: table.strings("test", problems),
        reload: table.strings("reload", problems),
        settle: table.string("settle", problems),
        timeout: table.string("timeout", problems),
    };
    table.finish(problems);
    config
}
