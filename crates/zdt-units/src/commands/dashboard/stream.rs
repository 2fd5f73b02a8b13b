//! What one who watches is sent: each part of the page when it changes, the newest only.
//!
//! Nothing waits in a queue for a slow client: it gets what is there once it has read what it was
//! sent. One that reads nothing is given up by the kernel (`TCP_USER_TIMEOUT`).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::unfold;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use super::reader::{Frame, Lease};

/// Something is said at least so often, so that both sides notice when the other one is gone.
const BEAT: Duration = Duration::from_secs(10);

const ALIVE: Bytes = Bytes::from_static(b"event: beat\ndata:\n\n");

/// A browser that lost the connection is back after so many milliseconds.
const AGAIN: Bytes = Bytes::from_static(b"retry: 1000\n\n");

/// One event: `html` as the content of the element `id`.
pub(super) fn event(id: &str, html: &str) -> Bytes {
    let mut event = format!("event: {id}\n");
    for line in html.split(['\n', '\r']) {
        event.push_str("data: ");
        event.push_str(line);
        event.push('\n');
    }
    event.push('\n');
    event.into()
}

pub(super) struct Client {
    pub(super) frames: watch::Receiver<Arc<Frame>>,
    /// Ends it when the dashboard is restarted.
    pub(super) drain: zdt::Watch,
    pub(super) _lease: Lease,
    pub(super) _seat: OwnedSemaphorePermit,
}

impl Client {
    pub(super) fn body(mut self) -> Body {
        self.frames.mark_changed();
        let state = (self, Vec::new(), VecDeque::from([AGAIN]));
        Body::from_stream(unfold(
            state,
            |(mut client, mut sent, mut next)| async move {
                loop {
                    if let Some(event) = next.pop_front() {
                        return Some((Ok::<_, Infallible>(event), (client, sent, next)));
                    }
                    let changed = tokio::select! {
                        () = client.drain.draining() => return None,
                        changed = timeout(BEAT, client.frames.changed()) => changed,
                    };
                    match changed {
                        Ok(Ok(())) => {
                            next.extend(changes(&client.frames.borrow_and_update(), &mut sent))
                        }
                        Ok(Err(_)) => return None,
                        Err(_) => next.push_back(ALIVE),
                    }
                }
            },
        ))
    }
}

/// The parts that are not those that were `sent`.
fn changes(frame: &Frame, sent: &mut Vec<u64>) -> Vec<Bytes> {
    sent.resize(frame.parts.len(), 0);
    let parts = frame.parts.iter().zip(sent);
    let changed = parts.filter_map(|(part, sent)| {
        let is_new = *sent != part.version;
        *sent = part.version;
        is_new.then(|| part.event.clone())
    });
    changed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_data() {
        let expected = "event: now\ndata: <p>a\ndata: b\ndata: c</p>\n\n";
        assert_eq!(event("now", "<p>a\nb\rc</p>"), expected);
    }
}
