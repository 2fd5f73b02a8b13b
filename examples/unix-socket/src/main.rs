//! A service on a Unix socket, behind nginx.
//!
//! Run with `cargo run -p wiki`, then `curl --unix-socket /tmp/wiki.sock http://wiki`.

use axum::http::HeaderMap;
use axum::{Router, routing::get};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = Router::new().route("/", get(hello));
    let served = zdt::serve(zdt::listener_or("/tmp/wiki.sock")?, app).await?;
    eprintln!("wiki: {served}");
    Ok(())
}

/// The socket's mode lets only nginx in, so what nginx says can be believed.
async fn hello(headers: HeaderMap) -> String {
    let client = headers.get("x-real-ip").and_then(|ip| ip.to_str().ok());
    format!("hello {}\n", client.unwrap_or("whoever you are"))
}
