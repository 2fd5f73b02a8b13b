//! A drain for those who keep `axum::serve`: a listener that stops accepting, a
//! layer that announces the close, and the moment at which it is safe to end.

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderValue, Request, Response, Version, header};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower_service::Service;

use super::body::Counted;
use super::environment;
use crate::drain::{Drain, Knobs};
use crate::health::Health;
use crate::listen::{Incoming, Peer, Stream};
use crate::signal::{Asked, Signals};

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
    health: Health,
    state: Arc<GateState>,
}

#[derive(Debug)]
struct GateState {
    closed: watch::Sender<bool>,
    /// Requests in flight that began before the stop.
    old_requests: AtomicU64,
    /// Connections that have sent nothing yet.
    silent: AtomicU64,
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
            knobs: environment::knobs(Knobs::default())?,
            health: ready(),
            state: Arc::new(GateState {
                closed: watch::Sender::new(false),
                old_requests: AtomicU64::new(0),
                silent: AtomicU64::new(0),
            }),
        })
    }

    /// Tells `health` of the drain and runs its checks. The manager hears
    /// `READY=1` once it is ready. Its answers come from its
    /// [`router`](Health::router); a listener of its own needs
    /// [`serve`](crate::serve).
    #[must_use]
    pub fn health(mut self, health: Health) -> Self {
        self.health = health;
        self
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
            state: self.state.clone(),
        }
    }

    /// The layer that counts requests and announces the close of connections.
    #[must_use]
    pub fn layer(&self) -> AnnouncingLayer {
        AnnouncingLayer(self.clone())
    }

    /// Says `READY=1` when it is first polled and the app is ready, and
    /// resolves when it is safe to shut connections down. For
    /// `with_graceful_shutdown`.
    pub async fn drained(self) {
        let watch = self.drain.watch();
        let mut background = JoinSet::new();
        background.spawn(self.health.clone().run_checks());
        let health = self.health.clone();
        background.spawn(async move {
            health.until_ready().await;
            let _ = crate::notify::ready();
        });
        // Without signals the drain can still be started by hand.
        let asked = async {
            match Signals::new(true, false) {
                Ok(mut signals) => signals.asked().await,
                Err(_) => pending().await,
            }
        };
        tokio::select! {
            () = watch.draining() => {}
            asked = asked => if asked == Asked::End { return },
        }
        self.health.draining();
        self.drain.start();
        let _ = crate::notify::stopping();
        sleep(self.knobs.grace.max(self.knobs.linger)).await;
        let _ = timeout(self.knobs.limit, none(&self.state.old_requests)).await;
        self.state.closed.send_replace(true);
        // Connections that were accepted last have this long for a first byte.
        let _ = timeout(self.knobs.linger, none(&self.state.silent)).await;
    }
}

fn ready() -> Health {
    let health = Health::new();
    health.ready();
    health
}

async fn none(count: &AtomicU64) {
    while count.load(Relaxed) > 0 {
        sleep(Duration::from_millis(5)).await;
    }
}

/// A listener behind a [`Gate`].
#[derive(Debug)]
pub struct GatedListener {
    incoming: Incoming,
    closed: watch::Receiver<bool>,
    state: Arc<GateState>,
}

impl axum::serve::Listener for GatedListener {
    type Io = GatedStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (GatedStream, Peer) {
        let accepted = tokio::select! {
            biased;
            _ = self.closed.wait_for(|closed| *closed) => None,
            accepted = axum::serve::Listener::accept(&mut self.incoming) => Some(accepted),
        };
        match accepted {
            Some((stream, peer)) => {
                self.state.silent.fetch_add(1, Relaxed);
                let silent = Some(Silent(self.state.clone()));
                (GatedStream { stream, silent }, peer)
            }
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        self.incoming.first_address()
    }
}

/// A connection that came through a [`Gate`].
#[derive(Debug)]
pub struct GatedStream {
    stream: Stream,
    silent: Option<Silent>,
}

#[derive(Debug)]
struct Silent(Arc<GateState>);

impl Drop for Silent {
    fn drop(&mut self) {
        self.0.silent.fetch_sub(1, Relaxed);
    }
}

impl AsyncRead for GatedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if read.is_ready() {
            this.silent = None;
        }
        read
    }
}

impl AsyncWrite for GatedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
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

/// A request that a drain waits for.
#[derive(Debug)]
struct InGate(Arc<GateState>);

impl InGate {
    fn enter(gate: &Gate) -> Option<Self> {
        if gate.drain.has_started() {
            return None;
        }
        gate.state.old_requests.fetch_add(1, Relaxed);
        Some(Self(gate.state.clone()))
    }
}

impl Drop for InGate {
    fn drop(&mut self) {
        self.0.old_requests.fetch_sub(1, Relaxed);
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
        AnnouncingFuture {
            http1: request.version() <= Version::HTTP_11,
            guard: InGate::enter(&self.gate),
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
