//! What the test programs serve: answers that are quick, slow, large, in
//! pieces, endless, or given before the request was read.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Query;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use serde::Deserialize;
use tokio::time::sleep;

/// The application, without what zdt or the stock recipe puts around it.
pub fn router() -> Router {
    Router::new()
        .route("/", get(root))
        .route("/slow", get(slow))
        .route("/stream", get(pieces))
        .route("/large", get(large))
        .route("/upload", post(upload))
        .route("/ignore-body", post(ignore_body))
        .route("/sse", get(events))
        .route("/ws", any(upgrade))
}

async fn root() -> String {
    format!("pid {}\n", std::process::id())
}

#[derive(Deserialize)]
struct Pause {
    #[serde(default = "hundred")]
    ms: u64,
}

impl Pause {
    async fn take(&self) {
        sleep(Duration::from_millis(self.ms)).await;
    }
}

fn hundred() -> u64 {
    100
}

/// One answer, `ms` late.
async fn slow(Query(pause): Query<Pause>) -> String {
    pause.take().await;
    root().await
}

#[derive(Deserialize)]
struct Pieces {
    #[serde(default = "hundred")]
    ms: u64,
    #[serde(default = "ten")]
    chunks: usize,
}

fn ten() -> usize {
    10
}

/// `chunks` lines, `ms` apart, the first at once.
async fn pieces(Query(Pieces { ms, chunks }): Query<Pieces>) -> Body {
    let lines = stream::iter(0..chunks).then(move |n| async move {
        if n > 0 {
            Pause { ms }.take().await;
        }
        Ok::<_, Infallible>(format!("chunk {n}\n"))
    });
    Body::from_stream(lines)
}

#[derive(Deserialize)]
struct Large {
    #[serde(default = "ten")]
    mb: usize,
}

/// `mb` mebibytes with their length given.
async fn large(Query(Large { mb }): Query<Large>) -> Response {
    static BLOCK: [u8; 64 * 1024] = [b'z'; 64 * 1024];
    let blocks = stream::iter(0..mb * 16).map(|_| Ok::<_, Infallible>(Bytes::from_static(&BLOCK)));
    let length = [(header::CONTENT_LENGTH, mb * 16 * BLOCK.len())];
    (length, Body::from_stream(blocks)).into_response()
}

/// Reads the whole body and answers its length.
async fn upload(body: Body) -> Result<String, StatusCode> {
    let mut length = 0;
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        length += piece.map_err(|_| StatusCode::BAD_REQUEST)?.len();
    }
    Ok(format!("{length}\n"))
}

/// Answers at once; the body stays unread.
async fn ignore_body() -> &'static str {
    "ignored\n"
}

/// An event each `ms`, without end.
async fn events(Query(pause): Query<Pause>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::unfold(0_u64, move |n| {
        let ms = pause.ms;
        async move {
            if n > 0 {
                Pause { ms }.take().await;
            }
            Some((Ok(Event::default().data(n.to_string())), n + 1))
        }
    }))
}

async fn upgrade(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(echo)
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}
