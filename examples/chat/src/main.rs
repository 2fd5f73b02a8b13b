//! A chat room whose clients stay connected over a restart, and miss nothing.
//!
//! Run with `cargo run -p chat`, then open <http://127.0.0.1:8080> twice.

mod client;
mod keeper;
mod room;
mod wire;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::{Router, routing::get};
use serde::Deserialize;
use tokio::sync::mpsc::UnboundedSender;
use tungstenite::handshake::derive_accept_key;
use zdt::{Drain, Watch};

use self::client::Client;
use self::keeper::{Arrival, Keeper};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let drain = Drain::new();
    // Before `serve`: it reads what the last process kept, and closes what nobody waits for.
    let (keeper, arrivals) = Keeper::new(drain.watch());
    tokio::spawn(keeper.run());
    let entrance = Entrance {
        watch: drain.watch(),
        arrivals,
    };
    let app = Router::new()
        .route("/", get(|| async { Html(include_str!("page.html")) }))
        .route("/room", get(enter))
        .with_state(entrance);
    let served = zdt::serve(zdt::listener_or("127.0.0.1:8080")?, app)
        .drain(&drain)
        .await?;
    eprintln!("chat: {served}");
    Ok(())
}

#[derive(Clone)]
struct Entrance {
    watch: Watch,
    arrivals: UnboundedSender<Arrival>,
}

#[derive(Deserialize)]
struct Hello {
    nick: String,
    /// The last message that the client has, when it has been here before.
    after: Option<u64>,
}

/// The handshake of RFC 6455. axum has one too, but keeps the connection to itself.
async fn enter(
    State(entrance): State<Entrance>,
    Query(hello): Query<Hello>,
    headers: HeaderMap,
    mut request: Request,
) -> Response {
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else {
        return StatusCode::UPGRADE_REQUIRED.into_response();
    };
    let accept = derive_accept_key(key.as_bytes());
    let upgrade = hyper::upgrade::on(&mut request);
    // From here on a stop waits until the client is on its way to the next process.
    let hold = entrance.watch.hold();
    tokio::spawn(async move {
        let connection = zdt::handover::detach(upgrade.await.ok()?).ok()?;
        let client = Client::new(hello.nick, hello.after, connection.unread());
        let socket = client::socket(connection.into_fd())?;
        entrance
            .arrivals
            .send(Arrival {
                socket,
                client,
                hold,
            })
            .ok()
    });
    let switch = [
        (header::CONNECTION, "upgrade".to_owned()),
        (header::UPGRADE, "websocket".to_owned()),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, switch).into_response()
}
