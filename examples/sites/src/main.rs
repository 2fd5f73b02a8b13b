//! One program for several sites. Which one it is, the environment says.
//!
//! Run with `SITE_NAME=bakery SITE_TITLE='The Corner Bakery' cargo run -p site`, then open
//! <http://127.0.0.1:8080>.

use std::env;
use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::{Router, routing::get};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name = setting("SITE_NAME")?;
    let title = setting("SITE_TITLE")?;
    // systemd makes one for each site that has `sandbox = { state = "NAME" }`.
    let directory = env::var_os("STATE_DIRECTORY").map_or_else(env::temp_dir, PathBuf::from);
    let path = directory.join("visitors");
    let before: u64 = match fs::read_to_string(&path) {
        Ok(count) => count.trim().parse()?,
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(error.into()),
    };

    let visitors = Arc::new(AtomicU64::new(before));
    let counter = visitors.clone();
    let app = Router::new().route(
        "/",
        get(|| async move {
            let count = counter.fetch_add(1, Ordering::Relaxed) + 1;
            format!("{title}: visitor {count}\n")
        }),
    );
    let served = zdt::serve(zdt::listener_or("127.0.0.1:8080")?, app).await?;
    // No request is left and none can come, so the count is complete. The next process starts
    // from it.
    let new = path.with_extension("new");
    fs::write(&new, format!("{}\n", visitors.load(Ordering::Relaxed)))?;
    fs::rename(new, path)?;
    eprintln!("{name}: {served}");
    Ok(())
}

fn setting(name: &str) -> Result<String, String> {
    env::var(name)
        .map_err(|error| format!("`{name}`: {error}; is it in the site's `environment_files`?"))
}
