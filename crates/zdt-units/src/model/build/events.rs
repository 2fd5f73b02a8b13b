//! Where events go, and who is told.

use std::time::Duration;

use super::super::mistake::Mistake;
use super::super::{AbsolutePath, Dsn, EventFile, Events, Format, Hook, Url, Wanted, Webhook};
use super::Build;
use super::text::{all_or_nothing, unknown_word};
use crate::config::{At, EventsConfig, HookConfig, Problem, WebhookConfig};

impl Build {
    /// `None` after a mistake.
    pub(super) fn events(&mut self, config: &EventsConfig) -> Option<Events> {
        let file = match &config.file {
            None => Some(EventFile::Usual),
            Some(At { value: None, .. }) => Some(EventFile::Nowhere),
            Some(At {
                value: Some(path),
                at,
            }) => {
                let path = At {
                    value: path.clone(),
                    at: at.clone(),
                };
                self.parse(&path, AbsolutePath::parse).map(EventFile::At)
            }
        };
        let max_bytes = match &config.max_bytes {
            None => Some(Events::default().max_bytes),
            Some(text) => self.parse(text, bytes),
        };
        let keep = self.number(config.keep.as_ref(), 5, 1..=1000);
        let metrics = config.metrics.as_ref();
        let metrics = metrics.map(|path| self.parse(path, AbsolutePath::parse));
        let known = self.problems.len();
        let webhooks = config.webhooks.iter();
        let webhooks = webhooks.filter_map(|webhook| self.webhook(webhook));
        let webhooks = webhooks.collect();
        let hooks = config.hooks.iter().filter_map(|hook| self.hook(hook));
        let hooks = hooks.collect();
        (self.problems.len() == known).then_some(Events {
            file: file?,
            max_bytes: max_bytes?,
            keep: u32::try_from(keep?).expect("the range was checked"),
            journal: config.journal.as_ref().is_none_or(|wanted| wanted.value),
            metrics: all_or_nothing(metrics)?,
            webhooks,
            hooks,
        })
    }

    fn webhook(&mut self, config: &WebhookConfig) -> Option<Webhook> {
        let url = match (&config.url, &config.url_file) {
            (Some(url), None) => self.parse(url, http_url).map(Url::Written),
            (None, Some(file)) => self.parse(file, AbsolutePath::parse).map(Url::InFile),
            (written, _) => {
                let problem = match written {
                    Some(url) => Problem::new(&url.at, "`url` and `url_file` say the same thing"),
                    None => Problem::new(&config.at, "this webhook has no address"),
                };
                let hint = "write `url = \"https://…\"`, or `url_file = \"/etc/zdt/…\"` where the address is a secret";
                self.problems.push(problem.hint(hint));
                None
            }
        };
        let format = match &config.format {
            None => Some(Format::Json),
            Some(word) => self.parse(word, |text| match text {
                "json" => Ok(Format::Json),
                "slack" => Ok(Format::Slack),
                "discord" => Ok(Format::Discord),
                "sentry" => Ok(Format::Sentry),
                _ => {
                    let known = ["json", "slack", "discord", "sentry"];
                    Err(unknown_word("format", text, &known))
                }
            }),
        };
        if let (Some(Url::Written(dsn)), Some(Format::Sentry), Some(written)) =
            (&url, format, &config.url)
            && Dsn::parse(dsn).is_none()
        {
            let problem = Problem::new(&written.at, "this is not a DSN of Sentry");
            self.problems.push(problem.hint(
                "it is `https://KEY@HOST/PROJECT`; in Sentry: Settings, Projects, Client Keys",
            ));
        }
        let on = self.wanted(config.on.as_ref());
        let least = Duration::from_millis(1);
        let timeout = self.duration(config.timeout.as_ref(), Duration::from_secs(5), least);
        let retries = self.number(config.retries.as_ref(), 3, 0..=20);
        let headers = config.headers_file.as_ref();
        let headers = headers.map(|path| self.parse(path, AbsolutePath::parse));
        Some(Webhook {
            url: url?,
            format: format?,
            on: on?,
            timeout: timeout?,
            retries: u32::try_from(retries?).expect("the range was checked"),
            headers_file: all_or_nothing(headers)?,
        })
    }

    fn hook(&mut self, config: &HookConfig) -> Option<Hook> {
        let command = match &config.command {
            Some(words) => self.looked_up(words),
            None => {
                self.problems.push(
                    Problem::new(&config.at, "this program has no `command`")
                        .hint("add `command = [\"/usr/local/bin/tell\"]`"),
                );
                None
            }
        };
        let on = self.wanted(config.on.as_ref());
        let least = Duration::from_millis(1);
        let timeout = self.duration(config.timeout.as_ref(), Duration::from_secs(10), least);
        Some(Hook {
            command: command?,
            on: on?,
            timeout: timeout?,
        })
    }

    fn wanted(&mut self, words: Option<&At<Vec<At<String>>>>) -> Option<Vec<Wanted>> {
        let Some(words) = words else {
            return Some(vec![Wanted::Failed, Wanted::Finished]);
        };
        if words.value.is_empty() {
            self.problems.push(
                Problem::new(&words.at, "nothing is told")
                    .hint("for example `on = [\"failed\", \"finished\"]`"),
            );
            return None;
        }
        let parsed = words
            .value
            .iter()
            .map(|word| self.parse(word, Wanted::parse));
        let parsed: Vec<Option<Wanted>> = parsed.collect();
        parsed.into_iter().collect()
    }
}

fn http_url(text: &str) -> Result<String, Mistake> {
    let known = text.starts_with("https://") || text.starts_with("http://");
    match text.parse::<http::Uri>() {
        Ok(uri) if known && uri.host().is_some_and(|host| !host.is_empty()) => Ok(text.to_owned()),
        _ => Err(
            Mistake::new(format!("`{text}` is not an address for a webhook"))
                .hint("it starts with `https://` or `http://`, then the host"),
        ),
    }
}

/// `10MiB`, `500kB`, `4096`.
pub(super) fn bytes(text: &str) -> Result<u64, Mistake> {
    const UNITS: [(&str, u64); 8] = [
        ("", 1),
        ("B", 1),
        ("kB", 1000),
        ("KiB", 1 << 10),
        ("MB", 1_000_000),
        ("MiB", 1 << 20),
        ("GB", 1_000_000_000),
        ("GiB", 1 << 30),
    ];
    let digits = text.trim_end_matches(|char: char| !char.is_ascii_digit());
    let unit = text[digits.len()..].trim();
    let factor = UNITS.iter().find(|(name, _)| *name == unit);
    let number = digits.parse::<u64>().ok().zip(factor);
    let number = number.and_then(|(number, (_, factor))| number.checked_mul(*factor));
    match number {
        Some(number) if number >= LEAST_BYTES => Ok(number),
        Some(_) => Err(Mistake::new(format!("`{text}` is less than `4KiB`"))),
        None => Err(Mistake::new(format!("`{text}` is not a size"))
            .hint("write a number and its unit: `500kB`, `10MiB`, `1GiB`")),
    }
}

const LEAST_BYTES: u64 = 4096;
