//! A response body that keeps a guard until its last byte is made.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A body; the guard is dropped with it.
    #[derive(Debug)]
    pub(crate) struct Counted<B, G> {
        #[pin]
        body: B,
        guard: Option<G>,
    }
}

impl<B, G> Counted<B, G> {
    pub(crate) fn new(body: B, guard: Option<G>) -> Self {
        Self { body, guard }
    }
}

impl<B: Body, G> Body for Counted<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
