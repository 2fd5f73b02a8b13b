//! One request: counted from its head to the last byte of its answer, and the
//! answer says when it is the last of its connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker, ready};

use http::{HeaderValue, Method, Request, Response, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::body::Counted;
use super::registry::{Conn, InFlight, Registered};
use crate::listen::Peer;

/// The app, as the HTTP library calls it.
#[derive(Clone, Debug)]
pub(super) struct Counting<S> {
    app: S,
    conn: Arc<Conn>,
    /// Put into the extensions of each request, when that is wanted.
    peer: Option<Peer>,
}

impl<S> Counting<S> {
    pub(super) fn new(app: S, registered: &Registered, peer: Option<Peer>) -> Self {
        Self {
            app,
            conn: registered.conn.clone(),
            peer,
        }
    }
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Counting<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
    B: Body,
{
    type Response = Response<Counted<B, InFlight>>;
    type Error = S::Error;
    type Future = Answering<S, S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let in_flight = InFlight::begin(&self.conn);
        let has_body = !request.body().is_end_stream();
        self.conn.has_body.store(has_body, Relaxed);
        if has_body {
            // Its answer may be done before it is, so this is asked later.
            self.conn.is_last.store(says_last(&request), Relaxed);
        }
        if request.method() == Method::CONNECT {
            self.conn.has_tunnel.store(true, Relaxed);
        }
        if let Some(peer) = &self.peer {
            #[cfg(feature = "axum")]
            if let Peer::Tcp(address) = peer {
                let info = axum::extract::ConnectInfo(*address);
                request.extensions_mut().insert(info);
            }
            request.extensions_mut().insert(peer.clone());
        }
        let announce = request.version() <= Version::HTTP_11;
        let mut app = self.app.clone();
        // Most apps are always ready; to ask at once saves moving the request.
        let ready = app.poll_ready(&mut Context::from_waker(Waker::noop()));
        Answering {
            announce,
            in_flight: Some(in_flight),
            state: match ready {
                Poll::Ready(Ok(())) => Calling::Called {
                    future: app.call(request),
                },
                // Asked again by the task, which gets the error or is woken.
                _ => Calling::Waiting {
                    app,
                    request: Some(request),
                },
            },
        }
    }
}

pin_project! {
    /// The answer that is being made.
    pub(super) struct Answering<S, F> {
        announce: bool,
        in_flight: Option<InFlight>,
        #[pin]
        state: Calling<S, F>,
    }
}

pin_project! {
    #[project = CallingProjection]
    enum Calling<S, F> {
        /// The app is not ready to be called yet.
        Waiting { app: S, request: Option<Request<Incoming>> },
        Called { #[pin] future: F },
    }
}

impl<S, B> Future for Answering<S, S::Future>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    type Output = Result<Response<Counted<B, InFlight>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let response = loop {
            match this.state.as_mut().project() {
                CallingProjection::Called { future } => break ready!(future.poll(cx))?,
                CallingProjection::Waiting { app, request } => {
                    ready!(app.poll_ready(cx))?;
                    let request = request.take().expect("a request is called once");
                    let future = app.call(request);
                    this.state.set(Calling::Called { future });
                }
            }
        };
        let (mut head, body) = response.into_parts();
        if let Some(in_flight) = &this.in_flight {
            // HTTP/2 has GOAWAY for this, and an upgrade leaves HTTP.
            if head.status == http::StatusCode::SWITCHING_PROTOCOLS {
                in_flight.leaves_http();
            } else if *this.announce && in_flight.is_last() {
                head.headers
                    .insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            if in_flight.has_body() && has_close(&head.headers) {
                in_flight.says_last();
            }
        }
        let body = Counted::new(body, this.in_flight.take());
        Poll::Ready(Ok(Response::from_parts(head, body)))
    }
}

/// Whether the client keeps the connection for one answer only.
fn says_last<B>(request: &Request<B>) -> bool {
    request.version() < Version::HTTP_11 || has_close(request.headers())
}

fn has_close(headers: &http::HeaderMap) -> bool {
    let words = headers.get_all(header::CONNECTION).iter();
    words.filter_map(|value| value.to_str().ok()).any(|value| {
        let mut words = value.split(',');
        words.any(|word| word.trim().eq_ignore_ascii_case("close"))
    })
}
