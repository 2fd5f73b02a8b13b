//! The health endpoints as an app of their own.

use std::convert::Infallible;
use std::future::Ready;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tower_service::Service;

use crate::health::Health;

/// The health endpoints as a service.
#[derive(Clone, Debug)]
pub(super) struct Probes(pub(super) Health);

impl Service<Request<Incoming>> for Probes {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let answer = self.0.answer(request.method(), request.uri());
        std::future::ready(Ok(answer.unwrap_or_else(|| {
            let mut response = Response::new(String::new());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        })))
    }
}
