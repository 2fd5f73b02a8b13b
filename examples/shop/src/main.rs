//! The smallest axum service whose restarts nobody notices.
//!
//! Run with `cargo run -p shop`, then open <http://127.0.0.1:8080>.

use axum::{Router, routing::get};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = Router::new().route("/", get(|| async { "hello from the shop\n" }));
    let served = zdt::serve(zdt::listener_or("127.0.0.1:8080")?, app).await?;
    eprintln!("shop: {served}");
    Ok(())
}
