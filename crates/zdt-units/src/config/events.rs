//! `[events]` as written.

use std::ops::Range;

use super::problem::Problem;
use super::reader::{At, Table};

/// `[events]`.
#[derive(Debug, Default)]
pub struct EventsConfig {
    /// Nothing inside: `false`.
    pub file: Option<At<Option<String>>>,
    pub max_bytes: Option<At<String>>,
    pub keep: Option<At<i64>>,
    pub journal: Option<At<bool>>,
    pub metrics: Option<At<String>>,
    pub webhooks: Vec<WebhookConfig>,
    pub hooks: Vec<HookConfig>,
}

/// `[[events.webhook]]`.
#[derive(Debug)]
pub struct WebhookConfig {
    pub at: Range<usize>,
    pub url: Option<At<String>>,
    pub url_file: Option<At<String>>,
    pub format: Option<At<String>>,
    pub on: Option<At<Vec<At<String>>>>,
    pub timeout: Option<At<String>>,
    pub retries: Option<At<i64>>,
    pub headers_file: Option<At<String>>,
}

/// `[[events.exec]]`.
#[derive(Debug)]
pub struct HookConfig {
    pub at: Range<usize>,
    pub command: Option<At<Vec<At<String>>>>,
    pub on: Option<At<Vec<At<String>>>>,
    pub timeout: Option<At<String>>,
}

pub(super) fn read(mut table: Table<'_>, problems: &mut Vec<Problem>) -> EventsConfig {
    let config = EventsConfig {
        file: table.string_or_false("file", problems),
        max_bytes: table.string("max_bytes", problems),
        keep: table.integer("keep", problems),
        journal: table.boolean("journal", problems),
        metrics: table.string("metrics", problems),
        webhooks: table
            .tables("webhook", problems)
            .into_iter()
            .map(|table| webhook(table, problems))
            .collect(),
        hooks: table
            .tables("exec", problems)
            .into_iter()
            .map(|table| hook(table, problems))
            .collect(),
    };
    table.finish(problems);
    config
}

fn webhook(mut table: Table<'_>, problems: &mut Vec<Problem>) -> WebhookConfig {
    let config = WebhookConfig {
        at: table.at.clone(),
        url: table.string("url", problems),
        url_file: table.string("url_file", problems),
        format: table.string("format", problems),
        on: table.strings("on", problems),
        timeout: table.string("timeout", problems),
        retries: table.integer("retries", problems),
        headers_file: table.string("headers_file", problems),
    };
    table.finish(problems);
    config
}

fn hook(mut table: Table<'_>, problems: &mut Vec<Problem>) -> HookConfig {
    let config = HookConfig {
        at: table.at.clone(),
        command: table.strings("command", problems),
        on: table.strings("on", problems),
        timeout: table.string("timeout", problems),
    };
    table.finish(problems);
    config
}
