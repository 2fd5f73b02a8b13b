//! A worker: takes jobs from a directory, one at a time, and writes down when each began and ended.
//!
//! `worker NAME [DIRECTORY]`; without a directory it only is there. Told to stop, it ends the job at hand, and then takes
//! `DRAIN_MS` to go.
#![expect(
    clippy::disallowed_methods,
    reason = "the edge: reads its arguments and files"
)]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use zdt_e2e::stamps::Stamps;

const JOB: Duration = Duration::from_millis(20);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("which worker it is")?;
    let jobs = arguments.next();
    let drain = std::env::var("DRAIN_MS")
        .ok()
        .and_then(|ms| ms.parse().ok());
    let mut told = signal(SignalKind::terminate())?;
    let stamps = Stamps::here(&name)?;
    stamps.write("start")?;
    zdt::notify::ready()?;
    loop {
        let job = jobs.as_deref().and_then(|jobs| take(Path::new(jobs)));
        let Some(job) = job else {
            tokio::select! {
                _ = told.recv() => break,
                () = sleep(Duration::from_millis(5)) => continue,
            }
        };
        stamps.write(&format!("begin {job}"))?;
        sleep(JOB).await;
        stamps.write(&format!("end {job}"))?;
        // Whether it was told meanwhile.
        let was_told = tokio::time::timeout(Duration::ZERO, told.recv()).await;
        if was_told.is_ok() {
            break;
        }
    }
    stamps.write("drain")?;
    sleep(Duration::from_millis(drain.unwrap_or(0))).await;
    stamps.write("stop")?;
    Ok(())
}

/// Of several workers one gets it: a name can be taken away only once.
fn take(jobs: &Path) -> Option<String> {
    let entries = std::fs::read_dir(jobs.join("new")).ok()?.flatten();
    let mut names = entries.map(|entry| entry.file_name());
    names.find_map(|name| {
        let taken = std::fs::rename(jobs.join("new").join(&name), jobs.join("taken").join(&name));
        taken.ok().map(|()| name.to_string_lossy().into_owned())
    })
}
