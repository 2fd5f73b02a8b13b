//! Tells a web server, on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use super::tally::Tally;
use crate::model::{AbsolutePath, Dsn, Format, Url, Wanted, Webhook};

/// Events that may wait; what comes while so many do is not delivered.
const QUEUE: usize = 64;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct WebhookThread {
    pub(super) wanted: Vec<Wanted>,
    pub(super) format: Format,
    name: String,
    timeout: Duration,
    queue: SyncSender<String>,
    tally: Tally,
    ended: oneshot::Receiver<()>,
}

/// What the thread needs.
struct Poster {
    agent: Agent,
    url: String,
    content: &'static str,
    headers: Vec<(String, String)>,
    retries: u32,
}

impl WebhookThread {
    pub(super) fn start(webhook: &Webhook) -> Result<Self, String> {
        let url = match &webhook.url {
            Url::Written(url) => url.clone(),
            Url::InFile(path) => read(path)?.trim().to_owned(),
        };
        // The rest of the address may be a secret.
        let uri = url.parse::<http::Uri>().ok();
        let host = uri.as_ref().and_then(http::Uri::host).unwrap_or("?");
        let name = format!("the webhook at `{host}`");
        let mut headers = match &webhook.headers_file {
            Some(path) => headers(path)?,
            None => Vec::new(),
        };
        let mut content = "application/json";
        let mut endpoint = url;
        if webhook.format == Format::Sentry {
            let dsn = Dsn::parse(&endpoint)
                .ok_or_else(|| format!("events do not reach {name}: its address is no DSN"))?;
            content = "application/x-sentry-envelope";
            headers.push(("X-Sentry-Auth".to_owned(), authentication(&dsn.key)));
            endpoint = dsn.endpoint;
        }
        let poster = Poster {
            agent: agent(webhook.timeout),
            url: endpoint,
            content,
            headers,
            retries: webhook.retries,
        };
        let (queue, waiting) = sync_channel(QUEUE);
        let (end, ended) = oneshot::channel();
        let tally = Tally::default();
        let counted = tally.clone();
        std::thread::Builder::new()
            .name("webhook".to_owned())
            .spawn(move || {
                poster.run(&waiting, &counted);
                let _ = end.send(());
            })
            .map_err(|error| format!("events do not reach {name}: {error}"))?;
        Ok(Self {
            wanted: webhook.on.clone(),
            format: webhook.format,
            name,
            timeout: webhook.timeout,
            queue,
            tally,
            ended,
        })
    }

    pub(super) fn send(&mut self, message: String) {
        self.tally.wanted();
        if self.queue.try_send(message).is_err() {
            let full = format!("{QUEUE} others were waiting");
            self.tally.ended(Err(full));
        }
    }

    /// Long enough for one that hangs and one more.
    pub(super) async fn close(self) -> Option<String> {
        drop(self.queue);
        let _ = tokio::time::timeout(2 * self.timeout, self.ended).await;
        self.tally.missing(&self.name)
    }
}

impl Poster {
    fn run(&self, waiting: &Receiver<String>, tally: &Tally) {
        for message in waiting {
            tally.ended(self.deliver(&message));
        }
    }

    fn deliver(&self, message: &str) -> Result<(), String> {
        let mut attempt = 0;
        loop {
            match self.post(message) {
                Answer::Taken => return Ok(()),
                Answer::Refused(failure) => return Err(failure),
                Answer::Later { failure, .. } if attempt == self.retries => return Err(failure),
                Answer::Later { pause, .. } => {
                    std::thread::sleep(pause.unwrap_or_default().max(back_off(attempt)));
                }
            }
            attempt += 1;
        }
    }

    fn post(&self, message: &str) -> Answer {
        let mut request = self.agent.post(&self.url).content_type(self.content);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match request.send(message) {
            Ok(response) => {
                let pause = response.headers().get("retry-after");
                let pause = pause.and_then(|value| value.to_str().ok());
                judge(response.status().as_u16(), pause)
            }
            Err(error) => Answer::Later {
                failure: error.to_string(),
                pause: None,
            },
        }
    }
}

/// What came of one attempt.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Taken,
    /// It would be refused again.
    Refused(String),
    Later {
        failure: String,
        /// The server's own wish.
        pause: Option<Duration>,
    },
}

fn judge(status: u16, retry_after: Option<&str>) -> Answer {
    let failure = format!("it answered {status}");
    match status {
        200..=299 => Answer::Taken,
        429 | 500..=599 => Answer::Later {
            failure,
            pause: retry_after
                .and_then(|seconds| seconds.trim().parse().ok())
                .map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE)),
        },
        _ => Answer::Refused(failure),
    }
}

/// After attempt 0, 1, …
fn back_off(attempt: u32) -> Duration {
    let factor = 2_u32.saturating_pow(attempt);
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

fn agent(timeout: Duration) -> Agent {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(provider)
        .build();
    Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        // A secret goes to nobody that the file does not name.
        .max_redirects(0)
        .tls_config(tls)
        .user_agent(concat!("zdt-units/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

fn authentication(key: &str) -> String {
    let client = concat!("zdt-units/", env!("CARGO_PKG_VERSION"));
    format!("Sentry sentry_version=7, sentry_key={key}, sentry_client={client}")
}

fn read(path: &AbsolutePath) -> Result<String, String> {
    std::fs::read_to_string(path.as_str())
        .map_err(|error| format!("a webhook is not told: failed to read `{path}`: {error}"))
}

fn headers(path: &AbsolutePath) -> Result<Vec<(String, String)>, String> {
    let text = read(path)?;
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| match line.split_once(':') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
            // The line is not shown: it is a secret.
            None => Err(format!(
                "a webhook is not told: a line of `{path}` is not `Name: value`"
            )),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_change_is_tried_again() {
        let later = |status, pause: Option<u64>| Answer::Later {
            failure: format!("it answered {status}"),
            pause: pause.map(Duration::from_secs),
        };
        assert_eq!(judge(204, None), Answer::Taken);
        assert_eq!(
            judge(404, None),
            Answer::Refused("it answered 404".to_owned())
        );
        assert_eq!(
            judge(301, None),
            Answer::Refused("it answered 301".to_owned())
        );
        assert_eq!(judge(500, None), later(500, None));
        assert_eq!(judge(429, Some("2")), later(429, Some(2)));
        assert_eq!(judge(503, Some("3600")), later(503, Some(5)));
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let pauses: Vec<u128> = [0, 1, 2, 10, 100]
            .map(|attempt| back_off(attempt).as_millis())
            .to_vec();
        assert_eq!(pauses, [200, 400, 800, 5000, 5000]);
    }
}
