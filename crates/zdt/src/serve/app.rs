//! What can be served.

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An app that [`serve`](crate::serve) can serve: any tower service from
/// requests to responses, such as an `axum::Router`, tonic's routes, or
/// `tower::service_fn`.
///
/// Implemented for all of them; there is nothing to implement by hand.
pub trait App:
    Service<Request<Incoming>, Response = Response<Self::Body>, Error: Into<BoxError>, Future: Send>
    + Clone
    + Send
    + 'static
{
    /// The body of its responses.
    type Body: Body<Data: Send, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B> App for S
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Body = B;
}
