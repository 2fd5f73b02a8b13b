//! For axum: inherited listeners for `axum::serve`, and the health routes as a
//! router.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use tokio::time::sleep;

use super::accept::{Class, class};
use crate::health::Health;
use crate::listen::{Incoming, Peer, Stream};

/// Accepts on every socket; after an error that concerns the whole process it
/// pauses for milliseconds, where axum's own listeners sleep for a second.
impl axum::serve::Listener for Incoming {
    type Io = Stream;
    type Addr = Peer;

    async fn accept(&mut self) -> (Stream, Peer) {
        loop {
            match Incoming::accept(self).await {
                Ok(accepted) => return accepted,
                Err(error) if class(&error) == Class::OneConnection => {}
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        self.first_address()
    }
}

impl Health {
    /// `/livez`, `/readyz`, and `/healthz` as routes to merge into the app.
    ///
    /// Where they are asked for by the same balancer that sends the traffic, a
    /// listener of their own ([`listen`](Health::listen)) is better: it answers
    /// during start-up and drain as well.
    ///
    /// # Example
    ///
    /// ```
    /// let health = zdt::Health::new();
    /// let app: axum::Router = axum::Router::new().merge(health.router());
    /// ```
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let health = self.clone();
        let answer = any(move |method: http::Method, uri: http::Uri| {
            let answer = health.answer(&method, &uri);
            async move { answer.unwrap_or_default() }
        });
        ["/livez", "/readyz", "/healthz"]
            .into_iter()
            .fold(Router::new(), |router, path| {
                router.route(path, answer.clone())
            })
    }
}
