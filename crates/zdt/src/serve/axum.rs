//! For axum: listeners for `axum::serve`, the health routes as a router, and a
//! drain for those who keep `axum::serve`.

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http::{HeaderValue, Request, Response, Version, header};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tower_service::Service;

use super::accept::{Class, class};
use super::body::Counted;
use super::knobs_from_environment;
use crate::drain::{Drain, Knobs};
use crate::health::Health;
use crate::listen::{Incoming, Peer, Stream};
use crate::signal::{Asked, Signals};

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

/// A drain for programs that keep `axum::serve`.
///
/// It loses nothing of HTTP/1.1 where `with_graceful_shutdown` alone closes
/// connections that were accepted and not yet read. [`serve`](crate::serve)
/// does more: it knows each connection, so it waits no longer than needed and
/// counts what it cut.
///
/// # Example
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// # let app: axum::Router = axum::Router::new();
/// let gate = zdt::Gate::new()?;
/// let listener = gate.listener(zdt::listener()?.into_incoming()?);
/// axum::serve(listener, app.layer(gate.layer()))
///     .with_graceful_shutdown(gate.drained())
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Gate {
    drain: Drain,
    knobs: Knobs,
    state: Arc<GateState>,
}

#[derive(Debug)]
struct GateState {
    closed: watch::Sender<bool>,
    in_flight: AtomicU64,
}

impl Gate {
    /// An open gate, with the times that the environment says (see
    /// [`Serve::grace`](crate::Serve::grace)).
    ///
    /// # Errors
    ///
    /// When an environment variable is not a duration.
    pub fn new() -> Result<Self, super::ServeError> {
        Ok(Self {
            drain: Drain::new(),
            knobs: knobs_from_environment(Knobs::default())?,
            state: Arc::new(GateState {
                closed: watch::Sender::new(false),
                in_flight: AtomicU64::new(0),
            }),
        })
    }

    /// The drain that SIGTERM starts, for watches and for starting it by hand.
    #[must_use]
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// A listener that stops accepting when the gate closes, and leaves the
    /// queue to the next process.
    #[must_use]
    pub fn listener(&self, incoming: Incoming) -> GatedListener {
        GatedListener {
            incoming,
            closed: self.state.closed.subscribe(),
        }
    }

    /// The layer that counts requests and announces the close of connections.
    #[must_use]
    pub fn layer(&self) -> AnnouncingLayer {
        AnnouncingLayer(self.clone())
    }

    /// Resolves when it is safe to shut connections down. For
    /// `with_graceful_shutdown`.
    pub async fn drained(self) {
        let watch = self.drain.watch();
        // Without signals the drain can still be started by hand.
        let asked = async {
            match Signals::new(true) {
                Ok(mut signals) => signals.asked().await,
                Err(_) => pending().await,
            }
        };
        tokio::select! {
            () = watch.draining() => {}
            asked = asked => if asked == Asked::End { return },
        }
        self.drain.start();
        let _ = crate::notify::stopping();
        sleep(self.knobs.grace.max(self.knobs.linger)).await;
        let _ = timeout(self.knobs.limit, self.idle()).await;
        self.state.closed.send_replace(true);
        // Connections that were accepted last have this long for a first byte.
        sleep(self.knobs.linger).await;
    }

    async fn idle(&self) {
        while self.state.in_flight.load(Relaxed) > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A listener behind a [`Gate`].
#[derive(Debug)]
pub struct GatedListener {
    incoming: Incoming,
    closed: watch::Receiver<bool>,
}

impl axum::serve::Listener for GatedListener {
    type Io = Stream;
    type Addr = Peer;

    async fn accept(&mut self) -> (Stream, Peer) {
        let accepted = tokio::select! {
            biased;
            _ = self.closed.wait_for(|closed| *closed) => None,
            accepted = axum::serve::Listener::accept(&mut self.incoming) => Some(accepted),
        };
        match accepted {
            Some(accepted) => accepted,
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        self.incoming.first_address()
    }
}

/// The layer of a [`Gate`].
#[derive(Clone, Debug)]
pub struct AnnouncingLayer(Gate);

impl<S> tower_layer::Layer<S> for AnnouncingLayer {
    type Service = Announcing<S>;

    fn layer(&self, app: S) -> Announcing<S> {
        Announcing {
            app,
            gate: self.0.clone(),
        }
    }
}

/// An app whose answers announce the close of their connection while the
/// process drains.
#[derive(Clone, Debug)]
pub struct Announcing<S> {
    app: S,
    gate: Gate,
}

#[derive(Debug)]
struct InGate(Arc<GateState>);

impl Drop for InGate {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl<S, In, Out> Service<Request<In>> for Announcing<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    Out: Body<Data = bytes::Bytes> + Send + 'static,
    Out::Error: Into<axum::BoxError>,
{
    type Response = Response<axum::body::Body>;
    type Error = S::Error;
    type Future = AnnouncingFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.app.poll_ready(cx)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        self.gate.state.in_flight.fetch_add(1, Relaxed);
        AnnouncingFuture {
            http1: request.version() <= Version::HTTP_11,
            guard: Some(InGate(self.gate.state.clone())),
            drain: self.gate.drain.clone(),
            future: self.app.call(request),
        }
    }
}

pin_project! {
    /// The answer that is being made.
    #[derive(Debug)]
    pub struct AnnouncingFuture<F> {
        http1: bool,
        guard: Option<InGate>,
        drain: Drain,
        #[pin]
        future: F,
    }
}

impl<F, Out, E> Future for AnnouncingFuture<F>
where
    F: Future<Output = Result<Response<Out>, E>>,
    Out: Body<Data = bytes::Bytes> + Send + 'static,
    Out::Error: Into<axum::BoxError>,
{
    type Output = Result<Response<axum::body::Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (mut head, body) = ready!(this.future.poll(cx))?.into_parts();
        let switches = head.status == http::StatusCode::SWITCHING_PROTOCOLS;
        if *this.http1 && !switches && this.drain.has_started() {
            head.headers
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let body = axum::body::Body::new(Counted::new(body, this.guard.take()));
        Poll::Ready(Ok(Response::from_parts(head, body)))
    }
}
